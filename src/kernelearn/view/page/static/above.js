/**
 * The error of one number, taken apart from what a file holds: units of the layer above times their weights. The
 * server tells it by `path`; a file has no server, but the numbers of both layers. A test compares.
 */
import { settled } from "kl/data";
import { flat, unflat, volume } from "kl/geometry";

const SHOWN = 60;

/** The layer with a kernel that reads what a layer gives; null where several do, or something stands between. @param {any} run @param {any} layer */
export function readerOf(run, layer) {
  let name = [...layer.columns].reverse().find((/** @type {any} */ column) => column.layer)?.layer ?? layer.name;
  for (let hop = 0; hop < 20; hop++) {
    const readers = run.layers.filter((/** @type {any} */ one) => (one.about.reads ?? []).includes(name));
    if (readers.length !== 1 || readers[0].about.reads.length !== 1) return null;
    const [reader] = readers;
    if (reader.isOpen) return ["conv", "dense"].includes(reader.kind) ? reader : null;
    if (!/^(Flatten|Dropout|InputLayer)/.test(reader.about.class)) return null;
    name = reader.name;
  }
  return null;
}

/**
 * What comes from above at a place of the last column, in the form of a path.
 * @param {any} data @param {any} frame @param {number[]} at position of the sum
 */
export async function takenApart(data, frame, at) {
  const { run, layer, step, row, stage, selection } = frame;
  const reader = readerOf(run, layer);
  if (!reader) return { missing: { why: "what reads this layer is no single convolution or dense layer." } };
  const answer = await settled(data.get(`runs/${encodeURIComponent(run.key)}/batch`, { layer: reader.name, step }));
  if (!answer.blocks?.dz || !answer.blocks.kernel) return answer.refused ? answer : { missing: { why: `the errors of ${reader.name} are not recorded at this step.` } };
  const sizes = stage.showsUnits ? [] : stage.sizes(stage.end);
  const place = placeAbove(stage, row, at);
  const parts = (reader.isDense ? denseParts : convolutionParts)(reader, answer.blocks, row, selection.kernel, place, sizes, layer.filters);
  parts.sort((a, b) => Math.abs(b.term) - Math.abs(a.term));
  const total = parts.reduce((sum, part) => sum + part.term, 0);
  return { hops: [{ layer: layer.name, total, parts: parts.slice(0, SHOWN), parts_in_all: parts.length, end: null }] };
}

/** @param {any} stage @param {number} row @param {number[]} at */
function placeAbove(stage, row, at) {
  if (stage.end !== "pool") return at;
  const pooled = stage.pooled(at);
  const own = flat(at, stage.geometry.output);
  const best = pooled.find((/** @type {number} */ p) => stage.winners(row)?.[p] === own) ?? pooled[0] ?? 0;
  return unflat(best, stage.sizes("pool"));
}

/** @param {any} reader @param {any} blocks @param {number} row @param {number} filter @param {number[]} place @param {number[]} sizes @param {number} filters */
function denseParts(reader, blocks, row, filter, place, sizes, filters) {
  const input = sizes.length ? flat(place, sizes) * filters + filter : filter;
  const units = reader.filters;
  return Array.from({ length: units }, (_, unit) => {
    const [error, factor] = [blocks.dz.data[row * units + unit], blocks.kernel.data[input * units + unit]];
    return { layer: reader.name, operator: "dense", index: [unit], factor, error, term: error * factor };
  });
}

/** @param {any} reader @param {any} blocks @param {number} row @param {number} filter @param {number[]} place */
function convolutionParts(reader, blocks, row, filter, place) {
  const { stride, padding, dilation, groups = 1 } = reader.about.operator;
  const output = blocks.dz.shape.slice(1, -1);
  const [filters, each] = [reader.filters, volume(output) * reader.filters];
  const slices = reader.slices;
  const found = [];
  for (let tap = 0; tap < reader.taps; tap++) {
    const weight = unflat(tap, reader.window);
    const unit = place.map((p, axis) => (p + padding[axis][0] - weight[axis] * dilation[axis]) / stride[axis]);
    if (unit.some((u, axis) => !Number.isInteger(u) || u < 0 || u >= output[axis])) continue;
    const at = flat(unit, output);
    for (let g = 0; g < filters; g++) {
      const slice = reader.isDepthwise ? (Math.floor(g / (filters / groups)) === filter ? 0 : -1) : filter - Math.floor(g / (filters / groups)) * slices;
      if (slice < 0 || slice >= slices) continue;
      const error = blocks.dz.data[row * each + at * filters + g];
      const factor = reader.cut(blocks.kernel.data, slice, g)[tap];
      found.push({ layer: reader.name, operator: "conv", index: [...unit, g], factor, error, term: error * factor });
    }
  }
  return found;
}
