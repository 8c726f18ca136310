/**
 * The page: holds the selection, fetches what it needs in one go, and tells the views. Everything a view may do
 * goes through here.
 */
import { State } from "kl/state";
import { assemble } from "kl/frame";
import { attribute, h, show, text } from "kl/dom";
import { BenchView } from "kl/bench";
import { unflat } from "kl/geometry";
import { Colours } from "kl/scale";
import { CompareView } from "kl/compare";
import { digits } from "kl/format";
import { Data, has, nearest, settled } from "kl/data";
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
import { WaterfallView } from "kl/waterfall";
import { LateAnswers } from "kl/later";
import { mended } from "kl/mend";
import { offer, showFacts } from "kl/status";
import { Words } from "kl/words";

const SLOW = 160;

export class App {
  /** @param {HTMLElement} root @param {{source: import("kl/data").Source, address: any, isInside?: boolean}} how */
  constructor(root, { source, address, isInside = false }) {
    this.root = root;
    this.isInside = isInside;
    this.data = new Data(source);
    this.state = new State(address);
    this.state.mend = (wanted, changed, given) => mended(this, wanted, changed, given);
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
    const isBare = !this.state.pinned.weight.length;
    this.state.set({ run: wanted.key });
    this.#changed(this.state.now, new Set(["run"]), false);
    await this.settled;
    if (isBare) await this.liveliest();
    this.live.start();
    this.lessons.restore();
    void this.#hints();
    attribute(this.skeleton, "data-begun", "");
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
    this.answers = new LateAnswers(this);
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
    if (!this.frame) return;
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

  /** Draw what is here again. */
  draw() {
    if (this.frame) this.#draw(this.frame);
  }

  /** Show the same selection again, from what is known now. */
  redraw() {
    return this.#show(this.state.pinned);
  }

  /** Say again how the run stands. */
  refreshFacts() {
    if (this.frame) showFacts(this, this.frame);
  }

  #nothing() {
    for (const element of this.skeleton.querySelectorAll(".centre > *, .left > *, .right > *, #time > *")) show(element, element === this.banner);
    show(this.banner, true);
    text(this.banner, "This run recorded no layer with a kernel: there is nothing to put under the microscope.");
    attribute(this.skeleton, "data-step", "");
  }

  /** @param {any} frame */
  #draw(frame) {
    const { selection } = frame;
    showFacts(this, frame);
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

  /** Ranges of the colours. @param {{w: number, a: number, e: number | null}} ranges */
  legend({ w, a, e }) {
    for (const [name, range] of /** @type {[string, number | null][]} */ ([["w", w], ["a", a], ["e", e]])) text(this.find(`legend-${name}`), range === null ? "no" : `± ${digits(range, 2)}`);
  }

  /** In the place of what is not there: why, and the nearest step that has it. @param {HTMLElement} element @param {any} missing @param {boolean} isBox */
  offer(element, missing, isBox) {
    offer(this, element, missing, isBox);
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
    return this.answers.path(frame, at);
  }

  /** An answer that may come later: undefined until then, when something is drawn anew. @param {string} path @param {any} values @param {() => void} then */
  later(path, values, then) {
    return this.answers.later(path, values, then);
  }

  /** Families of the kernels of the layer; null until they are known. @param {any} frame */
  familiesOf(frame) {
    return this.answers.families(frame);
  }

  /** The chosen weight in the other run. @param {any} frame */
  otherTrace(frame) {
    return this.answers.otherTrace(frame);
  }

  /** Fetch what steps need that are likely to be shown next. @param {number[]} steps */
  prefetch(steps) {
    if (this.data.source.kind !== "server") return;
    for (const step of steps) void assemble(this, { ...this.state.pinned, step, image: -1 }).catch(() => null);
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
