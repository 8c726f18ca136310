/**
 * A layer as the bench sees it: which numbers make its window, its maps and its filters. Convolutions of one to
 * three directions, grouped, depthwise and transposed ones, and dense layers, which are a convolution whose
 * window covers the whole input.
 */
import { stepsOf } from "kl/data";
import { flat, volume } from "kl/geometry";

/** Sizes in which a list of numbers is drawn, as near to a square as its divisors allow. @param {number} length @returns {number[]} */
export function folded(length) {
  for (let rows = Math.floor(Math.sqrt(length)); rows >= 1; rows--) {
    if (length % rows === 0 && length / rows <= 4 * rows) return [rows, length / rows];
  }
  return length <= 24 ? [1, length] : [Math.ceil(length / 16), 16];
}

export class Layer {
  /** @param {any} about of one layer, as the server tells it */
  constructor(about) {
    this.about = about;
    this.name = about.name;
    const names = Object.keys(about.weights ?? {});
    /** Name of its kernel; "" without one. */
    this.weight = ["kernel", "pointwise_kernel"].find((name) => names.includes(name)) ?? names.find((name) => name.endsWith("kernel")) ?? "";
    this.kind = about.operator?.kind ?? null;
    this.shape = this.weight ? about.weights[this.weight].shape : [];
    this.steps = this.#steps("steps");
    this.ledgers = this.#steps("ledgers");
    this.gradients = this.#steps("gradients");
    /** @type {any[]} */ this.columns = about.columns ?? [];
    this.pool = this.columns.find((column) => column.name === "pool") ?? null;
  }

  /** @param {string} name */
  #steps(name) {
    return stepsOf(this.about.weights?.[this.weight]?.[name]);
  }

  /** Whether there is a kernel to look at. */
  get isOpen() {
    return Boolean(this.weight && this.kind && this.about.is_recorded !== false && this.shape.length >= 2);
  }

  get isDense() {
    return this.kind === "dense";
  }

  /** Whether each input channel has filters of its own: (window, channels, filters of a channel). */
  get isDepthwise() {
    const [c, m] = this.shape.slice(-2);
    const groups = this.about.operator?.groups ?? 1;
    return groups > 1 && groups === c && this.about.output_shape?.slice(-1)[0] === c * m;
  }

  /** Whether filters stand before channels, as a transposed convolution has them. */
  get isTransposed() {
    return this.kind === "conv_transpose";
  }

  /** Sizes of the window of the weight itself. @returns {number[]} */
  get window() {
    return this.isDense ? folded(this.shape[0]) : this.shape.slice(0, -2);
  }

  /** Numbers in the window. */
  get taps() {
    return this.isDense ? this.shape[0] : volume(this.window);
  }

  get filters() {
    const [c, f] = this.shape.slice(-2);
    if (this.isTransposed) return c;
    return this.isDepthwise ? c * f : f;
  }

  /** Slices of one filter. */
  get slices() {
    if (this.isTransposed) return this.shape[this.shape.length - 1];
    return this.isDense || this.isDepthwise ? 1 : this.shape[this.shape.length - 2];
  }

  /** Numbers in the kernel. */
  get size() {
    return volume(this.shape);
  }

  /** Input map that a slice of a filter reads. @param {number} filter @param {number} slice */
  input(filter, slice) {
    if (this.isDepthwise) return Math.floor(filter / this.shape[this.shape.length - 1]);
    const groups = this.about.operator?.groups ?? 1;
    return Math.floor(filter / (this.filters / groups)) * this.slices + slice;
  }

  /** Index of one number of the weight, as Python has it. @param {readonly number[]} weight place in the window @param {number} slice @param {number} filter @returns {number[]} */
  index(weight, slice, filter) {
    if (this.isDense) return [Math.min(this.shape[0] - 1, flat(weight, this.window)), filter];
    if (this.isDepthwise) {
      const multiplier = this.shape[this.shape.length - 1];
      return [...weight, Math.floor(filter / multiplier), filter % multiplier];
    }
    return this.isTransposed ? [...weight, filter, slice] : [...weight, slice, filter];
  }

  /** What an index of the weight means here. @param {readonly number[]} index */
  placeOf(index) {
    if (this.isDense) {
      const columns = this.window[1];
      return { weight: [Math.floor(index[0] / columns), index[0] % columns], slice: 0, filter: index[1] };
    }
    const [c, f] = index.slice(-2);
    const weight = index.slice(0, -2);
    if (this.isTransposed) return { weight, slice: f, filter: c };
    return this.isDepthwise ? { weight, slice: 0, filter: c * this.shape[this.shape.length - 1] + f } : { weight, slice: c, filter: f };
  }

  /**
   * One slice of one filter out of a whole kernel, in the order of the window.
   * @param {ArrayLike<number>} kernel @param {number} slice @param {number} filter @param {number} [from] place of its first number
   */
  cut(kernel, slice, filter, from = 0) {
    const step = this.shape[this.shape.length - 1] * (this.isDense ? 1 : this.shape[this.shape.length - 2]);
    const across = this.shape[this.shape.length - 1];
    const start = this.isDense || this.isDepthwise ? filter : this.isTransposed ? filter * across + slice : slice * across + filter;
    const found = new Float64Array(volume(this.window)).fill(NaN);
    for (let tap = 0; tap < this.taps; tap++) found[tap] = kernel[from + tap * step + start];
    return found;
  }

  /** All slices of a filter, each as `cut` gives it. @param {ArrayLike<number>} kernel @param {number} filter */
  whole(kernel, filter) {
    return Array.from({ length: this.slices }, (_, slice) => this.cut(kernel, slice, filter));
  }

  /** What its window does on an input. @param {readonly number[]} input spatial sizes @param {readonly number[]} output @returns {import("kl/geometry").Geometry} */
  geometry(input, output) {
    if (this.isDense) return denseGeometry(this.window, this.shape[0], output);
    const { stride, padding, dilation } = this.about.operator;
    return { kernel: this.window, stride, padding, dilation, input: [...input], output: [...output], isTransposed: this.kind === "conv_transpose" };
  }

  /** A weight in words: W[1,2], or W[37] of a dense layer. @param {readonly number[]} weight */
  named(weight) {
    return `W[${this.isDense ? flat(weight, this.window) : weight.join(",")}]`;
  }
}

/** @param {number[]} window @param {number} inputs @param {readonly number[]} output positions, if the layer has any */
function denseGeometry(window, inputs, output) {
  const none = window.map(() => 0);
  const ones = window.map(() => 1);
  if (volume(output) <= 1) {
    return { kernel: window, stride: ones, dilation: ones, padding: window.map(() => [0, 0]), input: window, output: none.map(() => 1), isTransposed: false };
  }
  // NOTE: a dense layer on rows of numbers reads one row a position: a window with a stride of its own size.
  const positions = volume(output);
  return { kernel: [1, inputs], stride: [1, inputs], dilation: [1, 1], padding: [[0, 0], [0, 0]], input: [1, positions * inputs], output: [1, positions], isTransposed: false };
}
