/** The strip of layers: shapes, counts with how they come about, the map and the error of the chosen channel, the answer. */
import { attribute, attributes, children, h, s, show, text } from "kl/dom";
import { digits, largest, percent, shape } from "kl/format";
import { Thumbnail } from "kl/tile";

const BARS = [66, 30];

export class NetView {
  /** @param {any} page @param {HTMLElement} element */
  constructor(page, element) {
    this.page = page;
    this.element = element;
    /** @type {string} */ this.made = "";
  }

  /** @param {import("kl/frame").Frame} frame */
  render(frame) {
    const { run } = frame;
    const nodes = [null, ...run.shown];
    const key = `${run.key} ${nodes.length} ${run.about.layers.map((/** @type {any} */ l) => l.trainable)}`;
    if (key !== this.made) {
      this.made = key;
      this.element.replaceChildren();
    }
    children(this.element, nodes, (layer) => this.#make(layer), (node, layer, index) => this.#update(node, layer, frame, index === nodes.length - 1));
  }

  /** @param {any} layer */
  #make(layer) {
    const isOpen = layer?.isOpen;
    const parts = { maps: h("span", { class: "maps" }), name: h("b"), first: h("small"), second: h("small"), value: new Thumbnail(), error: new Thumbnail() };
    const node = h(isOpen ? "button" : "div", { class: "node", type: isOpen ? "button" : null }, parts.maps, parts.name, parts.first, parts.second);
    if (isOpen) node.addEventListener("click", () => this.page.enter(layer.name));
    node._parts = parts;
    return node;
  }

  /** @param {any} node @param {any} layer @param {import("kl/frame").Frame} frame @param {boolean} isLast */
  #update(node, layer, frame, isLast) {
    const { run, selection } = frame;
    const { name, first, second } = node._parts;
    if (layer?.isOpen) attribute(node, "aria-pressed", String(layer.name === selection.layer));
    if (!layer) {
      text(name, "input");
      text(first, shape(run.about.input_shape ?? []));
      const channels = run.about.input_shape?.slice(-1)[0] ?? 1;
      text(second, (run.about.input_shape ?? []).length < 2 ? "numbers" : channels === 1 ? "1 channel" : `${channels} channels`);
    } else {
      text(name, layer.name + (layer.about.trainable === false ? " · frozen" : ""));
      text(first, shape(layer.about.output_shape ?? []));
      text(second, countOf(layer, run));
    }
    const answer = frame.network?.blocks ? frame.network : null;
    this.#maps(node, layer, frame, answer);
    if (isLast && answer) this.#answer(node, frame, answer);
  }

  /** @param {any} node @param {any} layer @param {any} frame @param {any} answer */
  #maps(node, layer, frame, answer) {
    const { maps, value, error } = node._parts;
    const wanted = [];
    const colours = this.page.colours;
    const block = layer ? answer?.blocks[`value:${layer.name}`] : answer?.blocks["value:input"] ?? null;
    const shown = layer ? channelMap(block, channelOf(layer, frame, block)) : inputMap(frame, block);
    if (shown) {
      value.show(shown.values, shown.sizes, largest(shown.values), "a", colours);
      wanted.push(value.canvas);
    }
    const back = layer ? answer?.blocks[`error:${layer.name}`] : null;
    const errors = back ? channelMap(back, channelOf(layer, frame, block)) : null;
    if (errors) {
      error.show(errors.values, errors.sizes, largest(errors.values), "e", colours);
      wanted.push(error.canvas);
    }
    if (maps.children.length !== wanted.length || wanted.some((one, at) => maps.children[at] !== one)) maps.replaceChildren(...wanted);
  }

  /** What the network says. @param {any} node @param {any} frame @param {any} answer */
  #answer(node, frame, answer) {
    const { prediction, label, loss } = answer.header;
    if (!Array.isArray(prediction) || prediction.length < 2) return;
    const { maps, first, second } = node._parts;
    const best = prediction.indexOf(Math.max(...prediction));
    const isProbability = prediction.every((/** @type {number} */ p) => p >= -1e-6 && p <= 1 + 1e-6);
    text(first, `says ${frame.run.className(best)}${isProbability ? `: ${percent(prediction[best])}` : ""}`);
    if (label != null && label >= 0) text(second, `is ${frame.run.className(label)}${loss != null ? `, loss ${digits(loss, 3)}` : ""}`);
    if (prediction.length > 24) return;
    const bars = node._bars ?? (node._bars = s("svg", { viewBox: `0 0 ${BARS[0]} ${BARS[1]}`, width: BARS[0], height: BARS[1], "aria-hidden": "true" }, s("g"), s("path", { stroke: "var(--ink)", "stroke-width": 2.5 })));
    const step = BARS[0] / prediction.length;
    const top = Math.max(1e-12, ...prediction.map(Math.abs));
    children(bars.firstChild, prediction, () => s("rect", { fill: "var(--ap)" }), (bar, p, at) => {
      const tall = Math.max(0.5, (22 * Math.abs(p)) / (isProbability ? 1 : top));
      attributes(bar, { x: at * step, width: step * 0.75, y: 24 - tall, height: tall });
    });
    attribute(bars.lastChild, "d", label >= 0 ? `M${label * step} 27h${step * 0.75}` : "");
    if (maps.firstChild !== bars || maps.children.length !== 1) maps.replaceChildren(bars);
    show(maps, true);
  }
}

/** @param {any} layer @param {any} run */
function countOf(layer, run) {
  const { about } = layer;
  if (about.how && about.parameters) return about.how.replace(/\*/g, "·").replace(/ /g, "").replace("=", " = ");
  if (about.parameters) return `${about.parameters.toLocaleString("en")} numbers`;
  const size = run.pools.get(layer.name)?.size ?? null;
  if (/Max/.test(about.class)) return size ? `largest of ${shape(size)}` : "the largest";
  if (/Average/.test(about.class)) return size ? `mean of ${shape(size)}` : "the mean";
  return about.class;
}

/** Channel that the strip shows: the chosen kernel of the chosen layer and of its pooling, what it reads below, else the most active one. */
function channelOf(/** @type {any} */ layer, /** @type {any} */ frame, /** @type {any} */ block) {
  const { selection, run } = frame;
  const chosen = frame.layer;
  if (layer.name === chosen.name || chosen.columns.some((/** @type {any} */ column) => column.layer === layer.name)) return selection.kernel;
  const reads = chosen.about.reads ?? [];
  const isBelow = (/** @type {any} */ one) => reads.includes(one.name) || one.columns?.some((/** @type {any} */ column) => reads.includes(column.layer));
  if (!chosen.isDense && isBelow(layer)) return chosen.input(selection.kernel, selection.slice);
  for (const other of run.layers) {
    if (isBelow(other) && other.columns?.some((/** @type {any} */ column) => column.layer === layer.name) && !chosen.isDense) return chosen.input(selection.kernel, selection.slice);
  }
  return mostActive(block);
}

/** @param {any} block */
function mostActive(block) {
  if (!block || block.shape.length < 2) return 0;
  const channels = block.shape[block.shape.length - 1];
  const sizes = new Float64Array(channels);
  for (let at = 0; at < block.data.length; at++) sizes[at % channels] += block.data[at] ** 2;
  return sizes.indexOf(Math.max(...sizes));
}

/** @param {any} block @param {number} channel */
function channelMap(block, channel) {
  if (!block || block.shape.length < 2) return null;
  const channels = block.shape[block.shape.length - 1];
  const at = Math.min(channels - 1, channel);
  const values = new Float64Array(block.data.length / channels);
  for (let i = 0; i < values.length; i++) values[i] = block.data[i * channels + at];
  return { values, sizes: block.shape.slice(0, -1) };
}

/** @param {any} frame @param {any} block */
function inputMap(frame, block) {
  if (block) return channelMap(block, 0);
  const picture = pictureOf(frame, frame.row);
  return picture ? channelMap(picture, 0) : null;
}

/** Picture of a row: what went into the first layer. @param {any} frame @param {number} row @returns {{shape: number[], data: any} | null} */
export function pictureOf(frame, row) {
  const block = frame.source === "batch" ? frame.pictures?.blocks?.x : frame.probes?.blocks?.x ?? frame.stage?.answer.blocks.x;
  if (!block || row < 0 || row >= block.shape[0]) return null;
  const sizes = block.shape.slice(1);
  const size = sizes.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1);
  return { shape: sizes, data: block.data.subarray(row * size, (row + 1) * size) };
}
