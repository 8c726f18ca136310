// Search for pages that are opened as files: browsers start no Worker from file:, so a hidden frame plays one.
(function () {
  "use strict";
  if (location.protocol !== "file:") return;

  function load(target, url) {
    return new Promise((done, failed) => {
      const script = target.document.createElement("script");
      script.src = url;
      script.onload = done;
      script.onerror = () => failed(new Error(`could not load ${url}`));
      target.document.body.append(script);
    });
  }

  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inside = frame.contentWindow;
      // What a worker knows: a way to answer, and a way to load more scripts, here one after the other.
      inside.postMessage = (data) => this.answer(new MessageEvent("message", { data }));
      inside.importScripts = (...urls) => urls.reduce((last, one) => last.then(() => load(inside, one)), Promise.resolve());
      this.frame = frame;
      this.onmessage = this.onerror = null;
      this.ready = load(inside, new URL(url, location.href).href);
      this.ready.catch((error) => this.onerror && this.onerror(new ErrorEvent("error", { error })));
    }

    answer(event) {
      if (this.onmessage) this.onmessage(event);
      this.dispatchEvent(event);
    }

    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.frame.remove();
    }
  };
})();
