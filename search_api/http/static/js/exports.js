// A search's matches to take away, as photos and for other programs: a menu of downloads.

import * as api from "./api.js";
import { $, h } from "./dom.js";
import { may } from "./session.js";
import { say } from "./words.js";

/** @type {[string, "originals" | "gallery" | "sidecars"][]} */
const PHOTOS = [["originals.zip", "originals"], ["gallery.zip", "gallery"], ["sidecars.zip", "sidecars"]];
const FORMS = [
  ["coco.json", "COCO", say("take.coco")],
  ["grefcoco.zip", "gRefCOCO", say("take.grefcoco")],
  ["hits.csv", "CSV", say("take.csv")],
  ["sheet.jpg", say("take.sheet"), say("take.sheetText")],
];

export function installExports() {
  const menu = $("exports");
  const close = () => { menu.open = false; };
  addEventListener("click", (event) => { if (!menu.contains(event.target)) close(); });
  menu.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && menu.open) {
      event.stopPropagation();
      close();
      menu.firstElementChild.focus();
    }
  });
  $("export-list").addEventListener("click", close);
}

/** Offer exports of what is shown or selected of an ended run; verdicts of its album too, once there are some. */
export function drawExports(run, marked, chosen) {
  const narrowed = new URLSearchParams();
  if (chosen.least !== null) narrowed.set("least", chosen.least);
  for (const photo of chosen.photos ?? []) narrowed.append("photo", photo);
  const which = narrowed.size ? `?${narrowed}` : "";
  const key = `${run.id} ${marked} ${which} ${chosen.text}`;
  if ($("exports").dataset.of === key) return;
  $("exports").dataset.of = key;
  const item = (href, name, label, text) => h("li", {}, h("a", { href: api.here(href), download: name }, h("b", {}, label), h("span", {}, text)));
  const stem = run.expression.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "");
  const taken = (/** @type {(typeof PHOTOS)[number]} */ [file, kind]) => item(`/v1/search/${run.id}/take-away.zip?${new URLSearchParams([["kind", kind], ...narrowed])}`, `${stem}-${file}`, say(`take.${kind}`), say(`take.${kind}Text`));
  const cut = h("li", {}, h("button", { type: "button", onclick: () => $("cut").click() }, h("b", {}, say("take.cut")), h("span", {}, say("take.cutText"))));
  const [originals, ...others] = PHOTOS.map(taken);
  const items = [originals, may("write") ? cut : null, ...others, h("li", { class: "hint" }, say("take.programs")), ...FORMS.map(([file, label, text]) => item(`/v1/search/${run.id}/${file}${which}`, `${stem}-${file}`, label, text))];
  if (marked && run.album) items.push(item(`/v1/marks/grefcoco.zip${api.query({ album: run.album })}`, `${run.album}-marks.zip`, say("take.marks"), say("take.marksText")));
  $("export-list").replaceChildren(h("li", { class: "hint" }, chosen.text), ...items.filter(Boolean));
}
