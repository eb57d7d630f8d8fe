// The HTTP interface: what can be asked for and what comes back. Nothing here keeps or shows anything.

import { signIn } from "./url.js";

/**
 * @typedef {{time: string, open: number, high: number, low: number, close: number, volume: number, atr: number | null,
 *   relative_volume: number | null, suspect: boolean}} Candle
 * @typedef {{event_id: string, time: string, closed_at: string, level: number, broken_at: string | null,
 *   suspect: boolean, pattern: string | null}} Level
 * @typedef {{event_id: string, instrument: string, granularity: string, time: string, closed_at: string, level: number,
 *   decimals: number, atr: number, rebound_atr: number, volume: number, relative_volume: number | null,
 *   volume_z: number | null, pattern: string | null, pattern_run: number | null, distance_atr: number | null,
 *   suspect: boolean, rules: string[]}} Event
 * @typedef {{channel: string, status: string, delivery_status: string | null, sent_at: string | null,
 *   error: string | null}} Delivery
 * @typedef {{alert_id: string, event_id: string | null, instrument: string, granularity: string, time: string,
 *   closed_at: string, level: number | null, decimals: number | null, rules: string[], reasons: Record<string, any>,
 *   members: string[], text: string, acknowledged_at: string | null, deliveries: Delivery[]}} Alert
 * @typedef {{pass_id: string, granularity: string, trigger: string, status: string, window_start: string | null,
 *   window_end: string | null, started_at: string, ended_at: string, candles: number, events: number,
 *   quarantined: number, stages: Record<string, number>, error: string | null, run_url: string | null}} Pass
 */

/** What the server did not do, in its own words. */
export class ApiError extends Error {
  /** @param {number} status @param {string} text */
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/**
 * @param {string} path
 * @param {RequestInit} [how]
 * @returns {Promise<any>}
 */
async function request(path, how) {
  const response = await reach(path, how);
  if (response.status === 401) signIn();
  if (!response.ok) await refused(response);
  return response.status === 204 ? null : response.json();
}

/** @param {string} path @param {RequestInit} [how] */
async function reach(path, how) {
  try {
    return await fetch(path, how);
  } catch (error) {
    if (/** @type {Error} */ (error).name === "AbortError") throw error;
    throw new ApiError(0, "The server cannot be reached.");
  }
}

/** @param {Response} response @returns {Promise<never>} */
async function refused(response) {
  const told = await response.json().catch(() => ({}));
  throw new ApiError(response.status, told.error ?? `The server answers ${response.status}.`);
}

/** Write a query; what is empty is left out. @param {Record<string, any>} wanted */
export function query(wanted) {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(wanted)) {
    if (value !== "" && value !== null && value !== undefined) found.set(name, String(value));
  }
  return found.toString();
}

/** @param {Record<string, any>} wanted @param {AbortSignal} [signal] */
export const getCandles = (wanted, signal) => request(`/api/candles?${query(wanted)}`, { signal });
/** @param {Record<string, any>} wanted @param {AbortSignal} [signal] */
export const getLevels = (wanted, signal) => request(`/api/levels?${query(wanted)}`, { signal });
/** @param {Record<string, any>} wanted @param {AbortSignal} [signal] */
export const getEvents = (wanted, signal) => request(`/api/events?${query(wanted)}`, { signal });
/** @param {string} id @param {AbortSignal} [signal] */
export const getEvent = (id, signal) => request(`/api/events/${encodeURIComponent(id)}`, { signal });
/** @param {Record<string, any>} wanted @param {AbortSignal} [signal] */
export const getAlerts = (wanted, signal) => request(`/api/alerts?${query(wanted)}`, { signal });
export const getStatus = () => request("/api/status");
export const getPasses = () => request("/api/passes?limit=100");
export const getOperations = () => request("/api/operations");

/** Tell whether who comes without a session is asked for the token. */
export async function needsLogin() {
  try {
    // Whoever needs none is sent on from the form.
    return (await fetch("/login", { credentials: "omit", redirect: "manual" })).ok;
  } catch {
    return false;
  }
}

const WRITE = { method: "POST", headers: { "X-Spike": "1" } };
/** So many alerts are acknowledged by one request. */
const MOST_IDS = 500;

/** @param {object} body */
const written = (body) => ({
  ...WRITE,
  headers: { ...WRITE.headers, "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

/** End the session. */
export async function logOut() {
  const response = await reach("/logout", { ...WRITE, redirect: "manual" });
  // It leads to the login form, where the caller goes.
  if (response.type !== "opaqueredirect") await refused(response);
}

/** @param {string} id */
export const acknowledge = (id) => request(`/api/alerts/${encodeURIComponent(id)}/acknowledge`, WRITE);
/** @param {string[]} ids */
export async function acknowledgeAll(ids) {
  for (let at = 0; at < ids.length; at += MOST_IDS) {
    await request("/api/alerts/acknowledge", written({ alert_ids: ids.slice(at, at + MOST_IDS) }));
  }
}
/** @param {string} instrument @param {string} length */
export const silence = (instrument, length) =>
  request("/api/silences", written({ instrument, for: length }));
/** @param {string} instrument */
export const endSilence = (instrument) =>
  request(`/api/silences/${encodeURIComponent(instrument)}`, { ...WRITE, method: "DELETE" });
