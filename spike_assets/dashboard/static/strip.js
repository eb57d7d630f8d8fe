// The status strip: how each granularity stands, and the system as a whole. Also the banner and "updated n s ago".

import { byId, h, put, say } from "./dom.js";
import { retry } from "./feed.js";
import { EVERY } from "./poll.js";
import { GRANULARITIES, on, state } from "./state.js";
import { ago, brief, countdown, lasted, now } from "./time.js";
import { link } from "./url.js";

const STALE = 30;

const OUTCOMES = { ok: ["✓", "ok"], failed: ["✕", "failed"], never: ["…", "never ran"] };

const ASKED = `The live feed does not get through (WebSockets). All is asked for every ${EVERY / 1000} s instead.`;

/** Times that count, by the element that shows them. @type {[Element, () => string][]} */
let counting = [];

function counted(tag, text, properties = {}) {
  const element = h(tag, properties, text());
  counting.push([element, text]);
  return element;
}

function fact(name, value, extra) {
  return h("div", { class: ["fact", extra] }, h("dt", {}, name), h("dd", {}, value));
}

function granularity(name, one) {
  const running = Boolean(one.running_since);
  const [sign, word] = running ? ["▶", "running"] : OUTCOMES[one.outcome];
  const behind = one.behind ? `, ${one.behind} to go` : "";
  return h(
    "article",
    { class: ["cell", `is-${running ? "running" : one.outcome}`], "aria-label": name },
    h(
      "h2",
      {},
      name,
      h("span", { class: "state" }, h("span", { class: "sign", "aria-hidden": "true" }, sign), ` ${word}${behind}`),
    ),
    h(
      "dl",
      {},
      fact(
        "Last run",
        counted("span", () => ago(one.last_run), { title: one.last_run ?? "" }),
      ),
      fact(
        "Last candle",
        counted("span", () => brief(one.last_candle_closed_at ?? null), {
          title: one.newest_candle ? `opened ${one.newest_candle}` : "",
        }),
      ),
      fact(
        "Next close",
        counted("span", () => countdown(one.next_close), { role: "timer", class: "count", title: one.next_close }),
      ),
    ),
  );
}

/** How the whole stands: class, sign, word, and why. */
function health({ healthy, reasons, catching_up: catching = [] }) {
  if (!healthy) return ["is-failed", "✕", "Degraded", reasons.join("; ")];
  if (catching.length) return ["is-catching", "↻", "Catching up", catching.join("; ")];
  return ["is-ok", "✓", "Healthy", ""];
}

/** How long ago the oldest candle that is due and not stored should have come. */
function lag({ granularities, feed_lag_seconds: atThatTime }) {
  const due = GRANULARITIES.map((name) => Date.parse(granularities[name]?.due_since ?? "")).filter((at) => !isNaN(at));
  if (due.length) return lasted((now() - Math.min(...due)) / 1000);
  return atThatTime === null || atThatTime === undefined ? "–" : lasted(0);
}

function system(status) {
  const { market } = status;
  const [kind, sign, word, why] = health(status);
  return h(
    "article",
    { class: ["cell", "system", kind], "aria-label": "System" },
    h(
      "h2",
      {},
      h("span", { class: "sign", "aria-hidden": "true" }, sign),
      ` ${word}`,
      why && h("span", { class: "reason", title: why }, why),
      h(
        "span",
        { class: ["source", status.simulated && "simulated"] },
        status.simulated ? "Simulated, no real prices" : `Source: ${status.source}`,
      ),
    ),
    h(
      "dl",
      {},
      fact("Events in 24 h", String(status.recent_events)),
      fact(
        "Unread alerts",
        h("a", { ...link({ view: "alerts", event: "" }), id: "strip-unread" }, String(state.alerts.unread)),
      ),
      fact(
        "Feed lag",
        counted("span", () => lag(status), { id: "strip-lag" }),
      ),
      fact(
        "Market",
        counted("span", () => `${market.open ? "open" : "closed"} until ${brief(market.until)}`),
      ),
    ),
  );
}

function draw() {
  const status = state.status;
  counting = [];
  const had = document.activeElement?.id === "strip-unread";
  if (!status) {
    put(byId("strip"), h("p", { class: ["waiting", state.trouble && "trouble"] }, waiting()));
    return;
  }
  put(
    byId("strip"),
    GRANULARITIES.map((name) => granularity(name, status.granularities[name])),
    system(status),
  );
  if (had) byId("strip-unread").focus();
  fresh();
  const text = status.simulated ? "Simulated market: no real prices." : `Source: ${status.source}.`;
  say(byId("source"), `${text} Database: ${status.database}`);
}

function waiting() {
  return state.trouble ? `⚠ ${state.trouble}` : "Waiting for the server …";
}

function second() {
  for (const [element, text] of counting) say(element, text());
  fresh();
  banner();
}

function fresh() {
  const element = byId("fresh");
  const { looked, connection } = state;
  const age = looked ? (now() - looked) / 1000 : Infinity;
  const stale = (connection.state === "lost" && !connection.polled) || age > STALE;
  element.className = `fresh ${stale ? "is-stale" : "is-live"}`;
  const sign = stale ? "△" : "●";
  const updated = looked ? `updated ${lasted(age)} ago` : "never updated";
  say(element, state.status ? `${sign} ${stale ? "stale, " : ""}${updated}` : "○ connecting");
}

function banner() {
  const element = byId("banner");
  const { state: connection, polled } = state.connection;
  if (connection !== "lost" && !polled) {
    element.hidden = true;
    element.replaceChildren();
    return;
  }
  if (element.hidden || !element.firstChild) {
    put(element, h("p", {}), h("button", { type: "button", onclick: retry }, "Try now"));
    element.hidden = false;
  }
  say(/** @type {Element} */ (element.firstChild), `⚠ ${polled ? ASKED : lost(state.connection)}`);
}

function lost({ since, retryAt }) {
  const left = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
  const text = `Connection lost ${lasted((Date.now() - since) / 1000)} ago. What you see may be old.`;
  return `${text} ${left ? `Trying again in ${left} s.` : "Trying again …"}`;
}

/** Keep the strip up to date. */
export function start() {
  draw();
  on("status", draw);
  on("trouble", () => state.status || draw());
  on("route", (before) => before.zone !== state.route.zone && draw());
  on("alerts-drawn", () => {
    const unread = document.getElementById("strip-unread");
    if (unread) say(unread, String(state.alerts.unread));
  });
  on("second", second);
  on("connection", () => {
    fresh();
    banner();
  });
}
