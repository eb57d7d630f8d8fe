// The chart of one instrument and granularity: candles, ATR, event markers, levels; older candles, live ones, the cursor.
// What a level looks like is in levels.js, which instrument is shown is chosen in desk.js.

import { getCandles, getLevels } from "./api.js";
import { h, put, say } from "./dom.js";
import { drawn, Levels } from "./levels.js";
import { fixed, pair, times, whole } from "./numbers.js";
import { Reading } from "./reading.js";
import { on, state } from "./state.js";
import { color } from "./theme.js";
import { isoOf, moment, parts, seconds, zoneName } from "./time.js";

const FIRST = 500;
const OLDER = 1000;
const FAR = 2000;
/** Nearer than so many candles to the left edge, older ones are fetched. */
const EDGE = 60;

/** @type {any} */
const library = /** @type {any} */ (globalThis).LightweightCharts;

/** The chart, in an element of its own. */
export class Chart {
  /** @type {Map<number, import("./api.js").Candle>} */
  #candles = new Map();
  /** @type {number[]} */
  #times = [];
  /** @type {import("./api.js").Level[]} */
  #levels = [];
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
  /** Candles that came while others were being fetched: newer than what the answer will hold. */
  #waiting = null;
  #cursor = null;
  #chosen = "";
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
    const help = h(
      "p",
      { class: "hidden", id: "chart-help" },
      "Arrow keys walk over the candles, Home and End go to the first and last, plus and minus zoom. The events table holds the same events as text.",
    );
    put(element, this.legend, this.box, this.note, this.spoken, help);
    this.chart = library.createChart(this.box, {
      autoSize: true,
      layout: { attributionLogo: true, fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 11 },
      crosshair: { mode: library.CrosshairMode.Normal },
      rightPriceScale: { scaleMargins: { top: 0.14, bottom: 0.08 } },
      timeScale: {
        rightOffset: 8,
        minBarSpacing: 1,
        barSpacing: 7,
        secondsVisible: false,
        tickMarkMaxCharacterLength: 10,
      },
      kineticScroll: { mouse: false, touch: !matchMedia("(prefers-reduced-motion: reduce)").matches },
    });
    this.series = this.chart.addSeries(library.CandlestickSeries, {
      borderVisible: true,
      priceLineVisible: false,
      lastValueVisible: false,
    });
    // A line of our own: the library would give the label the fill of the candle, and a hollow one has none.
    this.price = this.series.createPriceLine({
      price: 0,
      lineStyle: 1,
      lineWidth: 1,
      lineVisible: false,
      axisLabelVisible: false,
    });
    this.atr = this.chart.addSeries(
      library.LineSeries,
      { lineWidth: 1, priceLineVisible: false, title: "ATR", crosshairMarkerRadius: 2 },
      1,
    );
    const [upper, lower] = this.chart.panes();
    upper.setStretchFactor(5);
    lower.setStretchFactor(1);
    this.markers = library.createSeriesMarkers(this.series, []);
    this.levels = new Levels();
    this.series.attachPrimitive(this.levels);
    this.chart.subscribeCrosshairMove((at) => this.#hover(at));
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && range.from < EDGE && this.#times.length) this.#fetchOlder(OLDER);
    });
    this.#paint();
    this.#zone();
    on("theme", () => {
      this.#paint();
      this.#drawLevels();
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
      const late = this.#waiting;
      this.#waiting = null;
      const oldest = found.candles.length ? seconds(found.candles[0].time) : 0;
      const kept = this.#fresh ? [] : this.#times.filter((at) => at < oldest).map((at) => this.#candles.get(at));
      this.#more = kept.length ? this.#more : found.more;
      this.#decimals = found.decimals;
      if (this.#fresh) this.#levels = [];
      this.#take([...kept, ...found.candles]);
      this.#scale(!this.#fresh);
      this.#fresh = false;
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
    this.#drawLevels();
  }

  /**
   * Choose an event and go to its candle, once that is there; nothing chooses none.
   * @param {{event_id: string, time: string} | null} event
   * @param {boolean} [move]
   */
  choose(event, move = true) {
    this.#chosen = event?.event_id ?? "";
    this.#goal = event && move ? seconds(event.time) : null;
    this.#drawLevels();
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
    const index = this.#times.indexOf(this.#goal);
    this.#goal = null;
    if (index < 0) return;
    const scale = this.chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    const wide = Math.min(160, Math.max(40, range ? range.to - range.from : 120));
    scale.setVisibleLogicalRange({ from: index - wide / 2, to: index + wide / 2 });
    this.#cursor = index;
    this.#legendOf(this.#times[index]);
  }

  /** Give what is shown, for tests and the curious. */
  get shown() {
    const marks = this.markers.markers();
    return {
      instrument: this.#instrument,
      granularity: this.#granularity,
      candles: this.#times.map((at) => this.#candles.get(at)),
      markers: marks.map((mark) => ({ time: isoOf(mark.time), id: mark.id, shape: mark.shape })),
      levels: this.#levels,
      chosen: this.#chosen,
      range: this.chart.timeScale().getVisibleLogicalRange(),
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
    this.#drawLevels();
  }

  #one(candle) {
    const at = seconds(candle.time);
    const known = this.#candles.has(at);
    const last = this.#times[this.#times.length - 1] ?? -Infinity;
    if (at < (this.#times[0] ?? Infinity) && this.#times.length) return; // it comes with the older ones
    this.#candles.set(at, candle);
    if (at >= last) {
      if (!known) this.#times.push(at);
      this.series.update(bar(at, candle));
      this.atr.update(point(at, candle));
    } else if (known) {
      this.series.update(bar(at, candle), true);
      this.atr.update(point(at, candle), true);
    } else {
      this.#take([...this.#candles.values()]);
    }
  }

  #take(candles) {
    this.#candles = new Map(candles.map((candle) => [seconds(candle.time), candle]));
    this.#times = [...this.#candles.keys()].sort((a, b) => a - b);
    this.series.setData(this.#times.map((at) => bar(at, this.#candles.get(at))));
    this.atr.setData(this.#times.map((at) => point(at, this.#candles.get(at))));
    this.#cursor = null;
    this.#drawLevels();
  }

  #scale(same) {
    const priceFormat = { type: "price", precision: this.#decimals, minMove: 10 ** -this.#decimals };
    this.series.applyOptions({ priceFormat });
    this.atr.applyOptions({ priceFormat });
    this.chart.timeScale().applyOptions({ timeVisible: this.#granularity.startsWith("H") });
    if (same) return;
    this.series.priceScale().applyOptions({ autoScale: true });
    this.chart.timeScale().resetTimeScale();
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

  #drawLevels() {
    const last = this.#candles.get(this.#times[this.#times.length - 1]);
    this.#marked = new Map(this.#levels.map((level) => [seconds(level.time), level]));
    // A marker at a time that has no candle would vanish; it comes back when the candle does.
    const marks = [...this.#marked].filter(([at]) => this.#candles.has(at)).sort(([a], [b]) => a - b);
    this.markers.setMarkers(
      marks.map(([at, level]) => {
        const chosen = level.event_id === this.#chosen;
        return {
          time: at,
          id: level.event_id,
          position: "aboveBar",
          shape: level.suspect ? "circle" : "arrowDown",
          color: color(chosen ? "chosen" : level.broken_at ? "mark-faded" : "mark"),
          size: chosen ? 2 : 1,
        };
      }),
    );
    const segments = drawn([...this.#levels], last?.close ?? 0, this.#chosen).map((level) => ({
      from: seconds(level.time),
      to: level.broken_at ? seconds(level.broken_at) : null,
      price: level.level,
      suspect: level.suspect,
      chosen: level.event_id === this.#chosen,
      label: fixed(level.level, this.#decimals),
    }));
    this.levels.set(segments, this.#times[0] ?? 0, {
      line: color("mark"),
      faded: color("mark-faded"),
      chosen: color("chosen"),
      back: color("panel"),
      font: `11px ${getComputedStyle(document.body).fontFamily}`,
    });
    const tone = color(last && last.close < last.open ? "down" : "up");
    this.price.applyOptions({
      price: last?.close ?? 0,
      color: tone,
      axisLabelColor: tone,
      axisLabelTextColor: color("panel"),
      lineVisible: Boolean(last),
      axisLabelVisible: Boolean(last),
    });
    this.#label(last);
    this.#legendOf(null);
    Object.assign(this.box.dataset, { candles: this.#times.length, markers: marks.length, last: last?.time ?? "" });
  }

  #label(last) {
    const unbroken = this.#levels.filter((level) => !level.broken_at).length;
    const text = last
      ? `${pair(this.#instrument)} ${this.#granularity}: ${this.#times.length} candles, last close ${fixed(last.close, this.#decimals)}, ${this.#levels.length} resistances, ${unbroken} of them unbroken`
      : `${pair(this.#instrument)} ${this.#granularity}: no candles`;
    this.box.setAttribute("aria-label", text);
  }

  #hover(at) {
    this.#legendOf(at.time ?? null);
  }

  /** Say what a candle is: of a time, or the newest. @param {number | null} at */
  #legendOf(at) {
    const time = at ?? this.#times[this.#cursor ?? this.#times.length - 1];
    const candle = this.#candles.get(time);
    if (!candle) {
      put(this.legend, h("b", {}, `${pair(this.#instrument)} ${this.#granularity}`), " no candles");
      return;
    }
    const level = this.#marked.get(time);
    const price = (value) => fixed(value, this.#decimals);
    const rose = candle.close > candle.open;
    const item = (name, value) => h("span", { class: "item" }, h("span", { class: "key" }, name), ` ${value}`);
    put(
      this.legend,
      h("span", { class: "item when" }, moment(candle.time)),
      item("O", price(candle.open)),
      item("H", price(candle.high)),
      item("L", price(candle.low)),
      h(
        "span",
        { class: ["item", rose ? "up" : "down"] },
        h("span", { class: "key" }, "C"),
        ` ${price(candle.close)} ${rose ? "▲" : candle.close < candle.open ? "▼" : "="}`,
      ),
      item("ATR", price(candle.atr)),
      item("Vol", whole(candle.volume)),
      item("Rel vol", times(candle.relative_volume)),
      candle.suspect && h("span", { class: "item warn" }, "? suspect"),
      level &&
        h(
          "span",
          { class: "item mark" },
          `▼ resistance ${price(level.level)}${level.pattern ? ` ${level.pattern}` : ""}${level.broken_at ? ", broken" : ""}`,
        ),
    );
  }

  #key(key) {
    const last = this.#times.length - 1;
    if (last < 0 || key.ctrlKey || key.metaKey || key.altKey) return;
    const scale = this.chart.timeScale();
    const from = this.#cursor ?? last + 1;
    const step = key.shiftKey ? 10 : 1;
    const to = { ArrowLeft: from - step, ArrowRight: from + step, Home: 0, End: last }[key.key];
    if (to !== undefined) {
      this.#cursor = Math.min(last, Math.max(0, to));
      const at = this.#times[this.#cursor];
      const candle = this.#candles.get(at);
      const range = scale.getVisibleLogicalRange();
      if (range && (this.#cursor < range.from || this.#cursor > range.to)) {
        const wide = range.to - range.from;
        scale.setVisibleLogicalRange({ from: this.#cursor - wide / 2, to: this.#cursor + wide / 2 });
      }
      this.chart.setCrosshairPosition(candle?.close ?? 0, at, this.series);
      this.#legendOf(at);
      say(this.spoken, `${this.legend.innerText.replace(/\s+/g, " ")} ${zoneName()}`);
    } else if (["+", "=", "-"].includes(key.key)) {
      const { barSpacing } = scale.options();
      scale.applyOptions({ barSpacing: Math.min(40, Math.max(1, barSpacing * (key.key === "-" ? 0.8 : 1.25))) });
    } else return;
    key.preventDefault();
  }

  #leave() {
    this.#cursor = null;
    this.chart.clearCrosshairPosition();
    this.#legendOf(null);
  }

  #failed(text) {
    this.note.hidden = !text;
    say(this.note, text);
  }

  /** Write times anew: the zone has changed. */
  zoneChanged() {
    this.#zone();
    this.#legendOf(null);
  }

  #zone() {
    this.chart.applyOptions({
      localization: { locale: "en-GB", timeFormatter: (at) => `${moment(at * 1000)} ${zoneName()}` },
    });
    this.chart.timeScale().applyOptions({ tickMarkFormatter: tick });
  }

  #paint() {
    const [line, text] = [color("line-soft"), color("dim")];
    this.chart.applyOptions({
      layout: {
        background: { type: "solid", color: color("panel") },
        textColor: text,
        panes: { separatorColor: color("line"), separatorHoverColor: color("hover") },
      },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
      crosshair: {
        vertLine: { color: color("dim"), labelBackgroundColor: color("crosshair") },
        horzLine: { color: color("dim"), labelBackgroundColor: color("crosshair") },
      },
      rightPriceScale: { borderColor: color("line") },
      timeScale: { borderColor: color("line") },
    });
    // A rising candle is hollow, a falling one filled: the colour says it a second time.
    this.series.applyOptions({
      upColor: color("panel"),
      borderUpColor: color("up"),
      wickUpColor: color("up"),
      downColor: color("down"),
      borderDownColor: color("down"),
      wickDownColor: color("down"),
    });
    this.atr.applyOptions({ color: color("atr") });
  }
}

function bar(at, candle) {
  return { time: at, open: candle.open, high: candle.high, low: candle.low, close: candle.close };
}

function point(at, candle) {
  return candle.atr === null ? { time: at } : { time: at, value: candle.atr };
}

/**
 * Write a mark of the time axis. The library begins days in UTC; in another zone the mark says its hour besides.
 * @param {number} at
 * @param {number} kind 0 year, 1 month, 2 day, 3 time
 */
function tick(at, kind) {
  const p = parts(at * 1000);
  const midnight = p.hour === "00" && p.minute === "00";
  if (kind >= 3) return `${p.hour}:${p.minute}`;
  if (state.route.granularity.startsWith("H") && !midnight) return `${p.weekday} ${p.hour}:${p.minute}`;
  if (kind === 0) return p.year;
  return kind === 1 ? `${p.year}-${p.month}` : `${p.month}-${p.day}`;
}
