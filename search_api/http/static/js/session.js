// Who is signed in. An API key is exchanged for a cookie that scripts cannot read.

import * as api from "./api.js";
import { $, toast } from "./dom.js";
import { say } from "./words.js";

let session = { name: "", scopes: [], keys_required: false, server_folders: false };

export const may = (scope) => session.scopes.includes(scope);
export const mayAddFolders = () => may("admin") && session.server_folders;

/** Find out who we are, asking for a key if need be; `ready` runs after each sign-in. */
export async function installSession(ready) {
  api.onSignedOut(ask);
  $("sign-in-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const error = $("sign-in-error");
    error.hidden = true;
    try {
      enter(await api.post("/v1/session", { key: $("key").value.trim() }));
      $("key").value = "";
      $("sign-in").close();
      ready();
    } catch (problem) {
      error.textContent = problem.message;
      error.hidden = false;
    }
  });
  $("sign-in").addEventListener("cancel", (event) => event.preventDefault());
  $("account").addEventListener("click", async () => {
    await api.remove("/v1/session");
    location.assign("./");
  });
  try {
    enter(await api.get("/v1/session"));
    ready();
  } catch (problem) {
    if (problem.status !== 401) toast(problem.message, "bad");
  }
}

function enter(found) {
  session = found;
  $("account").hidden = !found.keys_required;
  $("account").title = say("session.out", { name: found.name });
  $("account").setAttribute("aria-label", $("account").title);
  document.body.dataset.scopes = found.scopes.join(" ");
}

function ask() {
  if (!$("sign-in").open) $("sign-in").showModal();
}
