/**
 * One neuron: inputs times weights, their sum, bias, activation; or its error: units above times weights, their
 * sum, pool, slope. The numbers add up as they are shown; a line says what rounding leaves.
 */
import { attribute, attributes, children, h, rich, s, show, text } from "kl/dom";
import { asShown, count, digits, fixed, largest, place as placed, power, exponentOf } from "kl/format";
import { flat, volume } from "kl/geometry";
import { positionOf } from "kl/frame";
import { beforeActivation } from "kl/words";
import { unflat } from "kl/geometry";

const WIDTH = 328;
const SHOWN = 9;

/** @typedef {{input: string, weight: number, weightText: string, product: string, fill: string, isOn: boolean, tap: number | null}} Line */

export class NeuronView {
  /** @param {any} page */
  constructor(page) {
    this.page = page;
    this.title = h("h2");
    const tab = (/** @type {"value" | "error"} */ name) => h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "neuron", text: `its ${name}`, onclick: () => page.choose({ tab: name }) });
    this.value = tab("value");
    this.error = tab("error");
    this.lines = s("g");
    this.heads = [58, 120, 184].map((x) => s("text", { x, y: 8, "text-anchor": "end", "font-size": 9.5, class: "quiet" }));
    this.end = s("g");
    this.svg = s("svg", { class: "neuron", role: "img" }, ...this.heads, this.lines, this.end);
    this.formula = h("p", { class: "formula" });
    this.panel = h("div", { id: "neuron", role: "tabpanel" }, this.svg, this.formula);
    const tableButton = h("button", { class: "tbl", type: "button", title: "table", "aria-label": "Table of the neuron", text: "▦", onclick: () => this.#table() });
    const tabs = h("div", { class: "seg", role: "tablist", "aria-label": "Neuron" }, this.value, this.error);
    tabs.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      const next = page.state.now.tab === "value" && !this.error.disabled ? this.error : this.value;
      next.click();
      next.focus();
    });
    this.element = h("div", { class: "neuronbox" }, h("div", { class: "hd" }, this.title, h("div", { class: "seg" }, tabs, tableButton)), this.panel);
    /** @type {{head: string[], rows: any[][], title: string} | null} */ this.told = null;
  }

  /** @param {import("kl/frame").Frame} frame @param {import("kl/state").Selection} selection */
  render(frame, selection) {
    const { stage } = frame;
    const hasError = Boolean(stage && !frame.back);
    const isError = hasError && selection.tab === "error";
    attributes(this.value, { "aria-selected": String(!isError), tabindex: isError ? -1 : 0 });
    attributes(this.error, { "aria-selected": String(isError), tabindex: isError ? 0 : -1, disabled: hasError ? null : true });
    this.error.disabled = !hasError;
    attribute(this.panel, "aria-labelledby", isError ? "tab-error" : "tab-value");
    show(this.svg, Boolean(stage));
    if (!stage) {
      text(this.title, "Neuron");
      rich(this.formula, [frame.gap?.why ?? "Not recorded at this step."]);
      return;
    }
    const at = positionOf(frame, selection);
    const isUnit = stage.layer.isDense && volume(stage.geometry.output) <= 1;
    text(this.title, isUnit ? `Unit ${selection.kernel}` : `Neuron at ${placed(at)}`);
    if (isError) this.#error(frame, at);
    else this.#value(frame, selection, at);
  }

  /** @param {import("kl/frame").Frame} frame @param {import("kl/state").Selection} selection @param {number[]} at */
  #value(frame, selection, at) {
    const { stage, layer, row } = frame;
    const { colours } = this.page;
    const neuron = stage.neuron(row, at);
    const tap = stage.tapOf(selection.weight);
    const sorted = neuron.rows.length <= SHOWN ? neuron.rows : shortened(neuron.rows, tap);
    const left = neuron.rows.length - sorted.length;
    const rest = neuron.own - sorted.reduce((total, one) => total + one.product, 0);
    const decimals = 4;
    const parts = [...sorted.map((one) => one.product), ...(left ? [rest] : []), ...(layer.slices > 1 ? [neuron.others] : []), ...(neuron.hasBias ? [neuron.bias] : [])];
    const shown = asShown(parts, neuron.z, decimals);
    const range = largest(stage.x(row));
    const lines = sorted.map((one, i) => ({
      input: one.place < 0 ? "pad 0" : fixed(one.input, 3), weight: one.weight, weightText: fixed(one.weight, 4, true), product: fixed(shown.parts[i], decimals, true), size: one.product,
      fill: colours.fill(one.input, range, "a"), isOn: one.tap === tap, tap: one.tap,
    }));
    const more = [];
    let next = sorted.length;
    if (left) more.push([`${count(left)} smaller products`, fixed(shown.parts[next++], decimals, true)]);
    if (layer.slices > 1) more.push([`${count(layer.slices - 1)} other input map${layer.slices > 2 ? "s" : ""}`, fixed(shown.parts[next++], decimals, true)]);
    if (shown.rest) more.push(["rounding of these", fixed(shown.rest, decimals, true)]);
    const bias = neuron.hasBias ? shown.parts[next] : null;
    this.#heads(["input x", "weight", "product"]);
    const columns = stage.columns.slice(1).filter((name) => name !== "pool");
    const unit = stage.showsUnits ? stage.filter : flat(at, stage.geometry.output);
    const end = columns.length ? stage.value(columns[columns.length - 1], row, unit) : NaN;
    this.#draw(lines, more, {
      sum: fixed(shown.total, decimals, true), sumWords: "z", foot: bias === null ? null : { value: bias, text: fixed(bias, decimals, true), words: "bias b" },
      gates: columns.length ? this.#forwardGates(frame, columns, neuron.z, end, unit) : null,
      label: `One neuron: ${lines.length} inputs times weights${bias === null ? "" : ", bias"}, sum z = ${fixed(shown.total, 4, true)}`,
    });
    // What stands in one line adds up too: the products take what rounding leaves.
    const others = layer.slices > 1 ? shown.parts[sorted.length + (left ? 1 : 0)] : 0;
    const own = shown.total - others - (bias ?? 0);
    const products = layer.slices > 1 ? `${fixed(own, 4, true)} (slice ${selection.slice}) ${fixed(others, 4, true)} (others)` : fixed(own, 4, true);
    const positions = volume(stage.geometry.output);
    const serve = layer.slices > 1 || positions <= 1 ? "" : ` The same ${count(layer.taps)} weights${neuron.hasBias ? " and bias" : ""} serve all ${count(positions)} positions.`;
    rich(this.formula, [["b", `z = Σ x·w${neuron.hasBias ? " + b" : ""}`], ` = ${products}${bias === null ? "" : ` ${fixed(bias, 4, true)}`} = `, ["b", fixed(shown.total, 4, true)], `.${serve}`]);
    this.told = {
      title: `Neuron at ${placed(at)}: products`, head: ["place in the window", "input x", "weight", "product"],
      rows: [...neuron.rows.map((one) => [placed(unflat(one.tap, layer.window)), one.input, one.weight, one.product]), ...(layer.slices > 1 ? [["other input maps", "", "", neuron.others]] : []), ["bias", "", "", neuron.bias], ["z", "", "", neuron.z]],
    };
  }

  /** @param {any} frame @param {string[]} columns @param {number} z @param {number} end @param {number} unit */
  #forwardGates(frame, columns, z, end, unit) {
    const { stage, row, layer } = frame;
    const { colours } = this.page;
    const name = columns[columns.length - 1];
    const before = name === "a" ? stage.value(beforeActivation(stage), row, unit) : z;
    const range = largest(...stage.columns.map((/** @type {string} */ one) => stage.map(one, row)));
    const column = layer.columns.find((/** @type {any} */ one) => one.name === name);
    const kind = column?.kind ?? column?.operator ?? name;
    const words = /** @type {any} */ ({ relu: "ReLU", norm: "norm", leaky_relu: "leaky" })[kind] ?? kind;
    return (/** @type {number} */ cy) => [
      s("path", { d: `M252 ${cy}H262M294 ${cy}H300`, stroke: "var(--ink2)" }),
      s("rect", { x: 262, y: cy - 16, width: 32, height: 32, fill: "var(--surface)", stroke: "var(--line)" }),
      ...(kind === "relu" ? curve(262, cy, before, range) : [s("text", { x: 278, y: cy + 4, "text-anchor": "middle", "font-size": words.length > 5 ? 7.2 : 8.5, text: words.slice(0, 7) })]),
      s("text", { x: 278, y: cy - 21, "text-anchor": "middle", "font-size": 9.5, class: "quiet", text: kind === "relu" ? words : "" }),
      s("rect", { x: 300, y: cy - 12, width: 24, height: 24, fill: colours.fill(end, range, "a"), stroke: "var(--mark)", "stroke-width": 1.6 }),
      s("text", { x: 326, y: cy + 26, "text-anchor": "end", "font-size": 11, class: "strong", text: fixed(end, 4) }),
      s("text", { x: 324, y: cy - 18, "text-anchor": "end", "font-size": 9.5, class: "quiet", text: name === "norm" ? "n" : name }),
    ];
  }

  // --- its error

  /** @param {import("kl/frame").Frame} frame @param {number[]} at */
  #error(frame, at) {
    const path = this.page.pathOf(frame, at);
    const { stage, layer } = frame;
    const unit = stage.showsUnits ? stage.filter : flat(at, stage.geometry.output);
    const delta = stage.delta(frame.row)?.[flat(at, stage.geometry.output)] ?? NaN;
    this.#heads(["δ above", "weight", "product"]);
    const own = new Set([layer.name, ...layer.columns.map((/** @type {any} */ one) => one.layer)]);
    const isAbove = (/** @type {any} */ one) => (one.parts_in_all ?? one.parts.length) > 1 && !own.has(one.parts[0].layer);
    const hop = path?.hops?.find(isAbove) ?? path?.hops?.find((/** @type {any} */ one) => one.end);
    if (!hop || !hop.parts.length) return this.#noError(frame, path, hop, delta, at, unit);
    const top = hop.parts.slice(0, 8);
    const inAll = hop.parts_in_all ?? hop.parts.length;
    const exponent = Math.min(0, exponentOf(hop.total));
    const scale = 10 ** -exponent;
    const terms = top.map((/** @type {any} */ part) => part.term * scale);
    const rest = hop.total * scale - terms.reduce((/** @type {number} */ a, /** @type {number} */ b) => a + b, 0);
    const shown = asShown(inAll > top.length ? [...terms, rest] : terms, hop.total * scale, 4);
    const range = largest(top.map((/** @type {any} */ part) => part.error));
    const lines = top.map((/** @type {any} */ part, /** @type {number} */ i) => ({
      input: fixed(part.error * scale, 2, true), weight: part.factor, weightText: fixed(part.factor, 4, true), product: fixed(shown.parts[i], 4, true), size: part.term,
      fill: this.page.colours.fill(part.error, range, "e"), isOn: false, tap: null,
    }));
    const more = [];
    if (inAll > top.length) more.push([`${count(inAll - top.length)} smaller terms`, fixed(shown.parts[top.length], 4, true)]);
    if (shown.rest) more.push(["rounding of these", fixed(shown.rest, 4, true)]);
    this.#draw(lines, more, {
      sum: fixed(shown.total, 4, true), sumWords: "from above", foot: null, gates: this.#backGates(frame, at, unit, delta, scale),
      label: `The error of this neuron: ${count(inAll)} terms from above, sum ${digits(hop.total, 4, true)}, δ at z ${digits(delta, 4, true)}`,
    });
    const above = top[0].layer;
    const units = top.slice(0, 2).map((/** @type {any} */ part) => wherePart(part)).join(", ");
    const scaled = exponent ? ` Errors × ${power(exponent)}.` : "";
    rich(this.formula, [["b", `δ from above = Σ δ(${above}) · w`], ` over ${count(inAll)} units: largest ${units}.${scaled}`]);
    this.told = { title: `Error of the neuron at ${placed(at)}: the largest terms from above`, head: ["unit above", "δ", "weight", "product"], rows: [...hop.parts.map((/** @type {any} */ part) => [wherePart(part), part.error, part.factor, part.term]), ["sum", "", "", hop.total]] };
  }

  /** @param {any} frame @param {any} path @param {any} hop @param {number} delta @param {number[]} at @param {number} unit */
  #noError(frame, path, hop, delta, at, unit) {
    const above = this.page.words.fromAbove(frame, at, flat(at, frame.stage.geometry.output));
    const exponent = Math.min(0, exponentOf(above || delta));
    const scale = 10 ** -exponent;
    this.#heads(["", "", ""]);
    const sum = Number.isFinite(above) ? fixed(above * scale, 4, true) : "–";
    this.#draw([], [["what comes from above", sum]], {
      sum, sumWords: "from above", foot: null, gates: this.#backGates(frame, at, unit, delta, scale),
      label: `The error of this neuron: from above ${digits(above, 4, true)}, δ at z ${digits(delta, 4, true)}`,
    });
    const why = path === undefined ? "The error is being taken apart."
      : path?.refused ? `It cannot be taken apart here: ${path.refused.message}`
      : path?.missing ? `It is shown as recorded, not taken apart: ${path.missing.why}`
      : hop?.end ? `The loss reads this number: ${hop.end.formula ?? "its slope is the error"}.`
      : delta === 0 ? "Nothing comes back here: the position lost its pool, or the activation cut it."
      : "It comes back unchanged.";
    rich(this.formula, [why + (exponent ? ` Errors × ${power(exponent)}.` : "")]);
    this.told = { title: `Error of the neuron at ${placed(at)}`, head: ["", "value"], rows: [["from above", above], ["δ at z", delta]] };
  }

  /** @param {any} frame @param {number[]} at @param {number} unit @param {number} delta @param {number} scale */
  #backGates(frame, at, unit, delta, scale) {
    const { stage, row } = frame;
    const range = largest(stage.error("z", row));
    const winners = stage.columns.includes("pool") ? stage.winners(row) : null;
    const place = flat(at, stage.geometry.output);
    const boxes = [];
    if (winners) boxes.push(["pool", stage.pooled(at).some((/** @type {number} */ p) => winners[p] === place) ? "won" : "lost"]);
    else if (stage.columns.includes("pool")) boxes.push(["pool", "shared"]);
    const slope = this.page.words.slope(frame, unit);
    if (slope !== null) boxes.push(["slope", slope]);
    if (stage.columns.includes("norm")) boxes.push(["norm", "÷ σ"]);
    return (/** @type {number} */ cy) => {
      const tall = 34 * boxes.length;
      return [
        s("path", { d: `M252 ${cy}H${boxes.length ? "262M296" : "262"} ${cy}H300`, stroke: "var(--ink2)", fill: "none" }),
        ...boxes.flatMap(([name, value], i) => {
          const y = cy - tall / 2 + 34 * i + 2;
          return [
            s("rect", { x: 262, y, width: 34, height: 30, fill: "var(--surface)", stroke: "var(--line)" }),
            s("text", { x: 279, y: y + 12, "text-anchor": "middle", "font-size": 9.5, class: "quiet", text: name }),
            s("text", { x: 279, y: y + 24, "text-anchor": "middle", "font-size": 10.5, class: "strong", text: value }),
          ];
        }),
        s("rect", { x: 300, y: cy - 12, width: 24, height: 24, fill: this.page.colours.fill(delta, range, "e"), stroke: "var(--mark)", "stroke-width": 1.6 }),
        s("path", { d: `M312 ${cy + 12}V${cy + 17 * boxes.length + 4}`, stroke: "var(--line)" }),
        s("text", { x: 326, y: cy + Math.max(26, 17 * boxes.length + 16), "text-anchor": "end", "font-size": 11, class: "strong halo", text: fixed(delta * scale, 4, true) }),
        s("text", { x: 326, y: cy - 18, "text-anchor": "end", "font-size": 9.5, class: "quiet", text: "δ at z" }),
      ];
    };
  }

  // --- drawing

  /** @param {string[]} words */
  #heads(words) {
    this.heads.forEach((head, at) => text(head, words[at]));
  }

  /** @param {any[]} lines @param {string[][]} more @param {any} rest */
  #draw(lines, more, { sum, sumWords, foot, gates, label }) {
    const all = lines.length + more.length;
    const step = all > 9 ? 180 / all : 20;
    const top = 22;
    const middle = Math.max(76, top + (step * (all - 1)) / 2);
    const height = Math.max(top + step * all - 4, 150);
    attributes(this.svg, { viewBox: `0 0 ${WIDTH} ${height}`, "aria-label": label });
    const thick = largest(lines.map((line) => line.weight)) || 1;
    children(this.lines, [...lines, ...more], () => this.#line(), (group, line, at) => {
      const y = top + step * at;
      if (Array.isArray(line)) this.#moreLine(group, line, y, middle);
      else this.#oneLine(group, line, y, middle, thick);
    });
    const bias = foot
      ? [s("path", { d: `M239 ${middle + 13}V${middle + 34}`, stroke: `var(--${foot.value < 0 ? "wn" : "wp"})`, "stroke-width": 1.4 }),
        s("text", { x: 239, y: middle + 46, "text-anchor": "middle", "font-size": 10.5, text: foot.text }),
        s("text", { x: 239, y: middle + 58, "text-anchor": "middle", "font-size": 9.5, class: "quiet", text: foot.words })]
      : [];
    this.end.replaceChildren(
      s("circle", { cx: 239, cy: middle, r: 13, fill: "var(--surface)", stroke: "var(--ink)" }),
      s("text", { x: 239, y: middle + 4.5, "text-anchor": "middle", "font-size": 13, text: "Σ" }),
      s("text", { x: 239, y: middle - 20, "text-anchor": "middle", "font-size": 11, class: "strong halo", text: sum, "data-sum": "" }),
      s("text", { x: 239, y: middle - 33, "text-anchor": "middle", "font-size": 9.5, class: "quiet", text: sumWords }),
      ...bias, ...(gates ? gates(middle) : []),
    );
  }

  #line() {
    const parts = {
      path: s("path", { fill: "none" }), box: s("rect", { x: 0, width: 188, height: 19, rx: 2, fill: "none", stroke: "var(--mark)", "stroke-width": 1.4 }),
      cell: s("rect", { x: 3, width: 14, height: 14, stroke: "var(--line)", "stroke-width": 0.5 }), words: s("text", { x: 3, "font-size": 10.5, class: "quiet" }),
      input: s("text", { x: 58, "text-anchor": "end", "font-size": 10.5 }), weight: s("text", { x: 120, "text-anchor": "end", "font-size": 10.5 }), product: s("text", { x: 184, "text-anchor": "end", "font-size": 10.5, "data-part": "" }),
    };
    const group = s("g", {}, ...Object.values(parts));
    group._parts = parts;
    group.addEventListener("click", () => {
      if (group._tap != null) this.page.chooseTap(group._tap);
    });
    return group;
  }

  /** @param {any} group @param {any} line @param {number} y @param {number} middle @param {number} thick */
  #oneLine(group, line, y, middle, thick) {
    const { path, box, cell, words, input, weight, product } = group._parts;
    group._tap = line.tap;
    attribute(group, "class", line.tap == null ? null : "row");
    const colour = `var(--${line.weight < 0 ? "wn" : "wp"})`;
    attributes(path, { d: `M61 ${y}H68M124 ${y}H134M188 ${y}C214 ${y} 212 ${middle} 226 ${middle}`, stroke: colour, "stroke-opacity": line.size ? 0.8 : 0.25, "stroke-width": (0.6 + (3.4 * Math.abs(line.weight)) / thick).toFixed(2) });
    attribute(box, "y", y - 9.5);
    attribute(box, "visibility", line.isOn ? "visible" : "hidden");
    attributes(cell, { y: y - 7, fill: line.fill, visibility: "visible" });
    attribute(words, "y", y);
    text(words, "");
    for (const [element, value] of /** @type {[any, string][]} */ ([[input, line.input], [weight, `× ${line.weightText}`], [product, line.product]])) {
      attribute(element, "y", y + 3.6);
      text(element, value);
    }
    attribute(weight, "class", line.weight < 0 ? "Wn" : "W");
    attribute(product, "class", line.isOn ? "strong" : null);
  }

  /** @param {any} group @param {string[]} line @param {number} y @param {number} middle */
  #moreLine(group, line, y, middle) {
    const { path, box, cell, words, input, weight, product } = group._parts;
    group._tap = null;
    attribute(group, "class", null);
    attributes(path, { d: `M186 ${y}C214 ${y} 212 ${middle} 226 ${middle}`, stroke: "var(--ink3)", "stroke-opacity": 1, "stroke-width": 1 });
    attribute(box, "visibility", "hidden");
    attribute(cell, "visibility", "hidden");
    for (const element of [input, weight]) text(element, "");
    attribute(words, "y", y + 3.6);
    text(words, line[0]);
    attributes(product, { y: y + 3.6, class: null });
    text(product, line[1]);
  }

  #table() {
    if (this.told) this.page.dialogs.rows(this.told.title, this.told.head, this.told.rows);
  }
}

/** The largest products, the chosen weight among them, in the order of the window. @param {any[]} rows @param {number} tap */
function shortened(rows, tap) {
  const order = [...rows].sort((a, b) => Math.abs(b.product) - Math.abs(a.product));
  const kept = order.slice(0, SHOWN - 1);
  if (!kept.some((one) => one.tap === tap)) kept[kept.length - 1] = rows[tap] ?? kept[kept.length - 1];
  return kept.sort((a, b) => a.tap - b.tap);
}

/** @param {number} x @param {number} cy @param {number} z @param {number} range */
function curve(x, cy, z, range) {
  const t = Math.max(-1, Math.min(1, range ? z / range : 0));
  return [
    s("path", { d: `M${x + 2} ${cy + 9}H${x + 16}L${x + 30} ${cy - 9}`, fill: "none", stroke: "var(--ink2)" }),
    s("circle", { cx: x + 16 + t * 14, cy: cy + 9 - (t > 0 ? t * 18 : 0), r: 3, fill: `var(--${z > 0 ? "ap" : "an"})` }),
  ];
}

/** @param {any} part */
function wherePart(part) {
  const index = part.index ?? [];
  if (index.length <= 1) return `unit ${index[0] ?? 0}`;
  return `map ${index[index.length - 1]} at ${placed(index.slice(0, -1))}`;
}
