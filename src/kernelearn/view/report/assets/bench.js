// The columns of a layer: any step, image, filter, position and weight that the file holds. Forward is read from
// left to right in the upper row, backward from right to left in the lower one. Numbers come from the report.
"use strict";
(function () {
  const source = document.getElementById("bench-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const MINUS = "\u2212";
  const ROWS = 12, NUMBERED = 7, SIDE = 132;
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const palettes = Object.fromEntries(Object.entries(data.palettes).map(([name, two]) => [name, two.map(bytes)]));

  function bytes(text) { return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)); }

  function decoded(array) {
    const raw = bytes(array.data);
    if (array.type !== "f") return { shape: array.shape, values: raw };
    const view = new DataView(raw.buffer);
    const values = Float64Array.from({ length: raw.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
    return { shape: array.shape, values };
  }

  // --- numbers

  const signed = (text) => text.replace("-", MINUS);
  const raised = (n) => "10" + String(n).replace(/[-\d]/g, (c) => "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"["-0123456789".indexOf(c)]);

  // As report.decimals.Column: one unit and one number of decimals, so that what is shown adds up.
  function column(values, digits) {
    const largest = Math.max(0, ...values.map(Math.abs).filter(isFinite));
    const first = largest ? Math.floor(Math.log10(largest)) : 0;
    const exponent = first >= -4 && first <= 5 ? 0 : 3 * Math.floor(first / 3);
    const places = Math.max(0, digits - 1 - (first - exponent));
    const whole = (value) => Math.round(value * 10 ** (places - exponent));
    const ofWhole = (n, plus) => {
      const text = (Math.abs(n) / 10 ** places).toFixed(places);
      return (n < 0 ? MINUS : plus && n >= 0 ? "+" : "") + text;
    };
    return { exponent, places, whole, ofWhole, text: (v, plus) => ofWhole(whole(v), plus), unit: exponent ? raised(exponent) : "" };
  }

  // As report.decimals.cell_column: three digits for narrow cells.
  function cellColumn(limit, digits) {
    const first = limit ? Math.floor(Math.log10(limit)) : 0, exponent = first >= -1 && first <= 2 ? 0 : first;
    return { exponent, places: Math.max(0, digits - 1 - (first - exponent)), unit: exponent ? raised(exponent) : "" };
  }

  function brief(value, digits = 4) {
    if (!isFinite(value)) return "-";
    if (Number.isInteger(value) && Math.abs(value) < 1e9) return signed(value.toLocaleString("en"));
    const size = Math.abs(value);
    if (size >= 1e-4 && size < 1e6) return signed(String(Number(value.toPrecision(digits))));
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    return `${signed(mantissa)} \u00d7 ${raised(Number(exponent))}`;
  }

  // --- one panel

  class Panel {
    constructor(about, root) {
      Object.assign(this, about);
      this.root = root;
      this.held = {};
      this.state = { ...about.first, position: [...about.first.position] };
      this.pinned = null;
      this.isDense = about.kind === "dense";
      this.isLine = !this.isDense && this.state.position.length === 1; // a sequence
      this.sizes = about.arrays.x.shape.slice(3);
      this.columns.forEach((one, i) => { one.number = i; });
    }

    array(name) {
      this.held[name] ??= decoded(this.arrays[name]);
      return this.held[name];
    }

    // What stands at the first indices of an array.
    part(name, ...at) {
      const { shape, values } = this.array(name);
      const rest = shape.slice(at.length);
      const size = rest.reduce((a, b) => a * b, 1);
      const start = at.reduce((sum, index, i) => sum * shape[i] + index, 0) * size;
      return { shape: rest, values: values.subarray(start, start + size) };
    }

    slices() { return this.channelsOf(this.state.filter); }
    channelsOf(filter) { return this.channels[filter]; }
    isWhole() { return this.slices().length === this.slicesThere() && this.slicesThere() <= 4; }
    slicesThere() { return this.isDense ? 1 : this.slices_there; }
    shown() { return this.isWhole() ? this.slices().map((_, i) => i) : [this.state.channel]; }

    map(kind, key) {
      const { step, image, filter } = this.state;
      const all = this.part(kind + key, step, image);
      return all.shape.length === 1 ? all : this.part(kind + key, step, image, filter);
    }

    // Where the position stands in a column; behind a pooling, its first window.
    place(key) {
      const one = this.columns.find((c) => c.key === key);
      if (!this.state.position.length) return [this.state.filter];
      return one.pool ? this.pooled(one) : this.state.position.map((p, i) => p - one.start[i]);
    }

    value(kind, key) { return at(this.map(kind, key), this.place(key)); }

    read(slice) {
      const { step, image } = this.state;
      const number = this.isDense ? 0 : this.inputs.indexOf(this.slices()[slice]);
      return this.part("x", step, image, number);
    }

    weights(name, slice) { return this.part(name, this.state.step, this.state.filter, slice).values; }
    bias() { return this.part("b", this.state.step).values[this.state.filter]; }

    tap(number) { return unravel(number, this.taps); }

    // As report.chosen.Chosen.pixel: which cell of x a tap reads at a position; null beside the image.
    pixel(tap, position) {
      if (this.isDense) return [...position, ...tap];
      const origin = this.origin ? this.origin.x : tap.map(() => 0);
      const found = [];
      for (let i = 0; i < tap.length; i += 1) {
        const stride = this.geometry.stride[i], dilation = this.geometry.dilation[i], before = this.geometry.before[i];
        let where = position[i] * stride - before + tap[i] * dilation;
        if (this.kind === "conv_transpose") {
          const offset = position[i] + before - tap[i] * dilation;
          if (((offset % stride) + stride) % stride) return null;
          where = offset / stride;
        }
        where -= origin[i];
        if (where < 0 || where >= this.sizes[i]) return null;
        found.push(where);
      }
      return found;
    }

    terms(slice) {
      const x = this.read(slice);
      const found = { shape: x.shape, values: new Float64Array(x.values.length) };
      if (this.isDense && !this.state.position.length) {
        const error = this.value("e", "z");
        found.values.set(x.values.map((v) => v * error));
        return found;
      }
      const errors = this.map("e", "z"), tap = this.tap(this.state.tap), start = this.columns[0].start;
      errors.values.forEach((error, i) => {
        const place = this.pixel(tap, unravel(i, errors.shape).map((p, k) => p + start[k]));
        if (place) found.values[ravel(place, x.shape)] = at(x, place) * error;
      });
      return found;
    }

    pooled(one) {
      if (!one.pool.size) return one.shape.map(() => 0);
      return this.state.position.map((p, i) => {
        const before = one.pool.padding[i][0];
        const first = Math.max(0, Math.ceil((p + before - one.pool.size[i] + 1) / one.pool.stride[i]));
        return Math.min(one.shape[i] - 1, Math.max(0, first - one.start[i]));
      });
    }
  }

  function ravel(place, shape) { return place.reduce((sum, p, i) => sum * shape[i] + p, 0); }
  function unravel(number, shape) {
    const found = [];
    for (let i = shape.length - 1; i >= 0; i -= 1) { found.unshift(number % shape[i]); number = Math.floor(number / shape[i]); }
    return found;
  }
  function at(map, place) { return map.values[ravel(place, map.shape)]; }
  function limitOf(...maps) {
    let found = 0;
    for (const map of maps) for (const v of map.values) if (isFinite(v)) found = Math.max(found, Math.abs(v));
    return found || 1;
  }

  // --- pictures

  // Rows and columns of a picture: volumes slice below slice, a long row of features as a block.
  function flatShape(shape, isLine) {
    if (isLine) return [1, shape[0]];
    if (shape.length > 1) {
      const wide = shape[shape.length - 1];
      return [shape.reduce((a, b) => a * b, 1) / wide, wide];
    }
    const count = shape.length ? shape[0] : 1;
    const wide = count > 14 ? Math.ceil(Math.sqrt(count)) : count;
    return [Math.ceil(count / wide), wide];
  }

  function painted(map, limit, family, look = {}) {
    const [rows, columns] = flatShape(map.shape, look.isLine);
    const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
    const cell = Math.max(1, (look.side || SIDE) / Math.max(rows, columns));
    const ratio = Math.min(3, window.devicePixelRatio || 1);
    const width = Math.round(cell * columns), height = Math.max(look.isLine ? 20 : 6, Math.round(cell * rows));
    canvas.width = width * ratio; canvas.height = height * ratio;
    canvas.style.width = `${width}px`;
    context.scale(ratio, ratio);
    const colours = palettes[family][scheme.matches ? 1 : 0], middle = (colours.length / 3 - 1) / 2;
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--mark"), quiet = style.getPropertyValue("--ink3");
    const edge = (i, count, size) => Math.round(i * size / count);
    const box = (i) => {
      const r = Math.floor(i / columns), c = i % columns;
      const x = edge(c, columns, width), y = edge(r, rows, height);
      return [x, y, edge(c + 1, columns, width) - x, edge(r + 1, rows, height) - y];
    };
    map.values.forEach((value, i) => {
      if (!isFinite(value)) return;
      const share = Math.max(-1, Math.min(1, value / limit)), k = 3 * (middle + Math.round(middle * share));
      context.fillStyle = `rgb(${colours[k]},${colours[k + 1]},${colours[k + 2]})`;
      context.fillRect(...box(i));
    });
    if (look.closed) hatch(context, look.closed, box, quiet);
    if (look.dots && cell > 5) look.dots.forEach((is, i) => {
      if (!is) return;
      const [x, y, w, h] = box(i);
      context.fillStyle = ink;
      context.beginPath(); context.arc(x + w / 2, y + h / 2, Math.min(2.2, cell / 5), 0, 7); context.fill();
    });
    context.strokeStyle = ink; context.lineWidth = 2;
    for (const cells of look.frames || []) frame(context, cells.map(box));
    canvas.rows = rows; canvas.columns = columns;
    return canvas;
  }

  function hatch(context, closed, box, colour) {
    context.strokeStyle = colour; context.lineWidth = 0.8;
    closed.forEach((is, i) => {
      if (!is) return;
      const [x, y, w, h] = box(i);
      context.save(); context.beginPath(); context.rect(x, y, w, h); context.clip(); context.beginPath();
      for (let d = -h; d < w; d += 4) { context.moveTo(x + d, y + h); context.lineTo(x + d + h, y); }
      context.stroke(); context.restore();
    });
  }

  function frame(context, boxes) {
    if (!boxes.length) return;
    const left = Math.min(...boxes.map((b) => b[0])), top = Math.min(...boxes.map((b) => b[1]));
    const right = Math.max(...boxes.map((b) => b[0] + b[2])), bottom = Math.max(...boxes.map((b) => b[1] + b[3]));
    context.strokeRect(left + 1, top + 1, Math.max(1, right - left - 2), Math.max(1, bottom - top - 2));
  }

  // --- elements

  function element(name, attributes = {}, ...content) {
    const found = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value != null) found.setAttribute(key, value);
    found.append(...content);
    return found;
  }

  function numbers(parts, shape, limit, token, chosen, pick, isNarrow) {
    const table = element("table", { class: isNarrow ? "kernel narrow" : "kernel" });
    const unit = cellColumn(limit, isNarrow ? 2 : 3), scale = 10 ** unit.exponent;
    const [rows, columns] = flatShape(shape);
    parts.forEach((values, s) => {
      const body = element("tbody");
      for (let r = 0; r < rows; r += 1) {
        const row = element("tr");
        for (let c = 0; c < columns; c += 1) {
          const i = r * columns + c, value = values[i];
          const share = Math.min(1, Math.abs(value) / limit), name = token + (value >= 0 ? "p" : "n");
          const marks = ["l", "d"].filter((_, k) => share >= data.crossings[name][k]);
          const cell = element("td", { class: [name, ...marks, ...(chosen(s, i) ? ["chosen"] : [])].join(" ") });
          cell.style.setProperty("--t", `${Math.round(100 * share ** 0.85)}%`);
          cell.textContent = signed((value / scale).toFixed(unit.places)).replace(/^\u2212(0\.?0*)$/, "$1");
          cell.addEventListener("click", () => pick(s, i));
          row.append(cell);
        }
        body.append(row);
      }
      table.append(body);
    });
    return { table, unit };
  }

  // --- the view of a panel

  function fill(panel, key, title, content, caption) {
    const tile = panel.root.querySelector(`[data-tile="${key}"]`);
    if (!tile) return;
    tile.querySelector("h4").textContent = title;
    tile.querySelector(".board-of").replaceChildren(...content);
    tile.querySelector(".cap").textContent = caption;
  }

  function live(panel, canvas, words, choose) {
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", words);
    canvas.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse") hover(cellOf(event)); });
    canvas.addEventListener("pointerleave", () => { if (panel.pinned) restore(panel); });
    canvas.addEventListener("click", (event) => { panel.pinned = null; choose(cellOf(event)); render(panel); });
    function cellOf(event) {
      const box = canvas.getBoundingClientRect();
      const row = Math.floor((event.clientY - box.top) / box.height * canvas.rows);
      const col = Math.floor((event.clientX - box.left) / box.width * canvas.columns);
      return Math.max(0, Math.min(canvas.rows - 1, row)) * canvas.columns + Math.max(0, Math.min(canvas.columns - 1, col));
    }
    let last = -1;
    function hover(cell) {
      if (cell === last) return;
      last = cell;
      panel.pinned ??= { ...panel.state, position: [...panel.state.position] };
      choose(cell);
      render(panel, canvas);
    }
  }

  function restore(panel) {
    panel.state = panel.pinned;
    panel.pinned = null;
    render(panel);
  }

  function render(panel, keep) {
    // A canvas under the pointer stays, or the pointer would leave it.
    const held = keep ? keep.closest("[data-tile]").dataset.tile : null;
    drawInput(panel, held);
    drawKernel(panel);
    drawColumns(panel, held);
    drawSum(panel);
    drawReadout(panel);
    syncSelects(panel);
  }

  function drawInput(panel, held) {
    const { state } = panel, shown = panel.shown();
    const maps = shown.map((s) => panel.read(s)), terms = shown.map((s) => panel.terms(s));
    const side = shown.length === 1 ? SIDE : Math.max(48, 2 * SIDE / (shown.length + 1));
    const tap = panel.tap(state.tap), one = panel.pixel(tap, state.position);
    const cells = windowCells(panel);
    const limit = limitOf(...maps), ofTerms = limitOf(...terms);
    const frames = (s) => [...(panel.isDense ? [] : cells), ...(one && s === state.channel ? [[ravel(one, maps[0].shape)]] : [])];
    const label = panel.labels[state.step] ? `, class ${panel.labels[state.step][state.image]}` : "";
    const image = `image ${panel.images[state.step][state.image]}${label}`;
    const pictures = maps.map((map, i) => painted(map, limit, "a", { side, isLine: panel.isLine, frames: frames(shown[i]) }));
    pictures.forEach((picture, i) => {
      const title = panel.isDense ? "inputs" : `input channel ${panel.slices()[shown[i]]}`;
      live(panel, picture, `${title}, ${image}`, (cell) => chooseInput(panel, shown[i], cell, maps[i].shape));
    });
    const which = panel.isDense || panel.isWhole() ? "" : `, channel ${panel.slices()[state.channel]} of ${panel.slicesThere()}`;
    if (held !== "fx") fill(panel, "fx", "x input", pictures, image + which);
    const total = terms[shown.indexOf(state.channel)].values.reduce((a, b) => a + b, 0);
    const lower = terms.map((map, i) => {
      const picture = painted(map, ofTerms, "e", { side, isLine: panel.isLine, frames: one && shown[i] === state.channel ? [[ravel(one, map.shape)]] : [] });
      live(panel, picture, `terms of ${weightName(panel)}: sum ${brief(total)}`, (cell) => chooseInput(panel, shown[i], cell, map.shape));
      return picture;
    });
    const here = isFinite(total) ? `\u03a3 = ${brief(total, 3)}` : "";
    if (held !== "bx") fill(panel, "bx", panel.isDense ? "x \u00b7 \u03b4, a term a weight" : "x \u00b7 \u03b4 terms", isFinite(total) ? lower : [missing("not recorded")], panel.isDense ? "" : here);
  }

  function windowCells(panel) {
    const byDepth = new Map(), taps = panel.taps.reduce((a, b) => a * b, 1);
    for (let i = 0; i < taps; i += 1) {
      const place = panel.pixel(panel.tap(i), panel.state.position);
      if (!place) continue;
      const depth = place.length > 2 ? place[0] : 0;
      byDepth.set(depth, [...(byDepth.get(depth) || []), ravel(place, panel.sizes)]);
    }
    return [...byDepth.values()];
  }

  // A cell of x: the weight that meets it in the window if it lies there, else the window goes there.
  function chooseInput(panel, slice, cell, shape) {
    const place = unravel(cell, shape), taps = panel.taps.reduce((a, b) => a * b, 1);
    if (cell >= shape.reduce((a, b) => a * b, 1)) return;
    panel.state.channel = slice;
    for (let i = 0; i < taps; i += 1) {
      const read = panel.pixel(panel.tap(i), panel.state.position);
      if (read && read.every((v, k) => v === place[k])) { panel.state.tap = i; return; }
    }
    if (panel.kind !== "conv") return;
    const origin = panel.origin ? panel.origin.x : place.map(() => 0), one = panel.columns[0];
    const tap = panel.tap(panel.state.tap);
    panel.state.position = place.map((p, i) => {
      const at = Math.round((p + origin[i] + panel.geometry.before[i] - tap[i] * panel.geometry.dilation[i]) / panel.geometry.stride[i]);
      return Math.min(one.start[i] + one.shape[i] - 1, Math.max(one.start[i], at));
    });
  }

  function drawKernel(panel) {
    const { state } = panel, shown = panel.shown();
    const [rows, columns] = flatShape(panel.taps);
    const isSmall = Math.max(rows, columns) <= NUMBERED && columns <= 5;
    const isNarrow = columns > 3 || panel.columns.length > 3;
    const name = `${panel.isDense ? "unit" : "filter"} ${panel.filters[state.filter]}`;
    const pick = (s, i) => { state.channel = shown[s]; state.tap = i; panel.pinned = null; render(panel); };
    const chosen = (s, i) => shown[s] === state.channel && i === state.tap;
    for (const [key, array, token, title, words] of [
      ["fW", "W", "w", `W ${name}`, `${panel.is_trained ? "before" : "after"} step ${panel.steps[state.step].toLocaleString("en")}`],
      ["bW", "G", "e", "\u2202L/\u2202W", "of the whole batch"],
    ]) {
      const parts = shown.map((s) => panel.weights(array, s));
      const limit = limitOf(...parts.map((values) => ({ values })));
      if (!parts.some((values) => values.some(isFinite))) { fill(panel, key, title, [missing("not recorded")], ""); continue; }
      if (isSmall) {
        const { table, unit } = numbers(parts, panel.taps, limit, token, chosen, pick, isNarrow);
        fill(panel, key, title, [table], words + (unit.unit ? `, in units of ${unit.unit}` : ""));
      } else {
        const boards = parts.map((values, s) => {
          const map = { shape: panel.taps, values };
          const frames = shown[s] === state.channel ? [[state.tap]] : [];
          const board = painted(map, limit, token, { frames, side: shown.length > 1 ? 66 : SIDE });
          live(panel, board, `${title}, at ${weightName(panel)} ${brief(values[state.tap])}`, (i) => { if (i < values.length) { state.channel = shown[s]; state.tap = i; } });
          return board;
        });
        fill(panel, key, title, boards, `${words}, \u00b1${brief(limit, 3)}`);
      }
    }
  }

  function missing(words) { return element("p", { class: "missing" }, words); }

  function drawColumns(panel, held) {
    const { state } = panel, keys = panel.columns.map((c) => c.key);
    const ofMaps = limitOf(...keys.filter((k) => k !== "n").map((k) => panel.map("v", k)));
    const ofErrors = limitOf(...keys.map((k) => panel.map("e", k)));
    panel.columns.forEach((one, i) => {
      const values = panel.map("v", one.key), errors = panel.map("e", one.key), open = panel.map("o", one.key);
      const closed = one.stops ? open.values.map((v) => !v) : null;
      const before = panel.columns[i - 1];
      const isPool = panel.columns[i + 1]?.operator === "max_pool";
      const place = panel.place(one.key);
      const frames = [[ravel(place, values.shape)]];
      const cut = before && before.stops && one.key !== "p" ? panel.map("o", before.key).values.map((v) => !v) : null;
      const dots = isPool ? open.values : null;
      const choose = (cell) => choosePlace(panel, one, cell, values.shape);
      const isOwn = one.key === "n" || one.operator.endsWith("softmax");
      const upper = painted(values, isOwn ? limitOf(values) : ofMaps, "a", { frames, closed: cut, dots, isLine: panel.isLine });
      const name = nameOf(one);
      live(panel, upper, `${name}, at (${state.position.join(", ")}) ${brief(at(values, place))}`, choose);
      upper.tabIndex = 0;
      upper.addEventListener("keydown", (event) => moveByKey(panel, event, `f${one.key}`));
      const share = cut && cut.some(Boolean) ? `${cut.reduce((a, b) => a + b, 0)} of ${cut.length} cut to 0` : one.key === "z" ? (panel.bias() ? `b = ${brief(panel.bias(), 3)}` : "no bias") : one.key === "p" ? one.layer : "";
      if (held !== `f${one.key}`) fill(panel, `f${one.key}`, name, [upper], share || `\u00b1${brief(isOwn ? limitOf(values) : ofMaps, 3)}`);
      const isThere = errors.values.some(isFinite);
      const lower = isThere ? painted(errors, ofErrors, "e", { frames, closed, dots, isLine: panel.isLine }) : element("p", { class: "quiet" }, noError(one));
      if (isThere) live(panel, lower, `error at ${one.key}, at (${state.position.join(", ")}) ${brief(at(errors, place))}`, choose);
      const words = !isThere ? "" : closed ? (isPool ? "hatched: lost its pool" : "hatched: slope 0") : `\u00b1${brief(ofErrors, 2)}`;
      const all = isThere && errors.values.every((v) => v === 0) ? "nothing came back" : words;
      if (held !== `b${one.key}`) fill(panel, `b${one.key}`, one.key === "p" ? "\u03b4 from above" : `\u03b4 at ${one.key}`, [lower], all);
    });
  }

  function noError(one) {
    return one.operator.endsWith("softmax") ? `The loss reads z itself: its error there is p ${MINUS} y.` : "not recorded";
  }

  function nameOf(one) {
    if (one.key === "a") return `a = ${one.kind || one.operator}(z)`;
    if (one.key === "p") return `${one.operator.includes("max") ? "largest" : "mean"} of ${one.pool.size ? one.pool.size.join(" \u00d7 ") : "all"}`;
    return { z: "z = x\u2217W + b", n: "normalised", s: "sum of branches", d: "behind dropout" }[one.key];
  }

  function choosePlace(panel, one, cell, shape) {
    if (cell >= shape.reduce((a, b) => a * b, 1)) return;
    const place = unravel(cell, shape);
    if (!panel.state.position.length) { panel.state.filter = place[0]; return; }
    if (!one.pool) { panel.state.position = place.map((p, i) => p + one.start[i]); return; }
    if (one.pool.size) panel.state.position = winner(panel, one, place);
  }

  // The number that won a pooling window; of a mean its first.
  function winner(panel, one, place) {
    const pooling = panel.columns.find((c) => c.key === "p");
    const before = panel.columns[pooling.number - 1], values = panel.map("v", before.key);
    const starts = place.map((p, i) => (p + one.start[i]) * one.pool.stride[i] - one.pool.padding[i][0] - before.start[i]);
    let best = null;
    const count = one.pool.size.reduce((a, b) => a * b, 1);
    for (let k = 0; k < count; k += 1) {
      const here = unravel(k, one.pool.size).map((offset, i) => starts[i] + offset);
      if (here.some((p, i) => p < 0 || p >= values.shape[i])) continue;
      if (!best || at(values, here) > at(values, best)) best = here;
      if (!pooling.operator.includes("max")) break;
    }
    return (best || starts.map(() => 0)).map((p, i) => p + before.start[i]);
  }

  function moveByKey(panel, event, key) {
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    const { position } = panel.state, first = panel.columns[0], last = position.length - 1;
    if (!position.length) {
      panel.state.filter = Math.min(panel.filters.length - 1, Math.max(0, panel.state.filter + move[0] + move[1]));
    } else {
      const axis = move[0] && last > 0 ? last - 1 : last, by = move[0] || move[1];
      const top = first.start[axis] + first.shape[axis] - 1;
      position[axis] = Math.min(top, Math.max(first.start[axis], position[axis] + by));
    }
    panel.root.querySelector(".readout").setAttribute("aria-live", "polite");
    render(panel);
    panel.root.querySelector(`[data-tile="${key}"] canvas`).focus();
  }

  function weightName(panel) {
    const { state } = panel;
    if (panel.isDense) return `W[${panel.inputs[state.tap]}]`;
    const slice = panel.slicesThere() > 1 ? [panel.slices()[state.channel]] : [];
    return `W[${[...panel.tap(state.tap), ...slice].join(", ")}]`;
  }

  // --- the sum of one window

  function drawSum(panel) {
    const rows = [], shown = panel.shown();
    for (const s of shown) {
      const weights = panel.weights("W", s), x = panel.read(s);
      weights.forEach((w, i) => {
        const tap = panel.tap(i), place = panel.pixel(tap, panel.state.position);
        const input = place ? at(x, place) : 0;
        rows.push({ name: inputName(panel, s, place), x: input, w, product: input * w, s, i });
      });
    }
    const order = rows.map((_, i) => i).sort((a, b) => Math.abs(rows[b].product) - Math.abs(rows[a].product) || a - b);
    const chosen = order.slice(0, ROWS).sort((a, b) => a - b).map((i) => rows[i]);
    const count = panel.taps.reduce((a, b) => a * b, 1) * panel.slicesThere();
    panel.root.querySelector(".neuron").replaceChildren(sumTable(panel, chosen, count));
  }

  function inputName(panel, slice, place) {
    if (panel.isDense) return `x[${panel.inputs[place[place.length - 1]]}]`;
    if (!place) return panel.kind === "conv" ? "padding" : "between";
    const origin = panel.origin ? panel.origin.x : place.map(() => 0);
    const channel = panel.slicesThere() > 1 ? [panel.slices()[slice]] : [];
    return `x[${[...place.map((p, i) => p + origin[i]), ...channel].join(", ")}]`;
  }

  function sumTable(panel, rows, count) {
    const { state } = panel, z = panel.value("v", "z"), bias = panel.bias();
    const unit = column([...rows.map((r) => r.product), bias, z], 4);
    const at = state.position.length ? ` at (${state.position.join(", ")})` : "";
    const table = element("table", { class: "sum" }, element("caption", {}, `The neuron of ${panel.isDense ? "unit" : "filter"} ${panel.filters[state.filter]}${at}`));
    const head = ["input", "x", "W", unit.unit ? `product, \u00d7 ${unit.unit}` : "product"];
    table.append(element("thead", {}, element("tr", {}, ...head.map((h, i) => element("th", { scope: "col", class: i ? "n" : null, colspan: i === 3 ? null : null }, h)), element("td", { class: "line" }))));
    const body = element("tbody"), most = Math.max(...rows.map((r) => Math.abs(r.product)), 1e-30);
    rows.forEach((row, i) => {
      const is = row.i === state.tap && row.s === state.channel;
      const line = element("tr", { class: is ? "chosen" : null },
        element("th", { scope: "row" }, row.name),
        element("td", { class: "n a" }, brief(row.x)), element("td", { class: "n w" }, brief(row.w)),
        element("td", { class: "n" }, unit.text(row.product, true)));
      if (i === 0) line.append(neuronCell(panel, rows, most, z));
      line.addEventListener("click", () => { state.channel = row.s; state.tap = row.i; panel.pinned = null; render(panel); });
      body.append(line);
    });
    const shown = rows.reduce((sum, r) => sum + unit.whole(r.product), unit.whole(bias));
    const left = unit.whole(z) - shown, foot = element("tfoot");
    const add = (name, text, kind) => foot.append(element("tr", kind ? { "data-row": kind } : {}, element("th", { scope: "row", colspan: 3 }, name), element("td", { class: "n" }, text), element("td", { class: "line" })));
    if (bias) add("bias b", unit.text(bias, true));
    const rest = count - rows.length;
    if (rest || left) add(rest ? `${rest.toLocaleString("en")} other products` : "rounding", unit.ofWhole(left, true));
    add("z, their sum", unit.text(z, true), "total");
    for (const one of panel.columns.slice(1)) {
      const value = panel.value("v", one.key);
      add({ p: "pooled", n: "normalised", s: "sum of branches", d: "behind dropout" }[one.key] || one.kind || one.operator.replaceAll("_", " "), brief(value));
    }
    table.append(body, foot);
    return table;
  }

  // Lines from the products to their sum, as thick as the product is large, in the hue of the weight; behind the
  // sum what is made of it.
  function neuronCell(panel, rows, most, z) {
    const high = 24, all = high * rows.length, middle = all / 2;
    const lines = rows.map((row, i) => {
      const y = high * (i + 0.5), thick = (0.6 + 5 * Math.abs(row.product) / most).toFixed(2);
      return `<path d="M0 ${y} C30 ${y} 14 ${middle} 41 ${middle}" stroke="var(--${row.w >= 0 ? "wp" : "wn"})" stroke-width="${thick}" fill="none"/>`;
    });
    const text = (x, y, words, kind) => `<text x="${x}" y="${y}" class="${kind}">${words}</text>`;
    const body = `<circle cx="54" cy="${middle}" r="13"/>${text(54, middle + 5, "\u03a3", "mid")}${text(52, middle - 20, `z ${brief(z, 3)}`, "mid small")}`;
    const shape = panel.columns.find((one) => one.key === "a");
    const after = shape ? `<path d="M67 ${middle}H76" class="ink"/><rect x="76" y="${middle - 13}" width="30" height="26"/>${activationCurve(shape, middle)}${text(91, middle + 30, brief(panel.value("v", "a"), 3), "mid small")}${text(95, middle - 20, shape.kind || shape.operator, "mid small")}` : "";
    const cell = element("td", { class: "line", rowspan: rows.length, "aria-hidden": "true" });
    cell.innerHTML = `<svg viewBox="0 0 110 ${all}" width="110" height="${all}">${lines.join("")}<g class="body">${body}${after}</g></svg>`;
    return cell;
  }

  // The numbers of the map itself: z across, what the activation makes of it upwards.
  function activationCurve(one, middle) {
    const panel = panels.find((p) => p.columns.includes(one)), before = panel.columns[one.number - 1];
    const z = panel.map("v", before.key).values, a = panel.map("v", one.key).values;
    const ofZ = limitOf({ values: z }), ofA = limitOf({ values: a }), low = a.some((v) => v < -0.05 * ofA);
    const points = Array.from(z, (v, i) => [v, a[i]]).filter(([v, w]) => isFinite(v) && isFinite(w)).sort((p, q) => p[0] - q[0]);
    const drawn = points.map(([v, w]) => `${(91 + 13 * v / ofZ).toFixed(1)},${(middle + (low ? 0 : 10) - (low ? 10 : 20) * w / ofA).toFixed(1)}`);
    return `<polyline points="${drawn.join(" ")}" class="curve"/>`;
  }

  // --- in words

  function drawReadout(panel) {
    const { state } = panel, forward = element("p"), backward = element("p");
    const where = state.position.length ? `at (${state.position.join(", ")}): ` : "";
    const z = panel.value("v", "z"), bias = panel.bias();
    const unit = column([z, bias, z - bias], 4);
    forward.append(element("b", { class: "a" }, "forward "), `${where}products ${unit.ofWhole(unit.whole(z) - unit.whole(bias), true)}${bias ? `, bias ${unit.text(bias, true)}` : ""} \u2192 z = ${unit.text(z, true)}${unit.unit ? ` \u00d7 ${unit.unit}` : ""}`);
    for (const one of panel.columns.slice(1)) forward.append(` \u2192 ${stage(panel, one)}`);
    backward.append(element("b", { class: "e" }, "backward "), ...backwards(panel));
    panel.root.querySelector(".readout").replaceChildren(forward, backward);
  }

  function stage(panel, one) {
    if (one.key === "p") {
      const before = panel.columns[one.number - 1];
      const won = before.stops && panel.value("o", before.key);
      const words = one.operator.includes("max") ? (won ? "it wins its pool" : "it loses its pool to") : "its pool's mean is";
      return won && one.operator.includes("max") ? words : `${words} ${brief(panel.value("v", "p"))}`;
    }
    return `${nameOf(one).split(" =")[0]} = ${brief(panel.value("v", one.key))}`;
  }

  function backwards(panel) {
    const found = [], error = panel.value("e", "z");
    const steps = [...panel.columns].reverse().filter((one) => panel.map("e", one.key).values.some(isFinite));
    steps.forEach((one, i) => {
      const value = panel.value("e", one.key);
      if (i === 0) { found.push(`${brief(value)} ${one.key === "z" ? "at z" : "from above"}`); return; }
      const is = panel.value("o", one.key), next = panel.columns[one.number + 1];
      const how = !one.stops ? "" : next.key === "p" ? (is ? "it won its pool: " : "it lost its pool: ") : is ? "passed by the slope: " : "slope 0, nothing passes: ";
      found.push(` \u2192 ${how}\u03b4 at ${one.key} = ${brief(value)}`);
    });
    if (!isFinite(error)) return [...found, "not recorded at this place."];
    const place = panel.pixel(panel.tap(panel.state.tap), panel.state.position);
    const x = place ? at(panel.read(panel.state.channel), place) : 0;
    const total = panel.isDense && !panel.state.position.length ? x * error : panel.terms(panel.state.channel).values.reduce((a, b) => a + b, 0);
    const whole = panel.weights("G", panel.state.channel)[panel.state.tap];
    found.push(`; times x = ${brief(x)} it is the term ${brief(x * error)} of ${weightName(panel)}. `);
    const cut = panel.origin ? " (in the part shown)" : "";
    found.push(panel.isDense && !panel.state.position.length ? `This image gives that one term; the whole batch sums to ${brief(whole)}.` : `Over all positions this image gives ${brief(total)}${cut}; the whole batch ${brief(whole)}.`);
    return found;
  }

  // --- choices

  function select(panel, label, options, current, change) {
    const id = `bench-${panel.number}-${label.replace(/\W/g, "")}`;
    const box = element("select", { id, "data-choice": label }, ...options.map((text) => element("option", {}, text)));
    box.selectedIndex = current;
    box.addEventListener("change", () => { change(box.selectedIndex); panel.pinned = null; render(panel); });
    return element("label", { for: id }, `${label} `, box);
  }

  function choosers(panel) {
    const { state } = panel, place = panel.root.querySelector(".choosers");
    const parts = [];
    if (panels.length > 1) {
      const names = panels.map((one) => one.layer);
      parts.push(select(panel, "layer", names, panel.number, (i) => showPanel(i)));
    }
    parts.push(select(panel, "step", panel.steps.map((k, i) => k.toLocaleString("en") + (i === panel.first.step && panel.is_trained ? " (moved it most)" : "")), state.step, (i) => {
      state.step = i;
      state.image = Math.min(state.image, panel.images[i].length - 1);
    }));
    parts.push(select(panel, panel.isDense ? "unit" : "filter", panel.filters.map(String), state.filter, (i) => { state.filter = i; }));
    if (panel.slicesThere() > 1) parts.push(select(panel, "input channel", panel.slices().map(String), state.channel, (i) => { state.channel = i; }));
    parts.push(select(panel, "image", imageNames(panel), state.image, (i) => { state.image = i; }));
    place.replaceChildren(...parts);
  }

  function imageNames(panel) {
    const labels = panel.labels[panel.state.step];
    return panel.images[panel.state.step].map((image, i) => `${image}${labels ? ` (class ${labels[i]})` : ""}`);
  }

  // Options follow the step and the filter; the selects themselves stay, and keep the focus.
  function syncSelects(panel) {
    const { state } = panel;
    const put = (name, texts, index) => {
      const box = panel.root.querySelector(`select[data-choice="${name}"]`);
      if (!box) return;
      const now = Array.from(box.options, (option) => option.textContent);
      if (texts && now.join("\n") !== texts.join("\n")) box.replaceChildren(...texts.map((text) => element("option", {}, text)));
      box.selectedIndex = index;
    };
    put("step", null, state.step);
    put(panel.isDense ? "unit" : "filter", null, state.filter);
    put("input channel", panel.slices().map(String), state.channel);
    put("image", imageNames(panel), state.image);
    put("layer", null, panel.number);
  }

  function showPanel(number) {
    panels.forEach((one, i) => { one.root.hidden = i !== number; });
    choosers(panels[number]);
    render(panels[number]);
    panels[number].root.querySelector('select[data-choice="layer"]')?.focus();
  }

  const panels = data.panels.map((about, number) => {
    const panel = new Panel({ ...about, slices_there: about.slices, slices: undefined }, document.querySelector(`[data-panel="${number}"]`));
    delete panel.slices;
    panel.number = number;
    return panel;
  });
  showPanel(0);
  document.activeElement?.blur?.();
  scheme.addEventListener("change", () => panels.filter((one) => !one.root.hidden).forEach((one) => render(one)));
})();
