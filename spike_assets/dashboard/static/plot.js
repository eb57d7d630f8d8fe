// The plot of passes: how long each took, stage by stage, as stacked bars. The numbers themselves are in reports.js.

import { svg } from "./dom.js";
import { brief, moment } from "./time.js";

const STAGES = ["fetch", "candles", "atr", "events", "features", "alerts"];
/** So many passes are drawn. */
export const SHOWN = 60;
const HEIGHT = 190;
const LEFT = 52;
const BOTTOM = 22;

/** Say how long something took. @param {number} ms */
export function took(ms) {
  return ms >= 10_000
    ? `${(ms / 1000).toFixed(0)} s`
    : ms >= 1000
      ? `${(ms / 1000).toFixed(1)} s`
      : `${Math.round(ms)} ms`;
}

/** Give what all stages of a pass took, in milliseconds. @param {import("./api.js").Pass} pass */
export function total(pass) {
  return Object.values(pass.stages ?? {}).reduce((sum, ms) => sum + ms, 0);
}

/** Give a round number at or above. @param {number} value */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= value) ?? value;
}

/** Passes as stacked bars, oldest first. @param {import("./api.js").Pass[]} passes @param {number} width */
export function plot(passes, width) {
  const rows = passes.slice(0, SHOWN).reverse();
  const top = ceiling(Math.max(1, ...rows.map(total)));
  const high = HEIGHT - BOTTOM - 8;
  const step = (width - LEFT - 4) / Math.max(rows.length, 20);
  const y = (ms) => 8 + high - (ms / top) * high;
  const names = stagesOf(rows);
  return svg(
    "svg",
    {
      viewBox: `0 0 ${width} ${HEIGHT}`,
      width,
      height: HEIGHT,
      class: "plot",
      role: "img",
      "aria-label": `Stage timings of the last ${rows.length} passes; the table below has the numbers`,
    },
    [0, 0.5, 1].map((share) => [
      svg("line", { x1: LEFT, x2: width, y1: y(share * top), y2: y(share * top), class: "grid" }),
      svg("text", { x: LEFT - 8, y: y(share * top) + 4, class: "tick", "text-anchor": "end" }, took(share * top)),
    ]),
    rows.map((pass, i) => {
      let sum = 0;
      const x = LEFT + i * step;
      const title = `${pass.granularity} ${moment(pass.started_at)}: ${took(total(pass))}, ${pass.status}`;
      return svg(
        "g",
        {},
        svg("title", {}, title),
        names.map((stage) => {
          const ms = pass.stages?.[stage] ?? 0;
          sum += ms;
          return ms
            ? svg("rect", {
                x: x + step * 0.12,
                width: Math.max(1, step * 0.76),
                y: y(sum),
                height: Math.max(0.5, (ms / top) * high),
                class: shade(stage),
              })
            : null;
        }),
        ["failed", "crashed"].includes(pass.status) &&
          svg("text", { x: x + step / 2, y: y(sum) - 3, class: "cross", "text-anchor": "middle" }, "✕"),
      );
    }),
    rows.length
      ? [0, Math.floor(rows.length / 2), rows.length - 1]
          .filter((i, n, all) => all.indexOf(i) === n)
          .map((i) =>
            svg(
              "text",
              {
                x: LEFT + (i + 0.5) * step,
                y: HEIGHT - 5,
                class: "tick",
                "text-anchor": i === 0 ? "start" : i === rows.length - 1 && rows.length > 20 ? "end" : "middle",
              },
              brief(rows[i].started_at),
            ),
          )
      : null,
  );
}

/** Give a stage's colour: always the same one. @param {string} stage */
export function shade(stage) {
  const at = STAGES.indexOf(stage);
  return `stage-${at < 0 ? 7 : at}`;
}

/** Give the stages of some passes, in the order in which they run. @param {import("./api.js").Pass[]} passes */
export function stagesOf(passes) {
  const found = new Set(passes.flatMap((pass) => Object.keys(pass.stages ?? {})));
  return [...STAGES.filter((name) => found.has(name)), ...[...found].filter((name) => !STAGES.includes(name))];
}
