/** Small helpers for the document: elements, in-place changes that touch nothing when nothing changed, lists. */

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Record<string, any>} Attributes */

/**
 * An element. Attributes named on... are listeners, `text` is its text, false and null are left out.
 * @param {string} tag @param {Attributes} [attributes] @param {...(Node | string | null | undefined | false)} children
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. @param {string} tag @param {Attributes} [attributes] @param {...any} children @returns {any} */
export function s(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** @param {Element} element @param {Attributes} attributes @param {any[]} children */
function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else attribute(element, name, value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

/** Set an attribute if it is another; null and false remove it. @param {Element} element @param {string} name @param {any} value */
export function attribute(element, name, value) {
  if (value == null || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

/** @param {Element} element @param {Attributes} values */
export function attributes(element, values) {
  for (const name in values) attribute(element, name, values[name]);
}

/** Set the text if it is another. @param {Element} element @param {string} text */
export function text(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Show or hide; for SVG as well, which knows no property of that name. @param {Element} element @param {boolean} shown */
export function show(element, shown) {
  attribute(element, "hidden", !shown);
}

/**
 * Text with marked words: parts are strings or [family, text], where the family is "W", "A", "E" or "b".
 * Rebuilt only when it reads otherwise.
 * @param {Element} element @param {(string | [string, string])[]} parts
 */
export function rich(element, parts) {
  const key = JSON.stringify(parts);
  if (/** @type {any} */ (element)._rich === key) return;
  /** @type {any} */ (element)._rich = key;
  element.replaceChildren(
    ...parts.map((part) => {
      if (typeof part === "string") return document.createTextNode(part);
      return h("b", { class: part[0] === "b" ? null : part[0], text: part[1] });
    }),
  );
}

/**
 * Keep a list of children in step with a list of keys: children are reused, made and removed, never rebuilt.
 * @template T
 * @param {Element} parent @param {T[]} items @param {(item: T, index: number) => Element} make
 * @param {(element: any, item: T, index: number) => void} update
 */
export function children(parent, items, make, update) {
  while (parent.children.length > items.length) parent.lastElementChild?.remove();
  items.forEach((item, index) => {
    let child = parent.children[index];
    if (!child) {
      child = make(item, index);
      parent.append(child);
    }
    update(child, item, index);
  });
}

/**
 * Arrow keys in a listbox: one stop for tab, arrows move and choose.
 * @param {HTMLElement} list @param {() => number} columns of a row
 */
export function roving(list, columns) {
  list.addEventListener("keydown", (event) => {
    if (event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) return;
    const options = /** @type {HTMLElement[]} */ ([...list.querySelectorAll("[role=option]")]);
    const at = options.indexOf(/** @type {any} */ (event.target));
    /** @type {Record<string, number>} */
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() };
    const target = event.key in moves ? at + moves[event.key] : { Home: 0, End: options.length - 1 }[event.key];
    if (target == null || at < 0) return;
    event.preventDefault();
    event.stopPropagation();
    const next = options[target];
    if (!next) return;
    next.focus();
    next.click();
  });
}

/** Mark the chosen option of a listbox, and make it the stop for tab. @param {Element} list @param {number} chosen */
export function choose(list, chosen) {
  const options = [...list.children];
  const stop = chosen >= 0 && chosen < options.length ? chosen : 0;
  options.forEach((option, index) => {
    attribute(option, "aria-selected", String(index === chosen));
    attribute(option, "tabindex", index === stop ? 0 : -1);
  });
}

/** Call at most once a frame, with the last arguments. @template {any[]} A @param {(...values: A) => void} call */
export function perFrame(call) {
  /** @type {A | null} */ let waiting = null;
  return (/** @type {A} */ ...values) => {
    const isWaiting = waiting !== null;
    waiting = values;
    if (!isWaiting) {
      requestAnimationFrame(() => {
        const now = /** @type {A} */ (waiting);
        waiting = null;
        call(...now);
      });
    }
  };
}
