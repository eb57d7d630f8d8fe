// Where the live feed does not come through (a proxy without WebSockets), plain HTTP brings the same, less often.

import { getAlerts, getStatus } from "./api.js";
import { begin, retry } from "./feed.js";
import { emit, on, state } from "./state.js";

/** How long is waited for the feed at first, and how often is asked while it is away, in milliseconds. */
const FIRST = 1500;
export const EVERY = 15_000;

let next = Date.now() + FIRST;

async function ask() {
  try {
    const [status, alerts] = await Promise.all([getStatus(), getAlerts({})]);
    if (!away()) return; // what the feed brings is newer
    told("", true);
    begin({ status, alerts });
    retry(); // the server is there: perhaps its feed is, too
  } catch (error) {
    if (away()) told(/** @type {Error} */ (error).message, false);
  }
}

function away() {
  return state.connection.state !== "open";
}

/** @param {string} trouble @param {boolean} polled */
function told(trouble, polled) {
  state.trouble = trouble;
  emit("trouble");
  const { since, state: connection, polled: before } = state.connection;
  // A feed that only takes its time to begin is not told of.
  const instead = polled && (connection === "lost" || Date.now() - since > EVERY);
  if (instead === before) return;
  state.connection = { ...state.connection, polled: instead };
  emit("connection");
}

/** Ask while the feed is away. */
export function start() {
  on("second", () => {
    if (!away()) next = Date.now() + EVERY;
    if (Date.now() < next) return;
    next = Date.now() + EVERY;
    ask();
  });
}
