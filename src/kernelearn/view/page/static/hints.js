/** What stands out in the run, in words, each with the way to the view that shows why. */
import { h } from "kl/dom";
import { digits } from "kl/format";
import { VIEWS } from "kl/state";

/** @param {any} page */
export function openHints(page) {
  const { hints } = page;
  if (!hints) return page.dialogs.open("Hints", h("p", { text: "The run is being looked through." }));
  if (!hints.length) return page.dialogs.open("Hints", h("p", { text: "Nothing stands out: losses, learning rate, sizes of updates, layers that hardly move, dead channels and repeated kernels were looked at." }));
  const go = (/** @type {any} */ hint) => {
    page.dialogs.dialog.close();
    const { view, layer } = hint.view ?? {};
    const values = { ...(VIEWS.includes(view) ? { view } : {}), lesson: "" };
    if (layer && page.run.layer(layer)?.isOpen) page.enter(layer);
    page.choose(values);
  };
  const item = (/** @type {any} */ hint) =>
    h("li", {}, h("b", { text: hint.kind }), h("p", { text: hint.text }), h("p", { class: "note", text: `Measured ${digits(hint.measured, 3)}; said from ${digits(hint.bound, 3)} on.` }), h("button", { class: "lnk", type: "button", text: "Look", onclick: () => go(hint) }), h("span", { class: "note" }, "  or: ", h("code", { text: `kernelearn explain ${hint.look}` })));
  page.dialogs.open(hints.length === 1 ? "One thing stands out" : `${hints.length} things stand out`, h("ul", { class: "plain" }, hints.map(item)));
}
