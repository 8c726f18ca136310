/** How the run stands, in the line at the top; and what stands in the place of what is not there. */
import { attribute, h } from "kl/dom";
import { count, percent } from "kl/format";
import { scalar } from "kl/time";

/** @param {any} page @param {any} frame */
export function showFacts(page, frame) {
  const { about } = page.run;
  const place = page.find("facts");
  const problems = about.problems ?? [];
  const parts = factsOf(page, frame);
  const key = JSON.stringify([parts, problems.length, page.live.trouble]);
  if (place._told === key) return;
  place._told = key;
  attribute(place, "title", page.about.holds ?? null);
  // What is wrong comes first: a line without room for all is cut at its end.
  const facts = parts.map((part) => (Array.isArray(part) ? h("span", { class: part[0], text: part[1] }) : part));
  const wrong = [];
  if (page.live.trouble) wrong.push(h("span", { class: "alert", role: "alert", text: page.live.trouble }), " · ");
  if (problems.length) wrong.push(h("button", { class: "alert lnk", type: "button", onclick: () => openProblems(page, problems), text: `${count(problems.length)} damaged record${problems.length > 1 ? "s" : ""}` }), " · ");
  place.replaceChildren(...wrong, ...facts);
}

/** @param {any} page @param {any} frame @returns {(string | [string, string])[]} */
function factsOf(page, frame) {
  const { about } = page.run;
  /** @type {(string | [string, string])[]} */ const parts = about.status === "recording" ? [["live", "training"], page.live.isFollowing ? ", the page follows" : ""] : [about.status];
  if (about.parameters) parts.push(` · ${count(about.parameters)} weights`);
  const accuracy = ["val_accuracy", "test_accuracy"].map((name) => scalar(frame, name)).find(Boolean);
  if (accuracy?.values.length && !page.about.holds) parts.push(` · validation ${percent(accuracy.values[accuracy.values.length - 1])}`);
  if (page.about.holds) parts.push(` · ${page.about.holds}`);
  return parts;
}

/** @param {any} page @param {string[]} problems */
function openProblems(page, problems) {
  page.dialogs.open("What is damaged in this run", h("ul", { class: "plain" }, problems.map((line) => h("li", { text: line }))), h("p", { class: "note", text: "Damaged records are left out; the rest of the page is sound." }));
}

/**
 * Why something is not there, and the nearest step that has it.
 * @param {any} page @param {any} element @param {any} missing @param {boolean} isBox
 */
export function offer(page, element, missing, isBox) {
  const key = JSON.stringify([missing, page.state.pinned.step]);
  if (element._offer === key) return;
  element._offer = key;
  attribute(element, "role", missing.isBroken ? "alert" : null);
  const steps = waysOf(page, missing);
  element.replaceChildren(missing.isBroken ? h("b", { text: missing.why }) : missing.why, isBox ? h("br") : " ", ...steps.flatMap((one, at) => (at ? [" · ", one] : [one])));
}

/** @param {any} page @param {any} missing @returns {HTMLElement[]} */
function waysOf(page, missing) {
  const link = (/** @type {string} */ words, /** @type {() => void} */ does) => h("button", { class: "lnk", type: "button", onclick: does, text: words });
  const to = (/** @type {number} */ step, /** @type {string} */ words) => link(words, () => page.go(step, { source: "batch" }));
  if (missing.isProbe) return [link("Choose an image of the batch", () => page.choose({ source: "batch" }))];
  const found = [];
  if (missing.before != null) found.push(to(missing.before, `← step ${count(missing.before)}`));
  if (missing.after != null) found.push(to(missing.after, `step ${count(missing.after)} →`));
  if (!found.length && missing.nearest != null) found.push(to(missing.nearest, `step ${count(missing.nearest)}`));
  return found;
}
