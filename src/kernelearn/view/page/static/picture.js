/** Your own picture: drop a file or draw one, and see it go forward through the model of the step. */
import { h, text } from "kl/dom";
import { settled } from "kl/data";

const MOST = 8_000_000;

/** @param {any} page */
export function openPicture(page) {
  const shape = page.run.about.input_shape ?? [28, 28, 1];
  const [rows, columns, channels] = shape.length >= 3 ? shape : shape.length === 2 ? [shape[0], shape[1], 1] : [1, shape[0], 1];
  const told = h("p", { class: "note", role: "status" });
  const drawing = new Drawing(rows, columns);
  const path = `runs/${encodeURIComponent(page.run.key)}/picture`;
  const send = async (/** @type {any} */ body, /** @type {string} */ type) => {
    text(told, "Sending.");
    const answer = await settled(page.data.source.post(path, body, type));
    if (answer.refused) return text(told, answer.refused.message);
    page.picture = { id: answer.picture, note: answer.note ?? "" };
    page.dialogs.dialog.close();
    page.choose({ source: "probe" });
    page.choose({ source: "own", at: [] });
  };
  const take = (/** @type {File | undefined} */ file) => {
    if (!file) return;
    if (file.size > MOST) return text(told, `The file has ${Math.ceil(file.size / 1e6)} MB; 8 are the most.`);
    void send(file, file.type || "application/octet-stream");
  };
  const input = h("input", { type: "file", accept: "image/*", "aria-label": "Image file" });
  input.addEventListener("change", () => take(input.files?.[0]));
  const use = h("button", { class: "btn pri", type: "button", text: "Use the drawing", onclick: () => void send({ pixels: drawing.pixels(channels, page.run.about.input_range) }, "application/json") });
  const clear = h("button", { class: "btn", type: "button", text: "Clear", onclick: () => drawing.clear() });
  const box = h("div", { class: "drop" }, h("p", { text: "Drop an image file here, choose one, or draw with the pointer." }), input, drawing.canvas, h("div", {}, use, " ", clear), told);
  for (const kind of ["dragover", "dragenter"]) {
    box.addEventListener(kind, (/** @type {Event} */ event) => {
      event.preventDefault();
      box.classList.add("over");
    });
  }
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    box.classList.remove("over");
    take(event.dataTransfer?.files[0]);
  });
  page.dialogs.open("Your own picture", box);
}

/** A small canvas to draw on, as many cells as the network's input has. */
class Drawing {
  /** @param {number} rows @param {number} columns */
  constructor(rows, columns) {
    this.rows = rows;
    this.columns = columns;
    this.values = new Float64Array(rows * columns);
    this.canvas = h("canvas", { width: columns, height: rows, role: "img", "aria-label": `A field of ${rows} by ${columns} cells to draw on with the pointer` });
    let isDown = false;
    this.canvas.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
      isDown = true;
      this.canvas.setPointerCapture(event.pointerId);
      this.#dab(event);
    });
    this.canvas.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => isDown && this.#dab(event));
    for (const kind of ["pointerup", "pointercancel"]) this.canvas.addEventListener(kind, () => (isDown = false));
    this.#paint();
  }

  /** Ink about a point: full in its middle, less beside it. @param {PointerEvent} event */
  #dab(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * this.columns;
    const y = ((event.clientY - box.top) / box.height) * this.rows;
    const reach = Math.max(0.9, Math.min(this.rows, this.columns) / 14);
    for (let row = 0; row < this.rows; row++) {
      for (let column = 0; column < this.columns; column++) {
        const far = Math.hypot(column + 0.5 - x, row + 0.5 - y) / reach;
        const at = row * this.columns + column;
        this.values[at] = Math.max(this.values[at], Math.max(0, Math.min(1, 1.6 - far)));
      }
    }
    this.#paint();
  }

  clear() {
    this.values.fill(0);
    this.#paint();
  }

  /** Pixels as the network takes them: rows of columns, with channels behind. @param {number} channels @param {number[]} [range] */
  pixels(channels, range = [0, 1]) {
    const scaled = (/** @type {number} */ v) => range[0] + v * (range[1] - range[0]);
    return Array.from({ length: this.rows }, (_, row) => Array.from({ length: this.columns }, (_, column) => new Array(channels).fill(scaled(this.values[row * this.columns + column]))));
  }

  #paint() {
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(this.columns, this.rows);
    this.values.forEach((value, at) => image.data.set([255 * value, 255 * value, 255 * value, 255], 4 * at));
    context.putImageData(image, 0, 0);
  }
}
