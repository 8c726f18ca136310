/** What the page says in words: captions, readouts with their numbers filled in, the Python call behind a picture. */
import { asShown, count, digits, exponentOf, fixed, power, shape } from "kl/format";
import { flat, volume } from "kl/geometry";

const CUT = new Set(["relu", "relu6"]);
const FORMULAS = {
  relu: "max(0, {})", relu6: "min(max(0, {}), 6)", sigmoid: "1/(1 + e⁻{})", tanh: "tanh {}", linear: "{}", softmax: "softmax {}",
  leaky_relu: "leaky {}", elu: "elu {}", gelu: "gelu {}", silu: "{}·σ({})", swish: "{}·σ({})", softplus: "ln(1 + e{})", exponential: "e to {}",
};
const OPS = { relu: "ReLU", leaky_relu: "leaky", sigmoid: "σ", linear: "", softmax: "softmax" };

/** How numbers are written in cells: decimals that fit, or a stated unit. @param {number} range @param {boolean} signed @param {number} [figures] behind the point, in units @param {number} [least] exponent from which on numbers are shown as they are */
export function cellText(range, signed, figures = 2, least = -2) {
  const exponent = exponentOf(range);
  if (range > 0 && exponent < least) {
    const scale = 10 ** exponent;
    return { format: (/** @type {number} */ v) => fixed(v / scale, figures, signed), unit: `, in units of ${power(exponent)}` };
  }
  if (exponent >= 4) return { format: (/** @type {number} */ v) => fixed(v / 10 ** exponent, 2, signed), unit: `, in units of ${power(exponent)}` };
  const decimals = Math.max(0, Math.min(3, 2 - Math.max(exponent, signed ? -1 : 0)));
  return { format: (/** @type {number} */ v) => fixed(v, decimals, signed), unit: "" };
}

/** The same for the cells of a window: from five across on, tenths of a unit, so that they can be read. @param {number} range @param {any} layer @param {number} [least] */
export function kernelText(range, layer, least = -2) {
  const across = layer.window[layer.window.length - 1];
  return across < 5 ? cellText(range, true, 2, least) : cellText(range, true, 1, 4);
}

/** Column about of a layer. @param {any} layer @param {string} name */
const columnOf = (layer, name) => layer.columns.find((/** @type {any} */ column) => column.name === name);

/** Name of what the activation takes. @param {any} stage */
export const beforeActivation = (stage) => (stage.columns.includes("norm") ? "norm" : "z");

/** Whether the slope of the activation is 0 at a place; null where it never is. @param {import("kl/frame").Frame} frame */
export function slopeIsZero(frame) {
  const { stage, layer, row } = frame;
  const kind = columnOf(layer, "a")?.kind;
  if (!stage?.columns.includes("a") || !CUT.has(kind)) return null;
  const before = stage.map(beforeActivation(stage), row);
  return before ? (/** @type {number} */ at) => before[at] <= 0 || (kind === "relu6" && before[at] >= 6) : null;
}

/** Caption, label and line below of a column of the forward row. @param {import("kl/frame").Frame} frame @param {string} name */
export function columnWords(frame, name) {
  const { stage, layer, row } = frame;
  const column = columnOf(layer, name) ?? {};
  if (name === "z") {
    const bias = stage.bias;
    const sign = layer.isDense ? "x·W" : "x∗W";
    return { caption: [["A", "z"], ` = ${sign}${bias === null ? "" : " + b"}`], label: "z before the activation", sub: bias === null ? "no bias" : `b = ${digits(bias, 3, true)}`, op: "=" };
  }
  if (name === "norm") return { caption: [["A", "n"], " normalised"], label: "n: z normalised over the batch, scaled and shifted", sub: column.layer ?? "", op: "norm" };
  if (name === "a") {
    const source = beforeActivation(stage) === "norm" ? "n" : "z";
    const kind = column.kind ?? column.operator ?? "";
    const formula = (FORMULAS[/** @type {keyof typeof FORMULAS} */ (kind)] ?? `${kind} {}`).replaceAll("{}", source);
    const flatAt = slopeIsZero(frame);
    const values = stage.map("a", row) ?? [];
    const size = stage.showsUnits ? layer.filters : values.length;
    let cut = 0;
    for (let at = 0; flatAt && at < size; at++) if (flatAt(at)) cut += 1;
    return { caption: [["A", "a"], ` = ${formula}`], label: `a after ${OPS[/** @type {keyof typeof OPS} */ (kind)] ?? kind}`, sub: flatAt ? `${count(cut)} of ${count(size)} cut to 0` : `behind ${kind}`, op: OPS[/** @type {keyof typeof OPS} */ (kind)] ?? kind };
  }
  const isMax = /max/.test(column.operator ?? "");
  const size = column.size ? shape(column.size) : "all";
  return { caption: [["A", isMax ? "max" : "mean"], ` of ${size}`], label: `Pooled map: the ${isMax ? "largest" : "mean"} of ${size}`, sub: isMax ? "dot: the winner" : "every cell has its part", op: isMax ? "max" : "mean" };
}

export class Words {
  /** @param {any} page */
  constructor(page) {
    this.page = page;
  }

  /**
   * The two lines under the bench, with the numbers of a position.
   * @param {import("kl/frame").Frame} frame @param {import("kl/state").Selection} selection @param {number[]} at
   */
  readout(frame, selection, at) {
    const { stage, layer, row } = frame;
    const neuron = stage.neuron(row, at);
    const place = flat(at, stage.geometry.output);
    const where = volume(stage.geometry.output) > 1 ? `at (${at.join(", ")})` : layer.isDense ? `unit ${selection.kernel}` : "";
    const shown = asShown([neuron.bias], neuron.z, 4);
    const products = shown.total - shown.parts[0];
    const forward = [`${where}: products ${fixed(products, 4, true)}${neuron.hasBias ? `, bias ${fixed(neuron.bias, 4, true)}` : ""} → `, ["A", `z = ${fixed(neuron.z, 4, true)}`]];
    const isCut = slopeIsZero(frame)?.(stage.showsUnits ? stage.filter : place);
    for (const name of stage.columns.slice(1)) {
      if (name === "pool" && isCut) continue;
      if (name === "pool") forward.push(` → ${this.#pooling(frame, at, place)}`);
      else forward.push(" → ", ["A", `${name === "norm" ? "n" : name} = ${fixed(stage.value(name, row, place), 4, name === "norm")}`]);
    }
    if (isCut) forward.push(" → cut, nothing passes");
    return { forward, backward: this.#backward(frame, selection, at, place) };
  }

  /** @param {any} frame @param {number[]} at @param {number} place */
  #pooling(frame, at, place) {
    const { stage, row, layer } = frame;
    const size = layer.pool?.size ? shape(layer.pool.size) : "map";
    const pooled = stage.pooled(at);
    const winners = stage.winners(row);
    if (!pooled.length) return "in no pool, stops";
    if (!winners) return /max/.test(layer.pool?.operator ?? "") ? `the largest of its ${size} passes` : `a part of the mean of its ${size}`;
    return pooled.some((/** @type {number} */ p) => winners[p] === place) ? `largest of its ${size}, passes` : `not the largest of its ${size}, stops`;
  }

  /** @param {any} frame @param {any} selection @param {number[]} at @param {number} place */
  #backward(frame, selection, at, place) {
    const { stage, row, layer } = frame;
    if (frame.back) return [frame.back.isProbe ? "no error here: this image is watched, not trained on" : frame.back.why];
    const parts = [];
    const unit = stage.showsUnits ? stage.filter : place;
    const delta = stage.delta(row)?.[place] ?? NaN;
    const names = stage.columns;
    const above = this.fromAbove(frame, at, place);
    const joined = stage.missing[`d${stage.end}`];
    if (joined) parts.push("from the loss → ");
    else if (names.length > 1) {
      parts.push(Number.isFinite(above) ? ["E", digits(above, 3, true)] : "from above: not recorded", Number.isFinite(above) ? " from above → " : " → ");
      const winners = names.includes("pool") ? stage.winners(row) : null;
      if (winners && !stage.pooled(at).some((/** @type {number} */ p) => winners[p] === place)) return [...parts, "another position won → ", ["b", "δ = 0"], ", it teaches nothing here"];
      if (winners) parts.push("winner → ");
      const slope = this.slope(frame, unit);
      if (slope !== null) parts.push(`slope ${slope} → `);
      if (names.includes("norm")) parts.push("normalisation → ");
    }
    parts.push(["E", `δ = ${digits(delta, 3, true)}`]);
    if (delta === 0) return [...parts, ", it teaches nothing here"];
    const read = stage.reads(at, selection.weight);
    const input = read < 0 ? 0 : stage.x(row)[read];
    parts.push(", times ", ["A", `x = ${read < 0 ? "0 (padding)" : fixed(input, 4)}`], " is the term ", ["E", digits(input * delta, 3, true)]);
    return parts;
  }

  /** Error that comes from above at a position: of its pool, or of the last column. @param {any} frame @param {number[]} at @param {number} place */
  fromAbove(frame, at, place) {
    const { stage, row } = frame;
    const name = stage.end;
    const errors = stage.error(name, row);
    if (!errors) return NaN;
    if (name !== "pool") return errors[stage.showsUnits ? stage.filter : place];
    const pooled = stage.pooled(at);
    const winners = stage.winners(row);
    const own = pooled.find((/** @type {number} */ p) => winners?.[p] === place) ?? pooled[0];
    return own == null ? 0 : errors[own];
  }

  /** Slope of the activation at a unit, as text; null where there is none or it is not known. @param {any} frame @param {number} unit */
  slope(frame, unit) {
    const { stage, row } = frame;
    if (!stage.columns.includes("a")) return null;
    const flatAt = slopeIsZero(frame);
    if (flatAt) return flatAt(unit) ? "0" : "1";
    const [above, below] = [stage.error("a", row)?.[unit], stage.error(beforeActivation(stage), row)?.[unit]];
    return above && Number.isFinite(below) ? digits(below / above, 3) : null;
  }

  /** The Python call that gives a picture. @param {any} frame @param {string} name @param {"f" | "d"} row */
  python(frame, name, row) {
    const { layer, step, selection, run } = frame;
    const [path, index] = [JSON.stringify(layer.name), layer.index(selection.weight, selection.slice, selection.kernel).join(", ")];
    const cut = layer.isDense ? `[:, ${selection.kernel}]` : `[..., ${selection.slice}, ${selection.kernel}]`;
    const opened = `run = Run(${JSON.stringify(run.key)}); `;
    if (name === "w") return opened + (row === "f" ? `run.kernels(${path}, ${frame.isBefore ? step - 1 : step})${cut}` : `run.gradient(${path}, ${step})${cut}`);
    if (frame.source !== "batch") return `${opened}explain.unit(run, ${path}, filter=${selection.kernel}, step=${step})`;
    if (name === "x") return opened + (row === "f" ? `run.ledger(${path}, ${step}).x[${frame.row}]` : `explain.ledger(run, ${path}, ${step}, (${index})).by_position()`);
    if (row === "d" && name === "z") return `${opened}run.ledger(${path}, ${step}).delta[${frame.row}]`;
    return `${opened}explain.unit(run, ${path}, filter=${selection.kernel}, image=..., step=${step})`;
  }
}
