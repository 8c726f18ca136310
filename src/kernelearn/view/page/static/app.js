/**
 * The page: holds the selection, fetches what it needs in one go, and tells the views. Everything a view may do
 * goes through here.
 */
import { State } from "kl/state";
import { assemble, kernelOf, positionOf } from "kl/frame";
import { attribute, h, rich, show, text } from "kl/dom";
import { BenchView } from "kl/bench";
import { clamped, flat, unflat } from "kl/geometry";
import { Colours } from "kl/scale";
import { CompareView } from "kl/compare";
import { count, digits, percent } from "kl/format";
import { address, Data, nearest, has, settled } from "kl/data";
import { DenseView } from "kl/dense";
import { Dialogs } from "kl/table";
import { FamiliesView } from "kl/families";
import { ImagesView } from "kl/images";
import { KernelsView } from "kl/kernels";
import { Lessons } from "kl/lessons";
import { Live } from "kl/live";
import { listen as listenToKeys, listOfKeys } from "kl/keys";
import { NetView } from "kl/net";
import { NeuronView } from "kl/neuron";
import { openHints } from "kl/hints";
import { openPicture } from "kl/picture";
import { play as playSound } from "kl/sound";
import { Run } from "kl/run";
import { scalar, TimeView, traceOf } from "kl/time";
import { skeleton } from "kl/layout";
import { takenApart } from "kl/above";
import { WaterfallView } from "kl/waterfall";
import { Words } from "kl/words";

const SLOW = 160;

export class App {
  /** @param {HTMLElement} root @param {{source: import("kl/data").Source, address: any, isInside?: boolean}} how */
  constructor(root, { source, address, isInside = false }) {
    this.root = root;
    this.isInside = isInside;
    this.data = new Data(source);
    this.state = new State(address);
    this.state.mend = (wanted, changed, given) => this.#mend(wanted, changed, given);
    this.state.listeners.push((selection, changed, isPassing) => this.#changed(selection, changed, isPassing));
    /** @type {any} */ this.run = null;
    /** @type {any} */ this.frame = null;
    /** @type {any} */ this.picture = null;
    /** @type {any[]} */ this.events = [];
    /** @type {Map<string, number>} */ this.kernelOf = new Map();
    this.settled = Promise.resolve();
    this.turn = 0;
    this.timings = { step: [], hover: [] };
  }

  /** @param {string} id @returns {any} */
  find(id) {
    return this.skeleton.querySelector(`#${id}`);
  }

  // --- beginning

  async start() {
    const about = await this.data.get("runs");
    this.about = about;
    if (!about.runs.length) throw new Error("There is no run to show.");
    const wanted = about.runs.find((/** @type {any} */ run) => run.key === this.state.pinned.run) ?? about.runs[0];
    await this.#open(wanted.key);
    this.#build();
    this.#theme();
    this.state.set({ run: wanted.key });
    this.#changed(this.state.now, new Set(["run"]), false);
    await this.settled;
    this.live.start();
    this.lessons.restore();
    void this.#hints();
  }

  /** @param {string} key */
  async #open(key) {
    this.run = new Run(await this.data.get(`runs/${encodeURIComponent(key)}`));
    const { events } = await this.data.get(`runs/${encodeURIComponent(key)}/events`, { since: 0 }).catch(() => ({ events: [] }));
    this.events = events;
  }

  #build() {
    this.skeleton = skeleton();
    this.root.replaceChildren(this.skeleton);
    this.root.classList.add("kl");
    if (this.isInside) this.root.classList.add("is-inside");
    this.dialogs = new Dialogs(this.find("dialog"));
    this.words = new Words(this);
    this.net = new NetView(this, this.find("net"));
    this.kernels = new KernelsView(this);
    this.bench = new BenchView(this);
    this.dense = new DenseView(this);
    this.families = new FamiliesView(this);
    this.compare = new CompareView(this);
    this.images = new ImagesView(this);
    this.neuron = new NeuronView(this);
    this.waterfall = new WaterfallView(this);
    this.time = new TimeView(this, (id) => this.find(id));
    this.lessons = new Lessons(this);
    this.live = new Live(this);
    this.find("left").append(...this.kernels.elements, this.lessons.element);
    this.banner = h("div", { class: "empty", hidden: true });
    this.find("centre").append(this.banner, this.bench.element, this.dense.element, this.families.element, this.compare.element, this.images.element);
    this.find("right").append(this.neuron.element, this.waterfall.element);
    this.#tools();
    listenToKeys(this);
    new ResizeObserver(() => this.frame && this.#draw(this.frame)).observe(this.find("plot"));
    addEventListener("resize", () => this.frame && this.time.render(this.frame));
    this.#names();
  }

  #tools() {
    for (const view of ["bench", "dense", "families", "compare"]) this.find(`v-${view}`).addEventListener("click", () => this.choose({ view }));
    this.find("v-lessons").addEventListener("click", () => this.lessons.toggle());
    this.find("v-hints").addEventListener("click", () => openHints(this));
    this.find("v-theme").addEventListener("click", () => this.#otherTheme());
    this.find("v-keys").addEventListener("click", () => listOfKeys(this));
    this.find("skip").addEventListener("click", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.find("centre").focus();
    });
    for (const [id, does] of /** @type {[string, () => void][]} */ ([
      ["c-first", () => this.time.moveLedger(-1)], ["c-back", () => this.step(-1)], ["c-play", () => this.time.toggle()], ["c-on", () => this.step(1)], ["c-last", () => this.time.moveLedger(1)],
    ])) this.find(id).addEventListener("click", does);
  }

  /** Names of the runs: plain text for one, a choice of several. */
  #names() {
    const { runs } = this.about;
    const place = this.find("run-name");
    if (runs.length < 2) return text(place, this.run.name);
    const select = h("select", { "aria-label": "Run" }, runs.map((/** @type {any} */ run) => h("option", { value: run.key, text: run.name, disabled: run.status === "broken" })));
    select.value = this.run.key;
    select.addEventListener("change", () => this.enterRun(select.value));
    place.replaceChildren(select);
  }

  /** @param {string} key */
  async enterRun(key) {
    await this.#open(key);
    this.#names();
    this.live.start();
    this.state.set({ run: key, step: -1, image: -1, at: [] });
    void this.#hints();
  }

  // --- colours

  #theme() {
    const read = getComputedStyle(this.skeleton);
    this.colours = new Colours((name) => read.getPropertyValue(name));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#recolour());
  }

  #host() {
    const base = this.root.getRootNode();
    return base instanceof ShadowRoot ? /** @type {HTMLElement} */ (base.host) : document.documentElement;
  }

  #recolour() {
    const read = getComputedStyle(this.skeleton);
    this.colours = new Colours((name) => read.getPropertyValue(name));
    if (this.frame) this.#draw(this.frame);
  }

  #otherTheme() {
    const host = this.#host();
    const isDark = host.dataset.theme ? host.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    host.dataset.theme = isDark ? "light" : "dark";
    this.#recolour();
  }

  /** Height that there is for the page. */
  height() {
    return this.isInside ? 720 : innerHeight;
  }

  // --- choosing

  /** @param {any} values */
  choose(values) {
    if (Object.keys(values).length) this.state.set(values);
  }

  /** @param {any} values */
  hover(values) {
    if (this.time.playing && Object.keys(values).length) this.time.toggle(false);
    this.state.pass(values);
  }

  /** To a step. @param {number} step @param {any} [values] @param {boolean} [isPlaying] */
  go(step, values = {}, isPlaying = false) {
    if (!isPlaying) this.time.toggle(false);
    if (!isPlaying) this.live.leave();
    this.state.set({ step, ...values });
  }

  /** @param {number} way */
  step(way) {
    this.time.move(way);
  }

  /** Into a layer: at its own kernel, at a step that it has. @param {string} name */
  enter(name) {
    const layer = this.run.layer(name);
    const { step } = this.state.pinned;
    const isThere = has(layer.steps, step);
    const wanted = isThere ? step : nearest(layer.ledgers.length ? layer.ledgers : layer.steps, step) ?? step;
    this.state.set({ layer: name, step: wanted, kernel: this.kernelOf.get(name) ?? 0, slice: 0, weight: [], at: [], image: -1 });
    void this.liveliest();
  }

  /** Of a dense layer whose weight nobody chose, the one with the largest gradient: the middle one may read nothing. */
  async liveliest() {
    await this.settled;
    const { layer, stage } = this.frame;
    const gradient = layer.isDense && stage?.hasErrors ? stage.kernel("gradient") : null;
    if (!gradient) return;
    let best = 0;
    for (let tap = 1; tap < layer.taps; tap++) if (Math.abs(gradient[tap]) > Math.abs(gradient[best])) best = tap;
    this.chooseTap(best);
    await this.settled;
  }

  /** @param {number} tap */
  chooseTap(tap) {
    this.choose({ weight: unflat(tap, this.frame.layer.window) });
  }

  /** A selection that can be shown: what is not there gives way to the nearest that is. */
  #mend(/** @type {any} */ wanted, /** @type {Set<string>} */ changed, /** @type {Set<string>} */ given) {
    const { run } = this;
    if (!run) return wanted;
    const opening = run.about.opening ?? {};
    const found = { ...wanted, run: run.key };
    let layer = run.layer(found.layer);
    if (!layer?.isOpen) {
      layer = run.layer(opening.layer);
      if (!layer?.isOpen) layer = run.open[0];
      if (!layer) return found;
      found.layer = layer.name;
      if (layer.name === opening.layer && opening.index) {
        const place = layer.placeOf(opening.index);
        Object.assign(found, found.kernel ? {} : { kernel: place.filter }, found.slice ? {} : { slice: place.slice }, found.weight.length ? {} : { weight: place.weight });
      }
      if (found.step < 0 && opening.step != null && layer.name === opening.layer) found.step = opening.step;
    }
    const stops = run.stops(layer);
    if (found.step < 0) found.step = layer.ledgers.length ? layer.ledgers[layer.ledgers.length - 1] : stops[stops.length - 1] ?? 0;
    found.step = Math.min(found.step, Math.max(run.last, 0));
    found.kernel = Math.max(0, Math.min(layer.filters - 1, found.kernel));
    found.slice = Math.max(0, Math.min(layer.slices - 1, found.slice));
    const middle = layer.window.map((size) => size >> 1);
    found.weight = found.weight.length === layer.window.length ? clamped(found.weight, layer.window) : middle;
    if (flat(found.weight, layer.window) >= layer.taps) found.weight = unflat(layer.taps - 1, layer.window);
    this.#keepImage(found, changed, given);
    this.kernelOf.set(layer.name, found.kernel);
    return found;
  }

  /** Another step has other images; another weight keeps the image and the position that are looked at. */
  #keepImage(/** @type {any} */ found, /** @type {Set<string>} */ changed, /** @type {Set<string>} */ given) {
    const { frame } = this;
    if (!frame) return;
    const isOther = changed.has("step") || changed.has("layer") || changed.has("run");
    if (isOther && !given.has("image")) found.image = -1;
    if (changed.has("layer") && !given.has("at")) found.at = [];
    if (isOther || !frame.stage || !["kernel", "slice", "weight"].some((name) => changed.has(name))) return;
    if (frame.source === "batch" && found.image < 0 && !given.has("image") && frame.stage.images.length) found.image = Number(frame.stage.images[frame.row]);
    if (!found.at.length && !given.has("at") && !frame.layer.isDense) found.at = positionOf(frame, this.state.pinned);
  }

  // --- showing

  /** @param {any} selection @param {Set<string>} changed @param {boolean} isPassing */
  #changed(selection, changed, isPassing) {
    if (!this.run || !this.skeleton) return;
    if (isPassing || ["at"].some((name) => changed.size === 1 && changed.has(name))) {
      if (!this.frame) return;
      const begun = performance.now();
      if (!isPassing) this.frame.selection = this.state.pinned;
      this.#mark(selection);
      this.timings.hover.push(performance.now() - begun);
      if (this.timings.hover.length > 500) this.timings.hover.shift();
      return;
    }
    this.settled = this.#show(this.state.pinned);
  }

  /** @param {any} selection */
  async #show(selection) {
    if (!this.run.layer(selection.layer)) return this.#nothing();
    const turn = ++this.turn;
    const begun = performance.now();
    const waiting = setTimeout(() => attribute(this.skeleton, "aria-busy", "true"), SLOW);
    const frame = await assemble(this, selection);
    clearTimeout(waiting);
    if (turn !== this.turn) return;
    attribute(this.skeleton, "aria-busy", null);
    this.frame = frame;
    const drawn = performance.now();
    this.#draw(frame);
    this.timings.step.push([performance.now() - begun, performance.now() - drawn]);
    if (this.timings.step.length > 500) this.timings.step.shift();
  }

  /** Show the same selection again, from what is known now. */
  redraw() {
    return this.#show(this.state.pinned);
  }

  /** Say again how the run stands. */
  refreshFacts() {
    if (this.frame) this.#facts(this.frame);
  }

  #nothing() {
    show(this.banner, true);
    text(this.banner, "This run recorded no layer with a kernel: there is nothing to put under the microscope.");
  }

  /** @param {any} frame */
  #draw(frame) {
    const { selection } = frame;
    this.#facts(frame);
    for (const view of ["bench", "dense", "families", "compare"]) {
      attribute(this.find(`v-${view}`), "aria-pressed", String(selection.view === view));
      show(/** @type {any} */ (this)[view].element, selection.view === view);
    }
    const isLesson = Boolean(selection.lesson);
    attribute(this.find("v-lessons"), "aria-pressed", String(isLesson));
    this.skeleton.classList.toggle("lesson", isLesson);
    for (const element of this.kernels.elements) show(element, !isLesson);
    show(this.lessons.element, isLesson);
    show(this.images.element, ["bench", "dense"].includes(selection.view));
    this.net.render(frame);
    if (isLesson) this.lessons.render(frame);
    else this.kernels.render(frame);
    /** @type {any} */ (this)[selection.view].render(frame);
    if (["bench", "dense"].includes(selection.view)) this.images.render(frame);
    this.neuron.render(frame, this.state.now);
    this.waterfall.render(frame);
    this.time.render(frame);
    this.live.render(frame);
    attribute(this.skeleton, "data-step", frame.step);
  }

  /** @param {any} selection */
  #mark(selection) {
    const { frame } = this;
    if (selection.view === "bench") this.bench.mark(frame, selection);
    if (selection.view === "dense") this.dense.mark(frame, selection);
    this.neuron.render(frame, selection);
  }

  /** @param {any} frame */
  #facts(frame) {
    const { about } = this.run;
    const facts = this.find("facts");
    const parts = [];
    if (about.status === "recording") parts.push(["live", "training"], this.live.isFollowing ? ", the page follows" : "");
    else parts.push(about.status);
    if (about.parameters) parts.push(` · ${count(about.parameters)} weights`);
    const accuracy = ["val_accuracy", "test_accuracy"].map((name) => scalar(frame, name)).find(Boolean);
    if (accuracy?.values.length && !this.about.holds) parts.push(` · validation ${percent(accuracy.values[accuracy.values.length - 1])}`);
    if (this.about.holds) parts.push(` · ${this.about.holds}`);
    const problems = about.problems ?? [];
    const key = JSON.stringify([parts, problems.length, this.live.trouble]);
    if (this.told === key) return;
    this.told = key;
    attribute(facts, "title", this.about.holds ?? null);
    facts.replaceChildren(...parts.map((part) => (Array.isArray(part) ? h("span", { class: part[0], text: part[1] }) : part)));
    if (this.live.trouble) facts.append(" · ", h("span", { class: "alert", role: "alert", text: this.live.trouble }));
    if (problems.length) {
      const open = () => this.dialogs.open("What is damaged in this run", h("ul", { class: "plain" }, problems.map((/** @type {string} */ line) => h("li", { text: line }))), h("p", { class: "note", text: "Damaged records are left out; the rest of the page is sound." }));
      facts.append(" · ", h("button", { class: "alert lnk", type: "button", onclick: open, text: `${count(problems.length)} damaged record${problems.length > 1 ? "s" : ""}` }));
    }
  }

  /** Ranges of the colours. @param {{w: number, a: number, e: number | null}} ranges */
  legend({ w, a, e }) {
    for (const [name, range] of /** @type {[string, number | null][]} */ ([["w", w], ["a", a], ["e", e]])) text(this.find(`legend-${name}`), range === null ? "no" : `± ${digits(range, 2)}`);
  }

  /**
   * In the place of what is not there: why, and the nearest step that has it.
   * @param {HTMLElement} element @param {any} missing @param {boolean} isBox
   */
  offer(element, missing, isBox) {
    const key = JSON.stringify([missing, this.state.pinned.step]);
    if (/** @type {any} */ (element)._offer === key) return;
    /** @type {any} */ (element)._offer = key;
    const to = (/** @type {number} */ step, /** @type {string} */ words) => h("button", { class: "lnk", type: "button", onclick: () => this.go(step, { source: "batch" }), text: words });
    attribute(element, "role", missing.isBroken ? "alert" : null);
    const steps = [];
    if (missing.isProbe) steps.push(h("button", { class: "lnk", type: "button", onclick: () => this.choose({ source: "batch" }), text: "Choose an image of the batch" }));
    else {
      if (missing.before != null) steps.push(to(missing.before, `← step ${count(missing.before)}`));
      if (missing.after != null) steps.push(to(missing.after, `step ${count(missing.after)} →`));
      if (!steps.length && missing.nearest != null) steps.push(to(missing.nearest, `step ${count(missing.nearest)}`));
    }
    element.replaceChildren(missing.isBroken ? h("b", { text: missing.why }) : missing.why, isBox ? h("br") : " ", ...steps.flatMap((one, at) => (at ? [" · ", one] : [one])));
  }

  /** What an image is called. @param {any} frame @param {number} row */
  nameOf(frame, row) {
    if (frame.source === "own") return "your picture";
    const image = frame.stage?.images[row];
    // Images that were given as they are, and not out of the data, have no number there.
    return frame.source === "batch" ? `image ${image}` : `probe ${image == null || image < 0 ? row : image}`;
  }

  /** Say something to screen readers. @param {string} words */
  say(words) {
    const place = this.find("say");
    place.textContent = words === place.textContent ? `${words} ` : words;
  }

  /** Say what is under the selection now. */
  sayHere() {
    void this.settled.then(() => this.say(this.frame?.stage ? `Step ${this.frame.step}. ${this.bench.spoken}` : `Step ${this.frame?.step}. ${this.frame?.gap?.why ?? ""}`));
  }

  // --- what only some views need

  /** The error of a unit, taken apart; undefined while it is asked for. @param {any} frame @param {number[]} at */
  pathOf(frame, at) {
    const { layer, step, row } = frame;
    const isUnits = frame.stage.showsUnits || layer.isDense;
    const values = { layer: layer.name, step, row, filter: frame.selection.kernel, ...(isUnits ? {} : { at: at.join(",") }) };
    if (this.data.source.kind === "export") return this.#apart(frame, at);
    return this.later(`runs/${encodeURIComponent(this.run.key)}/path`, values, () => this.neuron.render(this.frame, this.state.now));
  }

  /** The same out of what a file holds. @param {any} frame @param {number[]} at */
  #apart(frame, at) {
    const key = JSON.stringify([frame.layer.name, frame.step, frame.row, frame.selection.kernel, at]);
    if (this.apart?.key === key) return this.apart.found;
    this.apart = { key, found: undefined };
    void takenApart(this.data, frame, at).then((found) => {
      if (this.apart.key !== key) return;
      this.apart.found = found;
      this.neuron.render(this.frame, this.state.now);
    });
    return undefined;
  }

  /** An answer that may come later: undefined until then, when something is drawn anew. @param {string} path @param {any} values @param {() => void} then */
  later(path, values, then) {
    const known = this.data.peek(path, values) ?? this.failed?.get(address(path, values));
    if (known !== undefined) return known;
    this.failed ??= new Map();
    void settled(this.data.get(path, values)).then((value) => {
      if (value?.refused) this.failed?.set(address(path, values), value);
      if (this.failed && this.failed.size > 300) this.failed.clear();
      then();
    });
    return undefined;
  }

  /** Families of the kernels of the layer; null until they are known. @param {any} frame */
  familiesOf(frame) {
    const found = this.later(`runs/${encodeURIComponent(this.run.key)}/families`, { layer: frame.layer.name, step: frame.step }, () => this.#draw(this.frame));
    return found?.filters ? found : null;
  }

  /** The chosen weight in the other run. @param {any} frame */
  otherTrace(frame) {
    const [key] = frame.selection.with;
    if (!key || key === this.run.key) return null;
    const index = frame.layer.index(frame.selection.weight, frame.selection.slice, frame.selection.kernel).join(",");
    const found = this.later(`runs/${encodeURIComponent(key)}/trace`, { layer: frame.layer.name, index }, () => this.time.render(this.frame));
    const name = this.about.runs.find((/** @type {any} */ run) => run.key === key)?.name ?? key;
    return found?.blocks?.values ? { steps: found.blocks.steps.data, values: found.blocks.values.data, name } : null;
  }

  /** Fetch what the next steps need, before they are shown. @param {ArrayLike<number>} steps @param {number} at */
  prefetch(steps, at) {
    if (this.data.source.kind !== "server") return;
    for (let i = at + 1; i < Math.min(steps.length, at + 4); i++) void assemble(this, { ...this.state.pinned, step: steps[i], image: -1 }).catch(() => null);
  }

  openPicture() {
    openPicture(this);
  }

  playSound() {
    const { frame } = this;
    const loss = scalar(frame, this.state.pinned.curve) ?? scalar(frame, "loss");
    const logarithm = loss && { steps: loss.steps, values: Float64Array.from(loss.values, (v) => Math.log(Math.max(1e-12, v))) };
    const isPlaying = playSound([logarithm ?? { steps: [], values: [] }, traceOf(frame)]);
    this.say(isPlaying ? "Left: loss. Right: the weight. From step 0 to the last." : "This browser plays no sound.");
  }

  async #hints() {
    const found = await settled(this.data.get(`runs/${encodeURIComponent(this.run.key)}/hints`));
    this.hints = found?.hints ?? [];
    this.find("v-hints").replaceChildren(this.hints.length ? `${this.hints.length} hint${this.hints.length > 1 ? "s" : ""}` : "Hints");
  }

  /** What changed on disk since: what a run says of itself, and steps that were not there. */
  async refresh() {
    const path = `runs/${encodeURIComponent(this.run.key)}`;
    const steady = /\/(batch|update|weights|probe|network|path|dense|ledger)\?/;
    const before = this.run.last;
    this.data.forget((key) => (key.startsWith(path) && !steady.test(key)) || (steady.test(key) && this.data.kept.get(key)?.value?.header?.missing && Number(/step=(\d+)/.exec(key)?.[1]) > before - 2));
    const about = await settled(this.data.get(path));
    if (about.refused) return about.refused;
    this.run = new Run(about);
    const events = await settled(this.data.get(`${path}/events`, { since: 0 }));
    this.events = events.events ?? this.events;
    return null;
  }

  /** Wait until nothing is asked for any more. */
  async idle() {
    for (let asked = -1; asked !== this.data.asked; ) {
      asked = this.data.asked;
      await this.settled;
      await Promise.allSettled([...this.data.kept.values()].map((entry) => entry.promise));
      await new Promise((done) => setTimeout(done));
    }
  }
}

/**
 * Put the page into an element.
 * @param {HTMLElement} root @param {{source: import("kl/data").Source, address: any, isInside?: boolean}} how
 */
export async function mount(root, how) {
  const app = new App(root, how);
  try {
    await app.start();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    root.replaceChildren(h("div", { class: "boot", role: "alert" }, h("h1", { text: "This run cannot be shown" }), h("p", { text: message })));
    root.classList.add("kl");
    console.error(error);
  }
  return app;
}

export { kernelOf, rich };
