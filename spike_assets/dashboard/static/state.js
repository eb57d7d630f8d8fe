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
 * @property {number} page
 */

/** @type {{route: Route, status: any, alerts: any, connection: {state: string, since: number, retryAt: number}}} */
export const state = {
  route: /** @type {Route} */ ({}),
  status: null,
  alerts: { alerts: [], total: 0, page: 1, pages: 1, unread: 0 },
  connection: { state: "connecting", since: Date.now(), retryAt: 0 },
};

/** @type {Map<string, Set<(detail: any) => void>>} */
const listeners = new Map();

/**
 * Be told of something: `route`, `status`, `alerts`, `candles`, `levels`, `events`, `pass`, `snapshot`, `connection`,
 * `second` or `theme`.
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

/** Give how many decimals an instrument's prices have. @param {string} instrument */
export function decimalsOf(instrument) {
  return state.status?.instruments.find((one) => one.name === instrument)?.decimals ?? 5;
}

/** Give the names of the instruments, in their order. @returns {string[]} */
export function instruments() {
  return state.status ? state.status.instruments.map((one) => one.name) : [];
}

export const GRANULARITIES = ["H1", "H4", "D", "W"];

/** How long a candle is, in seconds. */
export const SECONDS = { H1: 3600, H4: 14400, D: 86400, W: 604800 };
