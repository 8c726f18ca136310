/** Tables and other dialogs: every picture of the page can be read as a table of the same array. */
import { h } from "kl/dom";
import { digits } from "kl/format";
import { drawn } from "kl/geometry";

const MOST_ROWS = 400;

export class Dialogs {
  /** @param {HTMLDialogElement} dialog */
  constructor(dialog) {
    this.dialog = dialog;
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
  }

  get isOpen() {
    return this.dialog.open;
  }

  /** @param {string} title @param {...any} content */
  open(title, ...content) {
    const close = h("button", { class: "btn", type: "button", onclick: () => this.dialog.close(), text: "Close" });
    this.dialog.replaceChildren(h("h2", { id: "dialog-title", text: title }), ...content, h("p", { class: "dialog-end" }, close));
    if (!this.dialog.open) this.dialog.showModal();
    close.focus();
  }

  /** More below what is open, before its end. @param {...any} content */
  add(...content) {
    this.dialog.lastElementChild?.before(...content.filter(Boolean));
  }

  /** Rows of text or numbers. @param {string} title @param {string[]} head @param {any[][]} rows @param {string} [python] */
  rows(title, head, rows, python) {
    const shown = rows.slice(0, MOST_ROWS);
    const cells = (/** @type {any[]} */ row) =>
      row.map((cell, at) => h(at ? "td" : "th", { scope: at ? null : "row", text: typeof cell === "number" ? digits(cell, 5, false) : cell ?? "–" }));
    const table = h(
      "table",
      {},
      h("caption", { class: "vh", text: title }),
      h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col", text: name })))),
      h("tbody", {}, shown.map((row) => h("tr", {}, cells(row)))),
    );
    const more = rows.length > shown.length ? `The first ${shown.length} of ${rows.length} rows. ` : "";
    this.open(title, h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "table" }, table), this.#note(more, python));
  }

  /** A map. @param {string} title @param {ArrayLike<number>} values @param {number[]} sizes @param {string} [python] @param {((at: number) => string) | null} [note] of a cell */
  map(title, values, sizes, python, note) {
    const [rows, columns] = drawn(sizes);
    const cell = (/** @type {number} */ at) =>
      h("td", { text: Number.isFinite(values[at]) ? digits(values[at], 4, true) + (note?.(at) ?? "") : "not recorded" });
    const index = (/** @type {number} */ size) => Array.from({ length: size }, (_, i) => i);
    const table = h(
      "table",
      {},
      h("caption", { class: "vh", text: title }),
      h("thead", {}, h("tr", {}, h("td"), index(columns).map((q) => h("th", { scope: "col", text: q })))),
      h("tbody", {}, index(rows).map((p) => h("tr", {}, h("th", { scope: "row", text: p }), index(columns).map((q) => cell(p * columns + q))))),
    );
    this.open(
      title,
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "table" }, table),
      this.#note("Rows and columns are counted from 0, as in the Python arrays. ", python),
    );
  }

  /** @param {string} words @param {string} [python] */
  #note(words, python) {
    return h("p", { class: "note" }, words, python ? h("span", {}, "In Python: ", h("code", { text: python })) : null);
  }
}
