// Numbers in the words of traders: prices, volumes, multiples. Times are in time.js.

const MINUS = "−";

/** Write a number with so many decimals, with a true minus. @param {number | null | undefined} value @param {number} decimals */
export function fixed(value, decimals) {
  if (value === null || value === undefined) return "–";
  const text = Math.abs(value).toFixed(decimals);
  return value < 0 && Number(text) !== 0 ? MINUS + text : text;
}

/** Write a whole number with thin groups. @param {number | null | undefined} value */
export function whole(value) {
  return value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en-US");
}

/** Write a multiple: `1.8 ×`. @param {number | null | undefined} value */
export function times(value) {
  return value === null || value === undefined ? "–" : `${fixed(value, 1)} ×`;
}

/** Write with a sign: `+0.53`. @param {number | null | undefined} value @param {number} decimals */
export function signed(value, decimals) {
  return value !== null && value !== undefined && value > 0 ? `+${fixed(value, decimals)}` : fixed(value, decimals);
}

/** Write an instrument as people do: `EUR/USD`. @param {string} name */
export function pair(name) {
  return name === "*" ? "Many at once" : name.replace("_", "/");
}

/** Count things: `1 event`, `3 events`. @param {number} n @param {string} what */
export function count(n, what) {
  return `${whole(n)} ${what}${n === 1 ? "" : what.endsWith("s") ? "es" : "s"}`;
}
