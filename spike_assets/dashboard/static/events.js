// The view of events: filter, table, pages, CSV. What a table looks like is in table.js.

import { getEvents, query } from "./api.js";
import { choice, h, put, say } from "./dom.js";
import { count, pair, whole } from "./numbers.js";
import { Reading } from "./reading.js";
import { GRANULARITIES, instruments, on, state } from "./state.js";
import { Table } from "./table.js";
import { go, link, RULES } from "./url.js";
import { RULE_WORDS } from "./words.js";

const SIZE = 50;
/** @type {[string, string][]} */
const SINCE = [
  ["", "all time"],
  ["24h", "24 hours"],
  ["7d", "7 days"],
  ["30d", "30 days"],
  ["365d", "a year"],
];
/** @type {[string, string][]} */
const PATTERNS = [
  ["", "any"],
  ["HH", "HH, higher"],
  ["LH", "LH, lower"],
];
/** @type {[string, string][]} */
const SUSPECTS = [
  ["", "with"],
  ["false", "without"],
  ["true", "only"],
];

/** What a filter is, as the API takes it. */
function wanted() {
  const { only, granularity, pattern, rule, since, suspect, sort, page } = state.route;
  return { granularity, instrument: only, pattern, rule, since, suspect, sort, page };
}

/** The view. */
export class Events {
  #reading = new Reading(
    (signal) => this.#read(signal),
    (text) => text && say(this.count, text),
  );
  #total = 0;
  #pages = 1;
  #key = "";

  /** @param {HTMLElement} element */
  constructor(element) {
    this.filter = h("form", { class: "filter", "aria-label": "Filter", onsubmit: (event) => event.preventDefault() });
    this.table = new Table({ caption: "Events", sortable: true, empty: "No event fits this filter." });
    this.count = h("p", { class: "count", role: "status" });
    this.csv = h("a", { class: "button", download: "events.csv", id: "csv" }, "CSV");
    this.pager = h("nav", { class: "pager", "aria-label": "Pages" });
    put(
      element,
      h(
        "div",
        { class: "head" },
        h("h1", {}, "Events"),
        this.filter,
        h("div", { class: "head-end" }, this.count, this.csv),
      ),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Events table" }, this.table.element),
      this.pager,
    );
    this.#drawFilter();
    on("route", () => this.show());
    on("events", (change) => this.#news(change));
    on("snapshot", () => this.show(true));
    on("status", () => this.filter.dataset.known !== String(instruments().length) && this.#drawFilter());
    on("second", () => this.table.age());
  }

  #drawFilter() {
    const names = instruments();
    this.filter.dataset.known = String(names.length);
    const { only, granularity, pattern, rule, since, suspect } = state.route;
    const known = only && !names.includes(only) ? [only, ...names] : names;
    /** @type {[string, string][]} */
    const sinces = since && !SINCE.some(([value]) => value === since) ? [...SINCE, [since, since]] : SINCE;
    const choose = (label, name, choices, chosen) =>
      choice(label, name, choices, chosen, (value) => go(/** @type {any} */ ({ [name]: value, page: 1, event: "" })));
    const same = GRANULARITIES.map((one) => [one, one]);
    put(
      this.filter,
      choose("Granularity", "granularity", same, granularity),
      choose("Instrument", "only", [["", "all"], ...known.map((one) => [one, pair(one)])], only),
      choose("Pattern", "pattern", PATTERNS, pattern),
      choose("Rule", "rule", [["", "any"], ...RULES.map((one) => [one, RULE_WORDS[one]])], rule),
      choose("Since", "since", sinces, since),
      choose("Suspect", "suspect", SUSPECTS, suspect),
    );
  }

  #sync() {
    for (const select of this.filter.querySelectorAll("select")) select.value = String(state.route[select.name]);
    if ([...this.filter.querySelectorAll("select")].some((select) => !select.value && state.route[select.name]))
      this.#drawFilter();
    this.csv.setAttribute("href", `/api/events.csv?${query({ ...wanted(), page: "", sort: "" })}`);
    this.table.drawHead();
  }

  /** Show what the address asks for. @param {boolean} [again] */
  show(again = false) {
    if (state.route.view !== "events") return;
    this.#sync();
    const key = query(wanted());
    if (again || key !== this.#key) {
      if (key === this.#key) this.#reading.again();
      else this.#reading.anew();
      this.#key = key;
    } else this.table.draw();
  }

  async #read(signal) {
    this.table.element.setAttribute("aria-busy", "true");
    const found = await getEvents(wanted(), signal);
    if (signal.aborted) return;
    this.#total = found.total;
    this.#pages = found.pages;
    this.table.set(found.events);
    this.#foot();
    this.table.element.removeAttribute("aria-busy");
  }

  #foot() {
    const { page, sort } = state.route;
    const first = (page - 1) * SIZE + 1;
    say(
      this.count,
      this.#total > SIZE
        ? `${whole(first)}–${whole(Math.min(this.#total, first + SIZE - 1))} of ${count(this.#total, "event")}`
        : count(this.#total, "event"),
    );
    const step = (to, text) =>
      to >= 1 && to <= this.#pages
        ? h("a", { ...link({ page: to, event: "" }), class: "button" }, text)
        : h("span", { class: "button off", "aria-hidden": "true" }, text);
    const byTime = sort === "-closed_at";
    put(
      this.pager,
      this.#pages > 1 && [
        step(page - 1, byTime ? "← Newer" : "← Previous"),
        h("span", {}, `Page ${page} of ${this.#pages}`),
        step(page + 1, byTime ? "Older →" : "Next →"),
      ],
    );
  }

  /** What came may be on any page of any filter: the server knows. */
  #news(change) {
    if (change.granularity !== state.route.granularity) return;
    if (state.route.view === "events") this.#reading.again();
    else this.#key = ""; // read when it is looked at
  }
}
