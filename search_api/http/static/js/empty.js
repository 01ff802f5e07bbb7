// What is said when nothing is shown: how far the search looked, and what one can do now.

import { $, h } from "./dom.js";
import { count, percent, plural } from "./format.js";

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
  if (search.kind === "duplicates") return [h("h2", {}, "No duplicates")];
  if (search.kind === "similar") return [h("h2", {}, "Nothing to compare with")];
  return search.minimum !== null && search.nearest().length ? null : nothing(search);
}

function tooHigh(search) {
  return [
    h("h2", {}, "All of them are below this confidence"),
    h("p", {}, `${plural(search.hits.length, "photo")} match; the most certain at ${percent(Math.max(...search.hits.map((hit) => hit.confidence)))}.`),
    h("div", { class: "actions" }, h("button", { class: "primary", onclick: () => search.setMinimum(null) }, "Show them")),
  ];
}

function nothing(search) {
  const { total, filtered, verified } = search.coverage;
  const offers = [];
  if (verified < filtered) {
    offers.push(h("button", { class: "primary", onclick: () => search.exhaustive() }, `Search all ${plural(filtered, "photo")} exhaustively`));
  }
  if (search.rejected.length && !search.askedForNear) {
    offers.push(h("button", { class: "secondary", onclick: () => search.showNearest() }, `Show the ${plural(search.rejected.length, "nearest rejected photo")}`));
  }
  return [
    h("p", { class: "figure" }, h("b", {}, count(verified)), ` of ${plural(total, "photo")} verified`),
    h("h2", {}, "Nothing here matches"),
    h("p", {}, reason(search)),
    offers.length ? h("div", { class: "actions" }, offers) : null,
  ];
}

function reason({ coverage: { total, filtered, verified }, state }) {
  if (filtered === 0) return total ? "No indexed photo passes the filters." : "There are no photos here yet.";
  if (state === "stopped") return "The search was stopped before its end.";
  if (verified < filtered) return `Only the likeliest ${count(verified)} of ${plural(filtered, "photo")} were verified.`;
  if (filtered < total) return `All ${plural(filtered, "photo")} that can be searched were verified.`;
  return "Every one of them was verified: the network looked at each photo for this expression.";
}
