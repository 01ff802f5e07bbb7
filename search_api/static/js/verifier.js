// A released network as verifier: offered only where one was imported, with a limit of seconds.

import * as api from "./api.js";
import { $, h } from "./dom.js";

export async function loadVerifiers() {
  const { verifiers } = await api.get("/v1/models");
  const chosen = $("verifier").value;
  $("verifier").replaceChildren(h("option", { value: "" }, "Cached features"), ...verifiers.map((name) => h("option", { value: name }, name)));
  $("verifier").value = verifiers.includes(chosen) ? chosen : "";
  $("verifier-choice").hidden = !verifiers.length;
  drawBudget();
}

export function installVerifier() {
  $("verifier").addEventListener("change", drawBudget);
}

/** What a request says of the verifier; nothing where the cached features decide. */
export function verification() {
  const verifier = $("verifier").value;
  if (!verifier) return {};
  const seconds = Number($("seconds").value);
  return seconds > 0 ? { verifier, seconds } : { verifier };
}

function drawBudget() {
  $("budget").hidden = !$("verifier").value;
}
