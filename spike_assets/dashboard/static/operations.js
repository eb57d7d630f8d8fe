// What an operator looks at: passes and how long their stages took, tables, what is wrong. Only shown, never changed.

import { getOperations, getPasses } from "./api.js";
import { h, put, say, svg } from "./dom.js";
import { pair, whole } from "./numbers.js";
import { GRANULARITIES, on, state } from "./state.js";
import { brief, moment } from "./time.js";

const STAGES = ["fetch", "candles", "atr", "events", "features", "alerts"];
const SHOWN = 60;
const HEIGHT = 190;
const LEFT = 52;
const BOTTOM = 22;
const STATUS = { success: "✓", no_new_data: "–", failed: "✕", crashed: "✕", running: "▶" };

/** @param {number} ms */
function took(ms) {
  return ms >= 10_000
    ? `${(ms / 1000).toFixed(0)} s`
    : ms >= 1000
      ? `${(ms / 1000).toFixed(1)} s`
      : `${Math.round(ms)} ms`;
}

/** @param {import("./api.js").Pass} pass */
function total(pass) {
  return Object.values(pass.stages ?? {}).reduce((sum, ms) => sum + ms, 0);
}

/** Give a round number at or above. @param {number} value */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= value) ?? value;
}

/** Passes as stacked bars, oldest first. @param {import("./api.js").Pass[]} passes @param {number} width */
function plot(passes, width) {
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
function shade(stage) {
  const at = STAGES.indexOf(stage);
  return `stage-${at < 0 ? 7 : at}`;
}

function stagesOf(passes) {
  const found = new Set(passes.flatMap((pass) => Object.keys(pass.stages ?? {})));
  return [...STAGES.filter((name) => found.has(name)), ...[...found].filter((name) => !STAGES.includes(name))];
}

function table(caption, heads, rows, empty, wide = false) {
  return h(
    "section",
    { class: ["panel", wide && "wide"], tabindex: wide && "0", role: wide && "region", "aria-label": wide && caption },
    h(
      "table",
      { class: wide && "passes" },
      h("caption", {}, caption),
      rows.length
        ? h(
            "thead",
            {},
            h(
              "tr",
              {},
              heads.map(([text, number]) => h("th", { scope: "col", class: number && "number" }, text)),
            ),
          )
        : null,
      h(
        "tbody",
        {},
        rows.length
          ? rows.map((row) =>
              h(
                "tr",
                {},
                row.map((cell, i) =>
                  h(
                    i ? "td" : "th",
                    { scope: i ? null : "row", class: heads[i][1] && "number", "data-label": heads[i][0] },
                    cell,
                  ),
                ),
              ),
            )
          : h("tr", {}, h("td", { class: "all-well", colspan: heads.length }, empty)),
      ),
    ),
  );
}

/** The view. */
export class Operations {
  /** @type {import("./api.js").Pass[]} */
  #passes = [];
  #found = null;
  #asking = false;
  #again = false;
  #which = "";

  /** @param {HTMLElement} element */
  constructor(element) {
    this.links = h("div", { class: "head-end" });
    this.note = h("p", { class: "warn", role: "status" });
    this.plot = h("div", { class: "plot-box" });
    this.legend = h("ul", { class: "plot-legend", "aria-label": "Stages" });
    this.which = h("div", { class: "segments", role: "group", "aria-label": "Passes of" });
    this.tables = h("div", { class: "panels" });
    put(
      element,
      h("div", { class: "head" }, h("h1", {}, "Operations"), this.links),
      this.note,
      h(
        "section",
        { class: "panel wide" },
        h("div", { class: "panel-head" }, h("h2", {}, "Passes, time by stage"), this.which),
        this.plot,
        this.legend,
      ),
      this.tables,
    );
    new ResizeObserver(() => this.#drawPlot()).observe(this.plot);
    on("route", () => this.show());
    on("zone", () => this.#draw());
    on("snapshot", () => this.show());
    on("pass", (change) => {
      this.#passes = [change.pass, ...this.#passes.filter((one) => one.pass_id !== change.pass.pass_id)].slice(0, 200);
      this.#draw();
    });
    on("batch", (changes) => changes.some((one) => ["pass", "status", "alerts"].includes(one.kind)) && this.show());
  }

  /** Read everything anew, at most once a second. */
  show() {
    if (state.route.view !== "operations") return;
    if (this.#asking) {
      this.#again = true;
      return;
    }
    this.#asking = true;
    if (!this.#found) say(this.note, "Reading …");
    this.#load();
  }

  async #load() {
    try {
      const [passes, found] = await Promise.all([getPasses(), getOperations()]);
      this.#passes = passes.passes;
      this.#found = found;
      say(this.note, "");
      this.#draw();
    } catch (error) {
      say(this.note, /** @type {Error} */ (error).message);
    }
    setTimeout(() => {
      this.#asking = false;
      if (this.#again) {
        this.#again = false;
        this.show();
      }
    }, 1000);
  }

  #mine() {
    return this.#which ? this.#passes.filter((pass) => pass.granularity === this.#which) : this.#passes;
  }

  #drawPlot() {
    const width = Math.floor(this.plot.clientWidth);
    if (width < 50 || !this.#found) return;
    put(this.plot, plot(this.#mine(), width));
    put(
      this.legend,
      stagesOf(this.#mine().slice(0, SHOWN)).map((name) =>
        h("li", {}, h("span", { class: `swatch ${shade(name)}`, "aria-hidden": "true" }), name),
      ),
    );
  }

  #draw() {
    if (state.route.view !== "operations" || !this.#found) return;
    const had = document.activeElement?.getAttribute?.("data-which");
    put(
      this.which,
      ["", ...GRANULARITIES].map((name) =>
        h(
          "button",
          {
            type: "button",
            "data-which": name || "all",
            "aria-pressed": String(this.#which === name),
            onclick: () => {
              this.#which = name;
              this.#draw();
            },
          },
          name || "All",
        ),
      ),
    );
    if (had) /** @type {any} */ (this.which.querySelector(`[data-which="${had}"]`))?.focus();
    const dagster = state.status?.dagster_url;
    put(
      this.links,
      dagster && [
        h("a", { class: "button", href: dagster, target: "_blank", rel: "noopener" }, "Dagster ↗"),
        h("a", { class: "button", href: `${dagster}/runs`, target: "_blank", rel: "noopener" }, "Runs ↗"),
      ],
      h("a", { class: "button", href: "/api/docs" }, "API"),
    );
    this.#drawPlot();
    this.#drawTables();
  }

  #drawTables() {
    const { tables, quarantine, late, unavailable, outbox, incidents, database } = this.#found;
    const names = [...new Set(tables.map((one) => one.table))];
    const kept = GRANULARITIES.filter((name) => tables.some((one) => one.granularity === name));
    const rows = (table, name) => whole(tables.find((one) => one.table === table && one.granularity === name)?.rows);
    const stages = stagesOf(this.#mine().slice(0, SHOWN));
    put(
      this.tables,
      table(
        "Incidents",
        [["Incident"], ["What"], ["Since"]],
        incidents.map((one) => [`⚠ ${one.incident}`, one.text, brief(one.since)]),
        "✓ None.",
      ),
      table(
        "Outbox",
        [["Channel"], ["Waiting", true], ["Dead", true], ["Last sent"]],
        outbox.by_channel.map((one) => [
          one.channel,
          whole(one.waiting),
          one.dead ? h("b", { class: "warn" }, `✕ ${one.dead}`) : "0",
          brief(one.last_sent_at),
        ]),
        "No channel has been told anything.",
      ),
      table(
        "Late",
        [["Granularity"], ["Instrument"]],
        late.map((one) => [one.granularity, pair(one.instrument)]),
        "✓ Every instrument has its newest candle.",
      ),
      table(
        "Unavailable",
        [["Granularity"], ["Instrument"], ["Since"], ["Reason"]],
        unavailable.map((one) => [one.granularity, pair(one.instrument), brief(one.since), one.reason]),
        "✓ The source knows every instrument.",
      ),
      table(
        "Quarantine",
        [["Granularity"], ["Reason"], ["Candles", true], ["Newest"]],
        quarantine.map((one) => [
          one.granularity,
          one.reason.replaceAll("_", " "),
          whole(one.candles),
          brief(one.newest),
        ]),
        "✓ Empty.",
      ),
      table(
        `Tables, ${database.megabytes === null ? "size unknown" : `${database.megabytes.toFixed(1)} MB`}`,
        [["Table"], ...kept.map((name) => [name, true])],
        names.map((name) => [name, ...kept.map((one) => rows(name, one))]),
        "Nothing is stored.",
      ),
      table(
        "Passes",
        [
          ["Began"],
          ["Of"],
          ["By"],
          ["Outcome"],
          ["Candles", true],
          ["Events", true],
          ["Took", true],
          ...stages.map((name) => [`${name} ms`, true]),
        ],
        this.#mine()
          .slice(0, 25)
          .map((pass) => [
            pass.run_url
              ? h("a", { href: pass.run_url, target: "_blank", rel: "noopener" }, brief(pass.started_at))
              : brief(pass.started_at),
            pass.granularity,
            pass.trigger,
            h(
              "span",
              { class: ["failed", "crashed"].includes(pass.status) && "warn", title: pass.error ?? "" },
              `${STATUS[pass.status] ?? ""} ${pass.status.replaceAll("_", " ")}`,
              pass.error && h("span", { class: "unit" }, `: ${pass.error}`),
            ),
            whole(pass.candles),
            whole(pass.events),
            took(total(pass)),
            ...stages.map((name) => (pass.stages?.[name] === undefined ? "–" : whole(pass.stages[name]))),
          ]),
        "No pass yet.",
        true,
      ),
    );
  }
}
