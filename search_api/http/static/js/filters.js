// Which photos a search looks at: dates, path, camera, shape, place, file type, an earlier search.

import { $, all, h } from "./dom.js";
import { count } from "./format.js";
import { say } from "./words.js";

const FORMATS = [["jpeg", "JPEG"], ["heif", "HEIC"], ["png", "PNG"], ["webp", "WebP"], ["tiff", "TIFF"], ["avif", "AVIF"], ["raw", "RAW"]];
const PLACE = ["west", "south", "east", "north"];
const SIDES = { west: say("filter.west"), south: say("filter.south"), east: say("filter.east"), north: say("filter.north") };
let run = null; // { run, run_least?, run_photos? }, as the API takes them

/** Build the form; `changed` runs after every change. */
export function installFilters(changed) {
  const field = (label, control, hint, wide = "") =>
    h("label", { class: `filter ${wide}` }, h("span", {}, label), control, hint ? h("small", {}, hint) : null);
  $("filters").append(
    h("div", { class: "filter-grid" },
      field(say("filter.from"), h("input", { type: "date", id: "f-from" })),
      field(say("filter.until"), h("input", { type: "date", id: "f-until" })),
      field(say("filter.path"), h("input", { type: "text", id: "f-path", maxlength: 200, placeholder: "2024/**/*.jpg", spellcheck: "false" }), say("filter.glob"), "wide"),
      field(say("fact.camera"), h("input", { type: "text", id: "f-camera", maxlength: 100, placeholder: "Pixel" }), say("filter.part")),
      field(say("filter.shape"), h("select", { id: "f-orientation" },
        ...[["", say("filter.any")], ["landscape", say("filter.landscape")], ["portrait", say("filter.portrait")], ["square", say("filter.square")]].map(([value, label]) => h("option", { value }, label)))),
      h("fieldset", { class: "filter" }, h("legend", {}, say("filter.type")),
        h("div", { class: "chips" }, FORMATS.map(([value, label]) =>
          h("label", { class: "chip" }, h("input", { type: "checkbox", name: "format", value }), h("span", {}, label))))),
      h("fieldset", { class: "filter" }, h("legend", {}, say("filter.inside")),
        h("div", { class: "place" }, PLACE.map((side) =>
          h("input", { type: "number", id: `f-${side}`, step: "any", placeholder: SIDES[side], "aria-label": say("filter.degrees", { side: SIDES[side] }),
            min: side === "west" || side === "east" ? -180 : -90, max: side === "west" || side === "east" ? 180 : 90 })))),
    ),
    h("div", { class: "filter-foot" },
      h("span", { id: "f-run", class: "chip on", hidden: true }, say("filter.within"), " ",
        h("button", { type: "button", "aria-label": say("filter.everything"), onclick: () => { within(null); changed(); } }, "×")),
      h("button", { type: "button", class: "small", id: "f-clear", onclick: () => { clear(); changed(); } }, say("filter.clear"))),
  );
  $("filters").addEventListener("change", () => { label(); changed(); });
  $("filters").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("input")) $("ask").requestSubmit();
  });
  $("filters-toggle").addEventListener("click", () => {
    const opens = $("filters").hidden;
    $("filters").hidden = !opens;
    $("filters-toggle").setAttribute("aria-expanded", String(opens));
  });
  label();
}

/** Look only at what an earlier search shows, as `chosen` tells; null takes that back. */
export function within(runId, chosen = {}) {
  run = runId === null ? null : { run: runId };
  if (run && chosen.least != null) run.run_least = chosen.least;
  if (run && chosen.photos) run.run_photos = chosen.photos;
  $("f-run").hidden = run === null;
  label();
}

/** Look only at photos that were taken in a box. */
export function inArea(box) {
  for (const side of PLACE) $(`f-${side}`).value = box[side];
  label();
}

/** The filters as the API takes them. */
export function filters() {
  const chosen = {};
  if ($("f-from").value) chosen.taken_from = `${$("f-from").value}T00:00:00`;
  if ($("f-until").value) {
    const day = new Date(`${$("f-until").value}T00:00:00Z`);
    day.setUTCDate(day.getUTCDate() + 1);
    chosen.taken_before = day.toISOString().slice(0, 19);
  }
  if ($("f-path").value.trim()) chosen.path = $("f-path").value.trim();
  if ($("f-camera").value.trim()) chosen.camera = $("f-camera").value.trim();
  if ($("f-orientation").value) chosen.orientation = $("f-orientation").value;
  const formats = all("[name=format]:checked").map((box) => box.value);
  if (formats.length) chosen.formats = formats;
  // A box with a side missing is sent as it is, so that the answer names the side.
  const sides = PLACE.filter((side) => $(`f-${side}`).value !== "");
  if (sides.length) chosen.gps = Object.fromEntries(sides.map((side) => [side, Number($(`f-${side}`).value)]));
  Object.assign(chosen, run);
  return chosen;
}

/** Show the filters of a search that is opened again. */
export function setFilters(chosen) {
  clear();
  if (chosen.taken_from) $("f-from").value = chosen.taken_from.slice(0, 10);
  if (chosen.taken_before) {
    const day = new Date(`${chosen.taken_before.slice(0, 10)}T00:00:00Z`);
    day.setUTCDate(day.getUTCDate() - 1);
    $("f-until").value = day.toISOString().slice(0, 10);
  }
  $("f-path").value = chosen.path ?? "";
  $("f-camera").value = chosen.camera ?? "";
  $("f-orientation").value = chosen.orientation ?? "";
  for (const box of all("[name=format]")) box.checked = (chosen.formats ?? []).includes(box.value);
  for (const side of PLACE) $(`f-${side}`).value = chosen.gps?.[side] ?? "";
  within(chosen.run ?? null, { least: chosen.run_least, photos: chosen.run_photos });
}

function clear() {
  for (const control of $("filters").querySelectorAll("input, select")) {
    if (control.type === "checkbox") control.checked = false;
    else control.value = "";
  }
  within(null);
}

function label() {
  const n = Object.keys(filters()).filter((name) => !name.startsWith("run_")).length;
  $("filters-label").textContent = n ? `${say("filter.title")} · ${count(n)}` : say("filter.title");
  $("filters-toggle").classList.toggle("on", n > 0);
  $("f-clear").hidden = n === 0;
}
