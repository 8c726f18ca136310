/** Starts the page: over the server that sent it, or over the answers that its file holds. */
import { embedded, server } from "kl/data";
import { mount } from "kl/app";

const held = document.getElementById("kl-answers");
const source = held ? embedded(JSON.parse(held.textContent ?? "{}")) : server(new URL("api/v1/", location.href).pathname);
const address = {
  read: () => location.hash,
  write(/** @type {string} */ text) {
    try {
      history.replaceState(null, "", `#${text}`);
    } catch {
      // A page inside a frame of a notebook has no address of its own.
    }
  },
};

const root = /** @type {HTMLElement} */ (document.getElementById("kl"));
const app = await mount(root, { source, address });
addEventListener("hashchange", () => app.state.reread());
Object.assign(globalThis, { microscope: app });
