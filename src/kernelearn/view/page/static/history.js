/** The whole way of one weight: from its start to its end, in parts that add up, and which classes pushed it. */
import { asShown, count, decimalsOf, digits, fixed } from "kl/format";
import { h } from "kl/dom";
import { settled } from "kl/data";

/** @param {any} page */
export async function openHistory(page) {
  const { layer, selection, run } = page.frame;
  const name = layer.named(selection.weight);
  const index = layer.index(selection.weight, selection.slice, selection.kernel);
  const title = `How ${name} of kernel ${selection.kernel} came to be`;
  page.dialogs.open(title, h("p", { text: "All its updates are being added up." }));
  const found = await settled(page.data.get(`runs/${encodeURIComponent(run.key)}/history`, { layer: layer.name, index: index.join(",") }));
  if (found.refused || found.missing || !found.parts) return page.dialogs.open(title, h("p", { text: found.refused?.message ?? found.missing?.why ?? "It is not recorded." }));
  const python = `explain.history(run, ${JSON.stringify(layer.name)}, (${index.join(", ")}))`;
  page.dialogs.rows(title, ["part", "value"], rowsOf(found), python);
  page.dialogs.add(classesOf(found, run), handsOf(found));
}

/** Start, parts, rounding and end, which add up as they are shown. @param {any} found */
function rowsOf(found) {
  const values = found.parts.map((/** @type {any} */ part) => part.value);
  const decimals = decimalsOf([...values, found.start, found.end], 5, 4, 9);
  const scale = 10 ** decimals;
  const [start, end] = [Math.round(found.start * scale) / scale, Math.round(found.end * scale) / scale];
  const shown = asShown(values, end - start, decimals);
  return [
    [`before step ${count(found.first)}`, fixed(start, decimals, true)],
    ...found.parts.map((/** @type {any} */ part, /** @type {number} */ at) => [part.words ?? part.name, fixed(shown.parts[at], decimals, true)]),
    ["rounding", fixed(shown.rest, decimals, true)],
    [`after step ${count(found.last)}`, fixed(end, decimals, true)],
  ];
}

/** @param {any} found @param {any} run */
function classesOf(found, run) {
  const classes = (found.by_class ?? []).slice(0, 6);
  if (!classes.length) return null;
  const words = classes.map((/** @type {any} */ one) => `${run.className(one.label)} ${digits(one.value, 3, true)}`).join(", ");
  return h("p", { class: "note", text: `Of the change in the steps with a ledger, ${digits(found.covered_change, 3, true)}, images of each class: ${words}.` });
}

/** @param {any} found */
function handsOf(found) {
  const hands = found.by_hand ?? [];
  return hands.length ? h("p", { class: "note", text: `By hand: ${hands.map((/** @type {any} */ one) => `step ${count(one.step)}`).join(", ")}.` }) : null;
}
