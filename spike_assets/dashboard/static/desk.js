// The trader's desk: the list of instruments, the granularity, the chart, its events and the newest alerts beside it.

import { beside } from "./alerts.js";
import { Chart } from "./chart.js";
import { ChartEvents } from "./chart-events.js";
import { h, options, put } from "./dom.js";
import { pair } from "./numbers.js";
import { GRANULARITIES, instruments, on, state } from "./state.js";
import { go, href, step } from "./url.js";

/** The view of the chart. */
export class Desk {
  #drawn = "";
  /** Where somebody was before they walked over the list. @type {string | null} */
  #from = null;

  /** @param {HTMLElement} element */
  constructor(element) {
    this.list = h("ul", {
      class: "instruments",
      role: "listbox",
      "aria-label": "Instruments",
      tabindex: "0",
      onkeydown: (key) => this.#key(key),
      onblur: () => {
        this.#from = null;
      },
    });
    this.select = h("select", {
      "aria-label": "Instrument",
      class: "instrument-select",
      onchange: () => this.#choose(this.select.value),
    });
    this.granularities = h("div", { class: "segments", role: "group", "aria-label": "Granularity" });
    this.title = h("h1", {});
    const chart = h("div", { class: "chart", id: "chart" });
    this.box = chart;
    const below = h("section", { class: "below", "aria-label": "Events of the chart" });
    const side = h("aside", { class: "side", "aria-label": "Alerts" });
    put(
      element,
      h("nav", { class: "rail", "aria-label": "Instruments" }, this.list),
      h(
        "div",
        { class: "middle" },
        h("div", { class: "chart-head" }, this.title, this.select, this.granularities),
        chart,
        below,
      ),
      side,
    );
    this.chart = new Chart(chart);
    this.events = new ChartEvents(below);
    beside(side);
    on("status", () => this.#known());
    on("fresh", () => this.#draw());
    on("route", (before) => this.show(before));
    on("event", (event) => this.#event(event));
    on("ready", () => this.show());
  }

  /** Show what the address asks for. @param {import("./state.js").Route} [before] */
  show(before) {
    const { view, instrument, granularity, zone } = state.route;
    if (before && before.zone !== zone) this.chart.zoneChanged();
    if (view !== "chart" || !instrument) return;
    this.#draw();
    this.chart.load(instrument, granularity);
    this.events.show();
  }

  /** The instruments may only be known now; the first is shown where the address names none. */
  #known() {
    const names = instruments();
    if (!state.route.instrument && names.length && !state.route.event)
      go({ instrument: usual(names) }, { replace: true });
    this.#draw();
  }

  #event(event) {
    const here = state.route.view === "chart";
    this.chart.choose(event, here);
    // On a phone the drawer covers the lower half: the chart goes into the upper one.
    if (event && here && matchMedia("(max-width: 700px)").matches) this.box.scrollIntoView({ block: "start" });
  }

  #draw() {
    const { instrument, granularity } = state.route;
    const names = instruments();
    const all = instrument && !names.includes(instrument) ? [instrument, ...names] : names;
    const key = JSON.stringify([all, instrument, granularity, [...this.events.fresh]]);
    if (key === this.#drawn) return;
    this.#drawn = key;
    put(this.title, instrument ? pair(instrument) : "Chart");
    put(
      this.list,
      all.map((name) =>
        h(
          "li",
          {
            role: "option",
            id: `instrument-${name}`,
            "data-instrument": name,
            "aria-selected": String(name === instrument),
            onclick: () => this.#choose(name),
          },
          h("span", {}, pair(name)),
          this.events.fresh.has(name) &&
            h(
              "span",
              { class: "mark", title: "A new resistance in the newest candle" },
              "▼",
              h("span", { class: "hidden" }, " new resistance"),
            ),
        ),
      ),
    );
    if (instrument) this.list.setAttribute("aria-activedescendant", `instrument-${instrument}`);
    this.list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
    put(
      this.select,
      options(
        all.map((name) => [name, pair(name)]),
        instrument,
      ),
    );
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    const had = this.granularities.contains(focused) && focused?.dataset.granularity;
    put(
      this.granularities,
      GRANULARITIES.map((name) =>
        h(
          "button",
          {
            type: "button",
            "data-granularity": name,
            "aria-pressed": String(name === granularity),
            onclick: () => go({ granularity: name, event: "" }),
          },
          name,
        ),
      ),
    );
    if (had) /** @type {any} */ (this.granularities.querySelector(`[data-granularity=${had}]`))?.focus();
  }

  /** @param {string} name @param {{replace?: boolean}} [how] */
  #choose(name, how) {
    if (!how) this.#from = null;
    if (name !== state.route.instrument) go({ instrument: name, event: "" }, how);
  }

  /** Whoever walks over the list passes by many: only the one that is chosen becomes a step that `back` takes back. */
  #pass(name) {
    this.#from ??= href();
    this.#choose(name, { replace: true });
  }

  #settle() {
    if (this.#from && this.#from !== href()) step(this.#from);
    this.#from = null;
  }

  #key(key) {
    if (key.key === "Enter") {
      this.#settle();
      return;
    }
    const names = [...this.list.children].map((one) => one.id.replace("instrument-", ""));
    const at = names.indexOf(state.route.instrument);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: names.length - 1 }[key.key];
    const typed = key.key.length === 1 && !key.ctrlKey && !key.metaKey ? key.key.toUpperCase() : "";
    const found =
      to ??
      (typed
        ? [...names.keys()].map((n) => (at + 1 + n) % names.length).find((n) => names[n].startsWith(typed))
        : undefined);
    if (found === undefined) return;
    key.preventDefault();
    const name = names[Math.min(names.length - 1, Math.max(0, found))];
    if (name) this.#pass(name);
  }
}

/** Give the instrument that a trader most likely wants to see first. @param {string[]} names */
function usual(names) {
  return names.includes("EUR_USD") ? "EUR_USD" : names[0];
}
