/**
 * Time: the kernel at recorded steps, tied to a linear axis of steps; a curve of the run in grey; the chosen
 * weight; ledgers and interventions; one slider. Steps are never left out of the slider.
 */
import { attribute, attributes, children, h, perFrame, s, show, text } from "kl/dom";
import { count, digits, fixed, largest } from "kl/format";
import { drawn, flat } from "kl/geometry";
import { filmKernel } from "kl/kernels";
import { kernelOf } from "kl/frame";
import { nearest, upTo } from "kl/data";
import { paint } from "kl/tile";
import { iconPath } from "kl/layout";

const MARGIN = 8;
const LOGARITHMIC = /loss/;
/** The grey curve that is no scalar of the run. */
const DISTANCE = "way_of_the_kernel";
const CHANGES = new Set(["learning rate", "frozen", "unfrozen", "edited", "reset", "paused", "resumed"]);

export class TimeView {
  /** @param {any} page @param {(id: string) => any} find */
  constructor(page, find) {
    this.page = page;
    this.now = find("now");
    this.curve = find("c-curve");
    this.play = find("c-play");
    this.plot = find("plot");
    this.step = h("b");
    this.more = h("span");
    this.now.append(h("div", { class: "at" }, this.step, h("button", { class: "tbl", type: "button", title: "table", "aria-label": "Table of the steps", text: "▦", onclick: () => this.#table() })), this.more);
    this.curve.addEventListener("change", () => page.choose({ curve: this.curve.value }));
    this.film = h("canvas", { class: "film", "aria-hidden": "true" });
    this.parts = {
      leaders: s("path", { class: "leader" }), leader: s("path", { class: "leader on" }), curve: s("path", { class: "curve" }), second: s("path", { class: "second" }),
      zero: s("path", { class: "axis", "stroke-dasharray": "2 3" }), zeroText: s("text", { x: 0, "font-size": 9.5, class: "quiet", text: "0" }), trace: s("path", { class: "trace" }),
      dots: s("g"), current: s("circle", { r: 4, stroke: "var(--bg)", "stroke-width": 1.5 }), value: s("text", { "font-size": 11.5, class: "strong halo" }),
      legend: s("text", { "font-size": 10.5, "text-anchor": "end", class: "halo" }), rail: s("path", { class: "axis" }), ledgers: s("path", { class: "ledger" }), events: s("path", { class: "event" }),
      ticks: s("g"), hair: s("path", { class: "hair" }), thumb: s("rect", { class: "thumb", width: 10, height: 16, rx: 3 }), frame: s("rect", { class: "frame" }), hits: s("g"),
    };
    this.parts.legend.append(s("tspan", { class: "quieter" }), s("tspan", { class: "W" }), s("tspan", { class: "quiet" }), s("tspan", { class: "E", text: "  ◆ ledger" }));
    this.svg = s("svg", { role: "img" }, ...Object.values(this.parts));
    this.range = h("input", { type: "range", class: "vh", "aria-label": "Step", min: 0, step: 1 });
    this.plot.append(this.film, this.svg, this.range);
    this.range.addEventListener("input", () => page.go(this.stops[Number(this.range.value)]));
    this.#drag();
    /** @type {ArrayLike<number>} */ this.stops = [];
    this.playing = null;
    /** @type {Map<string, any>} */ this.made = new Map();
  }

  // --- moving

  #drag() {
    const jump = perFrame((/** @type {number} */ x) => {
      const box = this.svg.getBoundingClientRect();
      const share = (x - box.left - MARGIN) / (box.width - 2 * MARGIN);
      const wanted = nearest(this.stops, Math.round(share * this.last));
      if (wanted !== null && wanted !== this.page.state.pinned.step) this.page.go(wanted);
    });
    let isDown = false;
    this.svg.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
      const target = /** @type {Element} */ (event.target);
      if (target.classList.contains("hit")) return void this.page.go(Number(target.getAttribute("data-step")));
      if (event.clientY - this.svg.getBoundingClientRect().top < (this.top ?? 0)) return;
      isDown = true;
      this.svg.setPointerCapture(event.pointerId);
      jump(event.clientX);
    });
    this.svg.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => isDown && jump(event.clientX));
    for (const name of ["pointerup", "pointercancel"]) this.svg.addEventListener(name, () => (isDown = false));
  }

  /** Next or previous recorded step. @param {number} way */
  move(way) {
    const at = upTo(this.stops, this.page.state.pinned.step) + way;
    const isBetween = this.stops[at - way] !== this.page.state.pinned.step;
    const wanted = this.stops[way < 0 && isBetween ? at + 1 : at];
    if (wanted == null) return;
    this.page.go(wanted);
    this.#lookAhead(this.stops, wanted, way);
  }

  /** What the same key will want next. @param {ArrayLike<number>} steps @param {number} step @param {number} way */
  #lookAhead(steps, step, way) {
    const at = Array.from(steps).indexOf(step);
    const next = [steps[at + way], steps[at + 2 * way]].filter((one) => one != null);
    void this.page.settled.then(() => this.page.state.pinned.step === step && this.page.prefetch(next));
  }

  /** Next or previous step with a ledger. @param {number} way */
  moveLedger(way) {
    const { layer } = this.page.frame;
    const step = this.page.state.pinned.step;
    const steps = Array.from(layer.ledgers);
    const wanted = way > 0 ? steps.find((k) => k > step) : steps.findLast((k) => k < step);
    if (wanted == null) return;
    this.page.go(wanted, { source: "batch" });
    this.#lookAhead(steps, wanted, way);
  }

  /** @param {boolean} [isOn] */
  toggle(isOn = !this.playing) {
    if (this.playing) clearTimeout(this.playing);
    this.playing = null;
    attribute(this.play, "aria-label", isOn ? "Pause" : "Play");
    attribute(this.play.querySelector("path"), "d", iconPath(isOn ? "pause" : "play"));
    if (!isOn) return;
    if (this.page.state.pinned.step >= this.stops[this.stops.length - 1]) this.page.go(this.stops[0]);
    const each = Math.max(40, Math.min(450, 20_000 / this.stops.length));
    const next = async () => {
      const at = upTo(this.stops, this.page.state.pinned.step) + 1;
      if (at >= this.stops.length || !this.playing) return this.toggle(false);
      this.page.go(this.stops[at], {}, true);
      this.page.prefetch(Array.from(this.stops.slice(at + 1, at + 4)));
      await this.page.settled;
      if (this.playing) this.playing = setTimeout(next, each);
    };
    this.playing = setTimeout(next, each);
  }

  // --- drawing

  /** What follows from the same things as last time. @template T @param {string} name @param {any[]} from @param {() => T} make @returns {T} */
  #once(name, from, make) {
    const known = this.made.get(name);
    if (known && known.from.every((/** @type {any} */ one, /** @type {number} */ at) => Object.is(one, from[at]))) return known.value;
    const value = make();
    this.made.set(name, { from, value });
    return value;
  }

  /** @param {import("kl/frame").Frame} frame */
  render(frame) {
    const { run, layer, step } = frame;
    this.frame = frame;
    this.stops = run.stops(layer);
    this.last = Math.max(1, run.last, step);
    attributes(this.range, { max: this.stops.length - 1, "aria-valuetext": `step ${step} of ${run.last}` });
    this.range.value = String(Math.max(0, upTo(this.stops, step)));
    this.#about(frame);
    this.#curves(frame);
    this.#draw(frame);
  }

  /** @param {any} frame */
  #about(frame) {
    const { run, step } = frame;
    text(this.step, `step ${count(step)}`);
    const loss = scalarAt(frame, "loss", step);
    const rate = scalarAt(frame, "learning_rate", step);
    const epoch = scalarAt(frame, "epoch", step);
    const epochs = scalar(frame, "epoch")?.values;
    const all = run.isGrowing || !epochs?.length ? "" : ` of ${count(epochs[epochs.length - 1] + 1)}`;
    const first = `of ${count(run.last)}${epoch !== null ? `, epoch ${count(epoch + 1)}${all}` : ""}`;
    const second = step === 0 ? "before the first update" : [loss !== null ? `batch loss ${digits(loss, 3)}` : "", rate !== null ? `rate ${digits(rate, 3)}` : ""].filter(Boolean).join(", ");
    const words = `${first}\n${second}`;
    if (this.told !== words) {
      this.told = words;
      this.more.replaceChildren(h("span", { text: first }), h("span", { text: second }));
    }
  }

  /** Choice of the grey curve. @param {any} frame */
  #curves(frame) {
    const own = this.page.data.source.kind === "server" && !frame.layer.isDense ? [DISTANCE] : [];
    const names = [...(frame.run.about.scalars ?? []).filter((/** @type {string} */ name) => !["epoch", "batch", "iteration"].includes(name)), ...own];
    if (names.join() !== this.named) {
      this.named = names.join();
      this.curve.replaceChildren(...names.map((/** @type {string} */ value) => h("option", { value, text: value.replaceAll("_", " ") })));
    }
    this.curve.value = names.includes(frame.selection.curve) ? frame.selection.curve : "loss";
    show(this.curve, names.length > 1);
  }

  /** @param {any} frame */
  #draw(frame) {
    const width = Math.max(280, this.plot.clientWidth);
    const isSmall = width <= 740;
    const high = this.page.height();
    const cell = isSmall ? 22 : high > 820 ? 31 : 27;
    const top = cell + 2;
    const from = top + (isSmall ? 6 : 15);
    const tall = isSmall ? 24 : Math.max(38, Math.min(150, 38 + (high - 726) * 0.75));
    const place = { width, isSmall, cell, top, from, to: from + tall, tall, x: (/** @type {number} */ step) => MARGIN + (step / this.last) * (width - 2 * MARGIN) };
    this.top = from;
    const rail = place.to + 13;
    attributes(this.svg, { viewBox: `0 0 ${width} ${rail + 24}`, height: rail + 24, "aria-label": `${frame.layer.named(frame.selection.weight)} over ${count(this.stops.length)} recorded steps, with the ${this.curve.value || "loss"} of the run` });
    this.#film(frame, place);
    this.#curve(frame, place);
    this.#trace(frame, place);
    this.#rail(frame, place, rail);
  }

  /** @param {any} frame @param {any} place */
  #film(frame, { width, cell, top, from, x }) {
    const { layer, step } = frame;
    const { kernel: filter, slice } = frame.selection;
    const recorded = this.#once("film", [frame.film, layer, filter, slice], () => new Map(Array.from(frame.film?.blocks?.steps?.data ?? [], (k, at) => [k, filmKernel(frame, at)])));
    const kernels = new Map(recorded);
    const own = kernelOf(frame);
    if (own && !frame.isBefore) kernels.set(step, own);
    else if (own && !kernels.has(step)) kernels.set(step, own);
    const all = [...kernels.keys()].sort((a, b) => a - b);
    const room = Math.max(2, Math.floor(width / (cell + 5)) - 1);
    const shown = thinned(all, room, step);
    const [rows, columns] = drawn(layer.window);
    const range = largest(...[...kernels.values()].map((k) => k ?? []));
    const ratio = Math.min(2, globalThis.devicePixelRatio || 1);
    if (this.film.width !== Math.round(width * ratio) || this.film.height !== Math.round(cell * ratio)) {
      this.film.width = Math.round(width * ratio);
      this.film.height = Math.round(cell * ratio);
    }
    this.film.style.width = `${width}px`;
    this.film.style.height = `${cell}px`;
    this.film.style.top = "1px";
    const context = this.film.getContext("2d");
    context.clearRect(0, 0, this.film.width, this.film.height);
    const gap = width / Math.max(1, shown.length);
    const small = document.createElement("canvas");
    small.width = columns;
    small.height = rows;
    const [wide, high] = rows > columns ? [(cell * columns) / rows, cell] : [cell, Math.max(3, (cell * rows) / columns)];
    context.imageSmoothingEnabled = false;
    let leaders = "";
    shown.forEach((k, at) => {
      const kernel = kernels.get(k);
      if (kernel) {
        paint(small.getContext("2d"), 0, 0, kernel, [rows, columns], range, "w", this.page.colours);
        context.drawImage(small, (gap * (at + 0.5) - wide / 2) * ratio, 0, wide * ratio, high * ratio);
      }
      if (k !== step) leaders += `M${(gap * (at + 0.5)).toFixed(1)} ${top + 1}L${x(k).toFixed(1)} ${from - 1}`;
    });
    attribute(this.parts.leaders, "d", leaders);
    const own2 = shown.indexOf(step);
    attribute(this.parts.leader, "d", own2 < 0 ? "" : `M${gap * (own2 + 0.5)} ${top + 1}L${x(step)} ${from - 1}`);
    attributes(this.parts.frame, own2 < 0 ? { width: 0, height: 0 } : { x: gap * (own2 + 0.5) - wide / 2 - 1.5, y: -0.5, width: wide + 3, height: high + 3 });
    children(this.parts.hits, shown, () => s("rect", { class: "hit" }), (hit, k, at) => attributes(hit, { x: gap * at, y: 0, width: gap, height: cell, "data-step": k }));
  }

  /** @param {any} frame @param {any} place */
  #curve(frame, { to, tall, x }) {
    const name = this.curve.value || "loss";
    const found = name === DISTANCE ? this.#distance(frame) : scalar(frame, name);
    if (!found) return attribute(this.parts.curve, "d", "");
    const isLog = LOGARITHMIC.test(name);
    const path = this.#once("curve", [found.steps, found.values, to, tall, x(1000)], () => curvePath(found, isLog, to, tall, x));
    attribute(this.parts.curve, "d", path);
  }

  /** How far the chosen kernel is from its start, over the steps; null until it is known. @param {any} frame */
  #distance(frame) {
    const { run, layer, selection } = frame;
    const found = this.page.later(`runs/${encodeURIComponent(run.key)}/distances`, { layer: layer.name }, () => this.render(this.page.frame));
    const blocks = found?.blocks;
    if (!blocks?.from_start) return null;
    const filters = blocks.from_start.shape[1];
    return { steps: blocks.steps.data, values: Float64Array.from(blocks.steps.data, (_, at) => blocks.from_start.data[at * filters + selection.kernel]) };
  }

  /** @param {any} frame @param {any} place */
  #trace(frame, { from, to, tall, x, width, isSmall }) {
    const { layer, selection, step } = frame;
    const found = traceOf(frame);
    const range = this.#once("range", [found.values], () => largest(found.values) || 1);
    const y = (/** @type {number} */ v) => (from + to) / 2 - (v / range) * tall * 0.46;
    const many = found.steps.length > width / 6;
    const { trace, dots, current, value, zero, zeroText, second, legend } = this.parts;
    attribute(trace, "d", this.#once("trace", [found.steps, found.values, tall, from, x(1000)], () => (found.steps.length ? `M${points(found, x, y, width)}` : "")));
    const shown = many ? [] : Array.from(found.steps, (_, at) => at);
    children(dots, shown, () => s("circle", { r: 1.9 }), (dot, at) => attributes(dot, { cx: x(found.steps[at]), cy: y(found.values[at]), fill: `var(--${found.values[at] < 0 ? "wn" : "wp"})` }));
    attribute(zero, "d", `M${MARGIN} ${y(0)}H${width - MARGIN}`);
    attribute(zeroText, "y", y(0) - 3);
    const at = upTo(found.steps, step);
    const isHere = found.steps[at] === step;
    attributes(current, isHere ? { cx: x(step), cy: y(found.values[at]), fill: `var(--${found.values[at] < 0 ? "wn" : "wp"})`, r: 4 } : { r: 0 });
    const isRight = x(step) > width - 220;
    attributes(value, { x: x(step) + (isRight ? -9 : 9), y: isHere ? y(found.values[at]) + (found.values[at] < 0 ? 14 : -6) : 0, "text-anchor": isRight ? "end" : "start" });
    text(value, isHere && !isSmall ? `${layer.named(selection.weight)} = ${fixed(found.values[at], 4, true)}` : "");
    const other = this.page.otherTrace(frame);
    attribute(second, "d", other ? `M${points(other, x, y, width)}` : "");
    const isLeft = x(step) > width - 480;
    attributes(legend, { x: isLeft ? MARGIN + 14 : width - MARGIN, y: from + 9, "text-anchor": isLeft ? "start" : "end" });
    const [grey, line, dashed] = legend.children;
    const name = (this.curve.value || "loss").replaceAll("_", " ");
    text(grey, isSmall ? "" : `grey: ${name === "loss" ? "loss of each batch" : name}${LOGARITHMIC.test(name) ? " (log)" : ""}`);
    text(line, isSmall ? "" : `  line: ${layer.named(selection.weight)}`);
    text(dashed, other && !isSmall ? `  dashed: ${other.name}` : "");
    text(legend.children[3], isSmall ? "" : "  ◆ ledger");
  }

  /** @param {any} frame @param {any} place @param {number} y */
  #rail(frame, { x, width, from, isSmall }, y) {
    const { layer, step } = frame;
    const { rail, ledgers, events, ticks, hair, thumb } = this.parts;
    attribute(rail, "d", `M${MARGIN} ${y - 2}H${width - MARGIN}`);
    const many = layer.ledgers.length > width / 8;
    attribute(ledgers, "d", Array.from(layer.ledgers).filter((k) => k !== step).map((k) => (many ? `M${x(k).toFixed(1)} ${y - 5}h1v6h-1z` : `M${x(k).toFixed(1)} ${y - 6}l4 4l-4 4l-4 -4z`)).join(""));
    const changes = (this.page.events ?? []).filter((/** @type {any} */ event) => CHANGES.has(event.kind));
    attribute(events, "d", changes.map((/** @type {any} */ event) => `M${x(event.step).toFixed(1)} ${from}V${y + 4}`).join(""));
    attribute(events, "stroke-dasharray", "1 2");
    const numbers = tickNumbers(this.last, isSmall ? 3 : 7);
    children(ticks, numbers, () => s("text", { "font-size": 10, class: "quiet" }), (tick, k) => {
      attributes(tick, { x: x(k), y: y + 21, "text-anchor": k === 0 ? "start" : x(k) > width - 30 ? "end" : "middle" });
      text(tick, count(k));
    });
    attributes(thumb, { x: x(step) - 5, y: y - 10 });
    attribute(hair, "d", `M${x(step)} ${from}V${y - 10}`);
  }

  #table() {
    const { frame } = this;
    const { layer, selection } = frame;
    const found = traceOf(frame);
    const rows = Array.from(found.steps, (step, at) => [count(step), scalarAt(frame, "loss", step), scalarAt(frame, "learning_rate", step), found.values[at]]);
    const name = layer.named(selection.weight);
    const index = layer.index(selection.weight, selection.slice, selection.kernel).join(", ");
    this.page.dialogs.rows(`Loss and ${name} over the recorded steps`, ["step", "loss of the batch", "learning rate", name], thinned(rows.map((_, at) => at), 399, 0).map((at) => rows[at]), `run.trace("${layer.name}", (${index}))`);
  }
}

/** Values of a curve of the run. @param {any} frame @param {string} name @returns {{steps: any, values: any} | null} */
export function scalar(frame, name) {
  const blocks = frame.scalars?.blocks;
  const [steps, values] = [blocks?.[`steps:${name}`]?.data, blocks?.[name]?.data];
  return steps && values ? { steps, values } : null;
}

/** @param {any} frame @param {string} name @param {number} step */
export function scalarAt(frame, name, step) {
  const found = scalar(frame, name);
  if (!found) return null;
  const at = upTo(found.steps, step);
  return found.steps[at] === step ? found.values[at] : null;
}

/** The chosen weight over the steps: its whole trace, or what the film has of it. @param {any} frame */
export function traceOf(frame) {
  const blocks = frame.trace?.blocks;
  if (blocks?.steps && blocks.values) return { steps: blocks.steps.data, values: blocks.values.data };
  const steps = frame.film?.blocks?.steps?.data ?? [];
  const tap = flat(frame.selection.weight, frame.layer.window);
  return { steps, values: Float64Array.from(steps, (_, at) => filmKernel(frame, at)?.[tap] ?? NaN) };
}

/** Some of a list, evenly spread: first, last and one chosen always. @template T @param {T[]} all @param {number} room @param {T} chosen */
export function thinned(all, room, chosen) {
  if (all.length <= room) return all;
  const kept = new Set(Array.from({ length: room }, (_, i) => Math.round((i * (all.length - 1)) / (room - 1))));
  const own = all.indexOf(chosen);
  if (own >= 0 && !kept.has(own)) {
    const near = [...kept].filter((at) => at !== 0 && at !== all.length - 1).reduce((a, b) => (Math.abs(b - own) < Math.abs(a - own) ? b : a), 1);
    kept.delete(near);
    kept.add(own);
  }
  return [...kept].sort((a, b) => a - b).map((at) => all[at]);
}

/** @param {{steps: ArrayLike<number>, values: ArrayLike<number>}} found @param {boolean} isLog @param {number} to @param {number} tall @param {(v: number) => number} x */
function curvePath(found, isLog, to, tall, x) {
  let [low, high] = [Infinity, -Infinity];
  for (let at = 0; at < found.values.length; at++) {
    const value = found.values[at];
    if (!Number.isFinite(value) || (isLog && value <= 0)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return "";
  const turn = isLog ? Math.log10 : (/** @type {number} */ v) => v;
  const [a, b] = [turn(low), turn(high)];
  const y = (/** @type {number} */ v) => to - ((turn(isLog ? Math.max(v, low) : v) - a) / (b - a || 1)) * tall;
  return decimated(found.steps, found.values, x, y);
}

/** A dense curve as one stroke a pixel column, from its least to its largest. @param {ArrayLike<number>} steps @param {ArrayLike<number>} values @param {(v: number) => number} x @param {(v: number) => number} y */
function decimated(steps, values, x, y) {
  /** @type {Map<number, [number, number]>} */ const columns = new Map();
  for (let at = 0; at < steps.length; at++) {
    if (!Number.isFinite(values[at])) continue;
    const [column, place] = [Math.round(x(steps[at])), y(values[at])];
    const known = columns.get(column);
    if (known) columns.set(column, [Math.min(known[0], place), Math.max(known[1], place)]);
    else columns.set(column, [place, place]);
  }
  if (columns.size < 60) return [...columns].map(([column, [a]], at) => `${at ? "L" : "M"}${column} ${a.toFixed(1)}`).join("");
  let d = "";
  /** @type {[number, number] | null} */ let before = null;
  for (const [column, [low, high]] of columns) {
    const [a, b] = before ? [Math.min(low, before[1]), Math.max(high, before[0])] : [low, high];
    before = [low, high];
    d += `M${column} ${a.toFixed(1)}V${(b + 0.6).toFixed(1)}`;
  }
  return d;
}

/** @param {{steps: ArrayLike<number>, values: ArrayLike<number>}} found @param {(v: number) => number} x @param {(v: number) => number} y @param {number} width */
function points({ steps, values }, x, y, width) {
  const every = Math.max(1, Math.floor(steps.length / width));
  const list = [];
  for (let at = 0; at < steps.length; at += every) if (Number.isFinite(values[at])) list.push(`${x(steps[at]).toFixed(1)} ${y(values[at]).toFixed(1)}`);
  return list.join("L");
}

/** @param {number} last @param {number} most */
function tickNumbers(last, most) {
  const raw = last / most;
  const power = 10 ** Math.floor(Math.log10(Math.max(1, raw)));
  const step = [1, 2, 5, 10].map((m) => m * power).find((m) => m >= raw) ?? 10 * power;
  const found = [];
  for (let k = 0; k <= last; k += Math.max(1, Math.round(step))) found.push(k);
  return found;
}
