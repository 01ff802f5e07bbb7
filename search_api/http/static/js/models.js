// Models: what searches use, whether it is loaded, how it is calibrated.

import * as api from "./api.js";
import { h } from "./dom.js";
import { percent } from "./format.js";
import { say } from "./words.js";

export function modelsPanel(panel) {
  const list = h("ul", { class: "cards" });
  panel.append(list);
  load(list);
}

async function load(list) {
  try {
    const [{ models }, ready] = await Promise.all([api.get("/v1/models"), fetch(api.here("/readyz"))]);
    list.replaceChildren(...models.map((model) => h("li", { class: "card-item" },
      h("div", { class: "card-head" }, h("h3", {}, model.name), h("span", { class: "tag" }, say(model.loaded ? (ready.ok ? "model.ready" : "model.loading") : "model.kept"))),
      h("dl", { class: "facts" }, facts(model).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))))));
  } catch (error) {
    list.replaceChildren(h("li", { class: "hint" }, error.message));
  }
}

function facts(model) {
  return [
    [say("model.role"), say(model.default ? "model.default" : "model.indexed")],
    [say("model.from"), model.threshold === null ? null : percent(model.threshold)],
    [say("model.calibration"), model.calibration_revision],
    [say("drawer.albums"), model.albums.join(", ") || say("model.none")],
    [say("model.features"), model.fingerprints.tokens?.slice(0, 12)],
  ].filter(([, value]) => value);
}
