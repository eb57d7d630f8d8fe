// Times and lengths of time in words, in the zone that was chosen, by the server's clock. Nothing here is drawn.

import { state } from "./state.js";

/** @type {[string, string][]} */
export const ZONES = [
  ["utc", "UTC"],
  ["ny", "New York"],
  ["local", "Local"],
];

let ahead = 0;

/** Set the clock by the server's. @param {string | undefined} now */
export function setClock(now) {
  if (now) ahead = Date.parse(now) - Date.now();
}

/** Give the time now, by the server's clock, in milliseconds. */
export function now() {
  return Date.now() + ahead;
}

const NAMES = { utc: "UTC", ny: "America/New_York", local: undefined };
/** @type {Map<string, Intl.DateTimeFormat>} */
const formats = new Map();

/**
 * Give the parts of a time in the chosen zone.
 * @param {string | number} time ISO, or milliseconds
 * @returns {Record<string, string>}
 */
export function parts(time) {
  const zone = state.route.zone ?? "utc";
  let format = formats.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat("en-GB", {
      timeZone: NAMES[zone],
      hourCycle: "h23",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      weekday: "short",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
    });
    formats.set(zone, format);
  }
  return Object.fromEntries(format.formatToParts(new Date(time)).map((part) => [part.type, part.value]));
}

/** Give a time: `2025-11-19 15:00`. @param {string | number | null} time */
export function moment(time) {
  if (time === null || time === undefined) return "–";
  const p = parts(time);
  return `${p.year}-${p.month}-${p.day} ${p.hour}:${p.minute}`;
}

/** Give a time as short as today allows: `15:00`, `Tue 15:00`, `11-03 15:00`. @param {string | number | null} time */
export function brief(time) {
  if (time === null || time === undefined) return "–";
  const [p, today] = [parts(time), parts(now())];
  const age = now() - Number(new Date(time));
  if (p.day === today.day && p.month === today.month && p.year === today.year) return `${p.hour}:${p.minute}`;
  if (Math.abs(age) < 6 * 86400_000) return `${p.weekday} ${p.hour}:${p.minute}`;
  return p.year === today.year ? `${p.month}-${p.day} ${p.hour}:${p.minute}` : `${p.year}-${p.month}-${p.day}`;
}

/** Give what the chosen zone is called. */
export function zoneName() {
  return Object.fromEntries(ZONES)[state.route.zone ?? "utc"].replace("Local", "local time");
}

/** Give a length of time, roughly: `4 s`, `12 min`, `3 h 05 min`, `2 d 4 h`. @param {number} seconds */
export function lasted(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/** Give how long ago a time was. @param {string | null} time */
export function ago(time) {
  if (!time) return "never";
  const seconds = (now() - Date.parse(time)) / 1000;
  if (seconds < 3600) return `${lasted(seconds)} ago`;
  return seconds < 86400 ? `${Math.floor(seconds / 3600)} h ago` : `${Math.floor(seconds / 86400)} d ago`;
}

/** Give a countdown: `0:54:12`, `2 d 05:54:12`; `now` when it is over. @param {string} time */
export function countdown(time) {
  const left = Math.ceil((Date.parse(time) - now()) / 1000);
  if (left <= 0) return "now";
  const two = (n) => String(n).padStart(2, "0");
  const [days, hours] = [Math.floor(left / 86400), Math.floor((left % 86400) / 3600)];
  const rest = `${two(Math.floor((left % 3600) / 60))}:${two(left % 60)}`;
  return days ? `${days} d ${two(hours)}:${rest}` : `${hours}:${rest}`;
}

/** Give a time as charts want it: seconds. @param {string} time */
export function seconds(time) {
  return Date.parse(time) / 1000;
}

/** Give what `seconds` was made of. @param {number} at */
export function isoOf(at) {
  return new Date(at * 1000).toISOString().replace(".000Z", "Z");
}
