// The step slider over the kernels, and the choice of a weight and a step. All text is there without this script.
"use strict";
(function () {
  document.documentElement.classList.remove("no-script");
  document.querySelectorAll(".choice").forEach(choose);

  // One of several parts is shown, as the select says; without this script the others stand in a <details>.
  function choose(group) {
    const select = group.querySelector(":scope > .chooser select");
    const others = group.querySelector(":scope > details.others");
    const parts = Array.from(group.querySelectorAll(":scope > .part, :scope > details.others > .part"));
    group.append(...parts);
    others.remove();
    function pick() { parts.forEach((part, i) => { part.hidden = i !== select.selectedIndex; }); }
    select.addEventListener("change", pick);
    pick();
  }

  const source = document.getElementById("film-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const slider = document.getElementById("step");
  const where = document.getElementById("where");
  const play = document.getElementById("play");
  const last = data.steps.length - 1;

  function floats(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
  }

  const films = data.films.map((film) => ({
    ...film,
    values: floats(film.values),
    biases: floats(film.biases),
    cells: Array.from(document.querySelectorAll(`[data-film="${CSS.escape(film.layer)}"] td`)),
    biasCells: Array.from(document.querySelectorAll(`[data-film="${CSS.escape(film.layer)}"] .bias`)),
  }));

  function text(value) {
    const digits = value.toFixed(3);
    return Number(digits) === 0 ? "0.000" : digits.replace("-", "\u2212");
  }

  function draw(film, frame) {
    film.cells.forEach((cell, i) => {
      const value = film.values[frame * film.numbers + i];
      const share = Math.abs(value) / film.limit;
      if (film.hasText) cell.textContent = text(value);
      else cell.title = text(value);
      const token = value >= 0 ? "wp" : "wn";
      const marks = ["l", "d"].filter((_, k) => share >= data.crossings[token][k]);
      cell.className = [token, ...marks].join(" ");
      cell.style.setProperty("--t", `${Math.round(100 * share ** 0.85)}%`);
    });
    film.biasCells.forEach((cell, i) => {
      cell.textContent = text(film.biases[frame * film.biasCells.length + i]);
    });
  }

  const heads = Array.from(document.querySelectorAll("th[data-frame]"));
  function show(frame) {
    slider.value = String(frame);
    for (const head of heads) {
      const near = heads.filter((one) => one.parentNode === head.parentNode && Number(one.dataset.frame) <= frame);
      head.classList.toggle("now", near[near.length - 1] === head);
    }
    const words = `step ${data.steps[frame].toLocaleString("en")}, ${data.notes[frame]}`;
    where.textContent = words;
    slider.setAttribute("aria-valuetext", words);
    films.forEach((film) => draw(film, frame));
  }

  function go(frame) {
    const wanted = Math.min(last, Math.max(0, frame));
    show(wanted);
    try {
      history.replaceState(null, "", `#step=${data.steps[wanted]}`);
    } catch (error) {
      // A page that is not at an address of its own cannot have one; the slider works all the same.
    }
  }

  let timer = null, isTouched = false;
  function stop() {
    isTouched = true;
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
  }
  function toggle() {
    if (timer !== null) return stop();
    if (Number(slider.value) === last) show(0);
    // About twelve seconds for the whole training, at most twenty frames a second.
    const stride = Math.max(1, Math.round(last / 240));
    timer = setInterval(() => {
      const next = Number(slider.value) + stride;
      go(next);
      if (next >= last) stop();
    }, Math.max(50, 12000 / Math.max(1, last)));
    play.textContent = "Pause";
    play.setAttribute("aria-pressed", "true");
  }

  slider.addEventListener("input", () => { stop(); go(Number(slider.value)); });
  play.addEventListener("click", toggle);
  document.querySelectorAll(".tiles").forEach((tiles) => tiles.addEventListener("pointerenter", () => timer && stop()));
  document.addEventListener("keydown", (event) => {
    const target = event.target;
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    // The slider moves itself with arrows, but has no use for the space bar.
    const isOwn = target === slider ? event.key !== " " : /^(INPUT|BUTTON|SELECT|SUMMARY|A)$/.test(target.tagName);
    if (isOwn) return;
    if (target.closest && target.closest(".scroll")) return;
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (move) { event.preventDefault(); stop(); go(Number(slider.value) + move); }
    const box = document.getElementById("kernels").getBoundingClientRect();
    const isSeen = box.top < innerHeight && box.bottom > 0;
    if (event.key === " " && (isSeen || target === slider)) { event.preventDefault(); toggle(); }
  });

  function fromAddress() {
    const found = /^#step=(\d+)$/.exec(location.hash);
    if (!found) return;
    const at = data.steps.findIndex((step) => step >= Number(found[1]));
    show(at < 0 ? last : at);
  }
  addEventListener("hashchange", fromAddress);
  show(0);
  fromAddress();
  // It plays once, from the random start on, when the kernels are first seen.
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (!isCalm && Number(slider.value) === 0 && "IntersectionObserver" in window) {
    const watch = new IntersectionObserver(([seen]) => {
      if (!seen.isIntersecting) return;
      watch.disconnect();
      if (!isTouched && timer === null) toggle();
    }, { threshold: 0.6 });
    watch.observe(document.querySelector("#kernels .tiles"));
  }
})();
