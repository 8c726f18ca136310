/**
 * One selection for the whole page, and its address. What is chosen (run, layer, kernel, slice, weight, step,
 * image, position) and what is shown (view, directions, scope, tab, lesson) stand in the URL behind "#"; a
 * passing selection under the pointer lies over it and leaves no trace.
 */

/**
 * @typedef {object} Selection
 * @property {string} run @property {string} layer
 * @property {number} kernel @property {number} slice @property {number[]} weight place in the kernel's window
 * @property {number} step
 * @property {"batch" | "probe" | "own"} source where the image is from
 * @property {number} image number of an image of the batch in the data; -1: the one that moved the weight most
 * @property {number} probe row among the probe images
 * @property {number[]} at position in the map
 * @property {string} view @property {"both" | "forward" | "backward"} rows
 * @property {"image" | "batch"} scope @property {"value" | "error"} tab
 * @property {string} order of the kernels @property {number} since step to compare with; -1: the first
 * @property {string} curve of the run, in grey
 * @property {string[]} with other runs @property {string} lesson @property {boolean} signs
 */

const text = { parse: (/** @type {string} */ v) => v, write: (/** @type {any} */ v) => String(v) };
const whole = { parse: (/** @type {string} */ v) => (/^-?\d+$/.test(v) ? Number(v) : undefined), write: String };
const places = {
  parse: (/** @type {string} */ v) => (/^\d+(,\d+)*$/.test(v) ? v.split(",").map(Number) : undefined),
  write: (/** @type {number[]} */ v) => v.join(","),
};
const names = {
  parse: (/** @type {string} */ v) => v.split(",").map(decodeURIComponent).filter(Boolean),
  write: (/** @type {string[]} */ v) => v.map(encodeURIComponent).join(","),
};
const flag = { parse: (/** @type {string} */ v) => v === "1", write: (/** @type {boolean} */ v) => (v ? "1" : "0") };
/** @param {...string} allowed */
const one = (...allowed) => ({ parse: (/** @type {string} */ v) => (allowed.includes(v) ? v : undefined), write: String });

export const VIEWS = ["bench", "dense", "families", "compare"];

/** Name in the address -> how it is read and written, and the value that is left out. @type {Record<string, any>} */
const FIELDS = {
  run: { ...text, usual: "" },
  layer: { ...text, usual: "" },
  kernel: { ...whole, usual: 0 },
  slice: { ...whole, usual: 0 },
  weight: { ...places, usual: [] },
  step: { ...whole, usual: -1 },
  source: { ...one("batch", "probe", "own"), usual: "batch" },
  image: { ...whole, usual: -1 },
  probe: { ...whole, usual: 0 },
  at: { ...places, usual: [] },
  view: { ...one(...VIEWS), usual: "bench" },
  rows: { ...one("both", "forward", "backward"), usual: "both" },
  scope: { ...one("image", "batch"), usual: "image" },
  tab: { ...one("value", "error"), usual: "value" },
  order: { ...text, usual: "number" },
  since: { ...whole, usual: -1 },
  curve: { ...text, usual: "loss" },
  with: { ...names, usual: [] },
  lesson: { ...text, usual: "" },
  signs: { ...flag, usual: false },
};

/** @returns {Selection} */
export function usual() {
  return /** @type {any} */ (Object.fromEntries(Object.entries(FIELDS).map(([name, field]) => [name, structuredClone(field.usual)])));
}

const same = (/** @type {any} */ a, /** @type {any} */ b) => JSON.stringify(a) === JSON.stringify(b);

/** The address of a selection, without "#". @param {Selection} selection */
export function addressOf(selection) {
  const parts = [];
  for (const [name, field] of Object.entries(FIELDS)) {
    const value = /** @type {any} */ (selection)[name];
    if (!same(value, field.usual)) parts.push(`${name}=${encodeURIComponent(field.write(value)).replaceAll("%2C", ",").replaceAll("%2F", "/")}`);
  }
  return parts.join("&");
}

/** What an address says; what it does not understand is left out. @param {string} hash @returns {Partial<Selection>} */
export function selectionOf(hash) {
  /** @type {any} */ const found = {};
  for (const [name, value] of new URLSearchParams(hash.replace(/^#/, ""))) {
    const parsed = FIELDS[name]?.parse(value);
    if (parsed !== undefined) found[name] = parsed;
  }
  return found;
}

/** @typedef {(selection: Selection, changed: Set<string>, isPassing: boolean) => void} Listener */

/** The selection, those who follow it, and its address. */
export class State {
  /** @param {{read: () => string, write: (address: string) => void}} address where it is kept */
  constructor(address) {
    this.address = address;
    this.pinned = { ...usual(), ...selectionOf(address.read()) };
    /** @type {Partial<Selection>} */ this.passing = {};
    /** @type {Listener[]} */ this.listeners = [];
    /** @type {(selection: Selection, changed: Set<string>, given: Set<string>) => Selection} */ this.mend = (selection) => selection;
  }

  /** What is shown: the pinned selection under what the pointer says. @returns {Selection} */
  get now() {
    return { ...this.pinned, ...this.passing };
  }

  /** Choose. @param {Partial<Selection>} values */
  set(values) {
    const before = this.now;
    const wanted = { ...this.pinned, ...values };
    const other = new Set(Object.keys(wanted).filter((name) => !same(/** @type {any} */ (wanted)[name], /** @type {any} */ (this.pinned)[name])));
    this.passing = {};
    this.pinned = this.mend(wanted, other, new Set(Object.keys(values)));
    this.address.write(addressOf(this.pinned));
    this.#tell(before, false);
  }

  /** Choose for the time being; {} goes back. @param {Partial<Selection>} values */
  pass(values) {
    if (same(values, this.passing)) return;
    const before = this.now;
    this.passing = values;
    this.#tell(before, true);
  }

  /** Take what the address says now, as after "back". */
  reread() {
    this.set({ ...usual(), run: this.pinned.run, layer: this.pinned.layer, step: this.pinned.step, ...selectionOf(this.address.read()) });
  }

  /** @param {Selection} before @param {boolean} isPassing */
  #tell(before, isPassing) {
    const now = this.now;
    const changed = new Set(Object.keys(now).filter((name) => !same(/** @type {any} */ (now)[name], /** @type {any} */ (before)[name])));
    if (changed.size) for (const listener of this.listeners) listener(now, changed, isPassing);
  }
}
