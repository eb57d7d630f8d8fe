// What an operator looks at: passes and how long their stages took, tables, what is wrong. Only shown, never changed.

import { getOperations, getPasses } from "./api.js";
import { h, Kept, put, say } from "./dom.js";
import { plot, shade, SHOWN, stagesOf } from "./plot.js";
import { passTable, reports } from "./reports.js";
import { GRANULARITIES, on, state } from "./state.js";

/** So many passes are kept as they come in. */
const MOST = 200;
/** Everything is read anew at most this often, in milliseconds. */
const PAUSE = 1000;

/** The view. */
export class Operations {
  /** @type {import("./api.js").Pass[]} */
  #passes = [];
  #found = null;
  #asking = false;
  #again = false;
  #which = "";

  /** @param {HTMLElement} element */
  constructor(element) {
    this.links = h("div", { class: "head-end" });
    this.note = h("p", { class: "warn", role: "status" });
    this.plot = h("div", { class: "plot-box" });
    this.legend = h("ul", { class: "plot-legend", "aria-label": "Stages" });
    this.which = h("div", { class: "segments", role: "group", "aria-label": "Passes of" });
    this.tables = h("div", { class: "panels" });
    this.kept = new Kept(this.tables);
    put(
      element,
      h("div", { class: "head" }, h("h1", {}, "Operations"), this.links),
      this.note,
      h(
        "section",
        { class: "panel wide" },
        h("div", { class: "panel-head" }, h("h2", {}, "Passes, time by stage"), this.which),
        this.plot,
        this.legend,
      ),
      this.tables,
    );
    new ResizeObserver(() => this.#drawPlot()).observe(this.plot);
    on("route", () => this.show());
    on("zone", () => this.#draw());
    on("snapshot", () => this.show());
    on("pass", (change) => {
      this.#passes = [change.pass, ...this.#passes.filter((one) => one.pass_id !== change.pass.pass_id)].slice(0, MOST);
      this.#draw();
    });
    on("batch", (changes) => changes.some((one) => ["pass", "status", "alerts"].includes(one.kind)) && this.show());
  }

  /** Read everything anew. */
  show() {
    if (state.route.view !== "operations") return;
    if (this.#asking) {
      this.#again = true;
      return;
    }
    this.#asking = true;
    if (!this.#found) say(this.note, "Reading …");
    this.#load();
  }

  async #load() {
    try {
      const [passes, found] = await Promise.all([getPasses(), getOperations()]);
      this.#passes = passes.passes;
      this.#found = found;
      say(this.note, "");
      this.#draw();
    } catch (error) {
      say(this.note, /** @type {Error} */ (error).message);
    }
    setTimeout(() => {
      this.#asking = false;
      if (this.#again) {
        this.#again = false;
        this.show();
      }
    }, PAUSE);
  }

  #mine() {
    return this.#which ? this.#passes.filter((pass) => pass.granularity === this.#which) : this.#passes;
  }

  #draw() {
    if (state.route.view !== "operations" || !this.#found) return;
    this.#drawChoice();
    this.#drawLinks();
    this.#drawPlot();
    this.#drawTables();
  }

  #drawTables() {
    const had = /** @type {HTMLElement | null} */ (this.tables.contains(document.activeElement) && document.activeElement);
    const tables = [...reports(this.#found), passTable(this.#mine())];
    this.kept.draw(tables.map((one, i) => [String(i), one.outerHTML, () => one]));
    if (!had || had.isConnected) return;
    const link = `[data-pass="${had.dataset.pass}"]`;
    /** @type {any} */ (this.tables.querySelector(had.dataset.pass ? link : ".wide"))?.focus();
  }

  #drawChoice() {
    const had = document.activeElement?.getAttribute?.("data-which");
    put(
      this.which,
      ["", ...GRANULARITIES].map((name) =>
        h(
          "button",
          {
            type: "button",
            "data-which": name || "all",
            "aria-pressed": String(this.#which === name),
            onclick: () => {
              this.#which = name;
              this.#draw();
            },
          },
          name || "All",
        ),
      ),
    );
    if (had) /** @type {any} */ (this.which.querySelector(`[data-which="${had}"]`))?.focus();
  }

  #drawLinks() {
    const dagster = state.status?.dagster_url;
    const key = String(dagster);
    if (this.links.dataset.key === key) return;
    this.links.dataset.key = key;
    const out = (to, text) => h("a", { class: "button", href: to, target: "_blank", rel: "noopener" }, text);
    put(
      this.links,
      dagster && [out(dagster, "Dagster ↗"), out(`${dagster}/runs`, "Runs ↗")],
      h("a", { class: "button", href: "/api/docs" }, "API"),
    );
  }

  #drawPlot() {
    const width = Math.floor(this.plot.clientWidth);
    if (width < 50 || !this.#found) return;
    put(this.plot, plot(this.#mine(), width));
    put(
      this.legend,
      stagesOf(this.#mine().slice(0, SHOWN)).map((name) =>
        h("li", {}, h("span", { class: `swatch ${shade(name)}`, "aria-hidden": "true" }), name),
      ),
    );
  }
}
