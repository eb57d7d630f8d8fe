// The feed of alerts: reasons, who was told, what is unread, silences. How many are unread elsewhere is badge.js.

import { acknowledge, acknowledgeAll, endSilence, getAlerts, getSilences, silence } from "./api.js";
import { announce, byId, h, options, put, say } from "./dom.js";
import { RULE_WORDS } from "./events.js";
import { count, fixed, pair } from "./numbers.js";
import { emit, instruments, on, state } from "./state.js";
import { brief, moment, now } from "./time.js";
import { link } from "./url.js";
import { reasonWords } from "./words.js";

/** For so long after its candle closed an alert that nobody acknowledged is unread, as the server counts; then it is history. */
const UNREAD_FOR = 24 * 3600_000;

/** @param {import("./api.js").Alert} alert */
function isUnread(alert) {
  return !alert.acknowledged_at && now() - Date.parse(alert.closed_at) < UNREAD_FOR;
}

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

/** One list of alerts. */
class Feed {
  /** @param {HTMLElement} list @param {number} most */
  constructor(list, most) {
    this.list = list;
    this.most = most;
  }

  /** @param {import("./api.js").Alert[]} alerts */
  draw(alerts) {
    const focused = this.list.contains(document.activeElement) ? document.activeElement : null;
    const had = focused && [focused.closest("li.alert")?.getAttribute("data-alert"), focused.getAttribute("data-part")];
    put(
      this.list,
      alerts.slice(0, this.most).map((alert) => this.item(alert)),
      !alerts.length && h("li", { class: "none" }, "No alerts yet."),
    );
    if (!had) return;
    const again = /** @type {any} */ (
      this.list.querySelector(`[data-alert="${had[0]}"] [data-part="${had[1]}"]`) ??
        this.list.querySelector(`[data-alert="${had[0]}"] [data-part]`)
    );
    (again ?? byId("main")).focus();
  }

  item(alert) {
    const unread = isUnread(alert);
    const group = alert.instrument === "*";
    const there = group
      ? {
          view: "events",
          granularity: alert.granularity,
          only: "",
          rule: "",
          pattern: "",
          suspect: "",
          since: alert.closed_at,
          event: "",
          page: 1,
          sort: "-closed_at",
        }
      : { view: "chart", instrument: alert.instrument, granularity: alert.granularity, event: alert.event_id ?? "" };
    return h(
      "li",
      { class: ["alert", unread && "unread"], "data-alert": alert.alert_id },
      h(
        "div",
        { class: "alert-head" },
        unread && h("span", { class: "dot" }, h("span", { class: "hidden" }, "Unread. ")),
        h(
          "a",
          { ...link(/** @type {any} */ (there)), class: "what", "data-part": "link" },
          pair(alert.instrument),
          alert.level !== null && h("span", { class: "big" }, ` ${fixed(alert.level, alert.decimals ?? 5)}`),
        ),
        h(
          "span",
          { class: "when", title: `${moment(alert.closed_at)}` },
          `${alert.granularity} closed ${brief(alert.closed_at)}`,
        ),
      ),
      h(
        "ul",
        { class: "why" },
        alert.rules.map((rule) =>
          h(
            "li",
            {},
            h("span", { class: "chip" }, RULE_WORDS[rule] ?? rule),
            " ",
            reasonWords(rule, alert.reasons[rule], alert.granularity, group ? alert.members : []) || alert.text,
          ),
        ),
      ),
      !group &&
        alert.members.length > 0 &&
        h("p", { class: "with" }, `With ${count(alert.members.length, "other instrument")} at once`),
      h(
        "div",
        { class: "alert-foot" },
        told(alert),
        unread
          ? state.status?.may_write &&
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
          : alert.acknowledged_at && h("span", { class: "seen" }, "✓ read"),
      ),
    );
  }
}

/** Do something that changes the server, and say what it refused. */
async function act(button, what) {
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

function merge(change) {
  const { alerts } = state;
  if (change.page) {
    state.alerts = change.page;
  } else {
    const by = new Map(alerts.alerts.map((one) => [one.alert_id, one]));
    for (const one of change.alerts) by.set(one.alert_id, one);
    for (const id of change.removed) by.delete(id);
    const rows = [...by.values()].sort((a, b) => order(b, a));
    state.alerts = { ...alerts, alerts: rows, unread: change.unread };
  }
  drawAll();
}

/** By time, then by id: as the server sorts. */
function order(a, b) {
  const [one, other] = [a.closed_at + a.alert_id, b.closed_at + b.alert_id];
  return one < other ? -1 : Number(one > other);
}

function drawAll() {
  emit("alerts-drawn");
}

/** The unread button and list beside the chart. @param {HTMLElement} element */
export function beside(element) {
  const list = h("ul", { class: "feed" });
  const title = h("h2", {}, "Alerts ");
  put(
    element,
    h("header", {}, title, all()),
    h("p", { class: "alerts-note warn" }),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Newest alerts" }, list),
  );
  const feed = new Feed(list, 30);
  const draw = () => {
    put(
      title,
      "Alerts ",
      state.alerts.unread
        ? h("span", { class: "badge" }, String(state.alerts.unread), h("span", { class: "hidden" }, " unread"))
        : null,
    );
    feed.draw(state.alerts.alerts);
  };
  on("alerts-drawn", draw);
  on("zone", draw);
}

function all() {
  const button = h(
    "button",
    { type: "button", class: "quiet", onclick: (click) => act(click.currentTarget, acknowledgeAll) },
    "Acknowledge all",
  );
  const show = () => {
    button.hidden = !state.alerts.unread || !state.status?.may_write;
  };
  on("alerts-drawn", show);
  on("status", show);
  show();
  return button;
}

/** The view of all alerts, with silences. */
export class Alerts {
  #older = [];
  #page = 1;

  /** @param {HTMLElement} element */
  constructor(element) {
    this.title = h("p", { class: "count", role: "status" });
    this.list = h("ul", { class: "feed wide" });
    this.feed = new Feed(this.list, Infinity);
    this.more = h("button", { type: "button", onclick: () => this.#next() }, "Older alerts");
    this.silences = h("section", { class: "silences", "aria-label": "Silences" });
    put(
      element,
      h("div", { class: "head" }, h("h1", {}, "Alerts"), h("div", { class: "head-end" }, this.title, all())),
      h("p", { class: "alerts-note warn" }),
      h("div", { class: "columns" }, h("div", {}, this.list, this.more), this.silences),
    );
    on("alerts-drawn", () => this.#draw());
    on("zone", () => this.#draw());
    on("snapshot", () => {
      this.#older = [];
      this.#page = 1;
    });
    on("route", () => this.show());
  }

  /** Show the view, where it is the one that is looked at. */
  show() {
    if (state.route.view !== "alerts") return;
    this.#draw();
    this.#drawSilences();
  }

  #draw() {
    if (state.route.view !== "alerts") return;
    const { alerts, unread, pages } = state.alerts;
    const known = new Set(alerts.map((one) => one.alert_id));
    this.feed.draw([...alerts, ...this.#older.filter((one) => !known.has(one.alert_id))]);
    say(this.title, unread ? `${unread} unread` : "All read");
    this.more.hidden = this.#page >= pages;
  }

  async #next() {
    try {
      const found = await getAlerts({ page: this.#page + 1 });
      this.#page += 1;
      // Pages shift while alerts come in: each is kept once, by its id.
      const by = new Map([...this.#older, ...found.alerts].map((one) => [one.alert_id, one]));
      this.#older = [...by.values()];
      this.#draw();
    } catch (error) {
      say(this.title, /** @type {Error} */ (error).message);
    }
  }

  async #drawSilences() {
    let found;
    try {
      found = (await getSilences()).silences;
    } catch {
      put(this.silences);
      return;
    }
    const may = state.status?.may_write;
    const choose = h(
      "select",
      { name: "instrument" },
      options(
        [["*", "everything"], ...instruments().map((one) => /** @type {[string, string]} */ ([one, pair(one)]))],
        "*",
      ),
    );
    const length = h(
      "select",
      { name: "for" },
      options(
        [
          ["1h", "1 hour"],
          ["2h", "2 hours"],
          ["8h", "8 hours"],
          ["24h", "a day"],
        ],
        "2h",
      ),
    );
    put(
      this.silences,
      h("h2", {}, "Silences"),
      h(
        "p",
        { class: "unit" },
        "A silenced instrument's alerts are stored and shown here as always; no channel is told.",
      ),
      found.length
        ? h(
            "ul",
            { class: "plain" },
            found.map((one) =>
              h(
                "li",
                {},
                `${one.instrument === "*" ? "Everything" : pair(one.instrument)} until ${brief(one.until)}`,
                may &&
                  h(
                    "button",
                    {
                      type: "button",
                      class: "quiet",
                      "aria-label": `End the silence of ${one.instrument === "*" ? "everything" : pair(one.instrument)}`,
                      onclick: (click) => this.#change(click.currentTarget, () => endSilence(one.instrument)),
                    },
                    "End",
                  ),
              ),
            ),
          )
        : h("p", {}, "Nothing is silenced."),
      may &&
        h(
          "form",
          {
            class: "filter",
            onsubmit: (event) => {
              event.preventDefault();
              this.#change(event.submitter, () => silence(choose.value, length.value));
            },
          },
          h("label", {}, h("span", {}, "Silence"), choose),
          h("label", {}, h("span", {}, "For"), length),
          h("button", { type: "submit" }, "Silence"),
        ),
    );
  }

  async #change(button, what) {
    await act(button, what);
    await this.#drawSilences();
  }
}

/** Follow the live feed, and say what it brings, once a batch. */
export function start() {
  on("alerts", merge);
  on("status", drawAll);
  on("batch", (changes) => {
    const said = [];
    for (const change of changes) {
      if (change.kind === "events" && change.events.length) {
        const names = change.events.map((one) => `${pair(one.instrument)} ${fixed(one.level, one.decimals)}`);
        said.push(
          `${change.granularity}: ${count(names.length, "new resistance")}: ${names.slice(0, 4).join(", ")}${names.length > 4 ? " and more" : ""}`,
        );
      }
      // Acknowledging and deliveries change alerts too; only what just closed is news.
      const news =
        change.kind === "alerts"
          ? change.alerts.filter((one) => !one.acknowledged_at && now() - Date.parse(one.closed_at) < 900_000)
          : [];
      if (news.length)
        said.push(
          `${count(news.length, "alert")}: ${news
            .slice(0, 3)
            .map((one) => one.text)
            .join(", ")}`,
        );
    }
    if (said.length) announce(`${said.join(". ")}.`);
  });
}
