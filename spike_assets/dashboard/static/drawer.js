// The drawer: all that is known of one event. It is open while the address names an event.

import { ApiError, getEvent } from "./api.js";
import { byId, h, put } from "./dom.js";
import { fixed, pair, signed, times, whole } from "./numbers.js";
import { Reading } from "./reading.js";
import { emit, on, state } from "./state.js";
import { moment, zoneName } from "./time.js";
import { go, link } from "./url.js";
import { reasonWords, RULE_WORDS } from "./words.js";

/** How features are put together: name of the column, words, kind of number. @type {[string, [string, string, string][]][]} */
const GROUPS = [
  [
    "Against the level before",
    [
      ["distance", "Distance", "price"],
      ["distance_atr", "Distance", "atr"],
      ["distance_velocity", "Change of distance", "price"],
      ["hours_since_previous", "Since the event before", "hours"],
      ["candles_since_previous", "Candles since", "whole"],
      ["frequency", "Frequency", "text"],
    ],
  ],
  [
    "Pattern",
    [
      ["pattern", "Pattern", "text"],
      ["pattern_run", "In a row", "whole"],
      ["pattern_3", "Last 3, HH = 1", "text"],
      ["pattern_4", "Last 4", "text"],
      ["pattern_5", "Last 5", "text"],
      ["pattern_6", "Last 6", "text"],
    ],
  ],
  [
    "Volume",
    [
      ["relative_volume", "Against its slot", "times"],
      ["volume_z", "Robust z", "two"],
      ["volume_roc", "Change, share", "signed"],
      ["volume_roc_change", "Change of that", "signed"],
      ["volume_trend", "Trend", "text"],
    ],
  ],
  [
    "How dense",
    [
      ["resistances_10", "In 10 candles", "whole"],
      ["resistances_20", "In 20", "whole"],
      ["resistances_30", "In 30", "whole"],
      ["resistances_50", "In 50", "whole"],
    ],
  ],
  [
    "Sequence of the last four distances",
    [
      ["sequence_last", "Last", "atr"],
      ["sequence_count", "How many", "whole"],
      ["sequence_mean", "Mean", "atr"],
      ["sequence_std", "Standard deviation", "atr"],
      ["sequence_change", "Change", "atr"],
      ["sequence_change_rate", "Change, share", "signed"],
      ["sequence_final_velocity", "Final velocity", "atr"],
      ["sequence_acceleration", "Acceleration", "atr"],
      ["sequence_curvature", "Curvature", "two"],
      ["sequence_jerk", "Jerk", "atr"],
      ["sequence_is_accelerating", "Accelerating", "yes"],
      ["sequence_is_geometric_decay", "Geometric decay", "yes"],
      ["sequence_urgency", "Urgency, 1 to 3", "whole"],
      ["sequence_confidence", "Confidence", "two"],
    ],
  ],
];
const KEYS = new Set([
  "instrument",
  "time",
  "event_id",
  "granularity",
  ...GROUPS.flatMap(([, all]) => all.map(([name]) => name)),
]);

/** @type {HTMLElement | null} */
let opener = null;
/** Where the opener is, once it has been drawn anew. */
let openerIs = "";
let shown = "";
/** What is known of the event that is shown. @type {any} */
let known = null;
/** Whether the others still have to be told which event is shown: they go to its candle. */
let pending = false;
let drawn = "";
const reading = new Reading(read, failed);

const FORMS = {
  price: (value, decimals) => signed(value, decimals),
  atr: (value) => (value === null ? "–" : `${signed(value, 2)} ATR`),
  hours: (value) => (value === null ? "–" : `${fixed(value, value < 100 ? 1 : 0)} h`),
  whole,
  times,
  two: (value) => fixed(value, 2),
  signed: (value) => signed(value, 2),
  yes: (value) => (value === null || value === undefined ? "–" : value ? "yes" : "no"),
  text: (value) => value ?? "–",
};

function facts(rows) {
  return h(
    "dl",
    { class: "facts" },
    rows.map(([name, value, title]) => h("div", {}, h("dt", { title }, name), h("dd", {}, value))),
  );
}

function draw(event) {
  const price = (value) => fixed(value, event.decimals);
  const features = event.features ?? {};
  const others = Object.keys(features).filter((name) => !KEYS.has(name));
  replace(
    head(`${pair(event.instrument)} ${event.granularity}`, h("span", { class: "big" }, price(event.level))),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Features", "data-part": "scroll" },
      h(
        "p",
        { class: "lead" },
        `New resistance, candle closed ${moment(event.closed_at)} ${zoneName()}, `,
        event.broken_at ? `broken by the candle of ${moment(event.broken_at)}.` : "not broken yet.",
      ),
      event.suspect && h("p", { class: "warn" }, "? Suspect: one of its candles looks like a bad print."),
      state.route.view !== "chart" &&
        h(
          "p",
          {},
          h(
            "a",
            {
              class: "button",
              "data-part": "chart",
              ...link({
                view: "chart",
                instrument: event.instrument,
                granularity: event.granularity,
                event: event.event_id,
              }),
            },
            "Show in the chart",
          ),
        ),
      event.rules?.length
        ? h("section", { class: "why" }, h("h3", {}, "Significant"), h("ul", {}, reasons(event)))
        : null,
      h("h3", {}, "Candle"),
      facts([
        ["Level", price(event.level)],
        ["Rebound", `${signed(event.rebound_atr, 2)} ATR`],
        ["ATR", price(event.atr)],
        ["Volume", whole(event.volume)],
      ]),
      GROUPS.map(([title, all]) => [
        h("h3", {}, title),
        facts(all.map(([name, text, kind]) => [text, FORMS[kind](features[name] ?? null, event.decimals), name])),
      ]),
      others.length
        ? [
            h("h3", {}, "Others"),
            facts(others.map((name) => [name.replaceAll("_", " "), String(features[name] ?? "–"), name])),
          ]
        : null,
      h("p", { class: "unit" }, "id ", h("code", {}, event.event_id)),
    ),
  );
}

function head(...title) {
  return h(
    "header",
    {},
    h("h2", { id: "drawer-title", tabindex: "-1", "data-part": "title" }, ...title),
    h(
      "button",
      { type: "button", class: "icon close", "aria-label": "Close", "data-part": "close", onclick: close },
      "✕",
    ),
  );
}

/** Put new content in, under whoever reads: where they are, and what they are about to press, stays. */
function replace(...content) {
  const drawer = byId("drawer");
  const place = drawn ? (drawer.querySelector(".scroll")?.scrollTop ?? 0) : 0; // another event begins at its top
  const part = drawer.contains(document.activeElement) && document.activeElement?.getAttribute("data-part");
  put(drawer, ...content);
  const box = drawer.querySelector(".scroll");
  if (box) box.scrollTop = place;
  if (part) focus(part);
}

/** @param {string} part */
function focus(part) {
  const wanted = byId("drawer").querySelector(`[data-part=${part}]`) ?? byId("drawer-title");
  /** @type {HTMLElement} */ (wanted).focus({ preventScroll: true });
}

function reasons(event) {
  return event.rules.map((rule) =>
    h(
      "li",
      {},
      h("span", { class: "chip" }, RULE_WORDS[rule] ?? rule),
      " ",
      reasonWords(rule, event.alert?.reasons?.[rule], event.granularity),
    ),
  );
}

function close() {
  go({ event: "" });
}

function follow() {
  const { event: id } = state.route;
  document.body.classList.toggle("with-drawer", Boolean(id));
  if (!id) {
    leave();
    return;
  }
  if (!shown) remember(/** @type {HTMLElement} */ (document.activeElement));
  if (id === shown) return;
  [shown, known, drawn, pending] = [id, null, "", true];
  reading.anew();
}

function leave() {
  reading.stop();
  const drawer = byId("drawer");
  const held = drawer.contains(document.activeElement);
  drawer.hidden = true;
  if (shown) emit("event", null);
  [shown, known, drawn, pending] = ["", null, "", false];
  const back =
    opener?.isConnected && opener !== document.body ? opener : openerIs && document.querySelector(openerIs);
  if (held) /** @type {HTMLElement} */ (back || byId("main")).focus();
}

/** @param {HTMLElement} element */
function remember(element) {
  opener = element;
  const thing = element.closest("[data-event], [data-alert]");
  const [name, view] = [thing?.hasAttribute("data-event") ? "data-event" : "data-alert", element.closest(".view")];
  openerIs =
    thing && view ? `#${view.id} [${name}="${thing.getAttribute(name)}"] [data-part="${element.dataset.part}"]` : "";
}

async function read(signal) {
  let found;
  try {
    found = await getEvent(shown, signal);
  } catch (error) {
    // It has been corrected away: what is shown of it is not true any more.
    if (error instanceof ApiError && error.status === 404) known = null;
    throw error;
  }
  if (signal.aborted) return;
  known = found;
  update();
}

/** Draw what is known, where it is not what is shown already; and go to its candle, once. */
function update() {
  if (!known) return;
  const { zone, view, instrument, granularity } = state.route;
  const looks = JSON.stringify([known, zone, view]);
  if (looks !== drawn) draw(known);
  drawn = looks;
  byId("drawer").hidden = false;
  if (!pending) return;
  pending = false;
  if (view === "chart" && (instrument !== known.instrument || granularity !== known.granularity)) {
    go({ instrument: known.instrument, granularity: known.granularity }, { replace: true });
  }
  emit("event", known);
  focus("title");
}

/** @param {string} text */
function failed(text) {
  if (!text || known) return;
  drawn = "";
  replace(head("Event"), h("p", { class: "warn" }, text));
  byId("drawer").hidden = false;
}

/** Whether levels that have changed may be those of the event that is shown. */
function concerned(change) {
  const { instrument, granularity } = known ?? {};
  return change.granularity === granularity && change.instruments.includes(instrument);
}

/** Keep the drawer as the address has it. */
export function start() {
  on("route", (before) => {
    follow();
    if (!shown || before.event !== shown) return;
    pending ||= before.view !== state.route.view;
    update();
  });
  on("snapshot", () => shown && reading.again());
  on("levels", (change) => concerned(change) && reading.again());
  addEventListener("keydown", (key) => {
    if (key.key === "Escape" && state.route.event) close();
  });
  follow();
}
