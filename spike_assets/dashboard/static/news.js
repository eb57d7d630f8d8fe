// What the live feed brings, said to a screen reader: once a batch, and never so often that it has no end.

import { arrived } from "./age.js";
import { announce } from "./dom.js";
import { count, fixed, pair } from "./numbers.js";
import { on, state } from "./state.js";
import { now } from "./time.js";

/** While news keep coming they are said together, every so many milliseconds. */
const PAUSE = 10_000;
/** An alert that closed longer ago is no news: acknowledging and deliveries change alerts, too. */
const RECENT = 15 * 60_000;

let events = new Map();
let alerts = new Map();
let saidAt = -Infinity;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let later;

function note(changes) {
  for (const change of changes) {
    if (change.kind === "events") for (const one of change.events) events.set(one.event_id, one);
    if (change.kind !== "alerts") continue;
    for (const one of change.alerts) {
      if (!one.acknowledged_at && now() - Date.parse(one.closed_at) < RECENT) alerts.set(one.alert_id, one);
    }
  }
  clearTimeout(later);
  const wait = saidAt + PAUSE - performance.now();
  if (wait > 0) later = setTimeout(say, wait);
  else say();
}

function say() {
  if (!events.size && !alerts.size) return;
  const said = [];
  for (const granularity of new Set([...events.values()].map((one) => one.granularity))) {
    const names = [...events.values()]
      .filter((one) => one.granularity === granularity)
      .map((one) => `${pair(one.instrument)} ${fixed(one.level, one.decimals)}`);
    const more = names.length > 4 ? " and more" : "";
    said.push(`${granularity}: ${count(names.length, "new resistance")}: ${names.slice(0, 4).join(", ")}${more}`);
  }
  const texts = [...alerts.values()].map((one) => one.text);
  if (texts.length) said.push(`${count(texts.length, "alert")}: ${texts.slice(0, 3).join(", ")}`);
  [events, alerts] = [new Map(), new Map()];
  saidAt = performance.now();
  announce(`${said.join(". ")}.`);
}

const CONNECTIONS = {
  open: "Connected again.",
  lost: "Connection lost. What you see may be old.",
  polled: "The live feed does not get through. All is asked for now and then instead.",
};
let connected = "open";
let healthy = true;

/** Say how the connection stands, each time that it stands otherwise; the first one is no news. */
function connection() {
  const stands = state.connection.polled ? "polled" : state.connection.state;
  if (stands === "connecting" || stands === connected) return;
  connected = stands;
  announce(CONNECTIONS[stands]);
}

function health() {
  if (state.status.healthy === healthy) return;
  healthy = state.status.healthy;
  announce(healthy ? "Healthy again." : `Degraded: ${state.status.reasons.join("; ")}.`);
}

/** Follow the live feed. */
export function start() {
  on("connection", connection);
  on("status", health);
  on("events", (change) => arrived(change.events.map((one) => one.event_id)));
  on("batch", note);
}
