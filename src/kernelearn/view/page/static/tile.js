/**
 * One map of numbers: cells in colour, numbers where they fit, hatching where nothing passes, dots on winners,
 * frames on what is chosen. Made once, then only changed in place. Above 16 x 16 cells it is a canvas.
 */
import { attribute, attributes, children, h, s, text } from "kl/dom";
import { clamped, drawn, flat, unflat } from "kl/geometry";

const WIDTH = 120;
const CANVAS_FROM = 17;
const MOST_NUMBERS = 49;

/**
 * @typedef {object} Picture what a tile shows
 * @property {ArrayLike<number>} values @property {number[]} sizes @property {number} range
 * @property {import("kl/scale").Family} family
 * @property {((value: number) => string) | null} [format] of numbers in cells
 * @property {((at: number) => boolean) | null} [hatched] @property {Iterable<number> | null} [dots]
 * @property {boolean} [signs] minus marks on negative cells
 * @property {import("kl/scale").Colours} colours
 */

/** @typedef {{at: number[], size?: number[], strong?: boolean}} Mark a frame about some cells */

export class Tile {
  /**
   * @param {{over?: (at: number[]) => void, pick?: (at: number[]) => void, table?: () => void, stop?: boolean}} [does]
   */
  constructor(does = {}) {
    this.does = does;
    this.cells = s("g");
    this.labels = s("g", { class: "numbers" });
    this.hatch = s("path", { class: "hatch" });
    this.dots = s("path", { class: "dots" });
    this.minus = s("g");
    this.marks = s("g");
    this.svg = s("svg", { "aria-hidden": "true" }, this.cells, this.hatch, this.labels, this.minus, this.dots, this.marks);
    this.canvas = h("canvas", { "aria-hidden": "true", hidden: true });
    this.element = h("div", { class: "map" }, this.canvas, this.svg);
    if (does.pick) this.#listen();
    /** @type {Picture | null} */ this.picture = null;
    this.layout = "";
    /** @type {number[]} */ this.chosen = [];
  }

  /** @param {string} label what a screen reader hears */
  label(label) {
    const isWidget = Boolean(this.does.pick);
    attributes(this.element, {
      "aria-label": label,
      role: isWidget ? "application" : "img",
      "aria-roledescription": isWidget ? "map" : null,
      tabindex: isWidget ? 0 : null,
    });
  }

  /** @param {Picture} picture */
  show(picture) {
    const [rows, columns] = drawn(picture.sizes);
    this.rows = rows;
    this.columns = columns;
    this.width = WIDTH;
    this.height = rows * columns === 1 ? WIDTH / 3 : Math.max(WIDTH / 3, Math.min(WIDTH * 1.05, (WIDTH * rows) / columns));
    this.dx = this.width / columns;
    this.dy = this.height / rows;
    this.picture = picture;
    const isCanvas = rows >= CANVAS_FROM || columns >= CANVAS_FROM;
    const layout = `${rows} ${columns} ${isCanvas}`;
    if (layout !== this.layout) {
      this.layout = layout;
      attribute(this.svg, "viewBox", `-1 -1 ${this.width + 2} ${this.height + 2}`);
      this.element.style.aspectRatio = `${this.width + 2} / ${this.height + 2}`;
      this.canvas.hidden = !isCanvas;
      if (isCanvas) this.cells.replaceChildren();
    }
    if (isCanvas) this.#paint(picture);
    else this.#fill(picture);
    this.#numbers(picture, isCanvas);
    this.#signs(picture);
  }

  /** @param {Picture} picture */
  #fill({ values, range, family, colours }) {
    const list = Array.from({ length: this.rows * this.columns }, (_, i) => i);
    children(
      this.cells,
      list,
      () => s("rect"),
      (cell, at) => {
        const [x, y] = this.#corner(at);
        attributes(cell, { x: x + 0.25, y: y + 0.25, width: this.dx - 0.5, height: this.dy - 0.5, fill: colours.fill(values[at], range, family) });
      },
    );
  }

  /** @param {Picture} picture */
  #paint({ values, range, family, colours }) {
    const { rows, columns, canvas } = this;
    if (canvas.width !== columns || canvas.height !== rows) {
      canvas.width = columns;
      canvas.height = rows;
    }
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    for (let at = 0; at < rows * columns; at++) {
      const [r, g, b] = colours.rgb(values[at], range, family);
      image.data[4 * at] = r;
      image.data[4 * at + 1] = g;
      image.data[4 * at + 2] = b;
      image.data[4 * at + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  /** @param {Picture} picture @param {boolean} isCanvas */
  #numbers({ values, range, family, colours, format, hatched, dots }, isCanvas) {
    const count = this.rows * this.columns;
    const shown = format && !isCanvas && count <= MOST_NUMBERS ? Array.from({ length: count }, (_, i) => i) : [];
    const texts = shown.map((at) => (Number.isFinite(values[at]) && !hatched?.(at) ? format?.(values[at]) ?? "" : ""));
    const longest = Math.max(1, ...texts.map((t) => t.length));
    const size = Math.min(this.dy * 0.42, (this.dx * 0.94) / (0.56 * longest), 13);
    children(
      this.labels,
      size < 5 ? [] : shown,
      () => s("text", { "text-anchor": "middle" }),
      (label, at) => {
        const [x, y] = this.#corner(at);
        attributes(label, { x: x + this.dx / 2, y: y + this.dy / 2 + size * 0.36, "font-size": size.toFixed(2), fill: colours.ink(values[at], range, family) });
        text(label, texts[at]);
      },
    );
    attribute(this.hatch, "d", hatched ? this.#boxes((at) => hatched(at), count) : "");
    attribute(this.dots, "d", dots ? this.#circles(dots) : "");
  }

  /** @param {Picture} picture */
  #signs({ values, range, signs, hatched, family, colours, format }) {
    const isWanted = signs && !format && this.rows < CANVAS_FROM && this.columns < CANVAS_FROM;
    const negative = [];
    for (let at = 0; isWanted && at < this.rows * this.columns; at++) {
      if (values[at] < -0.004 * range && !hatched?.(at)) negative.push(at);
    }
    children(
      this.minus,
      negative,
      () => s("path", { "stroke-width": 1.3 }),
      (path, at) => {
        const [x, y] = this.#corner(at);
        attributes(path, { d: `M${x + this.dx / 2 - 3} ${y + this.dy / 2}h6`, stroke: colours.ink(values[at], range, family) });
      },
    );
  }

  /** Frames. @param {Mark[]} marks */
  mark(marks) {
    if (!this.picture) return;
    children(
      this.marks,
      marks,
      () => s("rect", { class: "frame" }),
      (frame, { at, size, strong }) => {
        const place = this.#within(this.#box(at, size ?? at.map(() => 1)));
        attributes(frame, { ...place, "stroke-width": strong === false ? 1.2 : 2.3 });
      },
    );
  }

  /** Box of some cells in the units of the drawing; it may reach beside the map. @param {number[]} at @param {number[]} size */
  #box(at, size) {
    const sizes = this.picture?.sizes ?? [];
    if (sizes.length < 2) return { x: (at[0] ?? 0) * this.dx, y: 0, width: (size[0] ?? 1) * this.dx, height: this.height };
    const across = sizes.length - 1;
    const row = sizes.length === 2 ? at[0] : flat(clamped(at.slice(0, -1), sizes.slice(0, -1)), sizes.slice(0, -1));
    const tall = sizes.length === 2 ? size[0] : size[across - 1];
    return { x: at[across] * this.dx, y: row * this.dy, width: size[across] * this.dx, height: tall * this.dy };
  }

  /** A frame that reaches over the rim a little, and not into what stands beside. @param {{x: number, y: number, width: number, height: number}} box */
  #within({ x, y, width, height }) {
    const rim = 2.5;
    const cut = (/** @type {number} */ v, /** @type {number} */ most) => Math.max(-rim, Math.min(most + rim, v));
    const [left, top] = [cut(x, this.width), cut(y, this.height)];
    return { x: left, y: top, width: cut(x + width, this.width) - left, height: cut(y + height, this.height) - top };
  }

  /** Middle of a side of a cell on the screen. @param {number[]} at @param {"left" | "right"} side */
  anchor(at, side) {
    const box = this.#box(at, at.map(() => 1));
    const rect = this.svg.getBoundingClientRect();
    const unit = rect.width / (this.width + 2);
    return [rect.left + unit * (1 + box.x + (side === "right" ? box.width : 0)), rect.top + unit * (1 + box.y + box.height / 2)];
  }

  /** @param {number} at @returns {[number, number]} */
  #corner(at) {
    return [(at % this.columns) * this.dx, Math.floor(at / this.columns) * this.dy];
  }

  /** @param {(at: number) => boolean} wanted @param {number} count */
  #boxes(wanted, count) {
    let d = "";
    for (let at = 0; at < count; at++) {
      if (!wanted(at)) continue;
      const [x, y] = this.#corner(at);
      d += `M${x + 0.25} ${y + 0.25}h${this.dx - 0.5}v${this.dy - 0.5}h${0.5 - this.dx}z`;
    }
    return d;
  }

  /** @param {Iterable<number>} dots */
  #circles(dots) {
    const r = Math.max(0.5, Math.min(1.9, this.dx * 0.16));
    let d = "";
    for (const at of dots) {
      const [x, y] = this.#corner(at);
      d += `M${(x + this.dx - 2.6 * r).toFixed(2)} ${(y + 1.8 * r).toFixed(2)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`;
    }
    return d;
  }

  /** Index of the cell under the pointer; null beside the map. @param {PointerEvent | MouseEvent} event */
  #under(event) {
    const rect = this.svg.getBoundingClientRect();
    const unit = rect.width / (this.width + 2);
    const column = Math.floor(((event.clientX - rect.left) / unit - 1) / this.dx);
    const row = Math.floor(((event.clientY - rect.top) / unit - 1) / this.dy);
    if (column < 0 || row < 0 || column >= this.columns || row >= this.rows || !this.picture) return null;
    return unflat(row * this.columns + column, this.picture.sizes);
  }

  #listen() {
    const { element, does } = this;
    let last = "";
    element.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
      const at = event.pointerType === "touch" ? null : this.#under(event);
      const key = at ? at.join() : "";
      if (at && key !== last) does.over?.(at);
      last = key;
    });
    element.addEventListener("pointerleave", () => (last = ""));
    element.addEventListener("click", (/** @type {MouseEvent} */ event) => {
      const at = this.#under(event);
      if (at) does.pick?.(at);
    });
    element.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (event.key === "t" && this.does.table) {
      event.preventDefault();
      event.stopPropagation();
      this.does.table();
      return;
    }
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const move = moves[/** @type {keyof typeof moves} */ (event.key)];
    if (!move || !this.picture) return;
    event.preventDefault();
    event.stopPropagation();
    const sizes = this.picture.sizes;
    const [row, column] = drawn(sizes)[0] === 1 && sizes.length < 2 ? [0, this.chosen[0] ?? 0] : this.#rowAndColumn();
    const next = clamped([row + move[0], column + move[1]], [this.rows, this.columns]);
    this.does.pick?.(unflat(next[0] * this.columns + next[1], sizes));
  }

  #rowAndColumn() {
    const sizes = this.picture?.sizes ?? [];
    const at = flat(clamped(this.chosen, sizes), sizes);
    return [Math.floor(at / this.columns), at % this.columns];
  }
}

/**
 * A tile with its caption, its table button and the line below.
 * @param {{id: string, over?: any, pick?: any, table: () => void, small?: boolean}} about
 */
export function figureTile({ id, over, pick, table }) {
  const tile = new Tile({ over, pick, table });
  const caption = h("span");
  const button = h("button", { class: "tbl", type: "button", title: "table (t)", onclick: table, text: "▦" });
  const sub = h("div", { class: "sub" });
  const op = h("span", { class: "op", "aria-hidden": "true" });
  const extra = h("div", { class: "extra" });
  const element = h("figure", { class: "tile", id: `t-${id}`, "data-tile": id }, h("figcaption", {}, caption, button), h("div", { class: "stack" }, tile.element, extra), sub, op);
  return { id, tile, element, caption, button, sub, op, extra };
}

/** A small picture without numbers: cells painted on a canvas of one pixel each. */
export class Thumbnail {
  constructor() {
    this.canvas = h("canvas", { class: "thumb", "aria-hidden": "true" });
    /** @type {any} */ this.last = null;
  }

  /**
   * @param {ArrayLike<number>} values @param {readonly number[]} sizes @param {number} range
   * @param {import("kl/scale").Family} family @param {import("kl/scale").Colours} colours
   */
  show(values, sizes, range, family, colours) {
    const [rows, columns] = drawn(sizes);
    if (this.canvas.width !== columns || this.canvas.height !== rows) {
      this.canvas.width = columns;
      this.canvas.height = rows;
      this.canvas.style.aspectRatio = String(Math.max(0.75, Math.min(4, columns / rows)));
    }
    paint(this.canvas.getContext("2d"), 0, 0, values, [rows, columns], range, family, colours);
  }
}

/**
 * Paint numbers, one pixel each.
 * @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {ArrayLike<number>} values
 * @param {[number, number]} size rows and columns @param {number} range @param {import("kl/scale").Family} family
 * @param {import("kl/scale").Colours} colours @param {number} [zoom] pixels of a number
 */
export function paint(context, x, y, values, [rows, columns], range, family, colours, zoom = 1) {
  const image = context.createImageData(columns * zoom, rows * zoom);
  const wide = columns * zoom;
  for (let row = 0; row < rows * zoom; row++) {
    for (let column = 0; column < wide; column++) {
      const value = values[Math.floor(row / zoom) * columns + Math.floor(column / zoom)];
      const [r, g, b] = colours.rgb(value, range, family);
      const at = 4 * (row * wide + column);
      image.data[at] = r;
      image.data[at + 1] = g;
      image.data[at + 2] = b;
      image.data[at + 3] = 255;
    }
  }
  context.putImageData(image, x, y);
}
