// How many alerts are unread, where one sees it without looking: title and favicon. The list itself is in alerts.js.

import { byId } from "./dom.js";
import { on, state } from "./state.js";

const VIEWS = { chart: "", events: "Events", alerts: "Alerts", operations: "Operations" };

function draw() {
  const { view, instrument, granularity } = state.route;
  const unread = state.alerts.unread;
  const where = VIEWS[view] || [instrument, granularity].filter(Boolean).join(" ");
  document.title = `${unread ? `(${unread}) ` : ""}${where ? `${where} · ` : ""}spike`;
  const icon = unread ? "/static/favicon-unread.svg" : "/static/favicon.svg";
  const link = byId("favicon");
  if (link.getAttribute("href") !== icon) link.setAttribute("href", icon);
}

/** Keep title and favicon up to date. */
export function start() {
  on("alerts-drawn", draw);
  on("route", draw);
  draw();
}
