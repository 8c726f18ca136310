/**
 * The one place through which numbers come in. A source answers addresses (a server over HTTP, or answers that
 * a file holds); everything above does not know which. Answers are decoded once and kept within a limit.
 */

/** @typedef {{shape: number[], data: any}} Block */
/** @typedef {{header: any, blocks: Record<string, Block>, missing: Record<string, Missing>}} Blocks */
/** @typedef {{why: string, nearest: number | null, before: number | null, after: number | null}} Missing */
/**
 * @typedef {object} Source
 * @property {"server" | "export"} kind
 * @property {(address: string) => Promise<{type: "json" | "blocks", bytes: ArrayBuffer}>} get
 * @property {((address: string, body: any, type?: string) => Promise<any>) | null} post
 * @property {((address: string, heard: (kind: string, values: any) => void) => () => void) | null} listen
 */

const LIMIT = 192 * 2 ** 20;
const ARRAYS = { float32: Float32Array, float64: Float64Array, int32: Int32Array, uint8: Uint8Array };

/** An answer that says what is wrong. */
export class Refusal extends Error {
  /** @param {string} message @param {string} [kind] @param {number} [status] */
  constructor(message, kind = "unknown", status = 0) {
    super(message);
    this.kind = kind;
    this.status = status;
  }
}

/** An address with its parameters in alphabetical order. @param {string} path @param {Record<string, any>} [values] null and undefined are left out */
export function address(path, values = {}) {
  const parts = Object.keys(values)
    .filter((name) => values[name] != null)
    .sort()
    .map((name) => `${name}=${encodeURIComponent(String(values[name])).replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%2F", "/")}`);
  return parts.length ? `${path}?${parts.join("&")}` : path;
}

/** Take a binary answer apart; the numbers stay where they are. @param {ArrayBuffer} bytes @returns {Blocks} */
export function decode(bytes) {
  if (bytes.byteLength < 8) throw new Refusal("The answer is shorter than its header.", "damaged");
  const size = new DataView(bytes).getUint32(0, true);
  if (4 + size > bytes.byteLength) throw new Refusal("The answer ends within its header.", "damaged");
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, size)));
  /** @type {Record<string, Block>} */ const blocks = {};
  for (const [name, { shape, dtype, offset }] of Object.entries(/** @type {Record<string, any>} */ (header.blocks ?? {}))) {
    const length = shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1);
    const type = ARRAYS[/** @type {keyof typeof ARRAYS} */ (dtype)];
    const at = 4 + size + offset;
    if (!type || at + length * type.BYTES_PER_ELEMENT > bytes.byteLength) throw new Refusal(`Block ${name} does not fit into its answer.`, "damaged");
    blocks[name] = { shape, data: new type(bytes, at, length) };
  }
  return { header, blocks, missing: header.missing ?? {} };
}

/** Numbers over HTTP. @param {string} base ends with "api/v1/" @returns {Source} */
export function server(base) {
  const fail = async (/** @type {Response} */ response) => {
    const told = await response.json().catch(() => null);
    const about = told?.error ?? { kind: "unknown", message: `The server answered ${response.status}.` };
    throw new Refusal(about.message, about.kind, response.status);
  };
  const reached = (/** @type {Promise<Response>} */ asked) =>
    asked.catch(() => {
      throw new Refusal("The server does not answer. Is it still running?", "gone");
    });
  return {
    kind: "server",
    async get(path) {
      const response = await reached(fetch(base + path));
      if (!response.ok) await fail(response);
      const isJson = (response.headers.get("content-type") ?? "").startsWith("application/json");
      return { type: isJson ? "json" : "blocks", bytes: await response.arrayBuffer() };
    },
    async post(path, body, type = "application/json") {
      const sent = type === "application/json" ? JSON.stringify(body) : body;
      const response = await reached(fetch(base + path, { method: "POST", headers: { "content-type": type }, body: sent }));
      if (!response.ok) await fail(response);
      return response.json();
    },
    listen(path, heard) {
      const stream = new EventSource(base + path);
      for (const kind of ["change", "gone", "replaced"]) {
        stream.addEventListener(kind, (event) => heard(kind, JSON.parse(/** @type {MessageEvent} */ (event).data || "{}")));
      }
      stream.addEventListener("error", () => heard("lost", {}));
      stream.addEventListener("open", () => heard("found", {}));
      return () => stream.close();
    },
  };
}

/** @param {string} text base64 of raw deflate @returns {Promise<ArrayBuffer>} */
async function unpacked(text) {
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"))).arrayBuffer();
}

/** Numbers that a file holds. @param {Record<string, [("json" | "blocks"), string]>} answers @returns {Source} */
export function embedded(answers) {
  return {
    kind: "export",
    async get(path) {
      const found = answers[path];
      if (!found) throw new Refusal("This file does not hold it; the run itself does.", "not held", 404);
      return { type: found[0], bytes: await unpacked(found[1]) };
    },
    post: null,
    listen: null,
  };
}

/** Decoded answers by address, the oldest dropped first. */
export class Data {
  /** @param {Source} source */
  constructor(source) {
    this.source = source;
    /** @type {Map<string, {promise: Promise<any>, value: any, size: number}>} */ this.kept = new Map();
    this.size = 0;
    this.asked = 0;
  }

  /**
   * JSON or blocks of an address. @param {string} path @param {Record<string, any>} [values] @returns {Promise<any>}
   */
  get(path, values = {}) {
    const key = address(path, values);
    const known = this.kept.get(key);
    if (known) {
      this.kept.delete(key);
      this.kept.set(key, known);
      return known.promise;
    }
    const entry = { promise: this.#fetch(key), value: undefined, size: 0 };
    this.kept.set(key, entry);
    entry.promise.then(
      (value) => {
        if (this.kept.get(key) !== entry) return;
        entry.value = value;
        entry.size = value?._bytes ?? 1000;
        this.size += entry.size;
        this.#trim();
      },
      () => this.kept.get(key) === entry && this.kept.delete(key),
    );
    return entry.promise;
  }

  /** The answer if it is here already. @param {string} path @param {Record<string, any>} [values] */
  peek(path, values = {}) {
    return this.kept.get(address(path, values))?.value;
  }

  /** Forget what may have changed. @param {(address: string) => boolean} isStale */
  forget(isStale) {
    for (const [key, entry] of this.kept) {
      if (!isStale(key)) continue;
      this.size -= entry.size;
      this.kept.delete(key);
    }
  }

  /** @param {string} key */
  async #fetch(key) {
    this.asked += 1;
    const { type, bytes } = await this.source.get(key);
    const value = type === "json" ? JSON.parse(new TextDecoder().decode(bytes)) : decode(bytes);
    if (value && typeof value === "object") Object.defineProperty(value, "_bytes", { value: bytes.byteLength });
    return value;
  }

  #trim() {
    for (const [key, entry] of this.kept) {
      if (this.size <= LIMIT) return;
      if (entry.value === undefined) continue;
      this.size -= entry.size;
      this.kept.delete(key);
    }
  }
}

/** The value, or {refused} in its place: one answer that fails leaves the others alone. @param {Promise<any>} promise */
export const settled = (promise) => promise.catch((error) => ({ refused: error instanceof Refusal ? error : new Refusal(String(error?.message ?? error)) }));

// --- lists of steps

/** Steps of [first, last, stride] lists, ascending. @param {number[][] | undefined} ranges @returns {Int32Array} */
export function stepsOf(ranges) {
  const found = new Set();
  for (const [first, last, stride] of ranges ?? []) for (let k = first; k <= last; k += Math.max(1, stride)) found.add(k);
  return Int32Array.from(found).sort();
}

/** Place of the last step at or before one; -1 before the first. @param {ArrayLike<number>} steps @param {number} step */
export function upTo(steps, step) {
  let [low, high] = [0, steps.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] <= step) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** @param {ArrayLike<number>} steps @param {number} step */
export const has = (steps, step) => steps[upTo(steps, step)] === step;

/** The nearest of some steps; null of none. @param {ArrayLike<number>} steps @param {number} step */
export function nearest(steps, step) {
  const at = upTo(steps, step);
  const [before, after] = [steps[at], steps[at + 1]];
  if (before === undefined) return after ?? null;
  return after === undefined || step - before <= after - step ? before : after;
}
