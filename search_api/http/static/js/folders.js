// The folders of an album: whether each is there, and, where the server's settings allow, another one to scan.

import * as api from "./api.js";
import { ask, h, toast } from "./dom.js";
import { ago } from "./format.js";
import { may, mayAddFolders } from "./session.js";
import { say } from "./words.js";

/** Folders, fetched when one looks, and a form for another one. `changed` runs when one was taken off. */
export function foldersOf(album, host, changed) {
  const list = h("ul", { class: "roots" });
  const fetch = async () => {
    try {
      const { folders } = await api.get(`/v1/albums/${album.id}/folders`);
      list.replaceChildren(...folders.map((folder) => line(album, folder, host, changed)));
      if (!folders.length) list.append(h("li", { class: "hint" }, say("folders.none")));
    } catch (error) {
      list.replaceChildren(h("li", { class: "hint" }, error.message));
    }
  };
  return h("details", { class: "folder", ontoggle: (event) => { if (event.target.open) fetch(); } },
    h("summary", { "aria-label": say("folders.of", { name: album.name }) }, say("folders.title")), list, mayAddFolders() ? form(album, host) : null);
}

function line(album, folder, host, changed) {
  const name = folder.uploads ? say("folders.uploads") : folder.path ?? say("folders.server");
  const state = folder.online
    ? say("folders.online")
    : folder.seen_at === null ? say("folders.never") : say("folders.offline", { since: ago(folder.seen_at) });
  const drop = async () => {
    const warning = [say("folders.dropText"), folder.marks ? say("folders.dropMarks", { n: folder.marks }) : null].filter(Boolean).join(" ");
    if (!(await ask(say("folders.dropTitle", { name }), warning, say("folders.drop")))) return;
    try {
      await api.remove(`/v1/albums/${album.id}/folders/${folder.id}`);
      await changed();
      host.albumsChanged();
    } catch (error) {
      toast(error.message, "bad");
    }
  };
  return h("li", {},
    h("p", { class: "root" }, name),
    h("p", { class: "hint" }, h("span", { class: `state ${folder.online ? "on" : "off"}` }, state), ` · ${say("look.photos", { n: folder.photos })}`),
    folder.reason ? h("p", { class: "hint" }, folder.reason) : null,
    may("admin") && !folder.uploads ? h("button", { type: "button", class: "small danger", onclick: drop, "aria-label": say("folders.dropIt", { name }) }, say("folders.drop")) : null);
}

function form(album, host) {
  const path = h("input", { type: "text", required: true, maxlength: 4096, placeholder: "/srv/photos", spellcheck: "false", "aria-label": say("folders.path", { name: album.name }) });
  return h("form", { class: "inline", onsubmit: async (event) => {
    event.preventDefault();
    try {
      await api.post(`/v1/albums/${album.id}/roots`, { path: path.value });
      host.albumsChanged();
      host.show("jobs");
    } catch (error) {
      toast(error.message, "bad");
    }
  } }, path, h("button", { class: "small", type: "submit" }, say("folders.add")));
}
