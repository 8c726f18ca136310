/** What a run says of itself, as the page uses it: layers by name, steps as lists, names of classes. */
import { has, stepsOf } from "kl/data";
import { Layer } from "kl/layer";

const QUIET = /^(Flatten|Reshape|Dropout|SpatialDropout|Random|InputLayer|Activation|ReLU|Rescaling|Identity|GaussianNoise|Permute)/;

export class Run {
  /** @param {any} about answer of runs/{run} */
  constructor(about) {
    this.about = about;
    this.key = about.key;
    this.name = about.name;
    /** @type {Layer[]} */ this.layers = about.layers.map((/** @type {any} */ one) => new Layer(one));
    this.byName = new Map(this.layers.map((layer) => [layer.name, layer]));
    this.steps = stepsOf(about.steps?.weights);
    this.ledgers = stepsOf(about.steps?.ledgers);
    this.classes = about.class_names ?? [];
    this.last = about.last_step ?? 0;
    /** Layer that pools -> sizes of its window, as the layer below knows them. */
    this.pools = new Map(this.layers.flatMap((layer) => layer.columns.filter((one) => one.name === "pool" && one.layer).map((one) => [one.layer, one])));
    this.probes = about.probe?.count ?? 0;
  }

  /** Layers whose kernels can be looked at. */
  get open() {
    return this.layers.filter((layer) => layer.isOpen);
  }

  /** Layers that the strip shows: those that hold weights or make another size. */
  get shown() {
    return this.layers.filter((layer) => !QUIET.test(layer.about.class));
  }

  /** @param {string} name */
  layer(name) {
    return this.byName.get(name) ?? null;
  }

  /** Whether a layer reads the pictures themselves, perhaps shifted or turned. @param {Layer} layer */
  readsImage(layer) {
    let [name] = layer.about.reads ?? [];
    for (let hop = 0; name && hop < 50; hop++) {
      const below = this.layer(name);
      if (!below) return true;
      if (below.weight || below.about.parameters || !QUIET.test(below.about.class)) return false;
      [name] = below.about.reads ?? [];
    }
    return true;
  }

  /** @param {number} label */
  className(label) {
    return label < 0 ? "" : this.classes[label] ?? String(label);
  }

  /** Steps that the slider has for a layer: those with its kernel, or else all with any weight. @param {Layer | null} layer */
  stops(layer) {
    return layer?.steps.length ? layer.steps : this.steps;
  }

  /** Whether a step has a ledger of a layer. @param {Layer} layer @param {number} step */
  hasLedger(layer, step) {
    return has(layer.ledgers, step);
  }

  get isGrowing() {
    return this.about.status === "recording";
  }
}
