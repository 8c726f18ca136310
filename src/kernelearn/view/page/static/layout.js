/** The skeleton of the page: made once, with the places into which the views put themselves. */
import { h, s } from "kl/dom";

const ICONS = {
  first: "M2 2h2v10H2zM12 2v10L5 7z",
  back: "M10 2v10L3 7z",
  play: "M3 1.5v11l9-5.5z",
  pause: "M3 2h3v10H3zM8 2h3v10H8z",
  on: "M4 2v10l7-5z",
  last: "M2 2v10l7-5zM10 2h2v10h-2z",
};

/** @param {keyof typeof ICONS} name */
export const icon = (name) => s("svg", { viewBox: "0 0 14 14", "aria-hidden": "true" }, s("path", { d: ICONS[name] }));
/** @param {keyof typeof ICONS} name */
export const iconPath = (name) => ICONS[name];

/** @param {string} id @param {string} label @param {string} [key] @param {string} [aria] */
const tool = (id, label, key, aria) => h("button", { id, type: "button", "aria-label": aria ?? null }, label, key ? h("kbd", { text: key }) : null);

/** @returns {HTMLElement} */
export function skeleton() {
  const legend = (/** @type {string} */ kind, /** @type {string} */ words) => h("span", {}, h("i", { class: `l${kind}` }), h("span", { id: `legend-${kind}` }), ` ${words}`);
  const step = (/** @type {string} */ id, /** @type {any} */ name, /** @type {string} */ label, /** @type {string} */ key) =>
    h("button", { id, class: "step", type: "button", "aria-label": label, title: key }, icon(name));
  return h(
    "div",
    { class: "app" },
    h("a", { class: "skip", href: "#", id: "skip", text: "Skip to the bench" }),
    s("svg", { width: 0, height: 0, class: "vh", "aria-hidden": "true" },
      s("defs", {}, s("pattern", { id: "kl-hatch", width: 4, height: 4, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, s("rect", { width: 1, height: 4, fill: "var(--blk)", opacity: 0.75 })))),
    h("header", { class: "top" },
      h("h1", {}, h("b", { text: "Microscope" }), h("span", { id: "run-name" })),
      h("div", { class: "facts", id: "facts" }),
      h("div", { class: "legend", "aria-hidden": "true" }, legend("w", "weights"), legend("a", "activations"), legend("e", "errors")),
      h("div", { class: "tools", role: "toolbar", "aria-label": "Views and settings" },
        tool("v-bench", "Bench"), tool("v-dense", "Dense", "d", "Dense matrix"), tool("v-families", "Families"), tool("v-compare", "Compare"),
        tool("v-lessons", "Lessons", "l"), tool("v-hints", "Hints"), tool("v-theme", "Theme", "", "Light or dark"), tool("v-keys", "Keys", "?"))),
    h("nav", { class: "net", id: "net", "aria-label": "Network: choose a layer" }),
    h("main", { class: "main", id: "main" },
      h("section", { class: "left", id: "left", "aria-label": "Kernels of the layer" }),
      h("section", { class: "centre", id: "centre", "aria-label": "Bench: forward above, backward below", tabindex: -1 }),
      h("section", { class: "right", id: "right", "aria-label": "One neuron, and why its weight moved" })),
    h("section", { class: "time", id: "time", "aria-label": "Time" },
      h("div", {},
        h("div", { class: "now", id: "now" }),
        h("div", { class: "ctl", role: "group", "aria-label": "Steps" },
          step("c-first", "first", "Previous step with a ledger", "shift ←"), step("c-back", "back", "Step back", "←"), step("c-play", "play", "Play", "space"),
          step("c-on", "on", "Step on", "→"), step("c-last", "last", "Next step with a ledger", "shift →"),
          h("select", { id: "c-curve", "aria-label": "Grey curve" })),
        h("div", { class: "lv", id: "live", hidden: true })),
      h("div", { class: "plot", id: "plot" })),
    h("div", { class: "vh", "aria-live": "polite", id: "say" }),
    h("dialog", { id: "dialog", "aria-labelledby": "dialog-title" }),
  );
}
