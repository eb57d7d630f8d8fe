// The live feed: one WebSocket, its sequence numbers, and coming back to it. What the news means is others' business.

import { emit, state } from "./state.js";
import { setClock } from "./time.js";
import { signIn } from "./url.js";

const SILENCE = 25_000; // two heartbeats and a half
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;

/** @type {WebSocket | null} */
let socket = null;
/** @type {number | null} */
let seq = null;
let tries = 0;
let heard = 0;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/** Give when the last frame came, in milliseconds by this machine's clock; 0 before the first. */
export function lastHeard() {
  return heard;
}

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
  if (state.connection.state !== "lost") return;
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
  heard = heard || Date.now();
  let opened = false;
  mine.onmessage = (message) => {
    if (socket !== mine) return;
    heard = Date.now();
    tries = 0;
    if (state.connection.state !== "open") connection("open");
    receive(JSON.parse(message.data));
  };
  mine.onopen = () => {
    opened = true;
    // A server that has nothing new to tell says nothing until its heartbeat.
    if (socket === mine && seq !== null) {
      heard = Date.now();
      connection("open");
    }
  };
  mine.onclose = () => {
    if (socket !== mine) return;
    socket = null;
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
  if (socket && Date.now() - heard > SILENCE) drop();
}

function drop() {
  const old = socket;
  heard = Date.now();
  old?.close();
  // The closing handshake of a dead connection may take minutes.
  if (old && socket === old) /** @type {any} */ (old).onclose();
}

/** @param {string} to @param {number} [retryAt] */
function connection(to, retryAt = 0) {
  const since = state.connection.state === to ? state.connection.since : Date.now();
  state.connection = { state: to, since, retryAt };
  emit("connection");
}

function receive(frame) {
  switch (frame.type) {
    case "snapshot":
      seq = frame.seq;
      tell({ kind: "status", status: frame.status });
      emit("alerts", { page: frame.alerts });
      emit("snapshot");
      break;
    case "delta":
      if (seq === null || frame.seq <= seq) return; // heard before
      if (frame.seq > seq + 1) return drop(); // something is missing: ask for what came since
      seq = frame.seq;
      frame.changes.forEach(tell);
      emit("batch", frame.changes);
      break;
    case "heartbeat":
      setClock(frame.now);
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
