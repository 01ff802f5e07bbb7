// Keys of the API: make one, give it another secret, revoke it. For admins.

import * as api from "./api.js";
import { ask, h, toast } from "./dom.js";
import { ago } from "./format.js";
import { say } from "./words.js";

const SCOPES = [
  ["read", say("key.read")],
  ["write", say("key.write")],
  ["admin", say("key.admin")],
];

export function keysPanel(panel) {
  const list = h("ul", { class: "cards" });
  const told = h("div", { role: "status" });
  const draw = async () => {
    try {
      const { keys } = await api.get("/v1/keys");
      const used = keys.filter((key) => key.revoked_at === null);
      list.replaceChildren(...used.map((key) => card(key, draw, tell)));
      if (!used.length) list.append(h("li", { class: "hint" }, say("key.none")));
    } catch (error) {
      list.replaceChildren(h("li", { class: "hint" }, error.message));
    }
  };
  const tell = (made) => {
    told.replaceChildren(h("div", { class: "card-item" },
      h("p", {}, say("key.once", { name: made.name })),
      h("code", { class: "secret", tabindex: 0 }, made.key),
      navigator.clipboard ? h("button", { type: "button", class: "small", onclick: async () => {
        await navigator.clipboard.writeText(made.key);
        toast(say("key.copied"));
      } }, say("key.copy")) : null));
  };
  panel.append(form(draw, tell), told, list);
  draw();
}

function form(draw, tell) {
  const name = h("input", { type: "text", maxlength: 255, required: true, placeholder: say("key.example"), "aria-label": say("key.name") });
  const scope = h("select", { "aria-label": say("key.may") }, SCOPES.map(([value, what]) => h("option", { value }, `${value}: ${what}`)));
  const album = h("select", { "aria-label": say("key.sees") }, h("option", { value: "" }, say("look.all")));
  const days = h("input", { type: "number", min: 1, max: 36500, step: 1, placeholder: say("key.forEver"), "aria-label": say("key.days") });
  api.get("/v1/albums").then(({ albums }) => album.append(...albums.map((each) => h("option", { value: each.name }, say("key.only", { albums: each.name })))), () => {});
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
    h("button", { class: "primary", type: "submit" }, say("key.make")));
}

function card(key, draw, tell) {
  const over = key.expires_at !== null && key.expires_at * 1000 < Date.now();
  const facts = [
    key.albums === null ? say("look.all") : say("key.only", { albums: key.albums.join(", ") || say("key.gone") }),
    key.last_used_at === null ? say("key.unused") : say("key.used", { when: ago(key.last_used_at) }),
  ];
  if (key.expires_at !== null) facts.push(say(over ? "key.ended" : "key.ends", { when: ago(key.expires_at) }));
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
      h("button", { type: "button", class: "small", onclick: () => act(say("key.rotateTitle", { name: key.name }), say("key.rotateText"), say("key.rotateYes"), () => api.post(`/v1/keys/${key.id}/rotate`, {})) }, say("key.rotate")),
      h("button", { type: "button", class: "small", onclick: () => act(say("key.revokeTitle", { name: key.name }), say("key.revokeText"), say("key.revokeYes"), () => api.remove(`/v1/keys/${key.id}`)) }, say("key.revoke"))));
}
