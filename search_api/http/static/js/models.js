// Models: what searches use, whether it is loaded, how it is calibrated.

import * as api from "./api.js";
import { h } from "./dom.js";
import { percent } from "./format.js";

export function modelsPanel(panel) {
  const list = h("ul", { class: "cards" });
  panel.append(list);
  load(list);
}

async function load(list) {
  try {
    const [{ models }, ready] = await Promise.all([api.get("/v1/models"), fetch(api.here("/readyz"))]);
    list.replaceChildren(...models.map((model) => h("li", { class: "card-item" },
      h("div", { class: "card-head" }, h("h3", {}, model.name), h("span", { class: "tag" }, model.loaded ? (ready.ok ? "ready" : "loading") : "kept for albums")),
      h("dl", { class: "facts" }, facts(model).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))))));
  } catch (error) {
    list.replaceChildren(h("li", { class: "hint" }, error.message));
  }
}

function facts(model) {
  return [
    ["Role", model.default ? "new albums and searches" : "albums that it indexed"],
    ["Matches from", model.threshold === null ? null : `${percent(model.threshold)} confidence`],
    ["Calibration", model.calibration_revision],
    ["Albums", model.albums.join(", ") || "none"],
    ["Features", model.fingerprints.tokens?.slice(0, 12)],
  ].filter(([, value]) => value);
}
