// Making and changing elements: the only place that knows how. Nothing here knows what is shown.

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * Make an element. Properties become attributes; `class` may be a list with gaps, `on…` is a listener, and what is
 * null, undefined or false is left out. Inline styles are none: the page's policy forbids them.
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElement}
 */
export function h(tag, properties = {}, ...children) {
  return /** @type {HTMLElement} */ (fill(document.createElement(tag), properties, children));
}

/**
 * Make an element of an SVG.
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Child | Child[])} children
 * @returns {SVGElement}
 */
export function svg(tag, properties = {}, ...children) {
  return /** @type {SVGElement} */ (
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children)
  );
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.setAttribute("class", [value].flat().filter(Boolean).join(" "));
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...kept(children));
  return element;
}

/** @param {Child[]} children */
function kept(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/**
 * Put children in the place of all that an element held.
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function put(element, ...children) {
  element.replaceChildren(...kept(children));
}

/**
 * Set an element's text, only where it changed: a screen reader and the browser's layout care.
 * @param {Element} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Give the element of an id, which has to be there.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/**
 * Make the options of a select.
 * @param {[string, string][]} choices value and text
 * @param {string} chosen
 */
export function options(choices, chosen) {
  return choices.map(([value, text]) => h("option", { value, selected: value === chosen }, text));
}

/**
 * Make a select with its label.
 * @param {string} label
 * @param {string} name
 * @param {[string, string][]} choices value and text
 * @param {string} chosen
 * @param {(value: string) => void} [change]
 */
export function choice(label, name, choices, chosen, change) {
  const changed = change && ((event) => change(event.target.value));
  return h("label", {}, h("span", {}, label), h("select", { name, onchange: changed }, options(choices, chosen)));
}

/** A list whose elements stay the same ones while what they show does: focus, selection and place stay with them. */
export class Kept {
  /** @type {Map<string, {key: string, element: HTMLElement}>} */
  #made = new Map();

  /** @param {HTMLElement} parent */
  constructor(parent) {
    this.parent = parent;
  }

  /**
   * Show these and nothing else.
   * @param {[string, string, () => HTMLElement][]} rows id, all that goes into it as text, and how it is made
   */
  draw(rows) {
    const made = new Map();
    for (const [id, key, make] of rows) {
      const old = this.#made.get(id);
      made.set(id, old?.key === key ? old : { key, element: make() });
    }
    this.#made = made;
    const wanted = [...made.values()].map((one) => one.element);
    const staying = new Set(wanted);
    for (const child of [...this.parent.children]) {
      if (!staying.has(/** @type {HTMLElement} */ (child))) child.remove();
    }
    wanted.forEach((element, i) => {
      const there = this.parent.children[i];
      if (there !== element) this.parent.insertBefore(element, there ?? null);
    });
  }
}

/** @type {string[]} */
let announced = [];

/** Tell a screen reader, politely; what is told at the same time is told together. @param {string} text */
export function announce(text) {
  announced.push(text);
  if (announced.length > 1) return;
  queueMicrotask(() => {
    byId("live").textContent = announced.join(" ");
    announced = [];
  });
}
