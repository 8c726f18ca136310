/**
 * One layer at one step, as the bench shows it: the maps of each image forward and back, the terms of a weight,
 * its gradient, and what each image gave to it. Sums are formed here in float64 so that the page answers at
 * once; `explain.ledger` forms the same ones, and a test compares.
 */
import { sum } from "kl/format";
import { flat, reads, termSum, terms, unflat, volume } from "kl/geometry";
import { folded } from "kl/layer";

/** Names of the columns behind x, in the order of the forward pass. */
export const COLUMNS = ["z", "norm", "a", "pool"];

export class Stage {
  /**
   * @param {import("kl/data").Blocks} answer of `batch` or `probe` @param {import("kl/layer").Layer} layer
   * @param {number} filter @param {number} slice
   */
  constructor(answer, layer, filter, slice) {
    this.answer = answer;
    this.layer = layer;
    this.filter = filter;
    this.slice = slice;
    this.isCut = answer.header.filter != null;
    this.missing = answer.missing;
    const { x, z } = answer.blocks;
    this.images = answer.blocks.images?.data ?? [];
    this.labels = answer.blocks.labels?.data ?? [];
    this.rows = this.images.length || x?.shape[0] || z?.shape[0] || 0;
    this.spatial = z ? (this.isCut ? z.shape.slice(1) : z.shape.slice(1, -1)) : [];
    const input = x ? (this.isCut ? x.shape.slice(1) : x.shape.slice(1, -1)) : [];
    this.geometry = layer.geometry(input, this.spatial);
    /** @type {Map<string, any>} */ this.known = new Map();
  }

  /** Whether errors came back. */
  get hasErrors() {
    return Boolean(this.answer.blocks.dz);
  }

  /** The columns that this layer has, z first. */
  get columns() {
    return COLUMNS.filter((name) => this.answer.blocks[name]);
  }

  /** The last column: what the layers above read. */
  get end() {
    return this.columns[this.columns.length - 1] ?? "z";
  }

  /** @template T @param {string} key @param {() => T} make @returns {T} */
  #once(key, make) {
    if (!this.known.has(key)) this.known.set(key, make());
    return this.known.get(key);
  }

  /** Row of an image by its number in the data; -1 if it is not there. @param {number} image */
  rowOf(image) {
    return Array.prototype.indexOf.call(this.images, image);
  }

  /** Sizes of the map of a column. @param {string} name @returns {number[]} */
  sizes(name) {
    const block = this.answer.blocks[name] ?? this.answer.blocks[`d${name}`];
    if (this.layer.isDense && volume(this.spatial) <= 1) return folded(this.isCut ? 1 : this.layer.filters);
    if (!block) return [1, 1];
    return (this.isCut ? block.shape.slice(1) : block.shape.slice(1, -1)).slice();
  }

  /** Whether a column of this layer shows all units, and not one map: a dense layer has one number of each. */
  get showsUnits() {
    return this.layer.isDense && volume(this.spatial) <= 1 && !this.isCut;
  }

  /**
   * A map of one image: of the filter, or for a dense layer all its units. null where it is not recorded.
   * @param {string} name block @param {number} row @returns {Float64Array | null}
   */
  map(name, row) {
    const block = this.answer.blocks[name];
    if (!block || row < 0) return null;
    return this.#once(`${name} ${row}`, () => {
      if (this.isCut) return Float64Array.from(part(block, row));
      const all = part(block, row);
      if (this.showsUnits) return padded(all, volume(this.sizes(name)));
      return every(all, this.layer.filters, this.filter);
    });
  }

  /** The number of one unit of a map. @param {string} name @param {number} row @param {number} at place in the map */
  value(name, row, at) {
    return this.map(name, row)?.[this.showsUnits ? this.filter : at] ?? NaN;
  }

  /** Input map of an image: of one slice, or the whole input of a dense layer. @param {number} row @param {number} [slice] @returns {Float64Array} */
  x(row, slice = this.slice) {
    const block = this.answer.blocks.x;
    if (!block) return new Float64Array(volume(this.geometry.input));
    return this.#once(`x ${row} ${slice}`, () => {
      const all = part(block, row);
      if (this.isCut && !this.layer.isDense) return Float64Array.from(all);
      if (this.layer.isDense) return padded(all, volume(this.geometry.input), 0);
      return every(all, block.shape[block.shape.length - 1], this.layer.input(this.filter, slice));
    });
  }

  /** Number of input maps that are here. */
  get inputs() {
    return this.isCut || this.layer.isDense ? 1 : this.answer.blocks.x?.shape.slice(-1)[0] ?? 1;
  }

  /** Errors of an image at z, one a position. @param {number} row @returns {Float64Array | null} */
  delta(row) {
    const map = this.map("dz", row);
    return map && this.showsUnits ? Float64Array.of(map[this.filter]) : map;
  }

  /** One slice of the filter of a block: kernel or gradient. @param {string} name @param {number} [slice] @returns {Float64Array | null} */
  kernel(name = "kernel", slice = this.slice) {
    const block = this.answer.blocks[name];
    if (!block) return null;
    return this.#once(`${name} k ${slice}`, () => (this.isCut ? padded(block.data, volume(this.layer.window)) : this.layer.cut(block.data, slice, this.filter)));
  }

  /** @param {string} name */
  #bias(name) {
    const block = this.answer.blocks[name];
    return block ? block.data[this.isCut && block.data.length === 1 ? 0 : this.filter] : null;
  }

  /** Bias of the filter; null without one. */
  get bias() {
    return this.#bias("bias");
  }

  /** Which position won each pool, as places in the map below it; -1 where none did. @param {number} row @returns {Int32Array | null} */
  winners(row) {
    const block = this.answer.blocks.winner;
    const pool = this.layer.pool;
    if (!block || !pool) return null;
    return this.#once(`winners ${row}`, () => {
      const cells = this.isCut ? part(block, row) : every(part(block, row), this.layer.filters, this.filter);
      const sizes = this.sizes("pool");
      const below = this.sizes(this.#beforePool);
      return Int32Array.from(cells, (cell, at) => (cell < 0 ? -1 : placeInPool(pool, unflat(at, sizes), cell, below)));
    });
  }

  get #beforePool() {
    const columns = this.columns;
    return columns[columns.indexOf("pool") - 1] ?? "z";
  }

  /** Places of the pooled map whose window holds a place of the map below. @param {readonly number[]} at @returns {number[]} */
  pooled(at) {
    const pool = this.layer.pool;
    if (!pool || !this.answer.blocks.pool) return [];
    const sizes = this.sizes("pool");
    if (!pool.size) return [0]; // global pooling
    let found = [[]];
    for (let axis = 0; axis < sizes.length; axis++) {
      const reach = [];
      const place = at[axis] + (pool.padding?.[axis]?.[0] ?? 0);
      for (let q = 0; q < sizes[axis]; q++) {
        const first = q * pool.stride[axis];
        if (first <= place && place < first + pool.size[axis]) reach.push(q);
      }
      found = found.flatMap((head) => reach.map((q) => [...head, q]));
    }
    return found.map((index) => flat(index, sizes));
  }

  /** Place below a place of the pooled map: its winner, or the first of its window. @param {number[]} at @param {number} row @returns {number[]} */
  belowPool(at, row) {
    const below = this.sizes(this.#beforePool);
    const winner = this.winners(row)?.[flat(at, this.sizes("pool"))] ?? -1;
    if (winner >= 0) return unflat(winner, below);
    const pool = this.layer.pool;
    return below.map((size, axis) => Math.max(0, Math.min(size - 1, at[axis] * (pool?.stride?.[axis] ?? 1) - (pool?.padding?.[axis]?.[0] ?? 0))));
  }

  /** @param {string} name block with its name of the error @param {number} row */
  error(name, row) {
    return this.map(`d${name}`, row);
  }

  // --- terms of a weight

  /** Terms of one weight for an image, one a position. @param {readonly number[]} weight @param {number} row */
  terms(weight, row) {
    const delta = this.delta(row);
    return delta ? terms(this.geometry, this.#inWindow(weight), this.x(row), delta) : null;
  }

  /** The same, summed over all images. @param {readonly number[]} weight */
  allTerms(weight) {
    return this.#once(`all terms ${weight}`, () => {
      const total = new Float64Array(volume(this.geometry.output));
      for (let row = 0; row < this.rows; row++) {
        const own = this.terms(weight, row);
        if (own) for (let at = 0; at < total.length; at++) total[at] += own[at];
      }
      return total;
    });
  }

  /** What each image gave to the gradient of a weight. @param {readonly number[]} weight @returns {Float64Array} */
  byImage(weight) {
    return this.#once(`by image ${weight}`, () =>
      Float64Array.from({ length: this.rows }, (_, row) => {
        const delta = this.delta(row);
        return delta ? termSum(this.geometry, this.#inWindow(weight), this.x(row), delta) : 0;
      }),
    );
  }

  /** Rows of the batch by the size of their share, the largest first. @param {readonly number[]} weight @returns {number[]} */
  ranked(weight) {
    return this.#once(`ranked ${weight}`, () => {
      const shares = this.byImage(weight);
      return Array.from(shares, (_, row) => row).sort((a, b) => Math.abs(shares[b]) - Math.abs(shares[a]) || a - b);
    });
  }

  /** Gradient of the slice through one image. @param {number} row @returns {Float64Array | null} */
  gradientOf(row) {
    const delta = this.delta(row);
    if (!delta) return null;
    return this.#once(`gradient ${row}`, () => {
      const { geometry, layer } = this;
      const found = new Float64Array(volume(layer.window)).fill(NaN);
      const x = this.x(row);
      for (let tap = 0; tap < layer.taps; tap++) found[tap] = termSum(geometry, this.#tap(tap), x, delta);
      return found;
    });
  }

  /** Gradient of the slice through all images, as the sum of the terms. @returns {Float64Array | null} */
  get gradient() {
    if (!this.hasErrors) return null;
    return this.#once("gradient", () => {
      const total = new Float64Array(volume(this.layer.window)).fill(NaN);
      total.fill(0, 0, this.layer.taps);
      for (let row = 0; row < this.rows; row++) this.gradientOf(row)?.forEach((value, tap) => (total[tap] += value));
      return total;
    });
  }

  /** Window index of a tap, as the geometry counts it. @param {number} tap */
  #tap(tap) {
    return unflat(tap, this.geometry.kernel);
  }

  /** A weight as the geometry counts it: a dense layer on rows of numbers is drawn otherwise than it reads. @param {readonly number[]} weight */
  #inWindow(weight) {
    return this.#tap(flat(weight, this.layer.window));
  }

  /** Place of a weight among the taps. @param {readonly number[]} weight */
  tapOf(weight) {
    return flat(weight, this.layer.window);
  }

  /** What a weight reads at a position: place in the input, -1 in the padding. @param {readonly number[]} at @param {readonly number[]} weight */
  reads(at, weight) {
    return readAt(this.geometry, at, this.#inWindow(weight));
  }

  /** Position with the largest term of a weight for an image, inside the image where there is one. @param {readonly number[]} weight @param {number} row @returns {number[]} */
  strongest(weight, row) {
    const own = this.terms(weight, row);
    const sizes = this.geometry.output;
    if (!own) return sizes.map((size) => size >> 1);
    const better = (/** @type {number} */ best, /** @type {number} */ at) => (best < 0 || Math.abs(own[at]) > Math.abs(own[best]) ? at : best);
    let [best, inner] = [-1, -1];
    for (let at = 0; at < own.length; at++) {
      best = better(best, at);
      if (this.#isInner(at)) inner = better(inner, at);
    }
    // A window that lies whole in the image shows more, unless the term there is small.
    return unflat(inner >= 0 && Math.abs(own[inner]) > 0.25 * Math.abs(own[best]) ? inner : best, sizes);
  }

  /** Whether the window at a position reads no padding. @param {number} at */
  #isInner(at) {
    const { geometry, layer } = this;
    return reads(geometry, this.#tap(0))[at] >= 0 && reads(geometry, this.#tap(layer.taps - 1))[at] >= 0;
  }

  /** z of the images, in sum and parts, at a position: products of this slice, of the others, bias. @param {number} row @param {number[]} at */
  neuron(row, at) {
    const { geometry, layer } = this;
    const kernel = this.kernel() ?? new Float64Array(0);
    const x = this.x(row);
    const rows = [];
    for (let tap = 0; tap < layer.taps; tap++) {
      const weight = this.#tap(tap);
      const place = readAt(geometry, at, weight);
      const input = place < 0 ? 0 : x[place];
      rows.push({ tap, place, input, weight: kernel[tap], product: input * kernel[tap] });
    }
    const own = sum(rows.map((row) => row.product));
    const z = this.value("z", row, flat(at, geometry.output));
    const bias = this.bias ?? 0;
    return { rows, own, z, bias, hasBias: this.bias !== null, others: layer.slices > 1 ? z - bias - own : 0 };
  }
}

/** @param {import("kl/data").Block} block @param {number} row */
function part(block, row) {
  const size = volume(block.shape.slice(1));
  return block.data.subarray(row * size, (row + 1) * size);
}

/** One channel of interleaved numbers, in float64. @param {ArrayLike<number>} all @param {number} channels @param {number} channel */
function every(all, channels, channel) {
  const found = new Float64Array(all.length / channels);
  for (let at = 0; at < found.length; at++) found[at] = all[at * channels + channel];
  return found;
}

/** @param {ArrayLike<number>} values @param {number} length @param {number} [filling] */
function padded(values, length, filling = NaN) {
  const found = new Float64Array(Math.max(length, values.length)).fill(filling);
  found.set(values);
  return found;
}

/** @param {import("kl/geometry").Geometry} geometry @param {readonly number[]} at @param {readonly number[]} weight */
function readAt(geometry, at, weight) {
  return reads(geometry, weight)[flat(at, geometry.output)];
}

/** @param {any} pool @param {number[]} at place of the pooled map @param {number} cell in its window @param {number[]} below */
function placeInPool(pool, at, cell, below) {
  if (!pool.size) return cell;
  const inWindow = unflat(cell, pool.size);
  return flat(at.map((q, axis) => q * pool.stride[axis] - (pool.padding?.[axis]?.[0] ?? 0) + inWindow[axis]), below);
}
