// A released network as verifier: offered only where one was imported, with a limit of seconds.

import * as api from "./api.js";
import { $, h } from "./dom.js";
import { say } from "./words.js";

let chosen = "";

export async function loadVerifiers() {
  const { verifiers } = await api.get("/v1/models");
  $("verifier").replaceChildren(h("option", { value: "" }, say("verify.cached")), ...verifiers.map((name) => h("option", { value: name }, name)));
  $("verifier-choice").hidden = !verifiers.length;
  chooseVerifier(chosen);
}

export function installVerifier() {
  $("verifier").addEventListener("change", () => chooseVerifier($("verifier").value));
}

/** What a request says of the verifier; nothing where the cached features decide. */
export function verification() {
  const verifier = $("verifier").value;
  if (!verifier) return {};
  const seconds = Number($("seconds").value);
  return seconds > 0 ? { verifier, seconds } : { verifier };
}

/** Set the form to a verifier, such as a run's, as soon as it is offered; else to none. */
export function chooseVerifier(name) {
  chosen = name;
  $("verifier").value = [...$("verifier").options].some((option) => option.value === name) ? name : "";
  drawBudget();
}

function drawBudget() {
  $("budget").hidden = !$("verifier").value;
}
