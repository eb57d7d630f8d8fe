// A list of alerts: reasons, who was told, what is unread, and how one acknowledges. Which alerts, others say.

import { isUnread, justCame } from "./age.js";
import { acknowledge, acknowledgeAll } from "./api.js";
import { announce, byId, h, Kept, say } from "./dom.js";
import { count, fixed, pair } from "./numbers.js";
import { on, state } from "./state.js";
import { brief, moment } from "./time.js";
import { go, link } from "./url.js";
import { reasonWords, RULE_WORDS } from "./words.js";

/** How a delivery stands: sign, words, class. @param {import("./api.js").Delivery} one */
function delivery(one) {
  if (one.status === "silenced") return ["⊘", "silenced", ""];
  if (one.status === "missed") return ["↷", "missed, in a summary", ""];
  if (one.delivery_status === "dead") return ["✕", "not delivered", "bad"];
  if (one.delivery_status === "sent") return ["✓", "sent", "good"];
  return ["…", "waiting", ""];
}

function told(alert) {
  if (!alert.deliveries.length) return h("p", { class: "told" }, "no channel was told");
  return h(
    "ul",
    { class: "told", "aria-label": "Deliveries" },
    alert.deliveries.map((one) => {
      const [sign, text, kind] = delivery(one);
      const title = one.error ?? (one.sent_at ? moment(one.sent_at) : "");
      return h(
        "li",
        { class: kind, title },
        h("span", { "aria-hidden": "true" }, sign),
        ` ${one.channel} ${text}`,
        one.error && kind === "bad" && `: ${one.error}`,
      );
    }),
  );
}

/** Do something that changes the server, and say what it refused. */
export async function act(button, what) {
  button.disabled = true;
  try {
    await what();
  } catch (error) {
    announce(/** @type {Error} */ (error).message);
    for (const note of document.querySelectorAll(".alerts-note")) say(note, /** @type {Error} */ (error).message);
  } finally {
    button.disabled = false;
  }
}

/**
 * Make the button that acknowledges everything; it is there while anything is unread.
 * @param {() => import("./api.js").Alert[]} known the alerts that one could have seen: no others are acknowledged
 */
export function acknowledgesAll(known) {
  const everything = async () => {
    const seen = new Set(known().filter(isUnread).map((one) => one.alert_id));
    if (seen.size) await acknowledgeAll([...seen]);
    else go({ view: "alerts", alert_state: "unread", event: "" }); // they are older than what is shown: look at them
  };
  const button = /** @type {HTMLButtonElement} */ (
    h(
      "button",
      { type: "button", class: "quiet", onclick: (click) => act(click.currentTarget, everything) },
      "Acknowledge all",
    )
  );
  const show = () => {
    button.hidden = !state.alerts.unread || !state.status?.may_write;
  };
  on("alerts-drawn", show);
  show();
  return button;
}

/** One list. */
export class AlertList {
  /** @type {import("./api.js").Alert[]} */
  #alerts = [];
  #drawn = "";
  #empty = "";

  /** @param {HTMLElement} list */
  constructor(list) {
    this.list = list;
    this.kept = new Kept(list);
  }

  /** @param {import("./api.js").Alert[]} alerts @param {string} empty what is said where there are none */
  draw(alerts, empty) {
    this.#alerts = alerts;
    this.#empty = empty;
    const focused = this.list.contains(document.activeElement) ? document.activeElement : null;
    const had = focused && [focused.closest("li.alert")?.getAttribute("data-alert"), focused.getAttribute("data-part")];
    const looks = alerts.map((alert) => look(alert));
    this.#drawn = String(looks);
    this.kept.draw(
      alerts.length
        ? alerts.map((alert, i) => [alert.alert_id, JSON.stringify([alert, looks[i]]), () => item(alert)])
        : [["", empty, () => h("li", { class: "none" }, empty)]],
    );
    if (!had || focused?.isConnected) return;
    const again = /** @type {any} */ (
      this.list.querySelector(`[data-alert="${had[0]}"] [data-part="${had[1]}"]`) ??
        this.list.querySelector(`[data-alert="${had[0]}"] [data-part]`)
    );
    (again ?? byId("main")).focus();
  }

  /** Draw again where something has grown old. */
  age() {
    if (this.#drawn !== String(this.#alerts.map((alert) => look(alert)))) this.draw(this.#alerts, this.#empty);
  }
}

/** What of an item goes by more than its alert. */
function look(alert) {
  const may = Boolean(state.status?.may_write);
  return [isUnread(alert), justCame(alert.alert_id), may, brief(alert.closed_at), state.route.zone].join(" ");
}

/** Where an alert is about: its candle, or the events of a group. @returns {any} */
function place(alert) {
  if (alert.instrument !== "*") {
    const { instrument, granularity, event_id: event } = alert;
    return { view: "chart", instrument, granularity, event: event ?? "" };
  }
  const all = { only: "", rule: "", pattern: "", suspect: "", event: "", page: 1, sort: "-closed_at" };
  return { view: "events", granularity: alert.granularity, since: alert.closed_at, ...all };
}

function item(alert) {
  const unread = isUnread(alert);
  return h(
    "li",
    { class: ["alert", unread && "unread", justCame(alert.alert_id) && "arrived"], "data-alert": alert.alert_id },
    h(
      "div",
      { class: "alert-head" },
      unread && h("span", { class: "dot" }, h("span", { class: "hidden" }, "Unread. ")),
      h(
        "a",
        { ...link(place(alert)), class: "what", "data-part": "link" },
        pair(alert.instrument),
        alert.level !== null && h("span", { class: "big" }, ` ${fixed(alert.level, alert.decimals ?? 5)}`),
      ),
      h(
        "span",
        { class: "when", title: moment(alert.closed_at) },
        `${alert.granularity} closed ${brief(alert.closed_at)}`,
      ),
    ),
    h("ul", { class: "why" }, reasons(alert)),
    alert.instrument !== "*" &&
      alert.members.length > 0 &&
      h("p", { class: "with" }, `With ${count(alert.members.length, "other instrument")} at once`),
    h("div", { class: "alert-foot" }, told(alert), seen(alert, unread)),
  );
}

function reasons(alert) {
  const members = alert.instrument === "*" ? alert.members : [];
  return alert.rules.map((rule) =>
    h(
      "li",
      {},
      h("span", { class: "chip" }, RULE_WORDS[rule] ?? rule),
      " ",
      reasonWords(rule, alert.reasons[rule], alert.granularity, members) || alert.text,
    ),
  );
}

function seen(alert, unread) {
  if (!unread) return alert.acknowledged_at && h("span", { class: "seen" }, "✓ read");
  return (
    state.status?.may_write &&
    h(
      "button",
      {
        type: "button",
        class: "quiet",
        "data-part": "ack",
        "aria-label": `Acknowledge ${alert.text}`,
        onclick: (click) => act(click.currentTarget, () => acknowledge(alert.alert_id)),
      },
      "Acknowledge",
    )
  );
}
