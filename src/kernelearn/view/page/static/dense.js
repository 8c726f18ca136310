/** The layer as the dense layer that it is: mostly zeros, the rest the same few numbers along diagonals. */
import { attribute, attributes, h, rich, show, text } from "kl/dom";
import { count, digits, fixed, largest } from "kl/format";
import { flat, unflat, volume } from "kl/geometry";
import { mix } from "kl/scale";
import { positionOf } from "kl/frame";

/** Matrices of more entries are drawn smaller: some of their entries fall on one pixel. */
const MOST_SIDE = 1024;

export class DenseView {
  /** @param {any} page */
  constructor(page) {
    this.page = page;
    this.title = h("h2");
    const table = (/** @type {"weights" | "gradient"} */ which) => h("button", { class: "tbl", type: "button", title: "table", "aria-label": `Table of the ${which}`, text: "▦", onclick: () => this.#table(which) });
    this.weights = h("canvas", { role: "img", tabindex: 0 });
    this.gradient = h("canvas", { role: "img", tabindex: 0 });
    this.captionW = h("span", {}, h("b", { class: "W", text: "Weights" }), ": a row an output, a column an input");
    this.captionG = h("span", {}, h("b", { class: "E", text: "Gradient" }), " of a free dense layer: δ · x");
    this.wordsW = h("p");
    this.wordsG = h("p");
    this.missing = h("div", { class: "empty", hidden: true });
    this.figureG = h("figure", {}, h("figcaption", { class: "note" }, this.captionG, table("gradient")), this.gradient);
    this.pair = h("div", { class: "pair" },
      h("figure", {}, h("figcaption", { class: "note" }, this.captionW, table("weights")), this.weights), this.figureG, this.wordsW, this.wordsG);
    this.element = h("div", { class: "densebox" }, h("div", { class: "hd" }, this.title), this.missing, this.pair);
    for (const canvas of [this.weights, this.gradient]) this.#listen(canvas);
    /** @type {any} */ this.known = null;
  }

  /** @param {any} canvas */
  #listen(canvas) {
    const under = (/** @type {MouseEvent} */ event) => {
      const box = canvas.getBoundingClientRect();
      const { shape } = this.known;
      const row = Math.max(0, Math.min(shape[0] - 1, Math.floor(((event.clientY - box.top) / box.height) * shape[0])));
      const column = Math.max(0, Math.min(shape[1] - 1, Math.floor(((event.clientX - box.left) / box.width) * shape[1])));
      return this.#meaning(row, column);
    };
    canvas.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => this.known && this.page.hover(under(event)));
    canvas.addEventListener("pointerleave", () => this.page.hover({}));
    canvas.addEventListener("click", (/** @type {MouseEvent} */ event) => this.known && this.page.choose(under(event)));
    canvas.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      const move = /** @type {any} */ ({ ArrowUp: -1, ArrowDown: 1, ArrowLeft: -1, ArrowRight: 1 })[event.key];
      if (!move || event.shiftKey || !this.frame?.stage) return;
      event.preventDefault();
      event.stopPropagation();
      const sizes = this.frame.stage.geometry.output;
      const at = flat(positionOf(this.frame, this.page.state.pinned), sizes);
      this.page.choose({ at: unflat(Math.max(0, Math.min(volume(sizes) - 1, at + move)), sizes) });
      this.page.sayHere();
    });
  }

  /** What an entry is: a position, and the weight that stands there. @param {number} row @param {number} column */
  #meaning(row, column) {
    const { layer } = this.frame;
    const tie = this.ties.get(row * this.known.shape[1] + column);
    const weight = tie == null ? null : this.#weightOf(tie);
    if (layer.isDense) return weight ? { weight } : {};
    const sizes = this.known.sizes?.out ?? this.frame.stage?.geometry.output ?? [this.known.shape[0]];
    return { at: unflat(row, sizes), ...(weight ? { weight } : {}) };
  }

  /** @param {number} tie */
  #weightOf(tie) {
    const index = this.known.indices?.[tie];
    const { layer } = this.frame;
    return index ? layer.placeOf(index).weight : unflat(tie, layer.window);
  }

  /** @param {any} frame */
  render(frame) {
    this.frame = frame;
    const { layer, selection, step } = frame;
    const path = `runs/${encodeURIComponent(frame.run.key)}/dense`;
    const values = { layer: layer.name, filter: selection.kernel, channel: layer.isDense ? 0 : layer.input(selection.kernel, selection.slice), step: frame.isBefore ? step - 1 : step };
    if (layer.isDense) {
      this.known = null;
      rich(this.title, [`${layer.name} is a dense layer already: each of its ${count(layer.size)} weights stands once.`]);
      show(this.pair, false);
      show(this.missing, false);
      return;
    }
    const found = this.page.later(path, values, () => this.frame.selection.view === "dense" && this.render(this.frame));
    rich(this.title, [`${layer.name}, kernel ${selection.kernel}${layer.slices > 1 ? `, slice ${selection.slice}` : ""}, written as a dense layer`]);
    const isHere = Boolean(found?.rows);
    show(this.pair, isHere);
    show(this.missing, !isHere);
    if (!isHere) {
      this.known = null;
      if (found === undefined) {
        /** @type {any} */ (this.missing)._offer = null;
        return text(this.missing, "Writing the layer as a dense one.");
      }
      return this.page.offer(this.missing, found.missing ?? { why: found.refused?.message ?? "Not recorded." }, true);
    }
    if (this.known !== found) {
      this.known = found;
      this.ties = new Map(found.rows.map((/** @type {number} */ row, /** @type {number} */ at) => [row * found.shape[1] + found.columns[at], found.ties[at]]));
    }
    this.mark(frame, this.page.state.now);
  }

  /** @param {any} frame @param {any} selection */
  mark(frame, selection) {
    if (!this.known) return;
    const { layer, stage } = frame;
    const found = this.known;
    const tie = this.#tieOf(selection.weight);
    const own = flat(positionOf(frame, selection), stage?.geometry.output ?? found.sizes?.out ?? []);
    this.#paintWeights(found, tie, own);
    const number = found.kernel[tie];
    const times = found.counts[tie] ?? 0;
    rich(this.wordsW, [`${count(found.entries)} entries: `, ["b", `${count(found.zeros)} always zero`], `, ${count(found.tied)} tied to `, ["b", `${count(found.free)} numbers`], ". ", ["W", `${layer.named(selection.weight)} = ${fixed(number, 4, true)}`], " stands in ", ["b", count(times)], " of them."]);
    const hasError = Boolean(stage?.hasErrors) && !frame.back;
    show(this.gradient, hasError);
    this.sum = hasError ? this.#paintGradient(found, tie) : null;
    rich(this.wordsG, hasError ? ["A convolution adds up the diagonal: ", ["E", `Σ = ${digits(this.sum, 4, true)}`], `, this image in ∂L/∂${layer.named(selection.weight)}. No other difference.`] : [frame.back?.why ?? "Choose an image of the batch to see what comes back."]);
    attribute(this.weights, "aria-label", `Dense matrix of the kernel: ${count(found.entries)} entries, ${count(found.zeros)} fixed at zero, ${count(found.tied)} tied to ${count(found.free)} numbers. Arrow keys move the position.`);
    attribute(this.gradient, "aria-label", hasError ? `Outer product of error and input; the ties of ${layer.named(selection.weight)} add up to ${digits(this.sum, 4, true)}` : "no gradient");
    const x = stage ? largest(stage.x(frame.row)) : 0;
    this.page.legend({ w: largest(found.kernel), a: x, e: hasError ? this.range : null });
  }

  /** @param {readonly number[]} weight */
  #tieOf(weight) {
    const { layer, selection } = this.frame;
    const wanted = layer.index(weight, selection.slice, selection.kernel).join();
    const at = this.known.indices?.findIndex((/** @type {number[]} */ index) => index.join() === wanted) ?? -1;
    return at >= 0 ? at : flat(weight, layer.window);
  }

  /** @param {any} canvas @param {(row: number, column: number) => number[]} colour */
  #paint(canvas, colour) {
    const [rows, columns] = this.known.shape;
    const [tall, wide] = [Math.min(rows, MOST_SIDE), Math.min(columns, MOST_SIDE)];
    if (canvas.width !== wide || canvas.height !== tall) attributes(canvas, { width: wide, height: tall });
    const context = canvas.getContext("2d");
    const image = context.createImageData(wide, tall);
    for (let y = 0; y < tall; y++) {
      for (let x = 0; x < wide; x++) {
        const [r, g, b] = colour(Math.floor((y * rows) / tall), Math.floor((x * columns) / wide));
        const at = 4 * (y * wide + x);
        image.data[at] = r;
        image.data[at + 1] = g;
        image.data[at + 2] = b;
        image.data[at + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
  }

  /** @param {any} found @param {number} tie @param {number} own */
  #paintWeights(found, tie, own) {
    const { colours } = this.page;
    const { surface, zero } = colours.tokens;
    const range = largest(found.kernel);
    const here = mix(surface, zero, 0.4);
    const full = found.kernel.map((/** @type {number} */ v) => colours.rgb(v, range, "w"));
    const pale = full.map((/** @type {any} */ rgb) => mix(rgb, surface, 0.38));
    this.#paint(this.weights, (row, column) => {
      const t = this.ties.get(row * found.shape[1] + column);
      if (t == null) return row === own ? here : surface;
      return t === tie ? full[t] : pale[t];
    });
  }

  /** @param {any} found @param {number} tie @returns {number} sum of the entries that are tied to the weight */
  #paintGradient(found, tie) {
    const { colours } = this.page;
    const { surface, sel } = colours.tokens;
    const { stage, row } = this.frame;
    const delta = stage.delta(row);
    const x = stage.x(row);
    this.range = largest(delta) * largest(x);
    let total = 0;
    this.#paint(this.gradient, (o, i) => {
      const value = delta[o] * x[i];
      const t = this.ties.get(o * found.shape[1] + i);
      const rgb = colours.rgb(value, this.range, "e");
      if (t === tie) return Math.abs(value) < this.range * 0.004 ? sel : rgb;
      return mix(rgb, surface, t == null ? 0.2 : 0.45);
    });
    for (let at = 0; at < found.rows.length; at++) if (found.ties[at] === tie) total += delta[found.rows[at]] * x[found.columns[at]];
    return total;
  }

  /** @param {"weights" | "gradient"} which */
  #table(which) {
    const { known: found, frame } = this;
    if (!found) return;
    const { layer, selection, stage } = frame;
    const tie = this.#tieOf(selection.weight);
    const at = found.rows.map((_, /** @type {number} */ n) => n).filter((/** @type {number} */ n) => found.ties[n] === tie);
    const delta = stage?.delta(frame.row);
    const x = stage?.x(frame.row);
    const rows = at.map((/** @type {number} */ n) => (which === "weights" ? [`output ${found.rows[n]}`, found.columns[n], found.kernel[tie]] : [`output ${found.rows[n]}`, found.columns[n], delta ? delta[found.rows[n]] * x[found.columns[n]] : null]));
    this.page.dialogs.rows(`Where ${layer.named(selection.weight)} stands`, ["row", "column", which === "weights" ? "weight" : "δ · x"], rows, `explain.dense_equivalent(model.get_layer("${layer.name}"))`);
  }
}
