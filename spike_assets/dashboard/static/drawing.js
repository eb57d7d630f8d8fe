// What the chart library draws, and how: series, markers, level lines, colours, axes. What there is to draw is in chart.js.

import { drawn, Levels } from "./levels.js";
import { fixed } from "./numbers.js";
import { state } from "./state.js";
import { color } from "./theme.js";
import { isoOf, moment, parts, seconds, zoneName } from "./time.js";

/** @type {any} */
const library = /** @type {any} */ (globalThis).LightweightCharts;

/** How wide a candle may become, and how narrow, in pixels. */
const [NARROWEST, WIDEST] = [1, 40];

function options() {
  return {
    autoSize: true,
    layout: { attributionLogo: true, fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 11 },
    crosshair: { mode: library.CrosshairMode.Normal },
    rightPriceScale: { scaleMargins: { top: 0.14, bottom: 0.08 } },
    timeScale: {
      rightOffset: 8,
      minBarSpacing: NARROWEST,
      barSpacing: 7,
      secondsVisible: false,
      tickMarkMaxCharacterLength: 10,
    },
    kineticScroll: { mouse: false, touch: !matchMedia("(prefers-reduced-motion: reduce)").matches },
  };
}

/** A drawn chart: candles in the upper pane, ATR in the lower one. */
export class Drawing {
  /**
   * @param {HTMLElement} box
   * @param {(time: number | null) => void} hovered is told the time under the pointer
   * @param {(from: number) => void} moved is told which candle is at the left edge
   */
  constructor(box, hovered, moved) {
    this.chart = library.createChart(box, options());
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
    this.chart.subscribeCrosshairMove((at) => hovered(at.time ?? null));
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => range && moved(range.from));
    this.paint();
    this.zone();
  }

  /** Draw these candles and no others. @param {number[]} times @param {Map<number, import("./api.js").Candle>} candles */
  set(times, candles) {
    this.series.setData(times.map((at) => bar(at, candles.get(at))));
    this.atr.setData(times.map((at) => point(at, candles.get(at))));
  }

  /** Draw one more candle, or one anew. @param {boolean} older whether it is not the newest */
  update(at, candle, older) {
    this.series.update(bar(at, candle), older);
    this.atr.update(point(at, candle), older);
  }

  /** Write prices and times as an instrument and granularity need it; `anew`: and show its newest candles. */
  scale(decimals, granularity, anew) {
    const priceFormat = { type: "price", precision: decimals, minMove: 10 ** -decimals };
    this.series.applyOptions({ priceFormat });
    this.atr.applyOptions({ priceFormat });
    this.chart.timeScale().applyOptions({ timeVisible: granularity.startsWith("H") });
    if (!anew) return;
    this.series.priceScale().applyOptions({ autoScale: true });
    this.chart.timeScale().resetTimeScale();
  }

  /**
   * Draw markers and level lines.
   * @param {import("./api.js").Level[]} levels
   * @param {Map<number, import("./api.js").Level>} marked those with a candle, by its time
   * @param {string} chosen id of the event that is looked at
   * @param {{first: number, last: import("./api.js").Candle | undefined, decimals: number}} of
   */
  mark(levels, marked, chosen, { first, last, decimals }) {
    const marks = [...marked].sort(([a], [b]) => a - b);
    this.markers.setMarkers(marks.map(([at, level]) => marker(at, level, level.event_id === chosen)));
    const segments = drawn([...levels], last?.close ?? 0, chosen).map((level) => ({
      from: seconds(level.time),
      to: level.broken_at ? seconds(level.broken_at) : null,
      price: level.level,
      suspect: level.suspect,
      chosen: level.event_id === chosen,
      label: fixed(level.level, decimals),
    }));
    this.levels.set(segments, first, {
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
  }

  /** The candles in sight, by their place; null before there are any. @returns {{from: number, to: number} | null} */
  get range() {
    return this.chart.timeScale().getVisibleLogicalRange();
  }

  /** Bring a candle into the middle. @param {number} place @param {number} wide how many are in sight then */
  center(place, wide) {
    this.chart.timeScale().setVisibleLogicalRange({ from: place - wide / 2, to: place + wide / 2 });
  }

  /** Make candles wider or narrower. @param {number} by */
  zoom(by) {
    const scale = this.chart.timeScale();
    const { barSpacing } = scale.options();
    scale.applyOptions({ barSpacing: Math.min(WIDEST, Math.max(NARROWEST, barSpacing * by)) });
  }

  /** Put the cross on a candle. */
  point(at, price) {
    this.chart.setCrosshairPosition(price, at, this.series);
  }

  /** Take the cross away. */
  clear() {
    this.chart.clearCrosshairPosition();
  }

  /** Write times by the chosen zone. */
  zone() {
    this.chart.applyOptions({
      localization: { locale: "en-GB", timeFormatter: (at) => `${moment(at * 1000)} ${zoneName()}` },
    });
    this.chart.timeScale().applyOptions({ tickMarkFormatter: tick });
  }

  /** Take the theme's colours. */
  paint() {
    const [line, text] = [color("line-soft"), color("dim")];
    this.chart.applyOptions({
      layout: {
        background: { type: "solid", color: color("panel") },
        textColor: text,
        panes: { separatorColor: color("line"), separatorHoverColor: color("hover") },
      },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
      crosshair: {
        vertLine: { color: text, labelBackgroundColor: color("crosshair") },
        horzLine: { color: text, labelBackgroundColor: color("crosshair") },
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

  /** What is marked, for tests and the curious. */
  get marks() {
    return this.markers.markers().map((mark) => ({ time: isoOf(mark.time), id: mark.id, shape: mark.shape }));
  }
}

function bar(at, candle) {
  return { time: at, open: candle.open, high: candle.high, low: candle.low, close: candle.close };
}

function point(at, candle) {
  return candle.atr === null ? { time: at } : { time: at, value: candle.atr };
}

function marker(at, level, chosen) {
  return {
    time: at,
    id: level.event_id,
    position: "aboveBar",
    shape: level.suspect ? "circle" : "arrowDown",
    color: color(chosen ? "chosen" : level.broken_at ? "mark-faded" : "mark"),
    size: chosen ? 2 : 1,
  };
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
