/**
 * Guided tours on the reader's own run. Prose and page advance together: a step sets the selection, a phrase
 * lights the tiles that it speaks of, and the reader stays free to touch everything.
 */
import { attribute, h, text } from "kl/dom";
import { count } from "kl/format";
import { settled, upTo } from "kl/data";
import { slopeIsZero } from "kl/words";
import { volume } from "kl/geometry";

/** Name in a lesson -> selector of what lights up, and the family of its colour. @type {Record<string, [string, string]>} */
const MARKS = {
  x: ["[data-tile=x]", "A"], w: ["[data-tile=w]", "W"], z: ["[data-tile=z]", "A"], n: ["[data-tile=norm]", "A"], a: ["[data-tile=a]", "A"], pool: ["[data-tile=pool]", "A"],
  terms: ["[data-tile=terms]", "E"], gradient: ["[data-tile=gradient]", "E"], "d-z": ["[data-tile=d-z]", "E"], "d-n": ["[data-tile=d-norm]", "E"], "d-a": ["[data-tile=d-a]", "E"], "d-pool": ["[data-tile=d-pool]", "E"],
  above: [".tile.down.last", "E"], neuron: [".neuronbox", "A"], update: [".why", "W"], images: [".imgs", "E"], film: ["#plot", "W"], network: ["#net", "A"], dense: [".densebox", "W"], families: [".families", "W"], compare: [".compare", "W"],
};

export class Lessons {
  /** @param {any} page */
  constructor(page) {
    this.page = page;
    this.choice = h("select", { "aria-label": "Lesson" });
    this.choice.addEventListener("change", () => this.go(Number(this.choice.value), 0));
    this.list = h("ol");
    this.back = h("button", { class: "btn", type: "button", text: "Back", onclick: () => this.before() });
    this.place = h("span", { class: "note" });
    this.on = h("button", { class: "btn pri", type: "button", onclick: () => this.next() });
    this.close = h("button", { class: "btn", type: "button", text: "Close", onclick: () => this.toggle() });
    this.problem = h("p", { class: "note", role: "status" });
    this.element = h("div", { class: "lessonbox", hidden: true }, h("div", { class: "hd" }, this.choice, this.close), this.problem, this.list, h("div", { class: "lnav" }, this.back, this.place, this.on));
    /** @type {any[]} */ this.all = [];
    /** @type {Map<string, any>} */ this.known = new Map();
    this.made = "";
  }

  /** Lesson and step that the selection names. */
  get at() {
    const [lesson, step] = this.page.state.pinned.lesson.split(".").map(Number);
    return { lesson: (lesson || 1) - 1, step: (step || 1) - 1 };
  }

  /** Open the lesson that the address names. */
  restore() {
    if (this.page.state.pinned.lesson) void this.go(this.at.lesson, this.at.step, true);
  }

  toggle() {
    if (this.page.state.pinned.lesson) {
      this.#dark();
      this.page.choose({ lesson: "" });
      this.page.find("v-lessons").focus();
    } else void this.go(0, 0);
  }

  next() {
    const { lesson, step } = this.at;
    const steps = this.known.get(this.all[lesson]?.name)?.steps.length ?? 0;
    if (step + 1 < steps) void this.go(lesson, step + 1);
    else if (lesson + 1 < this.all.length) void this.go(lesson + 1, 0);
    else this.toggle();
  }

  async before() {
    const { lesson, step } = this.at;
    if (step > 0) return this.go(lesson, step - 1);
    if (lesson > 0) return this.go(lesson - 1, this.all[lesson - 1].steps - 1);
  }

  /** @param {number} lesson @param {number} step @param {boolean} [isRestored] the selection is in the address already */
  async go(lesson, step, isRestored = false) {
    if (!this.all.length) {
      const found = await settled(this.page.data.get("lessons"));
      this.all = found.lessons ?? [];
      this.choice.replaceChildren(...this.all.map((one, at) => h("option", { value: at, text: `${at + 1} of ${this.all.length}: ${one.title}` })));
      text(this.problem, found.refused?.message ?? "");
    }
    const about = this.all[Math.max(0, Math.min(this.all.length - 1, lesson))];
    if (!about) return;
    const content = this.known.get(about.name) ?? (await settled(this.page.data.get(`lessons/${encodeURIComponent(about.name)}`)));
    if (content.refused || !content.steps) {
      text(this.problem, content.refused?.message ?? about.problem ?? "This lesson cannot be read.");
      this.page.choose({ lesson: `${lesson + 1}.1` });
      return;
    }
    text(this.problem, "");
    this.known.set(about.name, content);
    const at = Math.max(0, Math.min(content.steps.length - 1, step));
    const values = { ...(isRestored ? {} : this.#selection(content.steps[at].settings)), lesson: `${lesson + 1}.${at + 1}` };
    this.made = "";
    this.page.choose(values);
    await this.page.settled;
    if (/** @type {any} */ (values).weight?.length === 0) await this.page.liveliest();
    if (this.page.frame) this.render(this.page.frame);
    if (!isRestored) this.page.say(this.list.querySelector("[aria-current]")?.textContent ?? "");
    this.#light();
  }

  /** What a step of a lesson says of the selection, in the words of the address and some that fit any run. @param {Record<string, string>} settings */
  #selection(settings) {
    const { run } = this.page;
    /** @type {any} */ const found = {};
    const open = run.open;
    const name = settings.layer;
    const convolutions = open.filter((/** @type {any} */ one) => !one.isDense);
    const places = /** @type {any} */ ({ first: open[0], second: convolutions[1] ?? open[0], last: open[open.length - 1], deep: convolutions[convolutions.length - 1] ?? open[0] });
    const layer = places[name] ?? run.layer(name) ?? this.page.frame.layer;
    if (layer.name !== this.page.state.pinned.layer) Object.assign(found, { layer: layer.name, kernel: 0, slice: 0, weight: [], at: [] });
    const opening = run.about.opening ?? {};
    if (name && layer.name === opening.layer && opening.index && found.layer) {
      const place = layer.placeOf(opening.index);
      Object.assign(found, { kernel: place.filter, slice: place.slice, weight: place.weight });
    }
    if (settings.step) found.step = this.#step(settings.step, layer, opening);
    for (const [key, values] of Object.entries({ view: ["bench", "dense", "families", "compare"], rows: ["both", "forward", "backward"], scope: ["image", "batch"], tab: ["value", "error"], source: ["batch", "probe"] })) {
      if (values.includes(settings[key])) found[key] = settings[key];
    }
    if (settings.order) found.order = settings.order;
    if (found.source === "batch") found.image = -1;
    return found;
  }

  /** @param {string} word @param {any} layer @param {any} opening */
  #step(word, layer, opening) {
    const stops = this.page.run.stops(layer);
    const { ledgers } = layer;
    if (word === "first") return stops[0];
    if (word === "last") return stops[stops.length - 1];
    if (word === "opening") return opening.step != null && Array.from(ledgers).includes(opening.step) ? opening.step : ledgers[Math.floor(ledgers.length / 4)] ?? stops[stops.length - 1];
    if (word === "ledger") return ledgers[Math.floor(ledgers.length / 3)] ?? stops[stops.length - 1];
    if (word === "first ledger") return ledgers[0] ?? stops[0];
    const number = Number(word);
    return Number.isInteger(number) ? stops[Math.max(0, upTo(stops, number))] : this.page.state.pinned.step;
  }

  /** @param {any} frame */
  render(frame) {
    const { lesson, step } = this.at;
    const content = this.known.get(this.all[lesson]?.name);
    if (!content) return;
    this.choice.value = String(lesson);
    const numbers = numbersOf(frame);
    const key = JSON.stringify([lesson, step, numbers]);
    if (key === this.made) return;
    this.made = key;
    this.list.replaceChildren(...content.steps.map((/** @type {any} */ one, /** @type {number} */ at) => (at === step ? this.#open(one, numbers) : this.#closed(one, lesson, at, numbers))));
    this.list.querySelector("[aria-current]")?.scrollIntoView?.({ block: "nearest" });
    text(this.place, `${step + 1} of ${content.steps.length}`);
    const isLast = step + 1 === content.steps.length;
    this.back.disabled = !(lesson + step);
    this.on.replaceChildren(isLast ? (lesson + 1 < this.all.length ? "Next lesson" : "Close") : "Next", h("kbd", { text: "space" }));
    this.#light();
  }

  /** @param {any} one @param {any} numbers */
  #open(one, numbers) {
    const blocks = one.blocks.map((/** @type {any} */ block) => h(block.kind === "item" ? "div" : "p", { class: block.kind === "item" ? "ul" : null }, block.kind === "item" ? "– " : null, block.parts.map((/** @type {any} */ part) => this.#part(part, numbers))));
    return h("li", { "aria-current": "step" }, h("h3", { text: filled(one.title, numbers) }), blocks);
  }

  /** @param {any} part @param {any} numbers */
  #part(part, numbers) {
    const words = filled(part.text, numbers);
    const marks = (part.marks ?? []).map((/** @type {string} */ mark) => mark.toLowerCase()).filter((/** @type {string} */ mark) => MARKS[mark]);
    if (!marks.length) return words;
    const phrase = h("button", { class: `ph ${MARKS[marks[0]][1]}`, type: "button", "aria-pressed": "false", "data-marks": marks.join(" "), text: words });
    const light = (/** @type {boolean} */ isOn) => marks.forEach((/** @type {string} */ mark) => this.#glow(mark, isOn));
    const rest = () => phrase.getAttribute("aria-pressed") === "true" || light(false);
    for (const name of ["pointerenter", "focus"]) phrase.addEventListener(name, () => light(true));
    for (const name of ["pointerleave", "blur"]) phrase.addEventListener(name, rest);
    phrase.addEventListener("click", () => {
      const isOn = phrase.getAttribute("aria-pressed") !== "true";
      attribute(phrase, "aria-pressed", String(isOn));
      light(isOn);
    });
    return phrase;
  }

  /** @param {any} one @param {number} lesson @param {number} at @param {any} numbers */
  #closed(one, lesson, at, numbers) {
    const words = filled(one.title, numbers);
    return h("li", {}, h("button", { class: "other", type: "button", text: words, onclick: () => void this.go(lesson, at) }));
  }

  /** Light what the step's phrases speak of, until something else is touched. */
  #light() {
    this.#dark();
    for (const phrase of this.list.querySelectorAll(".ph")) for (const mark of (phrase.dataset.marks ?? "").split(" ")) this.#glow(mark, true);
  }

  #dark() {
    for (const one of this.page.skeleton.querySelectorAll(".glow")) one.classList.remove("glow");
  }

  /** @param {string} mark @param {boolean} isOn */
  #glow(mark, isOn) {
    for (const one of this.page.skeleton.querySelectorAll(MARKS[mark]?.[0] ?? "none")) one.classList.toggle("glow", isOn);
  }
}

/** Numbers of the reader's own run, for the prose. @param {any} frame @returns {Record<string, string>} */
function numbersOf(frame) {
  const { layer, run, stage, selection } = frame;
  const flatAt = stage ? slopeIsZero(frame) : null;
  const positions = stage ? volume(stage.geometry.output) : volume((layer.about.output_shape ?? [1]).slice(0, -1));
  let cut = 0;
  for (let at = 0; flatAt && at < positions; at++) if (flatAt(at)) cut += 1;
  return {
    layer: layer.name, kernels: count(layer.filters), taps: count(layer.taps), slices: count(layer.slices), numbers: count(layer.taps * layer.slices), window: layer.window.join(" × "),
    positions: count(positions), batch: stage ? count(stage.rows) : "the", products: stage ? count(positions * stage.rows) : "many", step: count(frame.step), last: count(run.last), weights: count(layer.size), cut: count(cut), weight: layer.named(selection.weight), kernel: String(selection.kernel),
    dense: count(volume(layer.about.operator && stage ? stage.geometry.input : [1]) * positions), parameters: count(run.about.parameters ?? 0),
    pool: layer.pool?.size ? layer.pool.size.join(" × ") : "map", activation: layer.columns.find((/** @type {any} */ column) => column.name === "a")?.kind ?? "activation",
  };
}

/** @param {string} words @param {Record<string, string>} numbers */
const filled = (words, numbers) => words.replace(/\{(\w+)\}/g, (whole, name) => numbers[name] ?? whole);
