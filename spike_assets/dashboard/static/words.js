// Why an alert was raised, in a trader's words: the same as in the messages that the channels send.

import { fixed, pair } from "./numbers.js";

/** Rules in a few words. */
export const RULE_WORDS = {
  psychological_level: "round number",
  volume_spike: "volume spike",
  pattern_completion: "pattern",
  simultaneous: "many at once",
};

const SLOTS = { H1: " for the hour", H4: " for the hour", D: " for the weekday", W: "" };

const WORDS = {
  psychological_level: (why) => {
    const away = why.pips.replace(/^-/, "");
    const which = `${why.number} (${why.tier} round number)`;
    if (!/[1-9]/.test(away)) return `${why.position === "stalled" ? "stalled right at" : "right at"} ${which}`;
    if (why.position === "swept") return `swept ${which}, ${away} pips above`;
    const side = why.pips.startsWith("-") ? "below" : "above";
    if (why.position === "stalled") return `stalled ${away} pips ${side} ${which}`;
    return `${away} pips ${side} ${which}, not closed back below`;
  },
  volume_spike: (why, granularity) =>
    `volume ${fixed(why.relative_volume, 1)} × usual${SLOTS[granularity] ?? ""} (z ${fixed(why.volume_z, 1)})`,
  pattern_completion: (why) =>
    `${why.pattern}, the third in a row ${why.pattern.startsWith("HH") ? "higher" : "lower"}`,
  simultaneous: (why, _, members) =>
    `${members.length || "many"} of ${why.of} instruments${why.currency ? `, ${why.currency} in ${why.sharing}` : ""}: ${members.map(pair).join(", ")}`,
};

/**
 * Say a reason.
 * @param {string} rule
 * @param {any} why its numbers, as stored
 * @param {string} granularity
 * @param {string[]} [members]
 */
export function reasonWords(rule, why, granularity, members = []) {
  try {
    return why ? (WORDS[rule]?.(why, granularity, members) ?? "") : "";
  } catch {
    return ""; // a rule whose numbers we do not know
  }
}
