// The address: everything that is shown can be read from it, and everything that is chosen goes into it.

import { emit, GRANULARITIES, state } from "./state.js";

const VIEWS = ["chart", "events", "alerts", "operations"];
const ZONES = ["utc", "ny", "local"];
/** Rules that an event is significant by. */
export const RULES = ["psychological_level", "volume_spike", "pattern_completion"];
/** Rules that give alerts. */
export const ALERT_RULES = [...RULES, "simultaneous"];

/** What is not in the address is this. @returns {import("./state.js").Route} */
function defaults() {
  return {
    view: "chart",
    instrument: "",
    granularity: "H1",
    event: "",
    zone: "utc",
    only: "",
    pattern: "",
    rule: "",
    since: "",
    suspect: "",
    sort: "-closed_at",
    page: 1,
    alert_granularity: "",
    alert_instrument: "",
    alert_rule: "",
    alert_state: "",
  };
}

const ALLOWED = {
  view: (text) => VIEWS.includes(text),
  instrument: (text) => /^[A-Z]{3}_[A-Z]{3}$/.test(text),
  only: (text) => /^[A-Z]{3}_[A-Z]{3}$/.test(text),
  granularity: (text) => GRANULARITIES.includes(text),
  event: (text) => /^[0-9a-f-]{36}$/.test(text),
  zone: (text) => ZONES.includes(text),
  pattern: (text) => ["HH", "LH"].includes(text),
  rule: (text) => RULES.includes(text),
  since: (text) => /^(\d+[hd]|\d{4}-\d\d-\d\d[T0-9:Z.]*)$/.test(text),
  suspect: (text) => ["true", "false"].includes(text),
  sort: (text) => /^-?[a-z_]+$/.test(text),
  page: (text) => /^[1-9]\d{0,5}$/.test(text),
  alert_granularity: (text) => GRANULARITIES.includes(text),
  alert_instrument: (text) => /^[A-Z]{3}_[A-Z]{3}$/.test(text),
  alert_rule: (text) => ALERT_RULES.includes(text),
  alert_state: (text) => ["unread", "acknowledged"].includes(text),
};

/** Read the address; what it says wrongly is left out. @param {string} search @returns {import("./state.js").Route} */
export function read(search) {
  const found = /** @type {any} */ (defaults());
  for (const [name, text] of new URLSearchParams(search)) {
    if (ALLOWED[name]?.(text)) found[name] = name === "page" ? Number(text) : text;
  }
  return found;
}

/** Write a route as an address. @param {Partial<import("./state.js").Route>} [changes] */
export function href(changes = {}) {
  const [wanted, usual] = [{ ...state.route, ...changes }, defaults()];
  const query = new URLSearchParams();
  for (const name of Object.keys(usual)) {
    if (wanted[name] !== usual[name]) query.set(name, String(wanted[name]));
  }
  const text = query.toString();
  return text ? `/?${text}` : "/";
}

/**
 * Go somewhere: a step that `back` takes back, unless it only completes the address.
 * @param {Partial<import("./state.js").Route>} changes
 * @param {{replace?: boolean}} [how]
 */
export function go(changes, { replace = false } = {}) {
  const address = href(changes);
  const before = state.route;
  state.route = { ...before, ...changes };
  if (address !== location.pathname + location.search)
    history[replace ? "replaceState" : "pushState"](null, "", address);
  emit("route", before);
}

/** Make what is shown a step from an address, after it was only put in the place of it. @param {string} from */
export function step(from) {
  history.replaceState(null, "", from);
  history.pushState(null, "", href());
}

/** Let somebody log in, and come back to what the address says now. */
export function signIn() {
  const view = location.search.slice(1);
  location.assign(view ? `/login?next=${encodeURIComponent(view)}` : "/login");
}

/** Follow the address from now on, and its history. */
export function follow() {
  state.route = read(location.search);
  addEventListener("popstate", () => {
    const before = state.route;
    state.route = { ...read(location.search) };
    if (!state.route.instrument) state.route.instrument = before.instrument;
    emit("route", before);
  });
}

/**
 * Make a link's click go without loading the page again; with a modifier the browser does what it always does.
 * @param {Partial<import("./state.js").Route>} changes
 */
export function link(changes) {
  return {
    href: href(changes),
    onclick: (/** @type {MouseEvent} */ click) => {
      if (click.ctrlKey || click.metaKey || click.shiftKey || click.button) return;
      click.preventDefault();
      click.stopPropagation();
      go(changes);
    },
  };
}
