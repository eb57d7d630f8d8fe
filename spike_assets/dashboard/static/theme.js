// Dark and light: the system's choice until somebody switches, then theirs, which is remembered.

import { byId, put, svg } from "./dom.js";
import { emit } from "./state.js";

const system = matchMedia("(prefers-color-scheme: dark)");

/** Tell whether the page is dark. */
export function dark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : system.matches;
}

/** Give a colour of the theme by its name. @param {string} name */
export function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function draw() {
  const button = byId("theme");
  const to = dark() ? "light" : "dark";
  button.setAttribute("aria-label", `Switch to ${to} colours`);
  button.title = `Switch to ${to} colours`;
  const shape = dark()
    ? [
        svg("circle", { cx: 8, cy: 8, r: 3.2 }),
        svg("path", {
          d: "M8 .8v2M8 13.2v2M.8 8h2M13.2 8h2M2.9 2.9l1.4 1.4M11.7 11.7l1.4 1.4M2.9 13.1l1.4-1.4M11.7 4.3l1.4-1.4",
        }),
      ]
    : [svg("path", { d: "M13.6 9.8A6 6 0 0 1 6.2 2.4a6 6 0 1 0 7.4 7.4z" })];
  put(button, svg("svg", { viewBox: "0 0 16 16", class: "glyph", "aria-hidden": "true" }, shape));
}

/** Make the switch work. */
export function start() {
  draw();
  byId("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    try {
      localStorage.setItem("spike-theme", document.documentElement.dataset.theme);
    } catch {
      // Not remembered, then.
    }
    draw();
    emit("theme");
  });
  system.addEventListener("change", () => {
    draw();
    emit("theme");
  });
}
