/** Why a weight moved at a step: the update as bars that add up, with the numbers as they are shown. */
import { attribute, attributes, children, h, rich, s, show, text } from "kl/dom";
import { asShown, count, decimalsOf, digits, fixed, largest } from "kl/format";
import { openHistory } from "kl/history";

const WIDTH = 328;

export class WaterfallView {
  /** @param {any} page */
  constructor(page) {
    this.page = page;
    this.title = h("h2");
    const tableButton = h("button", { class: "tbl", type: "button", title: "table", "aria-label": "Table of the update", text: "▦", onclick: () => this.#table() });
    this.way = h("button", { class: "lnk", type: "button", text: "whole way", title: "What all its updates add up to", onclick: () => void openHistory(page) });
    this.rows = s("g", { "font-size": 11 });
    this.svg = s("svg", { class: "waterfall", role: "img" }, this.rows);
    this.formula = h("span");
    this.missing = h("p", { class: "formula" });
    this.element = h("div", { class: "why" }, h("div", { class: "hd" }, this.title, tableButton), this.svg, h("p", { class: "formula" }, this.formula, " ", this.way), this.missing);
    /** @type {any} */ this.told = null;
  }

  /** @param {import("kl/frame").Frame} frame */
  render(frame) {
    const { layer, selection, update, step } = frame;
    rich(this.title, ["Why did ", ["W", layer.named(selection.weight)], ` move at step ${count(step)}?`]);
    show(this.way, Boolean(layer.about.is_full) && this.page.data.source.kind === "server");
    const found = update && !update.refused && !update.missing ? update : null;
    show(this.svg, Boolean(found));
    show(this.formula, Boolean(found));
    show(this.missing, !found);
    if (!found) {
      this.told = null;
      this.page.offer(this.missing, update?.missing ?? { why: update?.refused?.message ?? "Not recorded.", before: null, after: null, nearest: null }, false);
      return;
    }
    this.#draw(found);
    this.#words(frame, found);
  }

  /** @param {any} found */
  #draw(found) {
    const parts = found.parts.filter((/** @type {any} */ part) => part.value !== 0 || part.name === "gradient");
    const values = parts.map((/** @type {any} */ part) => part.value);
    const decimals = decimalsOf([...values, found.update], 5, 4, 9);
    this.isTiny = largest([...values, found.update]) < 10 ** -decimals;
    const scale = 10 ** decimals;
    const [before, after] = [Math.round(found.before * scale) / scale, Math.round(found.after * scale) / scale];
    const shown = asShown(values, after - before, decimals);
    const rows = parts.map((/** @type {any} */ part, /** @type {number} */ i) => ({ words: part.words ?? part.name, value: shown.parts[i] }));
    rows.push({ words: "rounding", value: shown.rest });
    const ends = [0];
    for (const row of rows) ends.push(ends[ends.length - 1] + row.value);
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    const x = (/** @type {number} */ v) => 118 + ((v - low) / (high - low || 1)) * 122;
    const lines = [{ kind: "number", words: "W before", value: before }, ...rows.map((row, at) => ({ kind: "bar", ...row, from: ends[at], to: ends[at + 1] })), { kind: "total", words: "update", value: shown.total }, { kind: "number", words: "W after", value: after }];
    children(this.rows, lines, () => this.#line(), (group, line, at) => {
      const y = 12 + 19 * at;
      const { grid, bar, rule, dot, words, number } = group._parts;
      attributes(words, { y: y + 4, class: line.kind === "total" ? "strong" : "quiet" });
      attributes(number, { y: y + 4, class: line.kind === "total" ? "strong" : null, "data-row": line.kind });
      text(words, line.words);
      text(number, fixed(line.value, decimals, true));
      const [a, b] = line.kind === "bar" ? [x(line.from), x(line.to)] : [x(0), x(shown.total)];
      attribute(grid, "d", line.kind === "bar" ? `M${a} ${y - 13}V${y + 7}` : line.kind === "total" ? `M${x(ends[ends.length - 1])} ${y - 13}V${y + 6}` : "");
      attributes(bar, { x: Math.min(a, b), y: y - 6, width: Math.max(1, Math.abs(b - a)), height: line.kind === "bar" ? 12 : 0, fill: `var(--${line.value < 0 ? "wn" : "wp"})` });
      attribute(rule, "d", line.kind === "total" ? `M0 ${y - 10}H${WIDTH}` : "");
      attributes(dot, { cx: b, cy: y, r: line.kind === "total" ? 3 : 0 });
      attribute(group._parts.arrow, "d", line.kind === "total" ? `M${a} ${y}H${b}` : "");
    });
    attributes(this.svg, { viewBox: `0 0 ${WIDTH} ${12 + 19 * lines.length - 4}`, "aria-label": `Update in parts: ${rows.map((row) => `${row.words} ${digits(row.value, 3, true)}`).join(", ")}; update ${digits(shown.total, 4, true)}` });
    this.told = { lines, decimals };
  }

  #line() {
    const parts = {
      rule: s("path", { stroke: "var(--line)" }), grid: s("path", { stroke: "var(--ink3)", "stroke-width": 0.8 }), bar: s("rect"), arrow: s("path", { stroke: "var(--ink)", "stroke-width": 2 }),
      dot: s("circle", { fill: "var(--ink)" }), words: s("text", { x: 0 }), number: s("text", { x: WIDTH, "text-anchor": "end" }),
    };
    const group = s("g", {}, ...Object.values(parts));
    group._parts = parts;
    return group;
  }

  /** @param {import("kl/frame").Frame} frame @param {any} found */
  #words(frame, found) {
    const name = String(found.optimizer ?? "").replace(/_update$/, "");
    const title = /** @type {any} */ ({ sgd: "SGD", adam: "Adam", adamw: "AdamW", rmsprop: "RMSprop", lion: "Lion" })[name] ?? name;
    const rate = found.learning_rate != null ? `, rate ${digits(found.learning_rate, 3)}` : "";
    const parts = Object.fromEntries(found.parts.map((/** @type {any} */ part) => [part.name, part.value]));
    const [fresh, old] = [Math.abs(parts.gradient ?? 0), Math.abs(parts.momentum ?? 0)];
    const share = fresh + old ? Math.round((100 * fresh) / (fresh + old)) : null;
    const gradient = found.gradient ?? gradientOf(frame);
    const lines = [["b", title], rate];
    if (gradient !== null && Number.isFinite(gradient)) lines.push(`, gradient ${digits(gradient, 4, true)}.`);
    else lines.push(".");
    if (share !== null && old) lines.push(` ${share} % by this batch, ${100 - share} % by the gradients before.`);
    else if (frame.step === 1 && share !== null) lines.push(" No memory yet: the first step.");
    if (this.isTiny) lines.push(" All parts are smaller than the last digit shown.");
    for (const event of found.by_hand ?? []) lines.push(` By hand: ${event.words ?? event.kind ?? "changed"}.`);
    rich(this.formula, /** @type {any} */ (lines));
  }

  #table() {
    if (!this.told) return;
    const { lines, decimals } = this.told;
    this.page.dialogs.rows(this.title.textContent ?? "", ["part", "value"], lines.map((/** @type {any} */ line) => [line.words, fixed(line.value, decimals, true)]), "explain.update_split(run, layer, step)");
  }
}

/** Engine's gradient of the chosen weight; null where it is not recorded. @param {import("kl/frame").Frame} frame */
function gradientOf(frame) {
  const { layer, selection, weights } = frame;
  const block = weights?.blocks?.[`${layer.weight}:gradient`];
  if (!block) return null;
  const index = layer.index(selection.weight, selection.slice, selection.kernel);
  return block.data[index.reduce((at, i, axis) => at * layer.shape[axis] + i, 0)];
}
