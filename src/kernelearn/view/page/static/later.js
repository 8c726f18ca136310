/** Answers that only some views need: asked for when they are first shown, and drawn when they come. */
import { address, settled } from "kl/data";
import { takenApart } from "kl/above";

/** So many failures are remembered, so that nothing is asked for again and again. */
const MOST_FAILURES = 300;

export class LateAnswers {
  /** @param {any} page */
  constructor(page) {
    this.page = page;
    /** @type {Map<string, any>} */ this.failed = new Map();
    /** @type {{key: string, found: any} | null} */ this.apart = null;
  }

  /** The answer, {refused}, or undefined until it is there. @param {string} path @param {any} values @param {() => void} then */
  later(path, values, then) {
    const { data } = this.page;
    const key = address(path, values);
    const known = data.peek(path, values) ?? this.failed.get(key);
    if (known !== undefined) return known;
    void settled(data.get(path, values)).then((value) => {
      if (this.failed.size > MOST_FAILURES) this.failed.clear();
      if (value?.refused) this.failed.set(key, value);
      then();
    });
    return undefined;
  }

  /** @param {string} [key] of another run */
  #of(key = this.page.run.key) {
    return `runs/${encodeURIComponent(key)}`;
  }

  /** The error of a unit, taken apart. @param {any} frame @param {number[]} at */
  path(frame, at) {
    const { page } = this;
    const { layer, step, row } = frame;
    const draw = () => page.neuron.render(page.frame, page.state.now);
    if (page.data.source.kind === "export") return this.#fromFile(frame, at, draw);
    const isUnits = frame.stage.showsUnits || layer.isDense;
    return this.later(`${this.#of()}/path`, { layer: layer.name, step, row, filter: frame.selection.kernel, ...(isUnits ? {} : { at: at.join(",") }) }, draw);
  }

  /** The same out of what a file holds. @param {any} frame @param {number[]} at @param {() => void} draw */
  #fromFile(frame, at, draw) {
    const key = JSON.stringify([frame.layer.name, frame.step, frame.row, frame.selection.kernel, at]);
    if (this.apart?.key === key) return this.apart.found;
    const asked = { key, found: undefined };
    this.apart = asked;
    void takenApart(this.page.data, frame, at).then((found) => {
      asked.found = found;
      if (this.apart === asked) draw();
    });
    return undefined;
  }

  /** Families of the kernels of a layer; null until they are known. @param {any} frame */
  families(frame) {
    const found = this.later(`${this.#of()}/families`, { layer: frame.layer.name, step: frame.step }, () => this.page.draw());
    return found?.filters ? found : null;
  }

  /** The chosen weight in the other run; null without one. @param {any} frame */
  otherTrace(frame) {
    const { page } = this;
    const [key] = frame.selection.with;
    if (!key || key === page.run.key) return null;
    const index = frame.layer.index(frame.selection.weight, frame.selection.slice, frame.selection.kernel).join(",");
    const found = this.later(`${this.#of(key)}/trace`, { layer: frame.layer.name, index }, () => page.time.render(page.frame));
    const name = page.about.runs.find((/** @type {any} */ run) => run.key === key)?.name ?? key;
    return found?.blocks?.values ? { steps: found.blocks.steps.data, values: found.blocks.values.data, name } : null;
  }
}
