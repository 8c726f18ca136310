/** A selection that can be shown: what is not there gives way to the nearest that is. */
import { clamped, flat, unflat } from "kl/geometry";
import { positionOf } from "kl/frame";

/**
 * @param {any} page @param {import("kl/state").Selection} wanted @param {Set<string>} changed since the last one
 * @param {Set<string>} given by name in what was asked for
 * @returns {import("kl/state").Selection}
 */
export function mended(page, wanted, changed, given) {
  const { run } = page;
  if (!run) return wanted;
  const found = { ...wanted, run: run.key };
  const layer = layerOf(run, found);
  if (!layer) return found;
  found.layer = layer.name;
  const stops = run.stops(layer);
  if (found.step < 0) found.step = layer.ledgers.length ? layer.ledgers[layer.ledgers.length - 1] : stops[stops.length - 1] ?? 0;
  found.step = Math.min(found.step, Math.max(run.last, 0));
  found.kernel = Math.max(0, Math.min(layer.filters - 1, found.kernel));
  found.slice = Math.max(0, Math.min(layer.slices - 1, found.slice));
  const middle = layer.window.map((/** @type {number} */ size) => size >> 1);
  found.weight = found.weight.length === layer.window.length ? clamped(found.weight, layer.window) : middle;
  if (flat(found.weight, layer.window) >= layer.taps) found.weight = unflat(layer.taps - 1, layer.window);
  keepImage(page, found, changed, given);
  page.kernelOf.set(layer.name, found.kernel);
  return found;
}

/** The layer that is wanted, or else the one that the run opens with, at its weight. @param {any} run @param {any} found */
function layerOf(run, found) {
  const wanted = run.layer(found.layer);
  if (wanted?.isOpen) return wanted;
  const opening = run.about.opening ?? {};
  const layer = run.layer(opening.layer);
  if (!layer?.isOpen) return run.open[0] ?? null;
  if (opening.index) {
    const place = layer.placeOf(opening.index);
    if (!found.kernel) found.kernel = place.filter;
    if (!found.slice) found.slice = place.slice;
    if (!found.weight.length) found.weight = place.weight;
  }
  if (found.step < 0 && opening.step != null) found.step = opening.step;
  return layer;
}

/** Another step has other images; another weight keeps the image and the position that are looked at. @param {any} page @param {any} found @param {Set<string>} changed @param {Set<string>} given */
function keepImage(page, found, changed, given) {
  const { frame } = page;
  if (!frame) return;
  const isOther = changed.has("step") || changed.has("layer") || changed.has("run");
  if (isOther && !given.has("image")) found.image = -1;
  if (changed.has("layer") && !given.has("at")) found.at = [];
  if (isOther || !frame.stage || !["kernel", "slice", "weight"].some((name) => changed.has(name))) return;
  if (frame.source === "batch" && found.image < 0 && !given.has("image") && frame.stage.images.length) found.image = Number(frame.stage.images[frame.row]);
  if (!found.at.length && !given.has("at") && !frame.layer.isDense) found.at = positionOf(frame, page.state.pinned);
}
