// The events of the chart's instrument, newest first: the chart's text. Also tells which instruments have a new one.

import { isFresh } from "./age.js";
import { getEvents } from "./api.js";
import { h, put, say } from "./dom.js";
import { pair } from "./numbers.js";
import { Reading } from "./reading.js";
import { emit, on, state } from "./state.js";
import { Table } from "./table.js";
import { link } from "./url.js";

/** The table below the chart. */
export class ChartEvents {
  #key = "";
  /** Whether nothing of this instrument was shown yet: news alone do not move the table. */
  #anew = true;
  #reading = new Reading(
    (signal) => this.#read(signal),
    (text) => say(this.note, text),
  );
  /** @type {import("./api.js").Event[]} of all instruments */
  #newest = [];
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
      this.table.age();
      this.#mark();
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
    if (key !== this.#key) {
      this.#anew = true;
      this.#reading.anew();
    } else this.#reading.again();
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
    if (this.#anew) this.#reveal();
    this.#anew = false;
    this.#newest = newest.events;
    this.#mark();
  }

  /** Say which instruments have an event younger than a candle. */
  #mark() {
    const fresh = new Set(this.#newest.filter(isFresh).map((event) => event.instrument));
    if (String([...fresh]) === String([...this.fresh])) return;
    this.fresh = fresh;
    emit("fresh", fresh);
  }

  /** Bring the chosen event's row into sight, without moving the page. */
  #reveal() {
    this.table.draw();
    const row = /** @type {HTMLElement | null} */ (this.table.body.querySelector(".chosen"));
    const box = this.table.element.parentElement;
    if (row && box) box.scrollTop = row.offsetTop - box.clientHeight / 2;
  }
}
