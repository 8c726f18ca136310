/** Keys of the page. A focused map or list has its arrows first; text fields and choices keep all of theirs. */
import { h } from "kl/dom";
import { unflat } from "kl/geometry";

const LIST = [
  ["← →", "one recorded step"],
  ["shift ← →", "to the next ledger"],
  ["space", "play and pause; in a lesson: next"],
  ["home, end", "first and last step"],
  ["[ ]", "previous and next kernel"],
  ["1 … 9", "weight of the kernel"],
  ["arrows in a map", "move the position"],
  ["i, shift i", "next and previous image"],
  ["f, b", "forward or backward alone"],
  ["a", "this image or all of them"],
  ["e", "value or error of the neuron"],
  ["d", "dense matrix"],
  ["l", "lessons"],
  ["m", "minus marks on negative cells"],
  ["s", "hear the loss and this weight"],
  ["t", "table of what is focused; of the steps where nothing is"],
  ["?", "this list"],
];

/** @param {any} page */
export function listOfKeys(page) {
  const rows = LIST.map(([key, words]) => h("tr", {}, h("th", { scope: "row" }, h("kbd", { text: key })), h("td", { text: words })));
  page.dialogs.open("Keys", h("table", { class: "keys" }, h("tbody", {}, rows)));
}

/** Next or previous image, in the order in which they are shown. @param {any} page @param {number} way */
function image(page, way) {
  const { frame } = page;
  const { stage } = frame;
  if (!stage) return;
  if (frame.source === "batch") {
    const order = stage.hasErrors ? stage.ranked(frame.selection.weight) : Array.from({ length: stage.rows }, (_, row) => row);
    const at = (order.indexOf(frame.row) + way + order.length) % order.length;
    page.choose({ image: Number(stage.images[order[at]]) });
  } else if (frame.source === "probe") page.choose({ probe: (frame.row + way + stage.rows) % stage.rows, source: "probe" });
}

/** @param {any} page @param {"forward" | "backward"} row */
const only = (page, row) => page.choose({ rows: page.state.pinned.rows === row ? "both" : row });

/** Key -> what it does. @type {Record<string, (page: any, event: KeyboardEvent) => void>} */
const KEYS = {
  ArrowRight: (page, event) => (event.shiftKey ? page.time.moveLedger(1) : page.step(1)),
  ArrowLeft: (page, event) => (event.shiftKey ? page.time.moveLedger(-1) : page.step(-1)),
  " ": (page) => (page.state.pinned.lesson ? page.lessons.next() : page.time.toggle()),
  Home: (page) => page.go(page.time.stops[0]),
  End: (page) => page.go(page.time.stops[page.time.stops.length - 1]),
  "[": (page) => kernel(page, -1),
  "]": (page) => kernel(page, 1),
  i: (page) => image(page, 1),
  I: (page) => image(page, -1),
  f: (page) => only(page, "forward"),
  b: (page) => only(page, "backward"),
  a: (page) => page.choose({ scope: page.state.pinned.scope === "image" ? "batch" : "image" }),
  e: (page) => page.choose({ tab: page.state.pinned.tab === "value" ? "error" : "value" }),
  d: (page) => page.choose({ view: page.state.pinned.view === "dense" ? "bench" : "dense" }),
  l: (page) => page.lessons.toggle(),
  m: (page) => page.choose({ signs: !page.state.pinned.signs }),
  s: (page) => page.playSound(),
  t: (page) => table(page),
  "?": (page) => listOfKeys(page),
};
const SPEAKS = new Set(["ArrowLeft", "ArrowRight", "Home", "End", "[", "]", "i", "I", "a"]);

/** @param {any} page @param {number} way */
function kernel(page, way) {
  const { layer, selection } = page.frame;
  const order = page.kernels.kernels.order.length ? page.kernels.kernels.order : Array.from({ length: layer.filters }, (_, f) => f);
  const at = (order.indexOf(selection.kernel) + way + order.length) % order.length;
  page.choose({ kernel: order[at] });
}

/** Table of the view that has the focus. @param {any} page */
function table(page) {
  const base = page.skeleton.getRootNode();
  const near = base.activeElement?.closest?.("figure, .neuronbox, .why, .imgs, #time, .families, .compare, .densebox");
  const button = near?.querySelector(".tbl") ?? page.find("now").querySelector(".tbl");
  button?.click();
}

/** @param {any} page */
export function listen(page) {
  const target = page.isInside ? page.root : document;
  target.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const element = /** @type {HTMLElement} */ (event.composedPath()[0]);
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || page.dialogs.isOpen || !page.frame) return;
    if (/^(SELECT|TEXTAREA)$/.test(element.tagName) || (element.tagName === "INPUT" && /** @type {HTMLInputElement} */ (element).type !== "range")) return;
    if (event.key === " " && element.tagName === "BUTTON" && element.id !== "c-play") return;
    if (element.tagName === "INPUT" && event.key.startsWith("Arrow") && !event.shiftKey) return;
    if (/^[1-9]$/.test(event.key)) {
      const tap = Number(event.key) - 1;
      if (tap >= page.frame.layer.taps) return;
      page.choose({ weight: unflat(tap, page.frame.layer.window) });
    } else if (KEYS[event.key]) KEYS[event.key](page, event);
    else return;
    event.preventDefault();
    if (SPEAKS.has(event.key) || /^[1-9]$/.test(event.key)) page.sayHere();
  });
}
