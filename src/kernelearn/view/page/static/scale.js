/**
 * Colours of numbers: three families (weights, activations, errors), each diverging about the zero of the page,
 * mixed in OKLab. The same table paints DOM cells and canvases; text on a cell is black or white, whichever
 * has more contrast.
 */

/** @typedef {"w" | "a" | "e"} Family weights, activations, errors */
/** @typedef {[number, number, number]} Rgb 0..255 */

const SIZE = 256;
const POWER = 0.85;

/** @param {number} c sRGB 0..1 */
const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
/** @param {number} c */
const gamma = (c) => (c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055);

/** @param {Rgb} rgb @returns {Rgb} OKLab (Ottosson, 2020) */
function toLab([r, g, b]) {
  const [x, y, z] = [linear(r / 255), linear(g / 255), linear(b / 255)];
  const l = Math.cbrt(0.4122214708 * x + 0.5363325363 * y + 0.0514459929 * z);
  const m = Math.cbrt(0.2119034982 * x + 0.6806995451 * y + 0.1073969566 * z);
  const s = Math.cbrt(0.0883024619 * x + 0.2817188376 * y + 0.6299787005 * z);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

/** @param {Rgb} lab @returns {Rgb} */
function fromLab([light, a, b]) {
  const l = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (light - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const rgb = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  return /** @type {Rgb} */ (rgb.map((c) => Math.round(255 * gamma(Math.max(0, Math.min(1, c))))));
}

/** @param {string} hex "#rgb" or "#rrggbb" @returns {Rgb} */
export function parseHex(hex) {
  const text = hex.trim().replace("#", "");
  const full = text.length === 3 ? [...text].map((c) => c + c).join("") : text;
  return [0, 2, 4].map((i) => parseInt(full.slice(i, i + 2), 16)).map((v) => v || 0) /** @type {any} */;
}

/** @param {Rgb} first @param {Rgb} second @param {number} share of the first @returns {Rgb} */
export function mix(first, second, share) {
  const [a, b] = [toLab(first), toLab(second)];
  return fromLab(/** @type {Rgb} */ (a.map((v, i) => v * share + b[i] * (1 - share))));
}

/** Relative luminance (WCAG 2). @param {Rgb} rgb */
function luminance([r, g, b]) {
  return 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
}

/** Contrast of two colours (WCAG 2). @param {Rgb} a @param {Rgb} b */
export function contrast(a, b) {
  const [x, y] = [luminance(a), luminance(b)];
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
}

/** @param {Rgb} rgb */
const css = ([r, g, b]) => `rgb(${r},${g},${b})`;
/** @param {Rgb} rgb */
const inkOn = (rgb) => (contrast(rgb, [0, 0, 0]) >= contrast(rgb, [255, 255, 255]) ? "#000" : "#fff");

/** The colours of one theme. */
export class Colours {
  /** @param {(token: string) => string} read value of a CSS token such as "--wp" */
  constructor(read) {
    this.tokens = /** @type {Record<string, Rgb>} */ ({});
    for (const name of ["zero", "wp", "wn", "ap", "an", "ep", "en", "bg", "surface", "sel", "ink", "ink3", "blk", "mark"]) {
      this.tokens[name] = parseHex(read(`--${name}`));
    }
    /** @type {Record<string, Rgb[]>} */ this.ramps = {};
    /** @type {Record<string, string[]>} */ this.fills = {};
    /** @type {Record<string, string[]>} */ this.inks = {};
    for (const hue of ["wp", "wn", "ap", "an", "ep", "en"]) {
      const ramp = Array.from({ length: SIZE }, (_, i) => mix(this.tokens[hue], this.tokens.zero, (i / (SIZE - 1)) ** POWER));
      this.ramps[hue] = ramp;
      this.fills[hue] = ramp.map(css);
      this.inks[hue] = ramp.map(inkOn);
    }
    this.none = css(this.tokens.zero);
  }

  /** @param {number} value @param {number} range */
  static #step(value, range) {
    if (!range || !Number.isFinite(value)) return 0;
    const share = Math.min(1, Math.abs(value) / range);
    return share < 0.004 ? 0 : Math.round(share * (SIZE - 1));
  }

  /** Colour of a number. @param {number} value @param {number} range largest absolute value @param {Family} family */
  fill(value, range, family) {
    return this.fills[family + (value < 0 ? "n" : "p")][Colours.#step(value, range)];
  }

  /** Colour of text on the colour of a number. @param {number} value @param {number} range @param {Family} family */
  ink(value, range, family) {
    return this.inks[family + (value < 0 ? "n" : "p")][Colours.#step(value, range)];
  }

  /** @param {number} value @param {number} range @param {Family} family @returns {Rgb} */
  rgb(value, range, family) {
    return this.ramps[family + (value < 0 ? "n" : "p")][Colours.#step(value, range)];
  }
}
