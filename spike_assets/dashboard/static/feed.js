// The live feed: one WebSocket, its sequence numbers, and coming back to it. What the news means is others' business.

import { emit, state } from "./state.js";
import { now, setClock } from "./time.js";
import { signIn } from "./url.js";

const SILENCE = 25_000; // two heartbeats and a half
/** The session is over, or never was. */
const LOG_IN = 1008;
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;

/** @type {WebSocket | null} */
let socket = null;
/** @type {number | null} */
let seq = null;
let tries = 0;
/** When a connection last gave a sign of life, or was begun, by this machine's clock. */
let alive = 0;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/** Connect, and stay connected. */
export function start() {
  connect();
  on(window, "online", retry);
  on(document, "visibilitychange", () => {
    if (document.visibilityState === "visible") retry();
  });
  setInterval(watch, 1000);
}

/** Try again at once, where there is no connection. */
export function retry() {
  if (state.connection.state !== "lost" || socket) return;
  clearTimeout(timer);
  connect();
}

function on(target, name, listener) {
  target.addEventListener(name, listener);
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const mine = new WebSocket(`${scheme}://${location.host}/api/live${seq === null ? "" : `?since=${seq}`}`);
  socket = mine;
  alive = Date.now();
  let opened = false;
  mine.onmessage = (message) => {
    if (socket !== mine) return;
    alive = Date.now();
    tries = 0;
    if (state.connection.state !== "open") connection("open");
    receive(JSON.parse(message.data));
  };
  mine.onopen = () => {
    opened = true;
    // A server that has nothing new to tell says nothing until its heartbeat.
    if (socket === mine && seq !== null) {
      alive = Date.now();
      connection("open");
    }
  };
  mine.onclose = (close) => {
    if (socket !== mine) return;
    socket = null;
    if (close?.code === LOG_IN) signIn();
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** tries) * (0.75 + Math.random() / 2);
    tries += 1;
    connection("lost", Date.now() + wait);
    clearTimeout(timer);
    timer = setTimeout(connect, wait);
    // A refused handshake says nothing: whether we have to log in is told over HTTP.
    if (!opened) fetch("/api/status").then(refused, () => {});
  };
}

/** @param {Response} response */
function refused(response) {
  if (response.status === 401) signIn();
}

/** A connection can die without a word: then nothing comes, not even a heartbeat. */
function watch() {
  if (socket && Date.now() - alive > SILENCE) drop();
}

function drop() {
  const old = socket;
  old?.close();
  // The closing handshake of a dead connection may take minutes.
  if (old && socket === old) /** @type {any} */ (old).onclose();
}

/** @param {import("./state.js").Connection["state"]} to @param {number} [retryAt] */
function connection(to, retryAt = 0) {
  const since = state.connection.state === to ? state.connection.since : Date.now();
  state.connection = { state: to, since, retryAt, polled: to === "lost" && state.connection.polled };
  emit("connection");
}

/**
 * Show everything anew, however it came.
 * @param {{status: any, alerts: any, looked_at?: string | null}} everything
 */
export function begin({ status, alerts, looked_at: looked = status.now }) {
  state.looked = looked && Date.parse(looked);
  tell({ kind: "status", status });
  emit("alerts", { page: alerts });
  emit("snapshot");
}

function receive(frame) {
  switch (frame.type) {
    case "snapshot":
      seq = frame.seq;
      begin(frame);
      break;
    case "delta":
      if (seq === null || frame.seq <= seq) return; // heard before
      if (frame.seq > seq + 1) return drop(); // something is missing: ask for what came since
      seq = frame.seq;
      frame.changes.forEach(tell);
      // A status may say that nothing can be read; whatever else is news was read just now.
      if (frame.changes.some((one) => one.kind !== "status")) state.looked = now();
      emit("batch", frame.changes);
      break;
    case "heartbeat":
      setClock(frame.now);
      state.looked = frame.looked_at && Date.parse(frame.looked_at);
      if (seq !== null && frame.seq > seq) drop();
      break;
    case "reset":
      seq = null; // the snapshot that follows says everything anew
      break;
    default: // a newer server may have more to say
  }
}

function tell(change) {
  if (change.kind === "status") {
    setClock(change.status.now);
    state.status = change.status;
    emit("status");
  } else emit(change.kind, change);
}
