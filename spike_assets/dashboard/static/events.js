// Tables of events: the filtered one with its pages, and the short one under the chart, which is the chart's text.

import { getEvents, query } from "./api.js";
import { h, options, put, say } from "./dom.js";
import { count, fixed, pair, signed, times, whole } from "./numbers.js";
import { Reading } from "./reading.js";
import { emit, GRANULARITIES, instruments, on, SECONDS, state } from "./state.js";
import { brief, moment, now, zoneName } from "./time.js";
import { go, link, RULES } from "./url.js";

const SIZE = 50;

/** Rules in a few words. */
export const RULE_WORDS = {
  psychological_level: "round number",
  volume_spike: "volume spike",
  pattern_completion: "pattern",
  simultaneous: "many at once",
};
const SINCE = [
  ["", "all time"],
  ["24h", "24 hours"],
  ["7d", "7 days"],
  ["30d", "30 days"],
  ["365d", "a year"],
];

/** @type {[string, string, boolean][]} column, header, whether it is a number */
const COLUMNS = [
  ["closed_at", "Closed", false],
  ["instrument", "Instrument", false],
  ["level", "Level", true],
  ["pattern_run", "Pattern", false],
  ["distance_atr", "Distance", true],
  ["rebound_atr", "Rebound", true],
  ["relative_volume", "Rel volume", true],
  ["rules", "Rules", false],
];
const UNSORTED = new Set(["rules"]);
const UNITS = { distance_atr: "ATR", rebound_atr: "ATR" };

/** What a filter is, as the API takes it. */
function wanted() {
  const { only, granularity, pattern, rule, since, suspect, sort, page } = state.route;
  return { granularity, instrument: only, pattern, rule, since, suspect, sort, page };
}

/** Tell whether an event is younger than one candle. */
function fresh(event) {
  return now() - Date.parse(event.closed_at) < SECONDS[event.granularity] * 1000;
}

/** One table with its rows; which rows, others say. */
class Table {
  /**
   * @param {{caption: string, sortable: boolean, empty: string}} how
   */
  constructor(how) {
    this.how = how;
    /** @type {import("./api.js").Event[]} */
    this.rows = [];
    this.caption = h("caption", {}, how.caption);
    this.head = h("tr");
    this.body = h("tbody");
    this.element = h("table", { class: "events cards" }, this.caption, h("thead", {}, this.head), this.body);
    this.drawHead();
  }

  drawHead() {
    const { sort } = state.route;
    const had = document.activeElement?.closest?.("th")?.dataset.column;
    put(
      this.head,
      COLUMNS.map(([column, text, number]) => {
        const title = UNITS[column]
          ? [text, h("span", { class: "unit" }, ` ${UNITS[column]}`)]
          : column === "closed_at"
            ? [text, h("span", { class: "unit" }, ` ${zoneName()}`)]
            : [text];
        if (!this.how.sortable || UNSORTED.has(column))
          return h("th", { scope: "col", class: number && "number" }, title);
        const order = sort === column ? "ascending" : sort === `-${column}` ? "descending" : null;
        const next =
          order === "descending"
            ? column
            : order === "ascending"
              ? `-${column}`
              : number || column === "closed_at"
                ? `-${column}`
                : column;
        const sign = { ascending: "▲", descending: "▼" }[order ?? ""] ?? "↕";
        return h(
          "th",
          { scope: "col", class: number && "number", "aria-sort": order ?? "none", "data-column": column },
          h(
            "button",
            { type: "button", class: "sort", onclick: () => go({ sort: next, page: 1 }) },
            title,
            h("span", { class: "arrow", "aria-hidden": "true" }, ` ${sign}`),
          ),
        );
      }),
      h("th", { scope: "col" }, h("span", { class: "hidden" }, "Features")),
    );
    if (had && this.how.sortable) /** @type {any} */ (this.head.querySelector(`[data-column=${had}] button`))?.focus();
  }

  /** @param {import("./api.js").Event[]} rows */
  set(rows) {
    this.rows = rows;
    this.draw();
  }

  draw() {
    const focused = /** @type {HTMLElement | null} */ (
      this.body.contains(document.activeElement) ? document.activeElement : null
    );
    const had = focused ? [focused.closest("tr")?.dataset.event, focused.dataset.part] : null;
    put(
      this.body,
      this.rows.map((event) => this.row(event)),
      !this.rows.length && h("tr", { class: "none" }, h("td", { colspan: COLUMNS.length + 1 }, this.how.empty)),
    );
    if (had?.[0])
      /** @type {any} */ (this.body.querySelector(`[data-event="${had[0]}"] [data-part="${had[1]}"]`))?.focus();
  }

  row(event) {
    const there = {
      view: "chart",
      instrument: event.instrument,
      granularity: event.granularity,
      event: event.event_id,
    };
    const young = fresh(event);
    const chosen = state.route.event === event.event_id;
    const cell = (label, text, number = true) => h("td", { class: number && "number", "data-label": label }, text);
    return h(
      "tr",
      {
        "data-event": event.event_id,
        class: [young && "fresh", chosen && "chosen"],
        "aria-current": chosen && "true",
        onclick: (click) => {
          if (!(/** @type {Element} */ (click.target).closest("a, button")) && !String(getSelection()))
            go(/** @type {any} */ (there));
        },
      },
      cell(
        "Closed",
        h("span", { title: moment(event.closed_at) }, brief(event.closed_at), young && h("b", { class: "new" }, "new")),
        false,
      ),
      h(
        "th",
        { scope: "row", "data-label": "Instrument" },
        h("a", { ...link(/** @type {any} */ (there)), "data-part": "link" }, pair(event.instrument)),
      ),
      h(
        "td",
        { class: "number strong", "data-label": "Level" },
        fixed(event.level, event.decimals),
        event.suspect && h("span", { class: "warn", title: "Of a bad print, perhaps" }, " ? suspect"),
      ),
      cell(
        "Pattern",
        event.pattern
          ? [
              h(
                "span",
                { class: ["pattern", event.pattern.toLowerCase()] },
                `${event.pattern === "HH" ? "↗" : "↘"} ${event.pattern}`,
              ),
              event.pattern_run !== null &&
                event.pattern_run > 1 &&
                h("span", { class: "unit" }, ` × ${event.pattern_run}`),
            ]
          : "–",
        false,
      ),
      cell("Distance", signed(event.distance_atr, 2)),
      cell("Rebound", signed(event.rebound_atr, 2)),
      cell("Rel volume", times(event.relative_volume)),
      cell(
        "Rules",
        event.rules.length
          ? event.rules.map((rule) => h("span", { class: "chip" }, RULE_WORDS[rule] ?? rule))
          : h("span", { class: "unit" }, "–"),
        false,
      ),
      h(
        "td",
        { class: "act" },
        h(
          "button",
          {
            type: "button",
            class: "quiet",
            "data-part": "features",
            "aria-label": `Features of ${pair(event.instrument)} ${moment(event.closed_at)}`,
            onclick: () => go({ event: event.event_id }),
          },
          "Features",
        ),
      ),
    );
  }
}

/** The view: filter, table, pages, CSV. */
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
    on("second", () => this.#age());
  }

  #drawFilter() {
    const names = instruments();
    this.filter.dataset.known = String(names.length);
    const { only, granularity, pattern, rule, since, suspect } = state.route;
    const choose = (label, name, choices, chosen) =>
      h(
        "label",
        {},
        h("span", {}, label),
        h(
          "select",
          { name, onchange: (event) => go(/** @type {any} */ ({ [name]: event.target.value, page: 1, event: "" })) },
          options(choices, chosen),
        ),
      );
    const known = only && !names.includes(only) ? [only, ...names] : names;
    const sinces = since && !SINCE.some(([value]) => value === since) ? [...SINCE, [since, since]] : SINCE;
    put(
      this.filter,
      choose(
        "Granularity",
        "granularity",
        GRANULARITIES.map((one) => [one, one]),
        granularity,
      ),
      choose("Instrument", "only", [["", "all"], ...known.map((one) => [one, pair(one)])], only),
      choose(
        "Pattern",
        "pattern",
        [
          ["", "any"],
          ["HH", "HH, higher"],
          ["LH", "LH, lower"],
        ],
        pattern,
      ),
      choose("Rule", "rule", [["", "any"], ...RULES.map((one) => [one, RULE_WORDS[one]])], rule),
      choose("Since", "since", sinces, since),
      choose(
        "Suspect",
        "suspect",
        [
          ["", "with"],
          ["false", "without"],
          ["true", "only"],
        ],
        suspect,
      ),
    );
  }

  #sync() {
    for (const select of this.filter.querySelectorAll("select")) select.value = String(state.route[select.name]);
    if ([...this.filter.querySelectorAll("select")].some((select) => !select.value && state.route[select.name]))
      this.#drawFilter();
    this.csv.setAttribute("href", `/api/events.csv?${query({ ...wanted(), page: "" })}`);
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
    const { page } = state.route;
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
    put(
      this.pager,
      this.#pages > 1 && [
        step(page - 1, "← Newer"),
        h("span", {}, `Page ${page} of ${this.#pages}`),
        step(page + 1, "Older →"),
      ],
    );
    if (this.#pages > 1 && state.route.sort !== "-closed_at") {
      const [before, after] = [this.pager.firstElementChild, this.pager.lastElementChild];
      if (before) say(before, "← Previous");
      if (after) say(after, "Next →");
    }
  }

  #news(change) {
    if (change.granularity !== state.route.granularity) return;
    if (state.route.view === "events") this.#reading.again();
    else this.#key = ""; // read when it is looked at
  }

  /** Take the highlight from events that have grown older than a candle. */
  #age() {
    if (this.table.body.querySelectorAll(".fresh").length !== this.table.rows.filter(fresh).length) this.table.draw();
  }
}

/** The events of the chart's instrument, newest first: the chart's text. Also tells which instruments have a new one. */
export class ChartEvents {
  #key = "";
  #reading = new Reading(
    (signal) => this.#read(signal),
    (text) => say(this.note, text),
  );
  /** @type {Set<string>} */
  fresh = new Set();

  /** @param {HTMLElement} element */
  constructor(element) {
    this.table = new Table({ caption: "Events of the chart", sortable: false, empty: "No resistance yet." });
    this.all = h("a", { class: "more" }, "All events");
    this.note = h("p", { class: "alerts-note warn" });
    put(
      element,
      this.note,
      h(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Events of the chart" },
        this.table.element,
      ),
      this.all,
    );
    on("events", (change) => change.granularity === state.route.granularity && this.show(true));
    on("snapshot", () => this.show(true));
    on("event", () => this.#reveal());
    on("second", () => {
      if (this.table.body.querySelectorAll(".fresh").length !== this.table.rows.filter(fresh).length) this.table.draw();
    });
  }

  /** @param {boolean} [again] */
  show(again = false) {
    const { instrument, granularity, view } = state.route;
    if (!instrument || view !== "chart") {
      if (again) this.#key = "";
      return;
    }
    say(this.table.caption, `Resistances of ${pair(instrument)}, ${granularity}`);
    put(this.all, "All events of ", pair(instrument), " →");
    const to = link({ view: "events", only: instrument, event: "", page: 1 });
    this.all.setAttribute("href", to.href);
    this.all.onclick = to.onclick;
    const key = `${instrument} ${granularity}`;
    if (key === this.#key && !again) {
      this.table.drawHead();
      this.table.draw();
      return;
    }
    if (key !== this.#key) this.#reading.anew();
    else this.#reading.again();
    this.#key = key;
  }

  async #read(signal) {
    const { instrument, granularity } = state.route;
    const [own, newest] = await Promise.all([
      getEvents({ instrument, granularity }, signal),
      getEvents({ granularity }, signal),
    ]);
    if (signal.aborted) return;
    this.table.drawHead();
    this.table.set(own.events);
    this.#reveal();
    this.fresh = new Set(newest.events.filter(fresh).map((event) => event.instrument));
    emit("fresh", this.fresh);
  }

  /** Bring the chosen event's row into sight, without moving the page. */
  #reveal() {
    this.table.draw();
    const row = /** @type {HTMLElement | null} */ (this.table.body.querySelector(".chosen"));
    const box = this.table.element.parentElement;
    if (row && box) box.scrollTop = row.offsetTop - box.clientHeight / 2;
  }
}
