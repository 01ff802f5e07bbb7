// What is said when nothing is shown: how far the search looked, and what one can do now.

import { $, h } from "./dom.js";
import { count, percent } from "./format.js";
import { say } from "./words.js";

/** Say why a search shows nothing, or hide that part of the page. */
export function drawEmpty(search) {
  const said = saying(search);
  $("empty").hidden = said === null;
  if (said) $("empty").replaceChildren(...said.filter(Boolean));
}

function saying(search) {
  const settled = search.state === "done" || search.state === "stopped";
  if (!settled) return null;
  if (search.hits.length) return search.visible().length ? null : tooHigh(search);
  if (search.kind === "duplicates") return [h("h2", {}, say("empty.duplicates"))];
  if (search.kind === "similar") return [h("h2", {}, say("empty.similar"))];
  return search.minimum !== null && search.nearest().length ? null : nothing(search);
}

function tooHigh(search) {
  return [
    h("h2", {}, say("empty.below")),
    h("p", {}, say("empty.most", { n: search.hits.length, at: percent(Math.max(...search.hits.map((hit) => hit.confidence))) })),
    h("div", { class: "actions" }, h("button", { class: "primary", onclick: () => search.setMinimum(null) }, say("empty.show"))),
  ];
}

function nothing(search) {
  const { total, filtered, verified } = search.coverage;
  const offers = [];
  if (verified < filtered) {
    offers.push(h("button", { class: "primary", onclick: () => search.exhaustive() }, say("empty.exhaustive", { n: filtered })));
  }
  if (search.rejected.length && !search.askedForNear) {
    offers.push(h("button", { class: "secondary", onclick: () => search.showNearest() }, say("empty.nearest", { n: search.rejected.length })));
  }
  return [
    h("p", { class: "figure" }, h("b", {}, count(verified)), say("empty.verified", { n: total })),
    h("h2", {}, say("empty.nothing")),
    h("p", {}, reason(search)),
    offers.length ? h("div", { class: "actions" }, offers) : null,
  ];
}

function reason({ coverage: { total, filtered, verified }, state, notes }) {
  if (notes.some((note) => note.code === "unsure")) return say("empty.unsure");
  if (filtered === 0) return say(total ? "empty.filtered" : "empty.none");
  if (state === "stopped") return say("empty.stopped");
  if (verified < filtered) return say("empty.likeliest", { verified, n: filtered });
  if (filtered < total) return say("empty.all", { n: filtered });
  return say("empty.every");
}
