// What the model that serves an album can do, said where one searches.

import * as api from "./api.js";
import { $, h } from "./dom.js";
import { noted } from "./words.js";

/** Fetch and show the model's card of an album, or the default model's of all albums. */
export async function loadServed() {
  const { id } = $("album").selectedOptions[0].dataset;
  const asked = id ?? "";
  const found = await modelOf(id);
  if (asked !== ($("album").selectedOptions[0].dataset.id ?? "")) return;
  $("served").hidden = !found.summary;
  $("served").replaceChildren(...cardOf(found));
}

/** What is known of the model that serves an album, or of the default one. */
export const modelOf = async (id) => (id ? api.get(`/v1/albums/${id}/model`) : defaultOf(await api.get("/v1/models")));

function defaultOf({ models }) {
  const model = models.find((each) => each.default) ?? {};
  return { ...model, model: model.name, notes: [] };
}

/** A model's card in sentences, with what should be known of this album. */
function cardOf({ model, summary, limits, notes }) {
  return [
    summary ? h("p", {}, h("b", {}, model), " ", lowered(summary)) : null,
    limits ? h("p", {}, limits) : null,
    ...notes.map((note) => h("p", { class: `note ${note.code}` }, noted(note))),
  ].filter(Boolean);
}

const lowered = (sentence) => sentence.charAt(0).toLowerCase() + sentence.slice(1);
