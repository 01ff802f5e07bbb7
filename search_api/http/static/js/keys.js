// Keys of the API: make one, give it another secret, revoke it. For admins.

import * as api from "./api.js";
import { ask, h, toast } from "./dom.js";
import { ago } from "./format.js";

const SCOPES = [
  ["read", "search and look"],
  ["write", "upload, mark and export as well"],
  ["admin", "everything"],
];

export function keysPanel(panel) {
  const list = h("ul", { class: "cards" });
  const told = h("div", { role: "status" });
  const draw = async () => {
    try {
      const { keys } = await api.get("/v1/keys");
      const used = keys.filter((key) => key.revoked_at === null);
      list.replaceChildren(...used.map((key) => card(key, draw, tell)));
      if (!used.length) list.append(h("li", { class: "hint" }, "There is no key yet."));
    } catch (error) {
      list.replaceChildren(h("li", { class: "hint" }, error.message));
    }
  };
  const tell = (made) => {
    told.replaceChildren(h("div", { class: "card-item" },
      h("p", {}, `The key of ${made.name}, told this once:`),
      h("code", { class: "secret", tabindex: 0 }, made.key),
      navigator.clipboard ? h("button", { type: "button", class: "small", onclick: async () => {
        await navigator.clipboard.writeText(made.key);
        toast("Copied.");
      } }, "Copy") : null));
  };
  panel.append(form(draw, tell), told, list);
  draw();
}

function form(draw, tell) {
  const name = h("input", { type: "text", maxlength: 255, required: true, placeholder: "Ann's laptop", "aria-label": "Whom or what the key is for" });
  const scope = h("select", { "aria-label": "What it may do" }, SCOPES.map(([value, what]) => h("option", { value }, `${value}: ${what}`)));
  const album = h("select", { "aria-label": "Albums that it may see" }, h("option", { value: "" }, "all albums"));
  const days = h("input", { type: "number", min: 1, max: 36500, step: 1, placeholder: "for ever", "aria-label": "Days until it ends" });
  api.get("/v1/albums").then(({ albums }) => album.append(...albums.map((each) => h("option", { value: each.name }, `only ${each.name}`))), () => {});
  return h("form", { class: "start-job", onsubmit: async (event) => {
    event.preventDefault();
    try {
      tell(await api.post("/v1/keys", {
        name: name.value,
        scopes: [scope.value],
        albums: album.value ? [album.value] : null,
        days: days.value ? Number(days.value) : null,
      }));
      name.value = "";
      await draw();
    } catch (error) {
      toast(error.message, "bad");
    }
  } },
    name,
    h("label", { class: "select" }, scope),
    h("label", { class: "select" }, album),
    days,
    h("button", { class: "primary", type: "submit" }, "Make key"));
}

function card(key, draw, tell) {
  const over = key.expires_at !== null && key.expires_at * 1000 < Date.now();
  const facts = [
    key.albums === null ? "all albums" : `only ${key.albums.join(", ") || "albums that are gone"}`,
    key.last_used_at === null ? "never used" : `used ${ago(key.last_used_at)}`,
  ];
  if (key.expires_at !== null) facts.push(`${over ? "ended" : "ends"} ${ago(key.expires_at)}`);
  const act = async (title, text, yes, work) => {
    if (!await ask(title, text, yes)) return;
    try {
      const made = await work();
      if (made?.key) tell(made);
      await draw();
    } catch (error) {
      toast(error.message, "bad");
    }
  };
  return h("li", { class: "card-item" },
    h("div", { class: "card-head" }, h("h3", {}, key.name), h("span", { class: "tag" }, key.scopes.join(", "))),
    h("p", { class: "hint" }, facts.join(" · ")),
    h("div", { class: "actions" },
      h("button", { type: "button", class: "small", onclick: () => act(`A new secret for ${key.name}?`, "The old one works no longer, and whoever is signed in with it signs in again.", "Give it one", () => api.post(`/v1/keys/${key.id}/rotate`, {})) }, "New secret"),
      h("button", { type: "button", class: "small", onclick: () => act(`Revoke the key of ${key.name}?`, "It works no longer; its history is kept.", "Revoke it", () => api.remove(`/v1/keys/${key.id}`)) }, "Revoke")));
}
