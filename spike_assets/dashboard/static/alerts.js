// Alerts where they are read: the newest beside the chart, and the view of all of them with its filter and silences.

import { AlertList, acknowledgesAll } from "./alert-list.js";
import { getAlerts, query } from "./api.js";
import { choice, h, put, say } from "./dom.js";
import { count, pair } from "./numbers.js";
import { Reading } from "./reading.js";
import { GRANULARITIES, instruments, on, state } from "./state.js";
import { Silences } from "./silences.js";
import { ALERT_RULES, go } from "./url.js";
import { RULE_WORDS } from "./words.js";

const BESIDE = 30;
const NONE = "No alerts yet.";
/** @type {[string, string][]} */
const STATES = [
  ["", "any"],
  ["unread", "unread"],
  ["acknowledged", "acknowledged"],
];

/** The newest alerts beside the chart. @param {HTMLElement} element */
export function beside(element) {
  const list = h("ul", { class: "feed" });
  const title = h("h2", {}, "Alerts ");
  put(
    element,
    h("header", {}, title, acknowledgesAll(() => state.alerts.alerts)),
    h("p", { class: "alerts-note warn" }),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Newest alerts" }, list),
  );
  const alerts = new AlertList(list);
  const draw = () => {
    const { unread } = state.alerts;
    const badge = h("span", { class: "badge" }, String(unread), h("span", { class: "hidden" }, " unread"));
    put(title, "Alerts ", unread ? badge : null);
    alerts.draw(state.alerts.alerts.slice(0, BESIDE), NONE);
  };
  on("alerts-drawn", draw);
  on("zone", draw);
  on("second", () => alerts.age());
}

/** What a filter is, as the API takes it; nothing where it is none. */
function wanted() {
  const { alert_granularity, alert_instrument, alert_rule, alert_state } = state.route;
  return { granularity: alert_granularity, instrument: alert_instrument, rule: alert_rule, state: alert_state };
}

/** The view of all alerts. */
export class Alerts {
  /** Alerts behind the first page, and which page was read last. @type {import("./api.js").Alert[]} */
  #older = [];
  #page = 1;
  #key = "";
  /** The first page of a filter; without one, the live newest ones are shown. @type {any} */
  #found = null;
  #reading = new Reading(
    (signal) => this.#read(signal),
    (text) => say(this.note, text),
  );

  /** @param {HTMLElement} element */
  constructor(element) {
    this.count = h("p", { class: "count", role: "status" });
    this.filter = h("form", { class: "filter", "aria-label": "Filter", onsubmit: (event) => event.preventDefault() });
    this.note = h("p", { class: "alerts-note warn" });
    this.list = new AlertList(h("ul", { class: "feed wide" }));
    this.more = h("button", { type: "button", onclick: (click) => this.#next(click.currentTarget) }, "Older alerts");
    const silences = h("section", { class: "silences", "aria-label": "Silences" });
    put(
      element,
      h(
        "div",
        { class: "head" },
        h("h1", {}, "Alerts"),
        this.filter,
        h("div", { class: "head-end" }, this.count, acknowledgesAll(() => this.#known())),
      ),
      this.note,
      h("div", { class: "columns" }, h("div", {}, this.list.list, this.more), silences),
    );
    new Silences(silences);
    on("alerts-drawn", () => this.#draw());
    on("zone", () => this.#draw());
    on("second", () => state.route.view === "alerts" && this.list.age());
    on("alerts-anew", () => this.#forget());
    // What has changed may now be within a filter or not: the server knows.
    on("alerts", () => this.#filtered() && this.#again());
    on("status", () => this.filter.dataset.known !== String(instruments().length) && this.#drawFilter());
    on("route", () => this.show());
  }

  /** Show what the address asks for, where this is what is looked at. */
  show() {
    if (state.route.view !== "alerts") return;
    const key = query(wanted());
    if (key !== this.#key) {
      this.#key = key;
      this.#found = null;
      this.#forget();
      if (this.#filtered()) this.#reading.anew();
      else this.#reading.stop();
    } else if (this.#filtered() && !this.#found) this.#reading.again();
    this.#drawFilter();
    this.#draw();
  }

  /** All alerts that are known here, whatever the filter. */
  #known() {
    return [...state.alerts.alerts, ...(this.#found?.alerts ?? []), ...this.#older];
  }

  #filtered() {
    return this.#key !== "";
  }

  #again() {
    if (state.route.view === "alerts") this.#reading.again();
    else this.#found = null; // read when it is looked at
  }

  async #read(signal) {
    const found = await getAlerts(wanted(), signal);
    if (signal.aborted) return;
    this.#found = found;
    this.#forget();
    this.#draw();
  }

  #forget() {
    this.#older = [];
    this.#page = 1;
  }

  #drawFilter() {
    const { alert_granularity, alert_instrument, alert_rule, alert_state } = state.route;
    const names = instruments();
    const known = alert_instrument && !names.includes(alert_instrument) ? [alert_instrument, ...names] : names;
    const key = JSON.stringify([known, wanted()]);
    if (this.filter.dataset.key === key) return;
    const had = /** @type {any} */ (this.filter.contains(document.activeElement) && document.activeElement)?.name;
    Object.assign(this.filter.dataset, { key, known: String(names.length) });
    const choose = (label, name, choices, chosen) =>
      choice(label, name, choices, chosen, (value) => go(/** @type {any} */ ({ [name]: value })));
    const rules = ALERT_RULES.map((one) => [one, RULE_WORDS[one]]);
    put(
      this.filter,
      choose("Granularity", "alert_granularity", [["", "all"], ...GRANULARITIES.map((g) => [g, g])], alert_granularity),
      choose("Instrument", "alert_instrument", [["", "all"], ...known.map((i) => [i, pair(i)])], alert_instrument),
      choose("Rule", "alert_rule", [["", "any"], ...rules], alert_rule),
      choose("State", "alert_state", STATES, alert_state),
    );
    if (had) /** @type {any} */ (this.filter.querySelector(`[name=${had}]`))?.focus();
  }

  #draw() {
    if (state.route.view !== "alerts") return;
    const first = this.#filtered() ? this.#found : state.alerts;
    this.more.hidden = !first || this.#page >= first.pages;
    this.list.list.setAttribute("aria-busy", String(!first));
    if (!first) return;
    const known = new Set(first.alerts.map((one) => one.alert_id));
    const shown = [...first.alerts, ...this.#older.filter((one) => !known.has(one.alert_id))];
    this.list.draw(shown, this.#filtered() ? "No alert fits this filter." : NONE);
    const { unread } = state.alerts;
    const told = unread ? `${unread} unread` : "All read";
    say(this.count, this.#filtered() ? `${count(first.total, "alert")}, ${told.toLowerCase()}` : told);
  }

  async #next(button) {
    button.disabled = true;
    const key = this.#key;
    try {
      const found = await getAlerts({ ...wanted(), page: this.#page + 1 });
      if (key !== this.#key) return;
      this.#page += 1;
      // Pages shift while alerts come in: each is kept once, by its id.
      const by = new Map([...this.#older, ...found.alerts].map((one) => [one.alert_id, one]));
      this.#older = [...by.values()];
      this.#draw();
    } catch (error) {
      say(this.note, /** @type {Error} */ (error).message);
    } finally {
      button.disabled = false;
    }
  }
}
