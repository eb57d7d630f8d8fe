// The line above the chart: what a candle is, in words and numbers. Which candle, chart.js says.

import { h, put } from "./dom.js";
import { fixed, pair, times, whole } from "./numbers.js";
import { moment } from "./time.js";

const item = (name, value) => h("span", { class: "item" }, h("span", { class: "key" }, name), ` ${value}`);

/**
 * Say what a candle is, and of which event.
 * @param {HTMLElement} element
 * @param {import("./api.js").Candle} candle
 * @param {import("./api.js").Level | undefined} level
 * @param {number} decimals
 */
export function describe(element, candle, level, decimals) {
  const price = (value) => fixed(value, decimals);
  const rose = candle.close > candle.open;
  const sign = rose ? "▲" : candle.close < candle.open ? "▼" : "=";
  put(
    element,
    h("span", { class: "item when" }, moment(candle.time)),
    item("O", price(candle.open)),
    item("H", price(candle.high)),
    item("L", price(candle.low)),
    h(
      "span",
      { class: ["item", rose ? "up" : "down"] },
      h("span", { class: "key" }, "C"),
      ` ${price(candle.close)} ${sign}`,
    ),
    item("ATR", price(candle.atr)),
    item("Vol", whole(candle.volume)),
    item("Rel vol", times(candle.relative_volume)),
    candle.suspect && h("span", { class: "item warn" }, "? suspect"),
    level && h("span", { class: "item mark" }, resistance(level, price)),
  );
}

function resistance(level, price) {
  const pattern = level.pattern ? ` ${level.pattern}` : "";
  return `▼ resistance ${price(level.level)}${pattern}${level.broken_at ? ", broken" : ""}`;
}

/** Say that there is nothing to say. @param {HTMLElement} element @param {string} instrument @param {string} granularity */
export function nothing(element, instrument, granularity) {
  put(element, h("b", {}, `${pair(instrument)} ${granularity}`), " no candles");
}

/** Say what the whole chart shows, in one sentence. */
export function summary(instrument, granularity, decimals, count, last, levels) {
  const name = `${pair(instrument)} ${granularity}`;
  if (!last) return `${name}: no candles`;
  const unbroken = levels.filter((level) => !level.broken_at).length;
  const close = fixed(last.close, decimals);
  return `${name}: ${count} candles, last close ${close}, ${levels.length} resistances, ${unbroken} of them unbroken`;
}
