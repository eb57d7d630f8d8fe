// What every part of the page knows, and how a change reaches those who show it. Nothing here draws or fetches.

/**
 * @typedef {object} Route what the address says
 * @property {"chart" | "events" | "alerts" | "operations"} view
 * @property {string} instrument
 * @property {string} granularity
 * @property {string} event the event whose drawer is open, or nothing
 * @property {"utc" | "ny" | "local"} zone
 * @property {string} only the events table's instrument, or nothing for all
 * @property {string} pattern
 * @property {string} rule
 * @property {string} since
 * @property {string} suspect
 * @property {string} sort
 * @property {number} page of the events table
 * @property {string} alert_granularity the alerts' filter
 * @property {string} alert_instrument
 * @property {string} alert_rule
 * @property {string} alert_state
 */

/**
 * @typedef {object} Connection of the live feed
 * @property {"connecting" | "open" | "lost"} state
 * @property {number} since
 * @property {number} retryAt
 * @property {boolean} polled whether plain HTTP brings what the feed does not
 */

/**
 * `looked` is when the server last read its store, in milliseconds by its clock; null where it never could. `trouble`
 * is what it answered instead of a status.
 * @type {{route: Route, status: any, alerts: any, connection: Connection, looked: number | null | undefined,
 *   trouble: string}}
 */
export const state = {
  route: /** @type {Route} */ ({}),
  status: null,
  alerts: { alerts: [], total: 0, page: 1, pages: 1, unread: 0, unread_hours: 24 },
  connection: { state: "connecting", since: Date.now(), retryAt: 0, polled: false },
  looked: undefined,
  trouble: "",
};

/** @type {Map<string, Set<(detail: any) => void>>} */
const listeners = new Map();

/**
 * Be told of something: what the feed brings by its kind (`status`, `alerts`, `candles`, `levels`, `events`, `pass`), a
 * whole `batch` of it or a `snapshot`; `route`, `zone`, `connection`, `trouble`,
 * `second`, `theme`; what somebody has drawn.
 * @param {string} topic
 * @param {(detail: any) => void} listener
 */
export function on(topic, listener) {
  if (!listeners.has(topic)) listeners.set(topic, new Set());
  listeners.get(topic)?.add(listener);
}

/**
 * Tell everybody who listens. One who fails does not keep the news from the others.
 * @param {string} topic
 * @param {any} [detail]
 */
export function emit(topic, detail) {
  for (const listener of listeners.get(topic) ?? []) {
    try {
      listener(detail);
    } catch (error) {
      reportError(error);
    }
  }
}

/** Give the names of the instruments, in their order. @returns {string[]} */
export function instruments() {
  return state.status ? state.status.instruments.map((one) => one.name) : [];
}

export const GRANULARITIES = ["H1", "H4", "D", "W"];

/** How long a candle is, in seconds. */
export const SECONDS = { H1: 3600, H4: 14400, D: 86400, W: 604800 };
