// What is young, and so highlighted: by the market's own time, and by when it came to this page.

import { SECONDS, state } from "./state.js";
import { now } from "./time.js";

/** For so long what has just come is marked as such, in milliseconds. */
const JUST_FOR = 8_000;

/** @type {Map<string, number>} when what came, by id */
const came = new Map();

/**
 * Give the time that a granularity is at, in milliseconds: while what was missed is caught up with, that of its newest
 * candle; else the time of day.
 * @param {string} granularity
 */
export function marketTime(granularity) {
  const closed = state.status?.granularities[granularity]?.last_candle_closed_at;
  return state.status?.catching_up?.length && closed ? Date.parse(closed) : now();
}

/** Tell whether an event is younger than one candle. @param {{granularity: string, closed_at: string}} event */
export function isFresh(event) {
  return marketTime(event.granularity) - Date.parse(event.closed_at) < SECONDS[event.granularity] * 1000;
}

/** Tell whether nobody has seen an alert, by the server's rule. @param {import("./api.js").Alert} alert */
export function isUnread(alert) {
  return !alert.acknowledged_at && now() - Date.parse(alert.closed_at) <= state.alerts.unread_hours * 3600_000;
}

/** Note what has just come. @param {string[]} ids */
export function arrived(ids) {
  const at = Date.now();
  for (const [id, since] of came) if (at - since > JUST_FOR) came.delete(id);
  for (const id of ids) if (!came.has(id)) came.set(id, at);
}

/** Tell whether something has only just come. @param {string} id */
export function justCame(id) {
  return Date.now() - (came.get(id) ?? 0) < JUST_FOR;
}
