/**
 * Everything that one selection needs, fetched together, so that the page changes in one go and no view ever
 * shows a number of another step. Answers that fail or are not recorded come as what they are, beside the others.
 */
import { has, nearest, settled } from "kl/data";
import { Stage } from "kl/stage";
import { clamped, flat, unflat, volume } from "kl/geometry";

/** From so many numbers in a batch of a layer on, the page asks for one filter and one channel only. */
const LARGE = 400_000;
/** From so many numbers on, a film is asked for one filter. */
const LARGE_FILM = 60_000;
export const FILM = 40;

/**
 * @typedef {object} Frame
 * @property {import("kl/state").Selection} selection @property {import("kl/run").Run} run
 * @property {import("kl/layer").Layer} layer @property {number} step
 * @property {"batch" | "probe" | "own"} source what is shown: without a ledger a batch gives way to the probe images
 * @property {Stage | null} stage @property {number} row
 * @property {import("kl/data").Missing | null} gap why there is no forward pass
 * @property {import("kl/data").Missing | null} back why no error comes back; null where it does
 * @property {any} weights @property {any} network @property {any} film @property {any} trace @property {any} update
 * @property {any} pictures of the batch, in the first layer
 * @property {boolean} isBefore whether weights are those before the step
 */

/** @param {import("kl/layer").Layer} layer @param {number} rows */
export function isLarge(layer, rows) {
  return volume(layer.about.output_shape ?? [1]) * rows > LARGE;
}

/** @param {any} page @param {import("kl/state").Selection} selection @returns {Promise<Frame>} */
export async function assemble(page, selection) {
  const { data, run } = page;
  const layer = run.layer(selection.layer);
  const path = `runs/${encodeURIComponent(run.key)}`;
  const { step } = selection;
  const isBatch = selection.source === "batch" && run.hasLedger(layer, step);
  const source = isBatch ? "batch" : selection.source === "own" && page.picture ? "own" : "probe";
  const ask = (/** @type {string} */ name, /** @type {any} */ values) => settled(data.get(`${path}/${name}`, values));
  const index = layer.index(selection.weight, selection.slice, selection.kernel).join(",");
  const film = layer.size > LARGE_FILM && !layer.isTransposed && !layer.isDepthwise ? filterOf(layer, selection) : {};
  const [answer, weights, filmAnswer, trace, update, pictures, scalars] = await Promise.all([
    stageAnswer(page, selection, layer, source, ask),
    ask("weights", { layer: layer.name, step }),
    ask("film", { layer: layer.name, count: FILM, ...film }),
    ask("trace", { layer: layer.name, index }),
    step > 0 ? updateOf(page, layer, step, index, ask) : Promise.resolve({ missing: { why: "Step 0 is the start: nothing was updated yet.", before: null, after: nearest(layer.gradients, 1), nearest: null } }),
    isBatch ? picturesOf(page, layer, step, ask) : Promise.resolve(null),
    ask("scalars", {}),
  ]);
  const stage = answer && !answer.refused && answer.blocks?.z ? new Stage(answer, layer, selection.kernel, selection.slice) : null;
  const frame = /** @type {any} */ ({
    selection, run, layer, step, source, stage, weights, trace, update, pictures, scalars, film: filmAnswer,
    isBefore: isBatch && !answer?.refused,
    gap: stage ? null : gapOf(answer, layer, step, run),
    back: null,
  });
  frame.row = stage ? rowOf(frame, selection) : -1;
  frame.back = backGap(frame, answer);
  frame.network = await network(frame, ask, page);
  return frame;
}

/** @param {any} layer @param {any} selection */
const filterOf = (layer, selection) => ({ filter: selection.kernel, channel: layer.isDense ? null : selection.slice });

/** @param {any} page @param {any} selection @param {any} layer @param {string} source @param {any} ask */
function stageAnswer(page, selection, layer, source, ask) {
  const isExport = page.data.source.kind === "export";
  const rows = source === "batch" ? 64 : page.run.probes;
  const isPlain = !layer.isDense && !layer.isDepthwise && !layer.isTransposed && (layer.about.operator?.groups ?? 1) === 1;
  const cut = !isExport && isPlain && isLarge(layer, rows) ? filterOf(layer, selection) : {};
  const values = { layer: layer.name, step: selection.step, ...cut };
  if (source === "batch") return ask("batch", values);
  if (source === "own") return ask("probe", { ...values, picture: page.picture.id });
  return page.run.probes ? ask("probe", values) : null;
}

/** The update of one weight: by itself from the server, out of that of the whole layer from a file. @param {any} page @param {any} layer @param {number} step @param {string} index @param {any} ask */
async function updateOf(page, layer, step, index, ask) {
  if (page.data.source.kind !== "export") return ask("update", { layer: layer.name, step, index });
  const whole = await ask("updates", { layer: layer.name, step });
  if (!whole.blocks?.before) return whole.refused ? { missing: { ...around(layer.ledgers, step), why: "This file holds no update of this step." } } : whole;
  const at = flat(index.split(",").map(Number), layer.shape);
  const value = (/** @type {string} */ name) => whole.blocks[name].data[at];
  const { optimizer, learning_rate, words } = whole.header;
  const parts = Object.keys(words).map((name) => ({ name, words: words[name], value: value(`part:${name}`) }));
  return { optimizer, learning_rate, before: value("before"), after: value("after"), update: value("after") - value("before"), parts };
}

/** Pictures that the network got: the input of the first layer with a kernel that reads an image. */
async function picturesOf(/** @type {any} */ page, /** @type {any} */ layer, /** @type {number} */ step, /** @type {any} */ ask) {
  const first = page.run.open.find((/** @type {any} */ one) => page.run.hasLedger(one, step)) ?? layer;
  if (page.data.source.kind === "export") return ask("batch", { layer: first.name, step });
  return ask("batch", { layer: first.name, step, only: "x" });
}

/** @param {any} frame @param {any} ask @param {any} page */
async function network(frame, ask, page) {
  if (frame.row < 0) return null;
  if (frame.source === "batch") return ask("network", { step: frame.step, row: frame.row });
  if (frame.source === "own") return ask("network", { step: frame.step, picture: page.picture.id });
  return ask("network", { step: frame.step, probe: frame.row });
}

/** @param {Frame} frame @param {any} selection */
function rowOf(frame, selection) {
  const { stage, source } = frame;
  if (!stage) return -1;
  if (source === "own") return 0;
  if (source === "probe") return Math.max(0, Math.min(stage.rows - 1, selection.probe));
  const row = selection.image >= 0 ? stage.rowOf(selection.image) : -1;
  return row >= 0 ? row : stage.ranked(selection.weight)[0] ?? 0;
}

/** @param {any} answer @param {any} layer @param {number} step @param {any} run */
function gapOf(answer, layer, step, run) {
  if (answer?.refused) return { ...around(layer.ledgers, step), why: answer.refused.message, isBroken: answer.refused.status === 422 };
  const found = answer?.missing?.z ?? answer?.missing?.x ?? answer?.missing?.["*"] ?? (typeof answer?.missing?.why === "string" ? answer.missing : null);
  if (found) return found;
  if (!run.probes) return { ...around(layer.ledgers, step), why: `No ledger at step ${step}, and the run holds no probe images.` };
  return { ...around(layer.ledgers, step), why: "This layer's maps are not recorded at this step." };
}

/** @param {ArrayLike<number>} steps @param {number} step */
export function around(steps, step) {
  let [before, after] = [/** @type {number | null} */ (null), /** @type {number | null} */ (null)];
  for (let i = 0; i < steps.length; i++) {
    if (steps[i] < step) before = steps[i];
    else if (steps[i] > step) {
      after = steps[i];
      break;
    }
  }
  return { before, after, nearest: nearest(steps, step) };
}

/** Why the lower row is empty. @param {any} frame @param {any} answer */
function backGap(frame, answer) {
  const { stage, layer, step, source } = frame;
  if (stage?.hasErrors) return null;
  const near = around(layer.ledgers, step);
  if (source === "batch") {
    if (answer?.refused) return { ...near, why: answer.refused.message, isBroken: answer.refused.status === 422 };
    const told = answer?.missing?.dz ?? answer?.missing?.["*"];
    return { ...near, ...(told ?? {}), why: told?.why ?? "No error came back to this layer." };
  }
  if (has(layer.ledgers, step)) return { ...near, nearest: step, why: source === "own" ? "Your picture is watched, not trained on: no error comes back." : "A probe image is watched, not trained on: no error comes back.", isProbe: true };
  if (!layer.ledgers.length) return { ...near, why: layer.about.trainable === false ? "The layer is frozen: no gradient is formed, and none recorded." : "This run recorded no ledger of this layer." };
  return { ...near, why: `No ledger at step ${step.toLocaleString("en")}: the run recorded ${layer.ledgers.length} of them.` };
}

/** Position that is looked at: the chosen one, or where the weight's largest term is. @param {Frame} frame @param {import("kl/state").Selection} selection @returns {number[]} */
export function positionOf(frame, selection) {
  const { stage } = frame;
  if (!stage) return selection.at;
  const sizes = stage.geometry.output;
  if (selection.at.length === sizes.length) return clamped(selection.at, sizes);
  if (selection.at.length && selection.at.length !== sizes.length) return unflat(Math.min(volume(sizes) - 1, flat(selection.at, sizes)), sizes);
  return stage.strongest(selection.weight, frame.row);
}

/** Kernel slice that is shown: before the step where its ledger is, else after it. @param {Frame} frame @param {number} [slice] @param {number} [filter] */
export function kernelOf(frame, slice = frame.selection.slice, filter = frame.selection.kernel) {
  const block = weightBlock(frame);
  return block ? frame.layer.cut(block.data, slice, filter) : null;
}

/** The whole kernel that is shown. @param {Frame} frame */
export function weightBlock(frame) {
  const blocks = frame.weights?.blocks;
  if (!blocks) return null;
  const name = frame.layer.weight;
  return (frame.isBefore ? blocks[`${name}:before`] ?? (frame.stage?.isCut ? null : frame.stage?.answer.blocks.kernel) : null) ?? blocks[name] ?? null;
}
