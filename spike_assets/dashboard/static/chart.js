// The chart of one instrument and granularity: which candles and levels it has, older ones, live ones, the cursor.
// How they are drawn is in drawing.js, which instrument is shown is chosen in desk.js.

import { getCandles, getLevels } from "./api.js";
import { h, put, say } from "./dom.js";
import { Drawing } from "./drawing.js";
import { describe, nothing, summary } from "./legend.js";
import { Reading } from "./reading.js";
import { on } from "./state.js";
import { isoOf, moment, seconds, zoneName } from "./time.js";

const FIRST = 500;
const OLDER = 1000;
const FAR = 2000;
/** Nearer than so many candles to the left edge, older ones are fetched. */
const EDGE = 60;
const HELP =
  "Arrow keys walk over the candles, Home and End go to the first and last, plus and minus zoom. " +
  "The events table holds the same events as text.";

/** The chart, in an element of its own. */
export class Chart {
  /** @type {Map<number, import("./api.js").Candle>} */
  #candles = new Map();
  /** @type {number[]} */
  #times = [];
  /** @type {import("./api.js").Level[]} */
  #levels = [];
  /** @type {Map<number, import("./api.js").Level>} levels with a candle, by its time */
  #marked = new Map();
  #instrument = "";
  #granularity = "";
  #decimals = 5;
  #more = false;
  /** Whether nothing of this instrument was shown yet. */
  #fresh = true;
  #older = new AbortController();
  #readingBack = false;
  #reading = new Reading(
    (signal) => this.#read(signal),
    (text) => this.#failed(text),
  );
  #levelsReading = new Reading(
    (signal) => this.#readLevels(signal),
    (text) => this.#failed(text),
  );
  /** Candles that came while others were being fetched: newer than what the answer will hold. @type {any[] | null} */
  #waiting = null;
  /** The candle that the keyboard is at, by its time, and the one under the pointer. @type {number | null} */
  #cursor = null;
  /** @type {number | null} */
  #hovered = null;
  #chosen = "";
  /** @type {number | null} */
  #goal = null;

  /** @param {HTMLElement} element */
  constructor(element) {
    this.legend = h("p", { class: "legend", id: "legend" });
    this.spoken = h("p", { class: "hidden", role: "status", "aria-live": "polite" });
    this.note = h("p", { class: "chart-note", hidden: true });
    this.box = h("div", {
      class: "canvas",
      id: "canvas",
      tabindex: "0",
      role: "application",
      "aria-roledescription": "chart",
      "aria-label": "Chart",
      "aria-describedby": "chart-help",
      onkeydown: (key) => this.#key(key),
      onblur: () => this.#leave(),
    });
    put(element, this.legend, this.box, this.note, this.spoken, h("p", { class: "hidden", id: "chart-help" }, HELP));
    this.drawing = new Drawing(
      this.box,
      (time) => this.#hover(time),
      (from) => from < EDGE && this.#times.length && this.#fetchOlder(OLDER),
    );
    on("theme", () => {
      this.drawing.paint();
      this.#draw();
    });
    on("candles", (change) => this.#live(change));
    on("levels", (change) => this.#concerns(change) && this.#levelsReading.again());
    on("snapshot", () => this.#instrument && this.load(this.#instrument, this.#granularity, true));
  }

  /**
   * Show an instrument.
   * @param {string} instrument
   * @param {string} granularity
   * @param {boolean} [again] also where it is what is shown already
   */
  load(instrument, granularity, again = false) {
    const same = instrument === this.#instrument && granularity === this.#granularity;
    if (same && again) this.#reading.again();
    if (same) return;
    this.#instrument = instrument;
    this.#granularity = granularity;
    this.#fresh = true;
    this.#older.abort();
    this.#readingBack = false;
    this.#levelsReading.stop();
    this.box.setAttribute("aria-busy", "true");
    this.#reading.anew();
  }

  async #read(signal) {
    const [instrument, granularity] = [this.#instrument, this.#granularity];
    this.#waiting = [];
    try {
      // Once older candles were fetched, reading anew reads as many: none may be missing in between.
      const limit = this.#fresh ? FIRST : Math.min(FAR, Math.max(FIRST, this.#times.length));
      const found = await getCandles({ instrument, granularity, limit }, signal);
      if (signal.aborted) return;
      const late = this.#waiting ?? [];
      this.#waiting = null;
      const oldest = found.candles.length ? seconds(found.candles[0].time) : 0;
      const kept = this.#fresh ? [] : this.#times.filter((at) => at < oldest).map((at) => this.#candles.get(at));
      this.#more = kept.length ? this.#more : found.more;
      this.#decimals = found.decimals;
      const anew = this.#fresh;
      this.#fresh = false;
      if (anew) [this.#levels, this.#cursor, this.#hovered] = [[], null, null];
      this.#take([...kept, ...found.candles]);
      this.drawing.scale(this.#decimals, granularity, anew);
      for (const change of late) this.#live(change);
      this.#levelsReading.again();
      this.#reach();
    } finally {
      if (!signal.aborted) {
        this.#waiting = null;
        this.box.removeAttribute("aria-busy");
      }
    }
  }

  async #readLevels(signal) {
    if (!this.#times.length) return;
    const wanted = { instrument: this.#instrument, granularity: this.#granularity, from: isoOf(this.#times[0]) };
    const found = await getLevels(wanted, signal);
    if (signal.aborted) return;
    this.#levels = found.levels;
    this.#draw();
  }

  /**
   * Choose an event and go to its candle, once that is there; nothing chooses none.
   * @param {{event_id: string, time: string} | null} event
   * @param {boolean} [move]
   */
  choose(event, move = true) {
    this.#chosen = event?.event_id ?? "";
    this.#goal = event && move ? seconds(event.time) : null;
    if (!event) this.#cursor = null;
    this.#draw();
    this.#reach();
  }

  #reach() {
    if (this.#goal === null || !this.#times.length || this.#waiting) return;
    if (this.#goal < this.#times[0] && this.#more) {
      this.#failed(`Reading back to ${moment(this.#goal * 1000)} …`);
      this.#fetchOlder(FAR);
      return;
    }
    this.#failed("");
    const place = this.#times.indexOf(this.#goal);
    this.#goal = null;
    if (place < 0) return;
    const { range } = this.drawing;
    this.drawing.center(place, Math.min(160, Math.max(40, range ? range.to - range.from : 120)));
    this.#cursor = this.#times[place];
    this.#tell();
  }

  /** Give what is shown, for tests and the curious. */
  get shown() {
    return {
      instrument: this.#instrument,
      granularity: this.#granularity,
      candles: this.#times.map((at) => this.#candles.get(at)),
      markers: this.drawing.marks,
      levels: this.#levels,
      chosen: this.#chosen,
      range: this.drawing.range,
    };
  }

  #concerns(change) {
    if (change.granularity !== this.#granularity) return false;
    return Array.isArray(change.instruments)
      ? change.instruments.includes(this.#instrument)
      : this.#instrument in change.instruments;
  }

  #live(change) {
    if (!this.#concerns(change)) return;
    if (this.#waiting) {
      this.#waiting.push(change);
      return;
    }
    const candles = change.instruments[this.#instrument];
    if (candles === null) {
      this.#reading.again();
      return;
    }
    for (const candle of candles) this.#one(candle);
    this.#draw();
  }

  #one(candle) {
    const at = seconds(candle.time);
    const known = this.#candles.has(at);
    const last = this.#times[this.#times.length - 1] ?? -Infinity;
    if (at < (this.#times[0] ?? Infinity) && this.#times.length) return; // it comes with the older ones
    this.#candles.set(at, candle);
    if (at < last && !known) {
      this.#take([...this.#candles.values()]);
      return;
    }
    if (!known) this.#times.push(at);
    this.drawing.update(at, candle, at < last);
  }

  #take(candles) {
    this.#candles = new Map(candles.map((candle) => [seconds(candle.time), candle]));
    this.#times = [...this.#candles.keys()].sort((a, b) => a - b);
    this.drawing.set(this.#times, this.#candles);
    this.#draw();
  }

  async #fetchOlder(limit) {
    if (!this.#more || this.#readingBack || this.#waiting || this.#fresh) return;
    this.#readingBack = true;
    this.#older = new AbortController();
    const { signal } = this.#older;
    try {
      const before = isoOf(this.#times[0]);
      const asked = { instrument: this.#instrument, granularity: this.#granularity, limit, before };
      const found = await getCandles(asked, signal);
      if (signal.aborted) return;
      this.#more = found.more && found.candles.length > 0;
      // What is shown already is newer than this answer.
      this.#take([...found.candles, ...this.#candles.values()]);
      this.#levelsReading.again();
    } catch (error) {
      if (signal.aborted) return;
      this.#goal = null;
      this.#failed(/** @type {Error} */ (error).message);
    }
    this.#readingBack = false;
    this.#reach();
  }

  #draw() {
    const last = this.#candles.get(this.#times[this.#times.length - 1]);
    // A marker at a time that has no candle would vanish; it comes back when the candle does.
    const here = this.#levels.filter((level) => this.#candles.has(seconds(level.time)));
    this.#marked = new Map(here.map((level) => [seconds(level.time), level]));
    const of = { first: this.#times[0] ?? 0, last, decimals: this.#decimals };
    this.drawing.mark(this.#levels, this.#marked, this.#chosen, of);
    const [name, granularity, count] = [this.#instrument, this.#granularity, this.#times.length];
    this.box.setAttribute("aria-label", summary(name, granularity, this.#decimals, count, last, this.#levels));
    this.#tell();
    const drawn = this.#fresh ? "" : name;
    const [markers, newest] = [this.#marked.size, last?.time ?? ""];
    Object.assign(this.box.dataset, { instrument: drawn, candles: count, markers, last: newest });
  }

  /** Say what the candle under the pointer is, or the one that the keyboard is at, or the newest. */
  #tell() {
    const newest = this.#times[this.#times.length - 1];
    const at = [this.#hovered, this.#cursor].find((time) => time !== null && this.#candles.has(time)) ?? newest;
    const candle = this.#candles.get(at);
    if (candle) describe(this.legend, candle, this.#marked.get(at), this.#decimals);
    else nothing(this.legend, this.#instrument, this.#granularity);
  }

  #hover(time) {
    if (time === this.#hovered) return;
    this.#hovered = time;
    this.#tell();
  }

  #key(key) {
    if (!this.#times.length || key.ctrlKey || key.metaKey || key.altKey) return;
    const last = this.#times.length - 1;
    const here = this.#cursor === null ? -1 : this.#times.indexOf(this.#cursor);
    const from = here < 0 ? last + 1 : here;
    const step = key.shiftKey ? 10 : 1;
    const to = { ArrowLeft: from - step, ArrowRight: from + step, Home: 0, End: last }[key.key];
    if (to !== undefined) this.#walk(Math.min(last, Math.max(0, to)));
    else if (["+", "="].includes(key.key)) this.drawing.zoom(1.25);
    else if (key.key === "-") this.drawing.zoom(0.8);
    else return;
    key.preventDefault();
  }

  #walk(place) {
    const at = this.#times[place];
    const { range } = this.drawing;
    if (range && (place < range.from || place > range.to)) this.drawing.center(place, range.to - range.from);
    this.drawing.point(at, this.#candles.get(at)?.close ?? 0);
    [this.#cursor, this.#hovered] = [at, null];
    this.#tell();
    say(this.spoken, `${this.legend.innerText.replace(/\s+/g, " ")} ${zoneName()}`);
  }

  #leave() {
    this.#cursor = null;
    this.drawing.clear();
    this.#tell();
  }

  #failed(text) {
    this.note.hidden = !text;
    say(this.note, text);
  }

  /** Write times anew: the zone has changed. */
  zoneChanged() {
    this.drawing.zone();
    this.#tell();
  }
}
