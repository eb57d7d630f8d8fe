// The newest alerts, whatever any filter says: kept up to date by the live feed, and how many of them are unread.

import { arrived } from "./age.js";
import { getAlerts } from "./api.js";
import { Reading } from "./reading.js";
import { emit, on, state } from "./state.js";

const SIZE = 50;
/** So many are kept as they come in; older ones are asked for. */
const MOST = 200;

const reading = new Reading(
  async (signal) => {
    const found = await getAlerts({}, signal);
    if (signal.aborted) return;
    state.alerts = found;
    emit("alerts-anew");
    emit("alerts-drawn");
  },
  () => {}, // it is read again with the next news, at the latest with the next snapshot
);

/** By time, then by id: as the server sorts. */
function order(a, b) {
  const [one, other] = [a.closed_at + a.alert_id, b.closed_at + b.alert_id];
  return one < other ? -1 : Number(one > other);
}

function merge(change) {
  if (change.page) {
    state.alerts = change.page;
    emit("alerts-anew");
  } else {
    const by = new Map(state.alerts.alerts.map((one) => [one.alert_id, one]));
    arrived(change.alerts.filter((one) => !by.has(one.alert_id)).map((one) => one.alert_id));
    for (const one of change.alerts) by.set(one.alert_id, one);
    for (const id of change.removed) by.delete(id);
    const alerts = [...by.values()].sort((a, b) => order(b, a)).slice(0, MOST);
    const total = change.total ?? state.alerts.total;
    const pages = Math.max(1, Math.ceil(total / SIZE));
    state.alerts = { ...state.alerts, alerts, total, pages, unread: change.unread };
    // More has changed than was told: read the first page, and whoever shows older ones reads these.
    if (change.again) reading.again();
  }
  emit("alerts-drawn");
}

/** Follow the live feed. */
export function start() {
  on("alerts", merge);
  on("status", () => emit("alerts-drawn"));
}
