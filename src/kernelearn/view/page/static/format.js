/**
 * Numbers as text. A true minus, decimals that fit a sum, powers of ten as superscripts: whatever is shown
 * beside other numbers adds up as it is shown.
 */

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
export const MINUS = "−";

/** @param {string} text */
const withMinus = (text) => text.replace("-", MINUS);

/**
 * A number with so many decimals; "–" where there is none.
 * @param {number | null | undefined} value @param {number} decimals @param {boolean} [signed]
 */
export function fixed(value, decimals, signed = false) {
  if (value == null || !Number.isFinite(value)) return "–";
  const digits = Math.max(0, Math.min(18, decimals));
  const text = (Math.abs(value) < 0.5 * 10 ** -digits ? 0 : value).toFixed(digits);
  return (signed && Number(text) > 0 ? "+" : "") + withMinus(text);
}

/** 10 to a power, such as 10⁻³. @param {number} exponent */
export function power(exponent) {
  const digits = [...String(Math.abs(exponent))].map((d) => SUPERSCRIPTS[Number(d)]).join("");
  return `10${exponent < 0 ? "⁻" : ""}${digits}`;
}

/** The power of ten of the first digit; 0 for 0. @param {number} value */
export function exponentOf(value) {
  const size = Math.abs(value);
  return size > 0 && Number.isFinite(size) ? Math.floor(Math.log10(size)) : 0;
}

/**
 * A number with so many digits that count. Small and large ones get a power of ten in words.
 * @param {number | null | undefined} value @param {number} [digits] @param {boolean} [signed]
 */
export function digits(value, digits = 3, signed = false) {
  if (value == null || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const exponent = exponentOf(value);
  if (exponent < -4 || exponent > 6) {
    return `${fixed(value / 10 ** exponent, digits - 1, signed)} × ${power(exponent)}`;
  }
  return fixed(value, Math.max(0, digits - 1 - exponent), signed);
}

/** A whole number with separators. @param {number} value */
export const count = (value) => Math.round(value).toLocaleString("en");

/** @param {number} share */
export const percent = (share) => `${fixed(100 * share, share > 0 && share < 0.095 ? 1 : 0)} %`;

/** The largest absolute value of some lists; NaN is passed over. @param {...(Iterable<number> | null | undefined)} lists */
export function largest(...lists) {
  let found = 0;
  for (const list of lists) {
    for (const value of list ?? []) if (Math.abs(value) > found) found = Math.abs(value);
  }
  return found;
}

/** Sum in float64. @param {Iterable<number>} values */
export function sum(values) {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/**
 * How many decimals a column of a sum gets: from its largest part.
 * @param {Iterable<number>} parts @param {number} [figures] that count @param {number} [least] @param {number} [most]
 */
export function decimalsOf(parts, figures = 4, least = 0, most = 12) {
  const size = largest(parts);
  return size ? Math.max(least, Math.min(most, figures - 1 - exponentOf(size))) : Math.max(least, figures - 1);
}

/**
 * A sum as it is shown: every part rounded to the same decimals, and what these roundings leave.
 * @param {number[]} parts @param {number} total @param {number} decimals
 * @returns {{parts: number[], total: number, rest: number}} numbers that add up exactly to these decimals
 */
export function asShown(parts, total, decimals) {
  const scale = 10 ** decimals;
  const whole = parts.map((part) => Math.round(part * scale));
  const end = Math.round(total * scale);
  const rest = end - whole.reduce((a, b) => a + b, 0);
  return { parts: whole.map((part) => part / scale), total: end / scale, rest: rest / scale };
}

/** "3 × 3 × 32" without spaces, for shapes. @param {readonly number[]} shape */
export const shape = (shape) => (shape.length ? shape.join("×") : "1 number");

/** A place as it is written in Python. @param {readonly number[]} index */
export const place = (index) => (index.length === 1 ? `${index[0]}` : `(${index.join(", ")})`);
