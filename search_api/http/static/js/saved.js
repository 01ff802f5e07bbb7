// Searches that are kept under a name: asked again by hand, and by the server of photos that come.

import * as api from "./api.js";
import { $, ask, h, icon, toast } from "./dom.js";
import { ago } from "./format.js";
import { may } from "./session.js";
import { say } from "./words.js";

/** Let the search that is shown be saved: `shown()` gives its request. */
export function installSaving(shown) {
  $("save-word").textContent = say("saved.save");
  $("save-title").textContent = say("saved.title");
  $("save-text").textContent = say("saved.text");
  $("save-label").textContent = say("saved.name");
  $("save-yes").textContent = say("saved.yes");
  $("save-no").textContent = say("cancel");
  $("save").addEventListener("click", () => {
    $("save-name").value = shown().expression;
    $("save-dialog").showModal();
    $("save-name").select();
  });
  $("save-no").addEventListener("click", () => $("save-dialog").close());
  $("save-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const { expression, album, filters } = shown();
    try {
      await api.post("/v1/saved", { name: $("save-name").value, expression, album: album ?? null, filters: filters ?? {} });
      $("save-dialog").close();
      toast(say("saved.done"));
    } catch (error) {
      toast(error.message, "bad");
    }
  });
}

export function savedPanel(panel, host) {
  const list = h("ul", { class: "cards" });
  panel.append(h("p", { class: "hint" }, say("saved.text")), list);
  const draw = async () => {
    try {
      const { saved } = await api.get("/v1/saved");
      list.replaceChildren(...saved.map((each) => card(each, host, draw)));
      if (!saved.length) list.append(h("li", { class: "hint" }, say("saved.none")));
    } catch (error) {
      list.replaceChildren(h("li", { class: "hint" }, error.message));
    }
  };
  draw();
}

function card(saved, host, draw) {
  const at = `/v1/saved/${saved.id}`;
  const drop = async () => {
    if (!(await ask(say("saved.dropTitle", { name: saved.name }), say("saved.dropText"), say("saved.drop")))) return;
    try {
      await api.remove(at);
      await draw();
    } catch (error) {
      toast(error.message, "bad");
    }
  };
  const news = saved.news.map((each) =>
    h("li", {}, h("button", { type: "button", class: "effect", onclick: () => host.openRun(each.run) },
      say("saved.news", { n: each.matched, album: each.album ?? "" })), ` · ${ago(each.created_at)}`));
  return h("li", { class: "card-item saved" },
    h("div", { class: "card-head" }, h("h3", {}, saved.name), h("span", { class: "tag" }, saved.album ?? say("look.all"))),
    h("p", { class: "expression" }, `“${saved.expression}”`),
    news.length ? h("ul", { class: "hint" }, news) : h("p", { class: "hint" }, say("saved.noNews")),
    h("div", { class: "actions" },
      h("button", { type: "button", class: "small", onclick: () => host.askAgain(saved) }, icon("search"), say("saved.again")),
      h("a", { class: "small", href: api.here(`${at}/feed.atom`), "aria-label": say("saved.feedOf", { name: saved.name }) }, say("saved.feed")),
      may("write") ? h("button", { type: "button", class: "small danger", onclick: drop, "aria-label": say("saved.dropIt", { name: saved.name }) }, say("saved.drop")) : null),
    may("admin") ? hook(saved, at, draw) : null,
    saved.told_at ? h("p", { class: "hint" }, say("saved.told", { when: ago(saved.told_at) })) : null,
    saved.trouble ? h("p", { class: "note" }, saved.trouble, " ", saved.again_at ? say("saved.tryAgain", { when: ago(saved.again_at) }) : null) : null);
}

function hook(saved, at, draw) {
  const url = h("input", { type: "url", maxlength: 2000, value: saved.webhook ?? "", placeholder: "https://example.com/hook", "aria-label": say("saved.hookOf", { name: saved.name }) });
  return h("details", { class: "folder", open: saved.webhook !== null }, h("summary", {}, say("saved.hook")),
    h("form", { class: "inline", onsubmit: async (event) => {
      event.preventDefault();
      try {
        await api.patch(at, { webhook: url.value.trim() });
        await draw();
      } catch (error) {
        toast(error.message, "bad");
      }
    } }, url, h("button", { type: "submit", class: "small" }, say("saved.set"))));
}
