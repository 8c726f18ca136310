/** Two or more runs over each other: settings that differ, results, curves, the same kernel side by side. */
import { attribute, attributes, children, h, rich, s, show, text } from "kl/dom";
import { count, digits, largest } from "kl/format";
import { kernelOf } from "kl/frame";
import { settled } from "kl/data";
import { Layer } from "kl/layer";
import { Tile } from "kl/tile";
import { cellText } from "kl/words";

const SIZE = [660, 150];

export class CompareView {
  /** @param {any} page */
  constructor(page) {
    this.page = page;
    this.title = h("h2", { text: "Runs over each other" });
    this.picks = h("div", { class: "seg", role: "group", "aria-label": "Runs to compare with" });
    this.missing = h("div", { class: "empty", hidden: true });
    this.curve = h("select", { "aria-label": "Curve" });
    this.curve.addEventListener("change", () => page.choose({ curve: this.curve.value }));
    this.lines = s("g");
    this.marks = s("g");
    this.svg = s("svg", { class: "curves", role: "img", viewBox: `0 0 ${SIZE[0]} ${SIZE[1]}` }, this.lines, this.marks);
    this.legend = h("p", { class: "note" });
    this.settings = h("tbody");
    this.results = h("tbody");
    this.beside = h("div", { class: "kernels-beside" });
    const head = (/** @type {string} */ name) => h("thead", {}, h("tr", { "data-head": name }));
    this.settingsTable = h("table", {}, h("caption", { class: "vh", text: "Settings that differ" }), head("setting"), this.settings);
    this.resultsTable = h("table", {}, h("caption", { class: "vh", text: "Results" }), head("result"), this.results);
    this.body = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Comparison" },
      h("div", { class: "hd" }, this.legend, this.curve), this.svg, h("h3", { text: "The same kernel" }), this.beside, h("h3", { text: "Settings that differ" }), this.settingsTable, h("h3", { text: "Results" }), this.resultsTable);
    this.element = h("div", { class: "compare" }, h("div", { class: "hd" }, this.title, this.picks), this.missing, this.body);
  }

  /** @param {any} frame */
  render(frame) {
    this.frame = frame;
    const { selection, run } = frame;
    const others = this.page.about.runs.filter((/** @type {any} */ one) => one.key !== run.key && one.status !== "broken");
    const chosen = selection.with.filter((/** @type {string} */ key) => others.some((/** @type {any} */ one) => one.key === key));
    children(this.picks, others, () => h("button", { type: "button" }), (button, one) => {
      attribute(button, "aria-pressed", String(chosen.includes(one.key)));
      text(button, one.name);
      button.onclick = () => this.page.choose({ with: chosen.includes(one.key) ? chosen.filter((/** @type {string} */ key) => key !== one.key) : [...chosen, one.key].slice(-3) });
    });
    show(this.body, chosen.length > 0);
    show(this.missing, !chosen.length);
    if (!chosen.length) return text(this.missing, others.length ? "Choose a run to lay over this one." : "There is one run here. Give several: kernelearn view RUN RUN.");
    const keys = [run.key, ...chosen];
    const found = this.page.later("compare", { runs: keys.join(",") }, () => this.page.frame.selection.view === "compare" && this.render(this.page.frame));
    this.names = keys.map((key) => this.page.about.runs.find((/** @type {any} */ one) => one.key === key)?.name ?? key);
    void this.#kernels(frame, keys);
    void this.#curves(frame, keys);
    if (found && !found.refused) this.#tables(found);
    else rich(this.legend, [found === undefined ? "Comparing." : found.refused.message]);
  }

  /** @param {any} frame @param {string[]} keys */
  async #curves(frame, keys) {
    const answers = await Promise.all(keys.map((key) => settled(this.page.data.get(`runs/${encodeURIComponent(key)}/scalars`))));
    if (this.frame !== frame) return;
    const names = [...new Set(answers.flatMap((answer) => Object.keys(answer.blocks ?? {}).filter((name) => !name.startsWith("steps:"))))].filter((name) => !["epoch", "batch", "iteration"].includes(name));
    if (this.curve.children.length !== names.length) this.curve.replaceChildren(...names.map((value) => h("option", { value, text: value.replaceAll("_", " ") })));
    const name = names.includes(frame.selection.curve) ? frame.selection.curve : names[0];
    this.curve.value = name;
    const curves = answers.map((answer) => ({ steps: answer.blocks?.[`steps:${name}`]?.data ?? [], values: smoothed(answer.blocks?.[name]?.data ?? []) }));
    const isLog = /loss/.test(name ?? "");
    const all = curves.flatMap(({ values }) => Array.from(values)).filter((v) => Number.isFinite(v) && (!isLog || v > 0));
    const turn = (/** @type {number} */ v) => (isLog ? Math.log10(Math.max(v, 1e-12)) : v);
    const [low, high] = [turn(all.reduce((a, b) => Math.min(a, b), Infinity)), turn(all.reduce((a, b) => Math.max(a, b), -Infinity))];
    const last = Math.max(1, ...curves.map(({ steps }) => steps[steps.length - 1] ?? 1));
    const x = (/** @type {number} */ k) => 34 + (k / last) * (SIZE[0] - 40);
    const y = (/** @type {number} */ v) => SIZE[1] - 18 - ((turn(v) - low) / (high - low || 1)) * (SIZE[1] - 28);
    children(this.lines, curves, () => s("path"), (path, { steps, values }, at) => {
      const every = Math.max(1, Math.floor(steps.length / SIZE[0]));
      const points = [];
      for (let i = 0; i < steps.length; i += every) if (Number.isFinite(values[i]) && (!isLog || values[i] > 0)) points.push(`${x(steps[i]).toFixed(1)} ${y(values[i]).toFixed(1)}`);
      attributes(path, { d: points.length ? `M${points.join("L")}` : "", class: `series${at}` });
    });
    const marks = [[2, 14, digits(isLog ? 10 ** high : high, 3), "start"], [2, SIZE[1] - 20, digits(isLog ? 10 ** low : low, 3), "start"], [34, SIZE[1] - 4, "0", "start"], [SIZE[0] - 4, SIZE[1] - 4, count(last), "end"]];
    children(this.marks, marks, () => s("text", { "font-size": 10, class: "quiet" }), (mark, [mx, my, words, anchor]) => {
      attributes(mark, { x: mx, y: my, "text-anchor": anchor });
      text(mark, String(words));
    });
    attribute(this.svg, "aria-label", `${name} of ${this.names.join(" and ")}: at the end ${curves.map(({ values }, at) => `${this.names[at]} ${digits(values[values.length - 1], 3)}`).join(", ")}`);
    this.legend.replaceChildren(...this.names.flatMap((/** @type {string} */ one, /** @type {number} */ at) => [h("span", { class: `key series${at}` }), `${one} `]), isLog ? "(log)" : "");
  }

  /** @param {any} frame @param {string[]} keys */
  async #kernels(frame, keys) {
    const { layer, selection, step } = frame;
    const abouts = await Promise.all(keys.slice(1).map((key) => settled(this.page.data.get(`runs/${encodeURIComponent(key)}`))));
    const own = kernelOf(frame);
    const kernels = [own];
    for (const [at, about] of abouts.entries()) {
      const same = about.layers?.find((/** @type {any} */ one) => one.name === layer.name);
      const other = same ? new Layer(same) : null;
      if (!other?.isOpen || other.shape.join() !== layer.shape.join()) {
        kernels.push(null);
        continue;
      }
      const wanted = Array.from(other.steps).reduce((a, k) => (Math.abs(k - step) < Math.abs(a - step) ? k : a), other.steps[0]);
      const answer = await settled(this.page.data.get(`runs/${encodeURIComponent(keys[at + 1])}/weights`, { layer: layer.name, step: wanted }));
      const block = answer.blocks?.[layer.weight];
      kernels.push(block ? Object.assign(layer.cut(block.data, selection.slice, selection.kernel), { _step: wanted }) : null);
    }
    if (this.frame !== frame) return;
    const range = largest(...kernels.map((kernel) => kernel ?? []));
    const cell = cellText(range, true);
    children(this.beside, kernels, () => {
      const tile = new Tile();
      const figure = h("figure", {}, h("figcaption"), tile.element);
      figure._tile = tile;
      return figure;
    }, (figure, kernel, at) => {
      const where = kernel ? `, step ${count(/** @type {any} */ (kernel)._step ?? step)}` : ": no such kernel";
      text(figure.firstChild, `${this.names[at]}${where}`);
      show(figure._tile.element, Boolean(kernel));
      if (!kernel) return;
      figure._tile.show({ values: kernel, sizes: layer.window, range, family: "w", format: cell.format, colours: this.page.colours });
      figure._tile.label(`Kernel ${selection.kernel} of ${layer.name} in ${this.names[at]}`);
    });
  }

  /** @param {any} found */
  #tables(found) {
    for (const [table, name] of [[this.settingsTable, "setting"], [this.resultsTable, "result"]]) {
      const head = table.querySelector("[data-head]");
      children(head, [name, ...this.names], () => h("th", { scope: "col" }), (cell, words) => text(cell, words));
    }
    fill(this.settings, Object.entries(found.settings ?? {}).map(([name, values]) => [name, .../** @type {any} */ (values)]));
    fill(this.results, Object.entries(found.results ?? {}).map(([name, values]) => [name, .../** @type {any} */ (values)]));
  }
}

/** @param {any} body @param {any[][]} rows */
function fill(body, rows) {
  const words = (/** @type {any} */ v) => (v == null ? "–" : typeof v === "number" ? digits(v, 4) : typeof v === "object" ? JSON.stringify(v) : String(v));
  children(body, rows, () => h("tr"), (row, cells) => children(row, cells, (_, at) => h(at ? "td" : "th", { scope: at ? null : "row" }), (cell, value) => text(cell, words(value))));
}

/** Means over a twentieth of a long noisy curve. @param {ArrayLike<number>} values */
function smoothed(values) {
  const size = Math.floor(values.length / 80);
  if (size < 2) return values;
  const found = new Float64Array(values.length);
  let total = 0;
  for (let at = 0; at < values.length; at++) {
    total += values[at];
    if (at >= size) total -= values[at - size];
    found[at] = total / Math.min(at + 1, size);
  }
  return found;
}
