/** What the kernels are: the closest classical filter beside what chance gives, frequencies, the dead, the twins. */
import { attribute, attributes, children, h, rich, show, text } from "kl/dom";
import { count, digits, fixed, largest } from "kl/format";
import { paint, Thumbnail } from "kl/tile";
import { weightBlock } from "kl/frame";

export class FamiliesView {
  /** @param {any} page */
  constructor(page) {
    this.page = page;
    this.title = h("h2");
    this.words = h("p", { class: "formula" });
    this.missing = h("div", { class: "empty", hidden: true });
    this.body = h("tbody");
    const heads = [["", "kernel"], ["words", "closest filter"], ["", "likeness"], ["", "by chance"], ["", "p"], ["words", "frequencies"], ["", "size"], ["words", "remarks"]];
    this.table = h("table", {}, h("caption", { class: "vh", text: "Kernels and the classical filters they are like" }), h("thead", {}, h("tr", {}, heads.map(([kind, name]) => h("th", { scope: "col", class: kind || null, text: name })))), this.body);
    this.scroll = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Families of kernels" }, this.table);
    this.element = h("div", { class: "families" }, h("div", { class: "hd" }, this.title), this.words, this.missing, this.scroll);
  }

  /** @param {any} frame */
  render(frame) {
    const { layer, selection, step } = frame;
    text(this.title, `What the kernels of ${layer.name} are like, at step ${count(step)}`);
    const path = `runs/${encodeURIComponent(frame.run.key)}/families`;
    const found = this.page.later(path, { layer: layer.name, step }, () => this.page.frame.selection.view === "families" && this.render(this.page.frame));
    const isHere = Boolean(found?.filters);
    show(this.scroll, isHere);
    show(this.words, isHere);
    show(this.missing, !isHere);
    if (!isHere) {
      if (found === undefined) {
        /** @type {any} */ (this.missing)._offer = null;
        return text(this.missing, "Comparing the kernels with classical filters, and with chance.");
      }
      return this.page.offer(this.missing, found.missing ?? { why: found.refused?.message ?? "Not recorded." }, true);
    }
    this.#summary(found);
    this.#rows(frame, found, selection);
  }

  /** @param {any} found */
  #summary(found) {
    const dead = found.filters.filter((/** @type {any} */ one) => one.is_dead).length;
    const twins = found.filters.filter((/** @type {any} */ one) => one.duplicate_of != null).length;
    const low = found.filters.filter((/** @type {any} */ one) => one.p != null && one.p < 0.05).length;
    const chance = found.expected_by_chance ?? {};
    rich(this.words, [["b", count(low)], ` of ${count(found.filters.length)} kernels are closer to a classical filter than 95 % of random ones (chance gives ${fixed(chance["p_below_0.05"], 1)}); `, ["b", count(dead)], " dead, ", ["b", count(twins)], ` repeat another; the most alike of random kernels have a cosine of ${digits(chance.largest_cosine, 2)}. Effective rank ${fixed(found.effective_rank, 1)} of ${count(found.rank)}${found.filters.every((/** @type {any} */ one) => one.is_redundant) ? ", so that each kernel is a sum of others" : ""}.`]);
  }

  /** @param {any} frame @param {any} found @param {any} selection */
  #rows(frame, found, selection) {
    const { layer } = frame;
    const block = weightBlock(frame);
    const range = block ? largest(...Array.from({ length: layer.filters }, (_, f) => layer.cut(block.data, selection.slice, f))) : 1;
    const response = found.response;
    const all = found.filters.every((/** @type {any} */ one) => one.is_redundant);
    const order = selection.order === "number" ? found.filters : [...found.filters].sort((/** @type {any} */ a, /** @type {any} */ b) => (b.similarity ?? 0) - (a.similarity ?? 0));
    children(this.body, order, () => this.#row(), (row, one) => {
      row._filter = one.filter;
      attribute(row, "aria-selected", String(one.filter === selection.kernel));
      const { thumb, number, best, likeness, chance, p, frequency, size, remarks } = row._parts;
      if (block) thumb.show(layer.cut(block.data, selection.slice, one.filter), layer.window, range, "w", this.page.colours);
      text(number, `kernel ${one.filter}`);
      const settings = Object.entries(one.settings ?? {}).map(([name, value]) => `${name} ${typeof value === "number" ? digits(value, 3) : value}`).join(", ");
      text(best, one.best ? `${one.best.replaceAll("_", " ")}${settings ? ` (${settings})` : ""}` : "–");
      text(likeness, fixed(one.similarity, 2));
      text(chance, fixed(one.chance, 2));
      text(p, digits(one.p, 2));
      this.#frequency(frequency, response, one.filter);
      text(size, digits(one.norm, 3));
      const told = [one.is_dead ? "dead" : "", one.duplicate_of != null ? `like kernel ${one.duplicate_of}` : one.cosine > 0.9 && one.nearest != null ? `near kernel ${one.nearest} (${fixed(one.cosine, 2)})` : "", one.is_redundant && !all ? "a sum of others" : ""];
      text(remarks, told.filter(Boolean).join(", "));
    });
  }

  #row() {
    const thumb = new Thumbnail();
    const cell = (/** @type {string | null} */ kind = null) => h("td", { class: kind });
    const button = h("button", { type: "button" });
    const parts = { thumb, number: button, best: cell("words"), likeness: cell(), chance: cell(), p: cell(), frequency: h("canvas", { role: "img", "aria-label": "frequency response" }), size: cell(), remarks: cell("words") };
    const row = h("tr", { class: "pick" }, h("th", { scope: "row" }, thumb.canvas, " ", button), parts.best, parts.likeness, parts.chance, parts.p, h("td", { class: "words" }, parts.frequency), parts.size, parts.remarks);
    row._parts = parts;
    row.addEventListener("click", () => this.page.choose({ kernel: row._filter }));
    return row;
  }

  /** Frequencies that a kernel lets through, the lowest in the middle. @param {any} canvas @param {any} response @param {number} filter */
  #frequency(canvas, response, filter) {
    const values = response?.filters?.[filter];
    if (!values) return;
    const { size } = response;
    const rows = values.length === size * size ? size : values.length % size === 0 && values.length > size ? size : 1;
    const columns = Math.floor(values.length / rows);
    if (canvas.width !== columns || canvas.height !== rows) attributes(canvas, { width: columns, height: rows });
    paint(canvas.getContext("2d"), 0, 0, values, [rows, columns], largest(values), "a", this.page.colours);
    attribute(canvas, "aria-label", `frequency response of kernel ${filter}, largest ${digits(largest(values), 3)}`);
  }
}
