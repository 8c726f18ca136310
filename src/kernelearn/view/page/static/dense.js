/** The layer as the dense layer that it is: mostly zeros, the rest the same few numbers along diagonals. */
import { attribute, attributes, h, rich, show } from "kl/dom";
import { count, digits, fixed, largest } from "kl/format";
import { flat, reads, unflat, volume } from "kl/geometry";
import { mix } from "kl/scale";
import { kernelOf, positionOf } from "kl/frame";

/** Matrices of more entries are drawn smaller: some of their entries fall on one pixel. */
const MOST_SIDE = 1024;
const SHADES = 64;

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
    const { layer, stage } = this.frame;
    const tie = this.known.ties.get(row * this.known.shape[1] + column);
    return { at: unflat(row, stage.geometry.output), ...(tie == null ? {} : { weight: unflat(tie, layer.window) }) };
  }

  /** @param {any} frame */
  render(frame) {
    this.frame = frame;
    const { layer, selection, stage } = frame;
    const isHere = Boolean(stage) && !layer.isDense;
    show(this.pair, isHere);
    show(this.missing, !stage && !layer.isDense);
    this.known = isHere ? tiesOf(stage.geometry) : null;
    if (layer.isDense) return rich(this.title, [`${layer.name} is a dense layer already: each of its ${count(layer.size)} weights stands once.`]);
    rich(this.title, [`${layer.name}, kernel ${selection.kernel}${layer.slices > 1 ? `, slice ${selection.slice}` : ""}, written as a dense layer`]);
    if (!stage) return this.page.offer(this.missing, frame.gap, true);
    this.mark(frame, this.page.state.now);
  }

  /** @param {any} frame @param {any} selection */
  mark(frame, selection) {
    if (!this.known) return;
    const { layer, stage } = frame;
    const { entries, tied, counts } = this.known;
    const kernel = stage.kernel() ?? kernelOf(frame) ?? new Float64Array(layer.taps);
    const tie = flat(selection.weight, layer.window);
    this.#paintWeights(kernel, tie, flat(positionOf(frame, selection), stage.geometry.output));
    rich(this.wordsW, [`${count(entries)} entries: `, ["b", `${count(entries - tied)} always zero`], `, ${count(tied)} tied to `, ["b", `${count(layer.taps)} numbers`], ". ", ["W", `${layer.named(selection.weight)} = ${fixed(kernel[tie], 4, true)}`], " stands in ", ["b", count(counts[tie])], " of them."]);
    const hasError = stage.hasErrors && !frame.back;
    show(this.gradient, hasError);
    const total = hasError ? this.#paintGradient(tie) : NaN;
    rich(this.wordsG, hasError ? ["A convolution adds up the diagonal: ", ["E", `Σ = ${digits(total, 4, true)}`], `, this image in ∂L/∂${layer.named(selection.weight)}. No other difference.`] : [frame.back?.why ?? "Choose an image of the batch to see what comes back."]);
    attribute(this.weights, "aria-label", `Dense matrix of the kernel: ${count(entries)} entries, ${count(entries - tied)} fixed at zero, ${count(tied)} tied to ${count(layer.taps)} numbers. Arrow keys move the position.`);
    attribute(this.gradient, "aria-label", hasError ? `Outer product of error and input; the ties of ${layer.named(selection.weight)} add up to ${digits(total, 4, true)}` : "no gradient");
    this.page.legend({ w: largest(kernel), a: largest(stage.x(frame.row)), e: hasError ? this.range : null });
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

  /** @param {ArrayLike<number>} kernel @param {number} tie @param {number} own */
  #paintWeights(kernel, tie, own) {
    const { colours } = this.page;
    const { surface, zero } = colours.tokens;
    const { ties, shape } = this.known;
    const range = largest(Array.from(kernel));
    const here = mix(surface, zero, 0.4);
    const full = Array.from(kernel, (v) => colours.rgb(v, range, "w"));
    const pale = full.map((rgb) => mix(rgb, surface, 0.38));
    this.#paint(this.weights, (row, column) => {
      const t = ties.get(row * shape[1] + column);
      if (t == null) return row === own ? here : surface;
      return t === tie ? full[t] : pale[t];
    });
  }

  /** @param {number} tie @returns {number} sum of the entries that are tied to the weight */
  #paintGradient(tie) {
    const { colours } = this.page;
    const { sel } = colours.tokens;
    const { stage, row } = this.frame;
    const { ties, shape } = this.known;
    const delta = stage.delta(row);
    const x = stage.x(row);
    this.range = largest(delta) * largest(x);
    const [free, tied] = [0.2, 0.45].map((share) => new Map([-1, 1].map((sign) => [sign, this.#faded(sign, share)])));
    this.#paint(this.gradient, (o, i) => {
      const value = delta[o] * x[i];
      const t = ties.get(o * shape[1] + i);
      if (t === tie) return Math.abs(value) < this.range * 0.004 ? sel : colours.rgb(value, this.range, "e");
      const ramp = (t == null ? free : tied).get(value < 0 ? -1 : 1) ?? [];
      return ramp[Math.round(Math.min(1, this.range ? Math.abs(value) / this.range : 0) * (SHADES - 1))];
    });
    return stage.gradientOf(row)?.[tie] ?? NaN;
  }

  /** Colours of errors of one sign, faded into the page: as many as can be told apart. @param {number} sign @param {number} share */
  #faded(sign, share) {
    const { colours } = this.page;
    return Array.from({ length: SHADES }, (_, i) => mix(colours.rgb((sign * i) / (SHADES - 1), 1, "e"), colours.tokens.surface, share));
  }

  /** @param {"weights" | "gradient"} which */
  #table(which) {
    if (!this.known) return;
    const { layer, selection, stage, row } = this.frame;
    const tie = flat(selection.weight, layer.window);
    const [delta, x, kernel] = [stage.delta(row), stage.x(row), stage.kernel()];
    const places = reads(stage.geometry, selection.weight);
    const rows = Array.from(places, (place, output) => [`output ${output}`, place, which === "weights" ? kernel[tie] : delta ? delta[output] * x[place] : null]).filter(([, place]) => place >= 0);
    this.page.dialogs.rows(`Where ${layer.named(selection.weight)} stands`, ["row", "column", which === "weights" ? "weight" : "δ · x"], rows, `explain.dense_equivalent(model.get_layer("${layer.name}"))`);
  }
}

/** @type {WeakMap<import("kl/geometry").Geometry, any>} */
const known = new WeakMap();

/** Which entries of the dense matrix are tied to which weight; `explain.dense_equivalent` has the same. @param {import("kl/geometry").Geometry} geometry */
function tiesOf(geometry) {
  const found = known.get(geometry);
  if (found) return found;
  const shape = [volume(geometry.output), volume(geometry.input)];
  const taps = volume(geometry.kernel);
  const ties = new Map();
  const counts = new Int32Array(taps);
  for (let tap = 0; tap < taps; tap++) {
    reads(geometry, unflat(tap, geometry.kernel)).forEach((place, output) => {
      if (place < 0) return;
      ties.set(output * shape[1] + place, tap);
      counts[tap] += 1;
    });
  }
  const made = { shape, ties, counts, tied: ties.size, entries: shape[0] * shape[1] };
  known.set(geometry, made);
  return made;
}
