// Silences: what no channel is told of, until when; beginning one and ending it. The server tells of them in its status.

import { act } from "./alert-list.js";
import { endSilence, silence } from "./api.js";
import { choice, h, put } from "./dom.js";
import { pair } from "./numbers.js";
import { instruments, on, state } from "./state.js";
import { brief } from "./time.js";

/** @type {[string, string][]} */
const LENGTHS = [
  ["1h", "1 hour"],
  ["2h", "2 hours"],
  ["8h", "8 hours"],
  ["24h", "a day"],
];

/** @param {string} instrument */
const named = (instrument) => (instrument === "*" ? "everything" : pair(instrument));

/** The panel. */
export class Silences {
  #known = "";
  #shown = "";

  /** @param {HTMLElement} element */
  constructor(element) {
    this.list = h("div", {});
    this.form = h("form", { class: "filter", onsubmit: (event) => this.#begin(event) });
    const what = "A silenced instrument's alerts are stored and shown here as always; no channel is told.";
    put(element, h("h2", {}, "Silences"), h("p", { class: "unit" }, what), this.list, this.form);
    on("status", () => this.#draw());
    on("zone", () => this.#draw());
    this.#draw();
  }

  #draw() {
    const found = state.status?.silences ?? [];
    const may = Boolean(state.status?.may_write);
    // Whoever is about to press a button, or to choose an instrument, is not disturbed by a status that says the same.
    const shown = JSON.stringify([found.map((one) => [one.instrument, brief(one.until)]), may]);
    if (shown !== this.#shown) put(this.list, found.length ? this.#running(found, may) : "Nothing is silenced.");
    this.#shown = shown;
    const known = JSON.stringify([instruments(), may]);
    if (known !== this.#known) put(this.form, may && this.#fields());
    this.#known = known;
  }

  #running(found, may) {
    const end = (one) => {
      const words = `End the silence of ${named(one.instrument)}`;
      const onclick = (click) => act(click.currentTarget, () => endSilence(one.instrument));
      return h("button", { type: "button", class: "quiet", "aria-label": words, onclick }, "End");
    };
    return h(
      "ul",
      { class: "plain" },
      found.map((one) =>
        h(
          "li",
          {},
          `${named(one.instrument).replace("everything", "Everything")} until ${brief(one.until)}`,
          may && end(one),
        ),
      ),
    );
  }

  #fields() {
    const names = instruments().map((one) => /** @type {[string, string]} */ ([one, pair(one)]));
    return [
      choice("Silence", "instrument", [["*", "everything"], ...names], "*"),
      choice("For", "for", LENGTHS, "2h"),
      h("button", { type: "submit" }, "Silence"),
    ];
  }

  #begin(event) {
    event.preventDefault();
    const chosen = new FormData(/** @type {HTMLFormElement} */ (this.form));
    act(event.submitter, () => silence(String(chosen.get("instrument")), String(chosen.get("for"))));
  }
}
