/** Images below the bench: those of the batch by what they gave to the chosen weight, or the probe images. */
import { attribute, attributes, children, choose, h, rich, roving, s, show, text } from "kl/dom";
import { count, digits, largest, sum } from "kl/format";
import { folded } from "kl/layer";
import { pictureOf } from "kl/net";
import { Thumbnail } from "kl/tile";

/** So many images are drawn; a table has them all. */
const MOST = 40;

export class ImagesView {
  /** @param {any} page */
  constructor(page) {
    this.page = page;
    this.title = h("h2");
    const button = (/** @type {string} */ words, /** @type {() => void} */ does) => h("button", { type: "button", onclick: does, text: words });
    this.one = button("this image", () => page.choose({ scope: "image" }));
    this.all = button("all", () => page.choose({ scope: "batch" }));
    this.batch = button("batch", () => page.choose({ source: "batch" }));
    this.probe = button("probe", () => page.choose({ source: "probe" }));
    this.own = button("own", () => page.openPicture());
    this.sep = h("span", { class: "sep" });
    this.tableButton = h("button", { class: "tbl", type: "button", title: "table", "aria-label": "Table of contributions", text: "▦", onclick: () => this.#table() });
    const seg = h("div", { class: "seg", role: "group", "aria-label": "Images" }, this.one, this.all, this.sep, this.batch, this.probe, this.own, this.tableButton);
    this.strip = h("div", { class: "strip", role: "listbox", "aria-label": "Images" });
    roving(this.strip, () => this.strip.children.length);
    this.note = h("p", { class: "note" });
    this.element = h("div", { class: "imgs" }, h("div", { class: "hd" }, this.title, seg), this.strip, this.note);
    /** @type {any} */ this.frame = null;
  }

  /** @param {import("kl/frame").Frame} frame */
  render(frame) {
    this.frame = frame;
    const { stage, selection, run, layer } = frame;
    const isBatch = frame.source === "batch" && Boolean(stage?.hasErrors);
    const hasLedger = run.hasLedger(layer, frame.step);
    for (const one of [this.one, this.all, this.sep, this.tableButton]) show(one, isBatch);
    show(this.batch, hasLedger);
    show(this.probe, run.probes > 0);
    show(this.own, Boolean(this.page.data.source.post));
    attribute(this.one, "aria-pressed", String(selection.scope === "image"));
    attribute(this.all, "aria-pressed", String(selection.scope === "batch"));
    attribute(this.batch, "aria-pressed", String(frame.source === "batch"));
    attribute(this.probe, "aria-pressed", String(frame.source === "probe"));
    attribute(this.own, "aria-pressed", String(frame.source === "own"));
    if (!stage) {
      rich(this.title, ["Images"]);
      this.strip.replaceChildren();
      text(this.note, "");
      return;
    }
    text(this.all, `all ${stage.rows}`);
    if (isBatch) this.#batch(frame);
    else this.#probes(frame);
  }

  /** @param {import("kl/frame").Frame} frame */
  #batch(frame) {
    const { stage, selection, layer } = frame;
    const shares = stage.byImage(selection.weight);
    const total = sum(shares);
    const way = total === 0 ? ", nothing comes back" : total > 0 ? ", pushing it down" : ", pushing it up";
    rich(this.title, ["Who moved ", ["W", layer.named(selection.weight)], ": Σ = ", ["E", digits(total, 4, true)], way]);
    const order = stage.ranked(selection.weight);
    const shown = order.slice(0, MOST);
    if (!shown.includes(frame.row)) shown.push(frame.row);
    const range = largest(shares);
    this.#fill(shown, (button, row) => {
      const label = frame.run.className(stage.labels[row] ?? -1);
      attributes(button, { "aria-label": `image ${stage.images[row]}${label ? `, class ${label}` : ""}, contributes ${digits(shares[row], 3, true)}`, title: `image ${stage.images[row]}: ${digits(shares[row], 3, true)}`, "data-share": shares[row] });
      const tall = range ? (19 * Math.abs(shares[row])) / range : 0;
      show(button._bar, true);
      attributes(button._rect, { y: shares[row] >= 0 ? 20 - tall : 20, height: Math.max(0.6, tall), fill: `var(--${shares[row] >= 0 ? "ep" : "en"})` });
      text(button._label, label);
    }, (row) => this.page.choose({ image: stage.images[row], source: "batch" }), shown.indexOf(frame.row));
    const left = order.length - shown.length;
    const bn = stage.columns.includes("norm") ? "With batch normalisation a share is what enters at this image's positions. " : "";
    text(this.note, bn + (left > 0 ? `${count(left)} smaller ones are in the table.` : ""));
  }

  /** @param {import("kl/frame").Frame} frame */
  #probes(frame) {
    const { stage } = frame;
    const isOwn = frame.source === "own";
    rich(this.title, [isOwn ? "Your own picture, through the model of this step" : frame.source === "batch" ? "Images of the batch" : "Probe images, the same at every step"]);
    const rows = Array.from({ length: stage.rows }, (_, row) => row);
    this.#fill(rows, (button, row) => {
      const label = frame.run.className(stage.labels[row] ?? -1);
      const who = isOwn ? "your picture" : this.page.nameOf(frame, row);
      attributes(button, { "aria-label": `${who}${label ? `, class ${label}` : ""}`, title: who, "data-share": null });
      show(button._bar, false);
      text(button._label, label);
    }, (row) => this.page.choose(frame.source === "batch" ? { image: stage.images[row] } : isOwn ? {} : { probe: row, source: "probe" }), frame.row);
    text(this.note, isOwn ? this.page.picture?.note ?? "" : "");
  }

  /** @param {number[]} rows @param {(button: any, row: number) => void} update @param {(row: number) => void} pick @param {number} chosen */
  #fill(rows, update, pick, chosen) {
    this.pick = pick;
    children(this.strip, rows, () => this.#button(), (button, row) => {
      button._row = row;
      const picture = pictureOf(this.frame, row);
      if (picture) showPicture(button._thumb, picture, this.page.colours);
      else button._thumb.show(this.frame.stage.x(row), this.frame.stage.geometry.input, largest(this.frame.stage.x(row)), "a", this.page.colours);
      update(button, row);
    });
    choose(this.strip, chosen);
  }

  #button() {
    const thumb = new Thumbnail();
    const rect = s("rect", { x: 5, width: 10 });
    const bar = s("svg", { viewBox: "0 0 20 40", "aria-hidden": "true", preserveAspectRatio: "none" }, s("path", { d: "M0 20h20", stroke: "var(--ink3)", "stroke-width": 0.6 }), rect);
    const label = h("span");
    const button = h("button", { type: "button", role: "option", onclick: () => this.pick?.(button._row) }, bar, thumb.canvas, label);
    Object.assign(button, { _thumb: thumb, _bar: bar, _rect: rect, _label: label });
    return button;
  }

  #table() {
    const { stage, selection, layer, step, run } = this.frame;
    const shares = stage.byImage(selection.weight);
    const rows = stage.ranked(selection.weight).map((/** @type {number} */ row) => [`image ${stage.images[row]}`, run.className(stage.labels[row] ?? -1), shares[row]]);
    const index = layer.index(selection.weight, selection.slice, selection.kernel).join(", ");
    this.page.dialogs.rows(`What each image gave to ${layer.named(selection.weight)} at step ${count(step)}`, ["image", "class", "Σ of its terms"], rows, `explain.ledger(run, "${layer.name}", ${step}, (${index})).by_image()`);
  }
}

/** A picture as the network got it: a map in the colours of activations, or its own colours where it has three. @param {Thumbnail} thumb @param {{shape: number[], data: any}} picture @param {any} colours */
export function showPicture(thumb, picture, colours) {
  const channels = picture.shape.length > 1 ? picture.shape[picture.shape.length - 1] : 1;
  const sizes = picture.shape.length > 1 ? picture.shape.slice(0, -1) : picture.shape;
  if (channels !== 3 || sizes.length !== 2) {
    const values = channels === 1 ? picture.data : Float64Array.from({ length: picture.data.length / channels }, (_, at) => picture.data[at * channels]);
    return thumb.show(values, picture.shape.length > 1 ? sizes : folded(values.length), largest(values), "a", colours);
  }
  const [rows, columns] = sizes;
  thumb.canvas.width = columns;
  thumb.canvas.height = rows;
  const context = thumb.canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  let [low, high] = [Infinity, -Infinity];
  for (const value of picture.data) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const isBytes = low >= 0 && high > 8 && high <= 255;
  const [from, to] = low >= 0 && high <= 1 ? [0, 1] : isBytes ? [0, 255] : [low, high];
  for (let at = 0; at < rows * columns; at++) {
    for (let c = 0; c < 3; c++) image.data[4 * at + c] = (255 * (picture.data[3 * at + c] - from)) / (to - from || 1);
    image.data[4 * at + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}
