/**
 * Windows of a convolution in one, two or three directions: which pixel a weight reads at a position, and the
 * terms of its gradient. Stride, padding and dilation are whole numbers that the server has resolved.
 */

/**
 * @typedef {object} Geometry
 * @property {number[]} kernel window of the kernel @property {number[]} stride @property {number[]} dilation
 * @property {number[][]} padding (before, after) of each axis
 * @property {number[]} input spatial sizes of the input @property {number[]} output of the output
 * @property {boolean} [isTransposed] whether the input is spread instead of gathered
 */

/** @param {readonly number[]} sizes */
export const volume = (sizes) => sizes.reduce((a, b) => a * b, 1);

/** Place of an index in a flat array. @param {readonly number[]} index @param {readonly number[]} sizes */
export const flat = (index, sizes) => sizes.reduce((at, size, axis) => at * size + (index[axis] ?? 0), 0);

/** Index of a place in a flat array. @param {number} at @param {readonly number[]} sizes @returns {number[]} */
export function unflat(at, sizes) {
  const index = new Array(sizes.length).fill(0);
  for (let axis = sizes.length - 1; axis >= 0; axis--) {
    index[axis] = at % sizes[axis];
    at = Math.floor(at / sizes[axis]);
  }
  return index;
}

/** The nearest index that is there. @param {readonly number[]} index @param {readonly number[]} sizes */
export const clamped = (index, sizes) => sizes.map((size, axis) => Math.max(0, Math.min(size - 1, index[axis] ?? 0)));

/** First pixel that the window reads at a position; below 0 it reads padding. @param {Geometry} g @param {readonly number[]} at */
export const start = (g, at) => at.map((p, axis) => p * g.stride[axis] - g.padding[axis][0]);

/**
 * Pixel that a weight of the window reads at a position. In a transposed convolution it may fall between two pixels: then -1.
 * @param {Geometry} g @param {readonly number[]} at @param {readonly number[]} weight
 */
export function pixel(g, at, weight) {
  return at.map((p, axis) => {
    const [stride, before, reach] = [g.stride[axis], g.padding[axis][0], weight[axis] * g.dilation[axis]];
    if (!g.isTransposed) return p * stride - before + reach;
    const place = (p + before - reach) / stride;
    return Number.isInteger(place) ? place : -1;
  });
}

/** Frame of the window on the input: its first pixel and its size. @param {Geometry} g @param {readonly number[]} at */
export function frame(g, at) {
  if (!g.isTransposed) return { at: start(g, at), size: g.kernel.map((k, axis) => (k - 1) * g.dilation[axis] + 1) };
  const first = at.map((p, axis) => Math.ceil((p + g.padding[axis][0] - (g.kernel[axis] - 1) * g.dilation[axis]) / g.stride[axis]));
  const last = at.map((p, axis) => Math.floor((p + g.padding[axis][0]) / g.stride[axis]));
  return { at: first, size: first.map((low, axis) => Math.max(1, last[axis] - low + 1)) };
}

/** Its place in the flat input; -1 in the padding. @param {readonly number[]} index @param {readonly number[]} sizes */
export function inside(index, sizes) {
  for (let axis = 0; axis < sizes.length; axis++) if (index[axis] < 0 || index[axis] >= sizes[axis]) return -1;
  return flat(index, sizes);
}

/** @typedef {Int32Array} Reads place in the input that each position reads with one weight; -1 in the padding */

/** @type {WeakMap<Geometry, Map<string, Reads>>} */
const known = new WeakMap();

/** What a weight reads at every position. @param {Geometry} g @param {readonly number[]} weight @returns {Reads} */
export function reads(g, weight) {
  let table = known.get(g);
  if (!table) known.set(g, (table = new Map()));
  const key = weight.join();
  let found = table.get(key);
  if (!found) {
    found = new Int32Array(volume(g.output));
    for (let at = 0; at < found.length; at++) found[at] = inside(pixel(g, unflat(at, g.output), weight), g.input);
    table.set(key, found);
  }
  return found;
}

/**
 * Terms of one weight for one image: x times error, one a position.
 * @param {Geometry} g @param {readonly number[]} weight @param {ArrayLike<number>} x @param {ArrayLike<number>} delta
 */
export function terms(g, weight, x, delta) {
  const place = reads(g, weight);
  const found = new Float64Array(place.length);
  for (let at = 0; at < found.length; at++) if (place[at] >= 0) found[at] = x[place[at]] * delta[at];
  return found;
}

/** Their sum, without the list. @param {Geometry} g @param {readonly number[]} weight @param {ArrayLike<number>} x @param {ArrayLike<number>} delta */
export function termSum(g, weight, x, delta) {
  const place = reads(g, weight);
  let total = 0;
  for (let at = 0; at < place.length; at++) if (place[at] >= 0) total += x[place[at]] * delta[at];
  return total;
}

/** Rows and columns in which a map is drawn: the last axis across, all others down. @param {readonly number[]} sizes @returns {[number, number]} */
export const drawn = (sizes) => (sizes.length ? [volume(sizes.slice(0, -1)), sizes[sizes.length - 1]] : [1, 1]);
