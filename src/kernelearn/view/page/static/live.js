/**
 * A run that is being trained: the page follows it, and with --control it can be paused, stepped and changed.
 * Whatever is done by hand is an event of the run, and stands on the time axis.
 */
import { attribute, h, show, text } from "kl/dom";
import { settled } from "kl/data";
import { count, digits } from "kl/format";

const PACE = 350;

export class Live {
  /** @param {any} page */
  constructor(page) {
    this.page = page;
    this.place = page.find("live");
    const button = (/** @type {string} */ words, /** @type {() => void} */ does) => h("button", { class: "btn", type: "button", onclick: does, text: words });
    this.pause = button("Pause", () => this.command({ do: this.state?.state === "paused" ? "resume" : "pause" }));
    this.one = button("One step", () => this.command({ do: "run", steps: 1 }));
    this.change = button("Change", () => this.#dialog());
    this.follow = button("Follow", () => this.again());
    this.place.append(this.pause, this.one, this.change, this.follow);
    this.isFollowing = page.run.isGrowing;
    this.trouble = "";
    /** @type {any} */ this.state = null;
    /** @type {any} */ this.stop = null;
    this.isBusy = false;
  }

  /** Listen to the run that is shown now. */
  start() {
    this.stop?.();
    this.stop = null;
    this.isFollowing = this.page.run.isGrowing;
    const { source } = this.page.data;
    if (!source.listen) return;
    const path = `runs/${encodeURIComponent(this.page.run.key)}/live`;
    let last = "";
    this.stop = source.listen(path, (kind, values) => {
      const key = JSON.stringify([kind, values]);
      if (key === last && kind === "change") return;
      const isFirst = last === "";
      last = key;
      void this.#heard(kind, values, isFirst);
    });
    void this.#ask();
  }

  /** @param {string} kind @param {any} values @param {boolean} isFirst */
  async #heard(kind, values, isFirst) {
    const { page } = this;
    if (kind === "lost") return this.#tell("the server does not answer");
    if (kind === "found") return this.#tell("");
    if (kind === "gone") return this.#tell("the run's folder is gone; what is here stays");
    if (values.status === "broken") return this.#tell(values.problem ?? "the run is broken");
    if (kind === "replaced") {
      page.data.forget(() => true);
      await page.enterRun(page.run.key);
      return;
    }
    this.#tell("");
    const isNews = values.last_step !== page.run.last || values.status !== page.run.about.status || values.events !== page.events.length;
    if (isFirst && !isNews) return;
    if (isNews) await this.#refresh();
  }

  /** Take in what is new, at most a few times a second. */
  async #refresh() {
    if (this.isBusy) return void (this.isWaiting = true);
    this.isBusy = true;
    const { page } = this;
    await page.refresh();
    await this.#ask();
    if (this.isFollowing) {
      const layer = page.run.layer(page.state.pinned.layer);
      const stops = page.run.stops(layer);
      const newest = stops[stops.length - 1];
      if (newest != null && newest !== page.state.pinned.step) page.state.set({ step: newest, image: -1 });
      else page.settled = page.redraw();
    } else page.settled = page.redraw();
    await page.settled;
    await new Promise((done) => setTimeout(done, PACE));
    this.isBusy = false;
    if (this.isWaiting) {
      this.isWaiting = false;
      void this.#refresh();
    }
  }

  async #ask() {
    const { page } = this;
    const found = page.about.control ? await settled(page.data.source.get(`runs/${encodeURIComponent(page.run.key)}/control`)) : null;
    this.state = found && !found.refused ? JSON.parse(new TextDecoder().decode(found.bytes)) : null;
    this.render();
  }

  /** @param {string} words */
  #tell(words) {
    if (this.trouble === words) return;
    this.trouble = words;
    this.page.refreshFacts();
  }

  /** Stop following, because the reader went somewhere. */
  leave() {
    if (!this.isFollowing) return;
    this.isFollowing = false;
    this.render();
  }

  again() {
    this.isFollowing = true;
    void this.#refresh();
  }

  render() {
    const isGrowing = this.page.run.isGrowing;
    const canControl = Boolean(this.state?.available);
    show(this.place, isGrowing || canControl);
    for (const one of [this.pause, this.one, this.change]) show(one, canControl);
    show(this.follow, isGrowing && !this.isFollowing);
    text(this.pause, this.state?.state === "paused" ? "Resume" : "Pause");
    attribute(this.pause, "aria-pressed", String(this.state?.state === "paused"));
  }

  /** @param {any} values */
  async command(values) {
    const { page } = this;
    const path = `runs/${encodeURIComponent(page.run.key)}/control`;
    const answer = await settled(page.data.source.post(path, values));
    if (answer.refused) {
      page.say(answer.refused.message);
      this.#tell(answer.refused.message);
      return answer;
    }
    this.#tell("");
    await this.#ask();
    setTimeout(() => void this.#ask(), 400);
    return answer;
  }

  /** What can be changed by hand. */
  #dialog() {
    const { page } = this;
    const { layer, selection, frame } = { layer: page.frame.layer, selection: page.frame.selection, frame: page.frame };
    const index = layer.index(selection.weight, selection.slice, selection.kernel);
    const told = h("p", { class: "note", role: "status" });
    const send = async (/** @type {any} */ values, /** @type {string} */ words) => {
      if (Object.values(values).some((value) => Number.isNaN(value))) return text(told, `${words}: give a number.`);
      const answer = await this.command(values);
      text(told, answer.refused ? answer.refused.message : `${words}: taken over at the next step.`);
      // What only the training can judge, it refuses a moment later.
      for (const wait of [200, 600, 1500]) {
        await new Promise((done) => setTimeout(done, wait));
        await this.#ask();
        if (this.state?.refused && this.state.refused.id === answer.id) return text(told, this.state.refused.message);
      }
    };
    const field = (/** @type {string} */ label, /** @type {any} */ value) => h("input", { "aria-label": label, value, inputmode: "decimal" });
    const rate = field("Learning rate", this.state?.learning_rate ?? "");
    const weight = field(layer.named(selection.weight), digits(valueOf(frame, index), 5).replace("−", "-"));
    const steps = field("Steps", 10);
    const isFrozen = (this.state?.frozen ?? []).includes(layer.name);
    const number = (/** @type {any} */ input) => Number(input.value.replace("−", "-"));
    const row = (/** @type {string} */ label, /** @type {any} */ input, /** @type {string} */ words, /** @type {() => void} */ does) => [h("span", { text: label }), input ?? h("span"), h("button", { class: "btn", type: "button", text: words, onclick: does })];
    page.dialogs.open("Change the training by hand", h("div", { class: "form" },
      ...row("learning rate", rate, "Set", () => send({ do: "learning_rate", value: number(rate) }, "Learning rate")),
      ...row("steps, then pause", steps, "Run", () => send({ do: "run", steps: number(steps) }, "Steps")),
      ...row(`${layer.name} is ${isFrozen ? "frozen" : "trained"}`, null, isFrozen ? "Train it" : "Freeze it", () => send({ do: isFrozen ? "unfreeze" : "freeze", layer: layer.name }, "Layer")),
      ...row(`${layer.named(selection.weight)} of kernel ${selection.kernel}`, weight, "Set", () => send({ do: "edit", layer: layer.name, weight: layer.weight, index, value: number(weight) }, "Weight")),
      ...row(`kernel ${selection.kernel}`, null, "Reset to its start", () => send({ do: "reset", layer: layer.name, filter: selection.kernel }, "Kernel"))), told,
      h("p", { class: "note", text: `Each change is recorded with its step and shows in all explanations. ${count(page.run.last)} steps so far.` }));
  }
}

/** @param {any} frame @param {number[]} index */
function valueOf(frame, index) {
  const block = frame.weights?.blocks?.[frame.layer.weight];
  return block ? block.data[index.reduce((at, i, axis) => at * frame.layer.shape[axis] + i, 0)] : 0;
}
