// The tables of an operator: what is wrong, what is stored, what each pass did. The plot is in plot.js.

import { h } from "./dom.js";
import { pair, whole } from "./numbers.js";
import { SHOWN, stagesOf, took, total } from "./plot.js";
import { GRANULARITIES } from "./state.js";
import { brief } from "./time.js";

const STATUS = { success: "✓", no_new_data: "–", failed: "✕", crashed: "✕", running: "▶" };
const BAD = ["failed", "crashed"];
const ROWS = 25;

/**
 * Make a table with its caption.
 * @param {string} caption
 * @param {[string, boolean?][]} heads text, and whether the column holds numbers
 * @param {import("./dom.js").Child[][]} rows
 * @param {string} empty what is said where there are none
 * @param {boolean} [wide] it takes the whole width, and scrolls sideways where it has to
 */
function table(caption, heads, rows, empty, wide = false) {
  const cell = (text, i) =>
    h(
      i ? "td" : "th",
      { scope: i ? null : "row", class: heads[i][1] && "number", "data-label": heads[i][0] },
      text,
    );
  const none = h("tr", {}, h("td", { class: "all-well", colspan: heads.length }, empty));
  const head = heads.map(([text, number]) => h("th", { scope: "col", class: number && "number" }, text));
  return h(
    "section",
    { class: ["panel", wide && "wide"], tabindex: wide && "0", role: wide && "region", "aria-label": wide && caption },
    h(
      "table",
      { class: wide && "passes" },
      h("caption", {}, caption),
      rows.length ? h("thead", {}, h("tr", {}, head)) : null,
      h("tbody", {}, rows.length ? rows.map((row) => h("tr", {}, row.map(cell))) : none),
    ),
  );
}

/** Make all tables but that of the passes. @param {any} found as the server gives it */
export function reports(found) {
  const { tables, quarantine, late, unavailable, outbox, incidents } = found;
  return [
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
    sizes(tables, found.database),
  ];
}

function sizes(tables, database) {
  const names = [...new Set(tables.map((one) => one.table))];
  const kept = GRANULARITIES.filter((name) => tables.some((one) => one.granularity === name));
  const rows = (name, of) => whole(tables.find((one) => one.table === name && one.granularity === of)?.rows);
  return table(
    `Tables, ${database.megabytes === null ? "size unknown" : `${database.megabytes.toFixed(1)} MB`}`,
    [["Table"], ...kept.map((name) => /** @type {[string, boolean]} */ ([name, true]))],
    names.map((name) => [name, ...kept.map((of) => rows(name, of))]),
    "Nothing is stored.",
  );
}

/** Make the table of passes, the newest first. @param {import("./api.js").Pass[]} passes */
export function passTable(passes) {
  const stages = stagesOf(passes.slice(0, SHOWN));
  return table(
    "Passes",
    [
      ["Began"],
      ["Of"],
      ["By"],
      ["Outcome"],
      ["Candles", true],
      ["Events", true],
      ["Took", true],
      ...stages.map((name) => /** @type {[string, boolean]} */ ([`${name} ms`, true])),
    ],
    passes.slice(0, ROWS).map((pass) => [
      brief(pass.started_at),
      pass.granularity,
      pass.run_url ? run(pass) : pass.trigger,
      outcome(pass),
      whole(pass.candles),
      whole(pass.events),
      took(total(pass)),
      ...stages.map((name) => (pass.stages?.[name] === undefined ? "–" : whole(pass.stages[name]))),
    ]),
    "No pass yet.",
    true,
  );
}

function run(pass) {
  const words = `${pass.trigger}, its run in Dagster`;
  return h(
    "a",
    { href: pass.run_url, "data-pass": pass.pass_id, target: "_blank", rel: "noopener", "aria-label": words, title: words },
    `${pass.trigger} ↗`,
  );
}

function outcome(pass) {
  return h(
    "span",
    { class: BAD.includes(pass.status) && "warn", title: pass.error ?? "" },
    `${STATUS[pass.status] ?? ""} ${pass.status.replaceAll("_", " ")}`,
    pass.error && h("span", { class: "unit" }, `: ${pass.error}`),
  );
}
