/**
 * The page inside a notebook cell. The sources come as text: one blob URL a module, in the order of their
 * imports, so that every module exists once; then the page is put into a shadow root, where styles stay its own.
 */

/** @param {Record<string, string>} sources @returns {Promise<any>} exports of kl/app and kl/data */
async function load(sources) {
  /** @type {Record<string, string>} */ const urls = {};
  const visit = (/** @type {string} */ name) => {
    if (urls[name]) return urls[name];
    const text = sources[name].replace(/(from\s*")kl\/([\w-]+)(")/g, (_, before, other, after) => before + visit(other) + after);
    urls[name] = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    return urls[name];
  };
  const modules = await Promise.all(["app", "data"].map((name) => import(visit(name))));
  return Object.assign({}, ...modules);
}

/** @param {{model: any, el: HTMLElement}} given by anywidget */
async function render({ model, el }) {
  const { mount, embedded } = await load(model.get("_sources"));
  const place = document.createElement("div");
  const root = document.createElement("div");
  const style = document.createElement("style");
  style.textContent = model.get("_style");
  place.attachShadow({ mode: "open" }).append(style, root);
  el.append(place);
  let kept = model.get("_address") ?? "";
  const address = { read: () => kept, write: (/** @type {string} */ text) => (kept = text) };
  await mount(root, { source: embedded(model.get("_answers")), address, isInside: true });
}

export default { render };
