// Puts the page together: frame, views, the order of the first reads. Everything else has a module of its own.

import { Alerts } from "./alerts.js";
import { start as startBadge } from "./badge.js";
import { Desk } from "./desk.js";
import { byId, h, options, put } from "./dom.js";
import { start as startDrawer } from "./drawer.js";
import { Events } from "./events.js";
import { start as startFeed } from "./feed.js";
import { start as startInbox } from "./inbox.js";
import { start as startLogout } from "./logout.js";
import { start as startNews } from "./news.js";
import { Operations } from "./operations.js";
import { start as startPoll } from "./poll.js";
import { emit, on, state } from "./state.js";
import { start as startStrip } from "./strip.js";
import { start as startTheme } from "./theme.js";
import { ZONES } from "./time.js";
import { follow, go, href, link } from "./url.js";

/** @type {[import("./state.js").Route["view"], string][]} */
const VIEWS = [
  ["chart", "Chart"],
  ["events", "Events"],
  ["alerts", "Alerts"],
  ["operations", "Operations"],
];

function tabs() {
  const tab = byId("tabs").contains(document.activeElement) && document.activeElement?.getAttribute("data-view");
  put(
    byId("tabs"),
    VIEWS.map(([view, text]) =>
      h(
        "a",
        { ...link({ view, event: "" }), "data-view": view, "aria-current": state.route.view === view && "page" },
        text,
        view === "alerts" && state.alerts.unread
          ? h("span", { class: "badge" }, String(state.alerts.unread), h("span", { class: "hidden" }, " unread"))
          : null,
      ),
    ),
  );
  if (tab) /** @type {any} */ (byId("tabs").querySelector(`[data-view=${tab}]`))?.focus();
}

function show() {
  const { view, zone } = state.route;
  for (const [name] of VIEWS) byId(`view-${name}`).hidden = name !== view;
  document.body.dataset.view = view;
  /** @type {any} */ (byId("zone")).value = zone;
  byId("brand").setAttribute("href", href({ view: "chart", event: "" }));
  tabs();
}

function zones() {
  const select = /** @type {HTMLSelectElement} */ (byId("zone"));
  put(select, options(ZONES, state.route.zone));
  select.addEventListener("change", () => go({ zone: /** @type {any} */ (select.value) }, { replace: true }));
}

follow();
startTheme();
zones();
show();
on("route", (before) => {
  show();
  if (before.view !== state.route.view) scrollTo(0, 0);
});
on("alerts-drawn", tabs);
startBadge();
startStrip();
startInbox();
startNews();
const desk = new Desk(byId("view-chart"));
const views = [
  desk,
  new Events(byId("view-events")),
  new Alerts(byId("view-alerts")),
  new Operations(byId("view-operations")),
];
on("route", (before) => before.zone !== state.route.zone && emit("zone"));
startDrawer();

// The first snapshot makes everybody read.
let begun = false;
on("snapshot", () => {
  if (!begun) {
    begun = true;
    for (const view of views) view.show();
  }
});
startFeed();
startPoll();
startLogout();
setInterval(() => emit("second"), 1000);
Object.assign(globalThis, { spike: { chart: desk.chart, state } });
