// A table of events: its columns and rows. Which events it holds is said by who uses it.

import { isFresh, justCame } from "./age.js";
import { h, Kept, put } from "./dom.js";
import { fixed, pair, signed, times } from "./numbers.js";
import { state } from "./state.js";
import { brief, moment, zoneName } from "./time.js";
import { go, link } from "./url.js";
import { RULE_WORDS } from "./words.js";

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
const SIGNS = { ascending: "▲", descending: "▼", none: "↕" };

/** What stands behind a header, smaller. @param {string} column */
function unit(column) {
  if (column === "closed_at") return zoneName();
  return ["distance_atr", "rebound_atr"].includes(column) ? "ATR" : "";
}

/** How the table is sorted by a column now. @param {string} column */
function order(column) {
  const { sort } = state.route;
  return sort === column ? "ascending" : sort === `-${column}` ? "descending" : "none";
}

/** How a click on a header sorts: the other way round, or as one most likely wants it. */
function next(column, number) {
  const now = order(column);
  if (now === "none") return number || column === "closed_at" ? `-${column}` : column;
  return now === "descending" ? column : `-${column}`;
}

/** Where an event is in the chart. @returns {any} */
function place(event) {
  return { view: "chart", instrument: event.instrument, granularity: event.granularity, event: event.event_id };
}

/** One table with its rows. */
export class Table {
  /** @type {import("./api.js").Event[]} */
  #rows = [];
  #drawn = "";

  /** @param {{caption: string, sortable: boolean, empty: string}} how */
  constructor(how) {
    this.how = how;
    this.caption = h("caption", {}, how.caption);
    this.head = h("tr");
    this.body = h("tbody");
    this.kept = new Kept(this.body);
    this.element = h("table", { class: "events cards" }, this.caption, h("thead", {}, this.head), this.body);
    this.drawHead();
  }

  drawHead() {
    const had = document.activeElement?.closest?.("th")?.dataset.column;
    put(
      this.head,
      COLUMNS.map(([column, text, number]) => this.#header(column, text, number)),
      h("th", { scope: "col" }, h("span", { class: "hidden" }, "Features")),
    );
    if (had && this.how.sortable) /** @type {any} */ (this.head.querySelector(`[data-column=${had}] button`))?.focus();
  }

  #header(column, text, number) {
    const title = [text, unit(column) && h("span", { class: "unit" }, ` ${unit(column)}`)];
    if (!this.how.sortable || UNSORTED.has(column)) return h("th", { scope: "col", class: number && "number" }, title);
    return h(
      "th",
      { scope: "col", class: number && "number", "aria-sort": order(column), "data-column": column },
      h(
        "button",
        { type: "button", class: "sort", onclick: () => go({ sort: next(column, number), page: 1 }) },
        title,
        h("span", { class: "arrow", "aria-hidden": "true" }, ` ${SIGNS[order(column)]}`),
      ),
    );
  }

  /** @param {import("./api.js").Event[]} rows */
  set(rows) {
    this.#rows = rows;
    this.draw();
  }

  /** Draw what is new of the rows; those that say the same stay. */
  draw() {
    const focused = /** @type {HTMLElement | null} */ (
      this.body.contains(document.activeElement) ? document.activeElement : null
    );
    const had = focused ? [focused.closest("tr")?.dataset.event, focused.dataset.part] : null;
    const looks = this.#rows.map((event) => look(event));
    this.#drawn = String(looks);
    this.kept.draw(
      this.#rows.length
        ? this.#rows.map((event, i) => [event.event_id, JSON.stringify([event, looks[i]]), () => row(event)])
        : [["", "", () => h("tr", { class: "none" }, h("td", { colspan: COLUMNS.length + 1 }, this.how.empty))]],
    );
    if (had?.[0] && !focused?.isConnected)
      /** @type {any} */ (this.body.querySelector(`[data-event="${had[0]}"] [data-part="${had[1]}"]`))?.focus();
  }

  /** Draw again where highlights have grown old. */
  age() {
    if (this.#drawn !== String(this.#rows.map((event) => look(event)))) this.draw();
  }
}

/** What of a row goes by more than its event. */
function look(event) {
  const chosen = state.route.event === event.event_id;
  return [isFresh(event), justCame(event.event_id), chosen, brief(event.closed_at), state.route.zone].join(" ");
}

function row(event) {
  const there = place(event);
  const chosen = state.route.event === event.event_id;
  return h(
    "tr",
    {
      "data-event": event.event_id,
      class: [isFresh(event) && "fresh", justCame(event.event_id) && "arrived", chosen && "chosen"],
      "aria-current": chosen && "true",
      onclick: (click) => {
        if (!(/** @type {Element} */ (click.target).closest("a, button")) && !String(getSelection())) go(there);
      },
    },
    cells(event, there),
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

function cells(event, there) {
  const cell = (label, text, number = true) => h("td", { class: number && "number", "data-label": label }, text);
  const closed = [brief(event.closed_at), isFresh(event) && h("b", { class: "new" }, "new")];
  return [
    cell("Closed", h("span", { title: moment(event.closed_at) }, closed), false),
    h(
      "th",
      { scope: "row", "data-label": "Instrument" },
      h("a", { ...link(there), "data-part": "link" }, pair(event.instrument)),
    ),
    h(
      "td",
      { class: "number strong", "data-label": "Level" },
      fixed(event.level, event.decimals),
      event.suspect && h("span", { class: "warn", title: "Of a bad print, perhaps" }, " ? suspect"),
    ),
    cell("Pattern", pattern(event), false),
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
  ];
}

function pattern(event) {
  if (!event.pattern) return "–";
  const words = `${event.pattern === "HH" ? "↗" : "↘"} ${event.pattern}`;
  return [
    h("span", { class: ["pattern", event.pattern.toLowerCase()] }, words),
    event.pattern_run > 1 && h("span", { class: "unit" }, ` × ${event.pattern_run}`),
  ];
}
