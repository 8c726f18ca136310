/** Left column: every kernel of the layer, the slices of the chosen one, and how far it came. */
import { around, kernelOf, weightBlock } from "kl/frame";
import { attribute, attributes, children, choose, h, roving, s, show, text } from "kl/dom";
import { count, digits, fixed, largest } from "kl/format";
import { drawn, volume } from "kl/geometry";
import { has, nearest } from "kl/data";
import { paint, Thumbnail, Tile } from "kl/tile";
import { cellText } from "kl/words";

/** From so many pictures on, they are one canvas and not buttons. */
const WALL = 128;
const ORDERS = [
  ["number", "number"],
  ["size", "size"],
  ["change", "change"],
  ["filter", "likeness"],
];

/** Pictures to choose from: buttons, or one canvas with a frame where there are very many. */
class Picks {
  /** @param {any} page @param {string} label @param {(number: number) => void} pick */
  constructor(page, label, pick) {
    this.page = page;
    this.pick = pick;
    this.list = h("div", { class: "grid", role: "listbox", "aria-label": label });
    this.columns = 6;
    roving(this.list, () => this.columns);
    this.canvas = h("canvas", { role: "img", tabindex: 0 });
    this.frame = s("rect", { fill: "none", stroke: "var(--mark)", "stroke-width": 0.4 });
    this.over = s("svg", { "aria-hidden": "true" }, this.frame);
    this.wall = h("div", { class: "wall", hidden: true }, this.canvas, this.over);
    this.element = h("div", {}, this.list, this.wall);
    /** @type {number[]} */ this.order = [];
    this.canvas.addEventListener("click", (/** @type {MouseEvent} */ event) => this.#click(event));
    this.canvas.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
  }

  /**
   * @param {number[]} order numbers @param {number} chosen @param {(number: number) => ArrayLike<number>} values
   * @param {number[]} sizes @param {number} range @param {number} columns @param {(number: number) => string} named
   * @param {string} label
   */
  show(order, chosen, values, sizes, range, columns, named, label) {
    this.order = order;
    this.columns = columns;
    this.chosen = chosen;
    const isWall = order.length > WALL;
    show(this.list, !isWall);
    show(this.wall, isWall);
    if (isWall) return this.#wall(order, chosen, values, sizes, range, named, label);
    attribute(this.list, "aria-label", label);
    this.list.style.setProperty("--columns", String(columns));
    children(this.list, order, () => this.#button(), (button, number) => {
      attributes(button, { "aria-label": named(number), title: named(number), "data-number": number });
      button._thumb.show(values(number), sizes, range, "w", this.page.colours);
    });
    choose(this.list, order.indexOf(chosen));
  }

  #button() {
    const thumb = new Thumbnail();
    const button = h("button", { type: "button", role: "option" }, thumb.canvas);
    button._thumb = thumb;
    button.addEventListener("click", () => this.pick(Number(button.dataset.number)));
    return button;
  }

  /** @param {number[]} order @param {number} chosen @param {(number: number) => ArrayLike<number>} values @param {number[]} sizes @param {number} range @param {(number: number) => string} named @param {string} label */
  #wall(order, chosen, values, sizes, range, named, label) {
    const [rows, columns] = drawn(sizes);
    this.across = Math.max(8, Math.min(32, Math.ceil(Math.sqrt(order.length))));
    this.cell = [columns + 1, rows + 1];
    const down = Math.ceil(order.length / this.across);
    const [wide, tall] = [this.across * this.cell[0], down * this.cell[1]];
    if (this.canvas.width !== wide || this.canvas.height !== tall) {
      this.canvas.width = wide;
      this.canvas.height = tall;
    }
    attribute(this.canvas, "aria-label", `${label}; ${named(chosen)} is chosen. Arrow keys choose another.`);
    const context = this.canvas.getContext("2d");
    order.forEach((number, at) => paint(context, (at % this.across) * this.cell[0], Math.floor(at / this.across) * this.cell[1], values(number), [rows, columns], range, "w", this.page.colours));
    attributes(this.over, { viewBox: `0 0 ${wide} ${tall}` });
    const at = order.indexOf(chosen);
    attributes(this.frame, { x: (at % this.across) * this.cell[0] - 0.3, y: Math.floor(at / this.across) * this.cell[1] - 0.3, width: columns + 0.6, height: rows + 0.6 });
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * this.across);
    const row = Math.floor((((event.clientY - box.top) / box.height) * this.canvas.height) / this.cell[1]);
    const number = this.order[row * this.across + column];
    if (number != null) this.pick(number);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.across, ArrowDown: this.across };
    const move = event.shiftKey ? null : moves[/** @type {keyof typeof moves} */ (event.key)];
    const number = move ? this.order[this.order.indexOf(this.chosen) + move] : null;
    if (!move) return;
    event.preventDefault();
    event.stopPropagation();
    if (number != null) this.pick(number);
  }
}

export class KernelsView {
  /** @param {any} page */
  constructor(page) {
    this.page = page;
    this.title = h("h2");
    this.order = h("select", { "aria-label": "Order of the kernels" }, ORDERS.map(([value, words]) => h("option", { value, text: words })));
    this.order.addEventListener("change", () => page.choose({ order: this.order.value }));
    this.kernels = new Picks(page, "Kernels", (kernel) => page.choose({ kernel }));
    this.kernelNote = h("p", { class: "note" });
    this.sliceTitle = h("h2");
    this.slices = new Picks(page, "Slices", (slice) => page.choose({ slice }));
    this.sliceNote = h("p", { class: "note" });
    this.sliceBox = h("div", {}, h("div", { class: "hd" }, this.sliceTitle), this.slices.element, this.sliceNote);
    this.missing = h("div", { class: "empty", hidden: true });
    this.first = h("div", { class: "first" }, h("div", { class: "hd" }, this.title, this.order), this.kernels.element, this.kernelNote, this.missing);
    this.way = new Way(page);
    this.elements = [this.first, this.sliceBox, this.way.element];
    this.families = null;
  }

  /** @param {import("kl/frame").Frame} frame */
  render(frame) {
    const { layer, selection } = frame;
    const block = weightBlock(frame);
    const noun = layer.isDense ? "units" : "kernels";
    text(this.title, `${count(layer.filters)} ${layer.filters === 1 ? noun.slice(0, -1) : noun} of ${layer.name}`);
    this.order.value = selection.order;
    for (const one of [this.kernels.element, this.kernelNote]) show(one, Boolean(block));
    show(this.sliceBox, Boolean(block) && layer.slices > 1);
    show(this.missing, !block);
    if (!block) return this.#absent(frame);
    this.#kernels(frame, block);
    if (layer.slices > 1) this.#slices(frame, block);
    this.way.render(frame);
  }

  /** @param {any} frame */
  #absent(frame) {
    show(this.way.element, false);
    const found = frame.weights?.missing?.[frame.layer.weight] ?? { why: frame.weights?.refused?.message ?? "Not recorded at this step.", ...around(frame.layer.steps, frame.step) };
    this.page.offer(this.missing, found, false);
  }

  /** @param {import("kl/frame").Frame} frame @param {any} block */
  #kernels(frame, block) {
    const { layer, selection } = frame;
    const cuts = Array.from({ length: layer.filters }, (_, f) => layer.cut(block.data, selection.slice, f));
    const order = this.#ordered(frame, cuts);
    const range = largest(...cuts);
    const isWide = layer.slices > 1;
    const columns = layer.isDense ? 5 : layer.filters > 48 || isWide ? 8 : 6;
    const noun = layer.isDense ? "unit" : "kernel";
    this.kernels.show(order, selection.kernel, (f) => cuts[f], layer.window, range, columns, (f) => `${noun} ${f}`, `${noun === "unit" ? "Units" : "Kernels"} of ${layer.name}`);
    const each = isWide ? `slice ${selection.slice} of each` : `${count(layer.taps)} numbers each`;
    text(this.kernelNote, `${each}, colours ± ${digits(range, 2)}`);
  }

  /** @param {import("kl/frame").Frame} frame @param {Float64Array[]} cuts @returns {number[]} */
  #ordered(frame, cuts) {
    const { layer, selection } = frame;
    const all = cuts.map((_, f) => f);
    const by = (/** @type {(f: number) => number} */ value) => all.sort((a, b) => value(b) - value(a) || a - b);
    if (selection.order === "size") return by((f) => norm(cuts[f]));
    if (selection.order === "change") {
      const first = filmBlock(frame);
      if (!first || frame.film.header.filter != null) return all;
      return by((f) => norm(difference(cuts[f], layer.cut(first.data, selection.slice, f))));
    }
    if (selection.order === "filter") {
      const found = this.page.familiesOf(frame);
      if (found) return by((f) => found.filters.find((/** @type {any} */ one) => one.filter === f)?.similarity ?? 0);
    }
    return all;
  }

  /** @param {import("kl/frame").Frame} frame @param {any} block */
  #slices(frame, block) {
    const { layer, selection } = frame;
    const cuts = layer.whole(block.data, selection.kernel);
    const range = largest(...cuts);
    text(this.sliceTitle, `${count(layer.slices)} slices of kernel ${selection.kernel}`);
    const columns = layer.slices <= 4 ? 6 : 8;
    this.slices.show(cuts.map((_, c) => c), selection.slice, (c) => cuts[c], layer.window, range, columns, (c) => `slice ${c}, reads input map ${layer.input(selection.kernel, c)}`, `Slices of kernel ${selection.kernel}`);
    const bias = layer.about.weights.bias ? ", 1 bias" : "";
    text(this.sliceNote, `One for each input map: ${[...layer.window, layer.slices].join("·")} = ${count(layer.taps * layer.slices)} weights${bias}.`);
  }
}

/** The chosen slice at another step, and how it changed since. */
class Way {
  /** @param {any} page */
  constructor(page) {
    this.page = page;
    this.title = h("h2");
    this.step = h("select", { "aria-label": "Compare with step" });
    this.step.addEventListener("change", () => page.choose({ since: Number(this.step.value) }));
    this.then = new Tile();
    this.change = new Tile();
    this.note = h("p", { class: "note" });
    this.since = h("span", { text: "change since" });
    this.element = h("div", { class: "way" }, h("div", { class: "hd" }, this.title),
      h("div", { class: "trio" },
        h("figure", {}, h("figcaption", {}, h("span", { text: "at step" }), this.step), this.then.element),
        h("figure", {}, h("figcaption", {}, this.since), this.change.element)), this.note);
    this.made = "";
  }

  /** @param {import("kl/frame").Frame} frame */
  render(frame) {
    const { layer, selection } = frame;
    const film = frame.film?.blocks;
    const small = layer.slices <= 4 && layer.filters <= 48;
    show(this.element, Boolean(filmBlock(frame)) && small);
    if (!filmBlock(frame) || !small) return;
    const steps = film.steps.data;
    const wanted = selection.since >= 0 && has(steps, selection.since) ? selection.since : selection.since >= 0 ? nearest(steps, selection.since) : steps[0];
    this.#steps(steps, wanted);
    const then = filmKernel(frame, Array.prototype.indexOf.call(steps, wanted));
    const now = kernelOf(frame);
    if (!then || !now) return;
    const change = difference(now, then);
    const range = largest(then, now, change);
    const colours = this.page.colours;
    const noun = layer.isDense ? "Unit" : "Kernel";
    text(this.title, `${noun} ${selection.kernel}, how far it came`);
    const isWide = layer.window[layer.window.length - 1] > 4;
    const plain = isWide ? cellText(largest(then, now), true, 1, 4) : { format: (/** @type {number} */ v) => fixed(v, 2, true), unit: "" };
    const changed = isWide || largest(change) < 0.05 ? cellText(largest(change), true, 1, 4) : plain;
    this.then.show({ values: then, sizes: layer.window, range, family: "w", format: plain.format, colours });
    this.change.show({ values: change, sizes: layer.window, range, family: "w", format: changed.format, colours });
    text(this.since, `change${changed.unit ? changed.unit.replace(", in units of ", " in ") : " since"}`);
    const told = (/** @type {ArrayLike<number>} */ v) => (v.length <= 49 ? Array.from(v, (one) => digits(one, 3, true)).join(" ") : `${v.length} numbers`);
    this.then.label(`${noun} ${selection.kernel} at step ${wanted}: ${told(then)}`);
    this.change.label(`Change since: ${told(change)}`);
    const start = layer.about.initializer ? `${layer.about.initializer} at first` : "Random at first";
    text(this.note, `${start}: nobody chose what it looks for. It moved ${digits(norm(change), 3)} from a size of ${digits(norm(then), 3)}.`);
  }

  /** @param {ArrayLike<number>} steps @param {number} wanted */
  #steps(steps, wanted) {
    const key = Array.from(steps).join();
    if (key !== this.made) {
      this.made = key;
      this.step.replaceChildren(...Array.from(steps, (step) => h("option", { value: step, text: count(step) })));
    }
    this.step.value = String(wanted);
  }
}

/** The kernels of the film; null where there is none. @param {any} frame */
const filmBlock = (frame) => frame.film?.blocks?.[frame.layer.weight] ?? frame.film?.blocks?.kernel ?? null;

/** The chosen slice in a frame of the film. @param {import("kl/frame").Frame} frame @param {number} at @returns {Float64Array | null} */
export function filmKernel(frame, at) {
  const { layer, selection } = frame;
  const block = filmBlock(frame);
  if (!block || at < 0) return null;
  const size = volume(block.shape.slice(1));
  if (size === layer.size) return layer.cut(block.data, selection.slice, selection.kernel, at * size);
  const found = new Float64Array(volume(layer.window)).fill(NaN);
  const stride = size / layer.taps;
  for (let tap = 0; tap < layer.taps; tap++) found[tap] = block.data[at * size + tap * stride];
  return found;
}

/** @param {ArrayLike<number>} values */
export function norm(values) {
  let total = 0;
  for (let at = 0; at < values.length; at++) if (Number.isFinite(values[at])) total += values[at] ** 2;
  return Math.sqrt(total);
}

/** @param {ArrayLike<number>} a @param {ArrayLike<number>} b */
export const difference = (a, b) => Float64Array.from(a, (value, at) => value - b[at]);
