/**
 * The bench: a layer as columns. What went through a cell stands above, what came back through the same cell
 * stands below; a column is a place in the network, and its two tiles have the same shape.
 */
import { attribute, h, rich, s, show, text } from "kl/dom";
import { cellText, columnWords, kernelText, slopeIsZero } from "kl/words";
import { count, digits, largest, sum } from "kl/format";
import { clamped, flat, frame as windowFrame, pixel, unflat, volume } from "kl/geometry";
import { figureTile, Thumbnail } from "kl/tile";
import { kernelOf, positionOf } from "kl/frame";

const FEW_SLICES = 4;

/** @typedef {{name: string, up: any, down: any}} Column */

export class BenchView {
  /** @param {any} page */
  constructor(page) {
    this.page = page;
    this.forward = h("button", { class: "dirn forward", type: "button", title: "f", text: "Forward" });
    this.backward = h("button", { class: "dirn backward", type: "button", title: "b", text: "Backward" });
    this.forward.addEventListener("click", () => this.#only("backward"));
    this.backward.addEventListener("click", () => this.#only("forward"));
    this.links = s("svg", { class: "links", "aria-hidden": "true" });
    this.gap = h("div", { class: "empty", hidden: true });
    this.back = h("div", { class: "empty", hidden: true });
    this.stages = h("div", { class: "stages" }, this.forward, this.backward, this.gap, this.back, this.links);
    this.stages.addEventListener("pointerleave", () => page.hover({}));
    this.readForward = h("span");
    this.readBackward = h("span");
    this.read = h("div", { class: "read", id: "read" },
      h("p", {}, h("span", { text: "Forward" }), this.readForward), h("p", {}, h("span", { text: "Backward" }), this.readBackward));
    this.element = h("div", { class: "bench" }, this.stages, this.read);
    /** @type {Column[]} */ this.columns = [];
    this.made = "";
    /** @type {any} */ this.frame = null;
  }

  /** One press shows or hides a row; one of them always stays. @param {"forward" | "backward"} left */
  #only(left) {
    this.page.choose({ rows: this.page.state.now.rows === left ? "both" : left });
  }

  // --- tiles

  /** @param {string[]} names */
  #make(names) {
    const key = names.join();
    if (key === this.made) return;
    this.made = key;
    for (const column of this.columns) {
      column.up.element.remove();
      column.down.element.remove();
    }
    this.columns = names.map((name, place) => ({ name, up: this.#tile(name, "f", place), down: this.#tile(name, "d", place) }));
    // NOTE: a column is as wide in a layer of three as in one of five: what one looked at stays where it was.
    this.stages.style.setProperty("--columns", String(Math.max(5, names.length)));
    for (const { up, down } of this.columns) this.stages.insertBefore(up.element, this.gap).after(down.element);
    this.columns[this.columns.length - 1].down.element.classList.add("last");
  }

  /** @param {string} name @param {"f" | "d"} row @param {number} place */
  #tile(name, row, place) {
    const id = row === "f" ? name : { x: "terms", w: "gradient" }[name] ?? `d-${name}`;
    const does = this.#does(name);
    const tile = figureTile({ id, ...does, table: () => this.#table(name, row) });
    tile.element.classList.add(row === "f" ? "up" : "down");
    tile.element.style.gridColumn = String(place + 2);
    tile.element.style.gridRow = row === "f" ? "1" : "2";
    tile.element.style.setProperty("--place", String(place + 1));
    return tile;
  }

  /** What the pointer does on a column. @param {string} name */
  #does(name) {
    const { page } = this;
    const wrap = (/** @type {(at: number[]) => any} */ meaning) => ({
      over: (/** @type {number[]} */ at) => page.hover(meaning(at) ?? {}),
      pick: (/** @type {number[]} */ at) => page.choose(meaning(at) ?? {}),
    });
    if (name === "w") return wrap((weight) => (flat(weight, this.frame.layer.window) < this.frame.layer.taps ? { weight } : null));
    if (name === "x") return wrap((at) => this.#underInput(at));
    if (name === "pool") return wrap((at) => ({ at: this.frame.stage.belowPool(at, this.frame.row) }));
    const units = (/** @type {number[]} */ at) => {
      const unit = flat(at, this.frame.stage.sizes(name));
      return unit < this.frame.layer.filters ? { kernel: unit } : null;
    };
    return {
      over: (/** @type {number[]} */ at) => !this.frame.stage.showsUnits && page.hover({ at }),
      pick: (/** @type {number[]} */ at) => page.choose(this.frame.stage.showsUnits ? units(at) ?? {} : { at }),
    };
  }

  /** A place of x: the position whose window has its middle there; of a dense layer the weight that reads it. @param {number[]} at */
  #underInput(at) {
    const { stage, layer } = this.frame;
    const { geometry } = stage;
    if (layer.isDense) {
      const weight = unflat(flat(at, geometry.input) % layer.taps, layer.window);
      return { weight };
    }
    const middle = geometry.kernel.map((/** @type {number} */ k, /** @type {number} */ axis) => ((k - 1) >> 1) * geometry.dilation[axis]);
    const wanted = at.map((p, axis) => {
      const [stride, before] = [geometry.stride[axis], geometry.padding[axis][0]];
      return geometry.isTransposed ? p * stride - before + middle[axis] : Math.round((p + before - middle[axis]) / stride);
    });
    return { at: clamped(wanted, geometry.output) };
  }

  // --- the whole

  /** @param {import("kl/frame").Frame} frame */
  render(frame) {
    this.frame = frame;
    const { stage, selection } = frame;
    const isForward = selection.rows !== "backward";
    const isBackward = selection.rows !== "forward";
    attribute(this.forward, "aria-pressed", String(isForward));
    attribute(this.backward, "aria-pressed", String(isBackward));
    show(this.gap, !stage);
    if (!stage) {
      for (const { up, down } of this.columns) for (const one of [up, down]) show(one.element, false);
      show(this.back, false);
      this.page.offer(this.gap, frame.gap, true);
      this.links.replaceChildren();
      rich(this.readForward, ["nothing is shown here"]);
      rich(this.readBackward, [frame.gap?.why ?? ""]);
      return;
    }
    this.#make(["x", "w", ...stage.columns]);
    for (const { up, down } of this.columns) {
      show(up.element, isForward);
      show(down.element, isBackward && !frame.back);
    }
    show(this.back, isBackward && Boolean(frame.back));
    if (frame.back) this.page.offer(this.back, frame.back, true);
    this.back.style.gridRow = "2";
    this.#ranges(frame);
    for (const column of this.columns) {
      if (isForward) this.#up(column);
      if (isBackward && !frame.back) this.#down(column);
    }
    this.mark(frame, this.page.state.now);
  }

  /** One range for all activations, one for all errors. @param {import("kl/frame").Frame} frame */
  #ranges(frame) {
    const { stage, row } = frame;
    const names = stage.columns;
    const kernel = kernelOf(frame) ?? stage.kernel();
    this.ranges = {
      x: largest(stage.x(row)),
      w: largest(kernel),
      a: largest(...names.map((name) => stage.map(name, row))),
      e: frame.back ? 0 : largest(...names.map((name) => stage.error(name, row))),
    };
    this.page.legend({ w: this.ranges.w, a: this.ranges.a, e: frame.back ? null : this.ranges.e });
  }

  /** Kernel slice that the bench multiplies with. */
  #kernel() {
    return this.frame.stage.kernel() ?? kernelOf(this.frame) ?? new Float64Array(0);
  }

  /** @param {any} shown @param {any} values */
  #show(shown, { values, sizes, range, family, format, hatched, dots, caption, label, sub, op }) {
    const { colours, state } = this.page;
    shown.tile.show({ values, sizes, range, family, format, hatched, dots, signs: state.now.signs, colours });
    shown.tile.label(label);
    attribute(shown.button, "aria-label", `Table of ${label.split(":")[0]}`);
    rich(shown.caption, caption);
    text(shown.sub, sub);
    attribute(shown.sub, "title", sub);
    text(shown.op, op ?? "");
  }

  /** @param {Column} column */
  #up({ name, up }) {
    const { frame } = this;
    const { stage, row, layer, selection } = frame;
    if (name === "x") return this.#input(up);
    if (name === "w") {
      const values = this.#kernel();
      const cell = kernelText(this.ranges.w, layer);
      const words = frame.isBefore ? `before step ${count(frame.step)}` : `after step ${count(frame.step)}`;
      const noun = layer.isDense ? "unit" : layer.slices > 1 ? "" : "kernel";
      const caption = [["W", "W"], ` ${noun} ${selection.kernel}${layer.slices > 1 ? `, slice ${selection.slice}` : ""}`.replace("  ", " ")];
      this.#show(up, { values, sizes: layer.window, range: this.ranges.w, family: "w", format: cell.format, hatched: unused(layer), dots: null, caption, label: `Kernel ${selection.kernel}, ${words}`, sub: words + cell.unit, op: layer.isDense ? "·" : "∗" });
      return this.#slices(up, (slice) => stage.kernel("kernel", slice), layer.window, this.ranges.w, "w");
    }
    const values = stage.map(name, row);
    const cell = cellText(this.ranges.a, false);
    const words = columnWords(frame, name);
    const winners = name === this.#beforePool() ? stage.winners(row) : null;
    this.#show(up, { values, sizes: stage.sizes(name), range: this.ranges.a, family: "a", format: cell.format, hatched: name === "a" ? slopeIsZero(frame) : blank(stage, layer), dots: winners && Array.from(winners).filter((w) => w >= 0), caption: words.caption, label: words.label, sub: words.sub + cell.unit, op: words.op });
  }

  #beforePool() {
    const names = this.frame.stage.columns;
    return names.includes("pool") ? names[names.indexOf("pool") - 1] : "";
  }

  /** @param {any} up */
  #input(up) {
    const { frame } = this;
    const { stage, row, layer, selection } = frame;
    const from = layer.about.reads?.[0] ?? "input";
    const isImage = frame.run.readsImage(layer);
    const map = layer.input(selection.kernel, selection.slice);
    const who = this.page.nameOf(frame, row);
    const label = stage.labels[row] >= 0 ? `, class ${frame.run.className(stage.labels[row])}` : "";
    const values = stage.x(row);
    const cell = cellText(this.ranges.x, false);
    const what = layer.isDense ? ` from ${from}` : isImage ? (layer.slices > 1 ? ` channel ${map}` : " image") : ` map ${map}, ${from}`;
    this.#show(up, {
      values, sizes: stage.geometry.input, range: this.ranges.x, family: "a", format: cell.format, hatched: null, dots: null,
      caption: [["A", "x"], what], label: `Input x: ${who}${isImage ? "" : what}`, sub: isImage ? who + label : `${who}, ± ${digits(this.ranges.x, 2)}`, op: "",
    });
    this.#slices(up, (slice) => stage.x(row, slice), stage.geometry.input, this.ranges.x, "a");
  }

  /** The other slices of few, beside the chosen one: the three colours of a picture. @param {any} shown @param {(slice: number) => ArrayLike<number> | null} values @param {number[]} sizes @param {number} range @param {any} family */
  #slices(shown, values, sizes, range, family) {
    const { layer, stage, selection } = this.frame;
    const isWanted = layer.slices > 1 && layer.slices <= FEW_SLICES && !stage.isCut;
    const wanted = isWanted ? layer.slices : 0;
    while (shown.extra.children.length > wanted) shown.extra.lastElementChild.remove();
    for (let slice = 0; slice < wanted; slice++) {
      let button = shown.extra.children[slice];
      if (!button) {
        const thumb = new Thumbnail();
        button = h("button", { type: "button", onclick: () => this.page.choose({ slice }) }, thumb.canvas);
        button._thumb = thumb;
        shown.extra.append(button);
      }
      attribute(button, "aria-label", `${family === "w" ? "slice" : "channel"} ${slice}`);
      attribute(button, "aria-pressed", String(slice === selection.slice));
      const found = values(slice);
      if (found) button._thumb.show(found, sizes, range, family, this.page.colours);
    }
  }

  /** @param {Column} column */
  #down({ name, down }) {
    const { frame } = this;
    const { stage, row, layer, selection } = frame;
    if (name === "x") return this.#terms(down, selection.weight);
    if (name === "w") {
      const isOne = selection.scope === "image";
      const values = (isOne ? stage.gradientOf(row) : stage.kernel("gradient") ?? stage.gradient) ?? new Float64Array(0);
      const range = largest(values);
      const cell = kernelText(range, layer, -1);
      const who = isOne ? "this image" : `all ${stage.rows}`;
      this.#show(down, { values, sizes: layer.window, range, family: "e", format: cell.format, hatched: unused(layer), dots: null, caption: [["E", "∂L/∂W"], ` ${who}`], label: `Gradient of kernel ${selection.kernel}, ${isOne ? "part of this image" : "all images"}`, sub: range === 0 ? "nothing came back" : cell.unit.replace(/^, /, "") || `± ${digits(range, 2)}`, op: "Σ→" });
      return;
    }
    const values = stage.error(name, row) ?? new Float64Array(volume(stage.sizes(name))).fill(NaN);
    const cell = cellText(this.ranges.e, true, 1, -1);
    const isLast = name === stage.end;
    const { hatched, sub } = this.#hatching(name, values);
    const units = cell.unit.replace(/^, /, "");
    const joined = stage.missing[`d${name}`];
    const caption = isLast ? [["E", "δ"], " from above"] : [["E", "δ"], ` at ${name === "norm" ? "n" : name}`];
    this.#show(down, {
      values, sizes: stage.sizes(name), range: this.ranges.e, family: "e", format: cell.format, hatched, dots: name === this.#beforePool() ? Array.from(stage.winners(row) ?? []).filter((w) => w >= 0) : null,
      caption, label: isLast ? "δ from the layers above" : `δ at ${name}`, sub: joined ? joined.why : this.ranges.e === 0 ? "nothing came back" : sub || units || `± ${digits(this.ranges.e, 2)}`, op: isLast && name === "z" ? "" : "←",
    });
  }

  /** Where nothing passes, and why. @param {string} name @param {ArrayLike<number>} values */
  #hatching(name, values) {
    const { stage, layer, row } = this.frame;
    const unknown = (/** @type {number} */ at) => !Number.isFinite(values[at]);
    if (name === this.#beforePool() && stage.winners(row)) {
      const winners = new Set(stage.winners(row));
      return { hatched: (/** @type {number} */ at) => !winners.has(at) || unknown(at), sub: "hatched: lost its pool" };
    }
    const flatAt = slopeIsZero(this.frame);
    if (name !== "pool" && name !== "a" && stage.columns.includes("a") && flatAt) return { hatched: (/** @type {number} */ at) => flatAt(at) || unknown(at), sub: "hatched: slope 0" };
    const isBlank = blank(stage, layer);
    return { hatched: (/** @type {number} */ at) => unknown(at) && !isBlank?.(at), sub: Array.from(values).some((_, at) => unknown(at)) && !stage.showsUnits ? "hatched: not recorded" : "" };
  }

  /** @param {any} down @param {readonly number[]} weight */
  #terms(down, weight) {
    const { stage, row, selection, layer } = this.frame;
    const isOne = selection.scope === "image";
    // NOTE: a dense layer has one term of a weight an image; its tile shows the terms of all its weights.
    const isUnits = layer.isDense && volume(stage.geometry.output) <= 1;
    const values = isUnits ? (isOne ? stage.gradientOf(row) : stage.gradient) : isOne ? stage.terms(weight, row) : stage.allTerms(weight);
    const range = largest(values);
    const total = isUnits ? values[flat(weight, layer.window)] : sum(values);
    this.#show(down, {
      values, sizes: isUnits ? layer.window : stage.geometry.output, range, family: "e", format: null, hatched: null, dots: null, caption: [["E", "x · δ"], " terms"],
      label: `Terms of ${layer.named(weight)}${isOne ? " for this image" : `, sum over ${stage.rows} images`}`, sub: `Σ = ${digits(total, 3, true)}`, op: "",
    });
  }

  // --- what the pointer moves

  /** Frames, lines and readouts. @param {import("kl/frame").Frame} frame @param {import("kl/state").Selection} selection */
  mark(frame, selection) {
    const { stage } = frame;
    if (!stage || !this.columns.length) return;
    const at = positionOf(frame, selection);
    const { weight } = selection;
    const isBack = !frame.back && selection.rows !== "forward";
    if (isBack && this.marked !== `${weight}` && !frame.layer.isDense) this.#terms(this.columns[0].down, weight);
    this.marked = `${weight}`;
    const place = places(frame, at, weight);
    for (const { name, up, down } of this.columns) {
      const frames = this.#frames(name, place);
      up.tile.chosen = down.tile.chosen = (name === "x" ? (frame.layer.isDense ? place.pixel : at) : place[name]) ?? at;
      up.tile.mark(frames);
      if (isBack) down.tile.mark(name === "x" ? [{ at: frame.layer.isDense && volume(stage.geometry.output) <= 1 ? weight : at }] : frames);
    }
    this.#links(place, isBack, selection);
    this.#readout(frame, selection, at);
  }

  /** @param {string} name @param {any} place */
  #frames(name, place) {
    if (name === "x") return [{ at: place.window.at, size: place.window.size, strong: false }, ...(place.isInside ? [{ at: place.pixel }] : [])];
    return place[name] ? [{ at: place[name] }] : [];
  }

  /** @param {any} place @param {boolean} isBack @param {any} selection */
  #links(place, isBack, selection) {
    const box = this.stages.getBoundingClientRect();
    const columns = this.columns.filter(({ name }) => name === "x" || place[name]);
    const parts = [];
    const segment = (/** @type {any} */ a, /** @type {number[]} */ p, /** @type {any} */ b, /** @type {number[]} */ q) => {
      const [from, to] = [a.tile.anchor(p, "right"), b.tile.anchor(q, "left")];
      parts.push(`M${(from[0] - box.left).toFixed(1)} ${(from[1] - box.top).toFixed(1)}L${(to[0] - box.left).toFixed(1)} ${(to[1] - box.top).toFixed(1)}`);
    };
    for (let i = 0; i + 1 < columns.length; i++) {
      const [a, b] = [columns[i], columns[i + 1]];
      const isInput = a.name === "x";
      if (selection.rows !== "backward" && (!isInput || place.isInside)) segment(a.up, isInput ? place.pixel : place[a.name], b.up, place[b.name]);
      if (isBack) segment(a.down, isInput ? place.term : place[a.name], b.down, place[b.name]);
    }
    const d = parts.join("");
    const path = this.links.firstChild ?? this.links.appendChild(s("path"));
    attribute(path, "d", d);
  }

  /** @param {import("kl/frame").Frame} frame @param {any} selection @param {number[]} at */
  #readout(frame, selection, at) {
    const { forward, backward } = this.page.words.readout(frame, selection, at);
    rich(this.readForward, forward);
    rich(this.readBackward, backward);
  }

  /** The readout as text, for the live region. */
  get spoken() {
    return `Forward ${this.readForward.textContent}. Backward ${this.readBackward.textContent}.`;
  }

  // --- tables

  /** @param {string} name @param {"f" | "d"} row */
  #table(name, row) {
    const column = this.columns.find((one) => one.name === name);
    const picture = column?.[row === "f" ? "up" : "down"].tile.picture;
    if (!picture) return;
    const title = column?.[row === "f" ? "up" : "down"].tile.element.getAttribute("aria-label") ?? name;
    this.page.dialogs.map(title, picture.values, picture.sizes, this.page.words.python(this.frame, name, row), picture.hatched ? (at) => (picture.hatched?.(at) ? " (hatched)" : "") : null);
  }

  /** Tile of a name that a lesson speaks of. @param {string} id */
  tile(id) {
    return this.element.querySelector(`[data-tile="${id}"]`);
  }
}

/** Cells beyond the last weight or unit, where a list does not fill its rows. @param {any} layer */
const unused = (layer) => (layer.taps < volume(layer.window) ? (/** @type {number} */ at) => at >= layer.taps : null);
/** @param {any} stage @param {any} layer */
const blank = (stage, layer) => (stage.showsUnits && layer.filters < volume(stage.sizes("z")) ? (/** @type {number} */ at) => at >= layer.filters : null);

/** Where the selection stands in every column. @param {import("kl/frame").Frame} frame @param {number[]} at @param {readonly number[]} weight @returns {any} */
export function places(frame, at, weight) {
  const { stage, layer, row } = frame;
  const { geometry } = stage;
  const read = stage.reads(at, weight);
  const own = stage.showsUnits ? unflat(stage.filter, stage.sizes("z")) : at;
  /** @type {any} */ const found = {
    w: [...weight], window: windowFrame(geometry, at), isInside: read >= 0,
    pixel: read >= 0 ? unflat(read, geometry.input) : pixel(geometry, at, layer.isDense ? at : weight),
    term: layer.isDense && volume(geometry.output) <= 1 ? [...weight] : at,
  };
  for (const name of stage.columns) found[name] = own;
  if (stage.columns.includes("pool")) {
    const pooled = stage.pooled(at);
    const winners = stage.winners(row);
    const place = flat(at, geometry.output);
    const best = pooled.find((p) => winners?.[p] === place) ?? pooled[0];
    found.pool = best == null ? null : unflat(best, stage.sizes("pool"));
    found.pooled = pooled;
  }
  return found;
}
