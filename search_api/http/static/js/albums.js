// Albums: make one, fill it, name it, index it again, remove it.

import * as api from "./api.js";
import { ask, h, toast } from "./dom.js";
import { foldersOf } from "./folders.js";
import { count } from "./format.js";
import { may } from "./session.js";
import { filesOf, outcome, uploadTo } from "./upload.js";
import { say } from "./words.js";

// How often cards follow what jobs do.
const EVERY_MS = 4000;

export function albumsPanel(panel, host) {
  const list = h("ul", { class: "cards" });
  const name = h("input", { type: "text", maxlength: 255, required: true, placeholder: say("album.example"), "aria-label": say("album.name") });
  const form = h("form", { class: "inline", onsubmit: async (event) => {
    event.preventDefault();
    try {
      await api.post("/v1/albums", { name: name.value });
      name.value = "";
      await draw();
      host.albumsChanged();
    } catch (error) {
      toast(error.message, "bad");
    }
  } }, name, h("button", { class: "primary", type: "submit" }, say("album.make")));
  const inUse = () => list.contains(document.activeElement) || list.querySelector("details[open], .card-item > form, [role=status]:not(:empty)");
  const draw = async (unasked = false) => {
    try {
      const { albums } = await api.get("/v1/albums");
      if (unasked && inUse()) return; // somebody began to use a card while the answer came
      list.replaceChildren(...albums.map((album) => card(album, host, draw)));
      if (!albums.length) list.append(h("li", { class: "hint" }, say("album.none")));
    } catch (error) {
      list.replaceChildren(h("li", { class: "hint" }, error.message));
    }
  };
  panel.append(...[may("write") ? form : null, list].filter(Boolean));
  draw();
  const follow = setInterval(() => {
    if (!document.hidden && !inUse()) draw(true);
  }, EVERY_MS);
  return () => clearInterval(follow);
}

function card(album, host, draw) {
  const { indexed, failed, missing } = { indexed: 0, failed: 0, missing: 0, ...album.by_status };
  const waiting = album.photos - indexed - failed;
  const parts = [say("album.searchable", { n: indexed })];
  if (waiting) parts.push(say("album.waiting", { n: waiting }));
  if (failed) parts.push(say("job.failures", { n: failed }));
  if (missing) parts.push(say("album.missing", { n: missing }));
  const picker = h("input", { type: "file", multiple: true, accept: "image/*,.heic,.heif", class: "hidden", tabindex: -1, "aria-label": say("album.photosFor", { name: album.name }),
    onchange: () => send([...picker.files]) });
  const said = h("p", { class: "hint", role: "status" });
  const refused = h("ul", { class: "refused" });
  const send = async (files) => {
    const tell = (done) => { said.textContent = say("upload.far", { done, of: files.length }); };
    tell(0); // from now on the card is in use
    const found = await uploadTo(album.id, files, tell);
    refused.append(...found.refused.map(({ name, reason }) => h("li", {}, `${name}: ${reason}`)));
    picker.value = "";
    said.textContent = outcome(found);
    host.albumsChanged();
  };
  const index = async () => {
    try {
      await api.post("/v1/jobs", { kind: "index", album: album.name });
      host.show("jobs");
    } catch (error) {
      toast(error.message, "bad");
    }
  };
  const rename = () => {
    const field = h("input", { type: "text", maxlength: 255, required: true, value: album.name, "aria-label": say("album.newName", { name: album.name }) });
    const form = h("form", { class: "inline", onsubmit: async (event) => {
      event.preventDefault();
      try {
        await api.patch(`/v1/albums/${album.id}`, { name: field.value });
        await draw();
        host.albumsChanged();
      } catch (error) {
        toast(error.message, "bad");
      }
    } }, field, h("button", { class: "small", type: "submit" }, say("album.rename")));
    form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      form.replaceWith(head);
    });
    head.replaceWith(form);
    field.select();
  };
  const drop = async () => {
    if (!(await ask(say("saved.dropTitle", { name: album.name }), say("album.dropText"), say("saved.drop")))) return;
    try {
      await api.remove(`/v1/albums/${album.id}`);
      await draw();
      host.albumsChanged();
    } catch (error) {
      toast(error.message, "bad");
    }
  };
  const unread = Object.entries(album.unread).sort(([, a], [, b]) => b - a);
  const head = h("div", { class: "card-head" }, h("h3", {}, album.name), h("span", { class: "tag" }, album.model ?? say("album.unindexed")));
  const element = h("li", { class: "card-item" },
    head,
    h("div", { class: "stack", role: "img", "aria-label": parts.join(", "), vars: { "--indexed": indexed, "--waiting": waiting, "--failed": failed } }, h("i", { class: "ok" }), h("i", { class: "wait" }), h("i", { class: "bad" })),
    h("p", { class: "hint" }, parts.join(" · ")),
    h("div", { class: "actions" },
      h("button", { type: "button", class: "small", onclick: () => host.searchAlbum(album.name) }, say("album.search")),
      h("button", { type: "button", class: "small", onclick: () => host.lookAt(album.name) }, say("album.look")),
      may("write") ? h("button", { type: "button", class: "small", onclick: () => picker.click() }, say("album.upload")) : null,
      may("write") ? h("button", { type: "button", class: "small", onclick: index }, say("album.index")) : null,
      may("write") ? h("button", { type: "button", class: "small", onclick: rename, "aria-label": say("album.renameIt", { name: album.name }) }, say("album.rename")) : null,
      may("admin") ? h("button", { type: "button", class: "small danger", onclick: drop, "aria-label": say("album.dropIt", { name: album.name }) }, say("saved.drop")) : null),
    failed ? failedPhotos(album, failed, host) : null,
    unread.length ? h("p", { class: "hint" }, say("album.unread", { n: unread.reduce((sum, [, n]) => sum + n, 0), kinds: unread.map(([kind, n]) => `${count(n)} ${kind}`).join(", ") })) : null,
    foldersOf(album, host, draw),
    picker, said, refused);
  if (may("write")) {
    element.addEventListener("dragover", (event) => { event.preventDefault(); element.classList.add("drop"); });
    element.addEventListener("dragleave", () => element.classList.remove("drop"));
    element.addEventListener("drop", (event) => {
      event.preventDefault();
      element.classList.remove("drop");
      filesOf(event.dataTransfer).then(send);
    });
  }
  return element;
}

/** The photos that failed, fetched when one looks: with reasons, to filter and to try again. */
function failedPhotos(album, number, host) {
  const words = h("input", { type: "search", placeholder: say("album.reason"), "aria-label": say("album.reasonOf", { name: album.name }) });
  const list = h("ul", { class: "refused" });
  const more = h("button", { type: "button", class: "small", hidden: true, onclick: () => fetch() }, say("album.more"));
  let next = null;
  const again = async (body, row) => {
    try {
      const { photos } = await api.post(`/v1/albums/${album.id}/retry`, body);
      toast(say("album.again", { n: photos }));
      if (row) row.remove();
      else host.show("jobs");
    } catch (error) {
      toast(error.message, "bad");
    }
  };
  const line = (photo) => {
    const row = h("li", {}, `${photo.path}: ${photo.error ?? say("album.unknown")} `);
    if (may("write")) row.append(h("button", { type: "button", class: "small", "aria-label": say("album.retry", { path: photo.path }), onclick: () => again({ photos: [photo.id] }, row) }, say("job.retry")));
    return row;
  };
  const fetch = async () => {
    const query = new URLSearchParams({ album: album.name, status: "failed", size: "50" });
    if (words.value.trim()) query.set("reason", words.value.trim());
    if (next) query.set("cursor", next);
    try {
      const page = await api.get(`/v1/photos?${query}`);
      list.append(...page.photos.map(line));
      next = page.next_cursor;
      more.hidden = !next;
    } catch (error) {
      list.append(h("li", {}, error.message));
    }
  };
  const anew = () => {
    next = null;
    list.replaceChildren();
    return fetch();
  };
  words.addEventListener("change", anew);
  const all = () => again(words.value.trim() ? { reason: words.value.trim() } : {}, null);
  return h("details", { class: "folder", ontoggle: (event) => { if (event.target.open && !list.children.length) anew(); } },
    h("summary", {}, say("album.failed", { n: number })),
    h("div", { class: "inline" }, words, may("write") ? h("button", { type: "button", class: "small", onclick: all }, say("album.retryAll")) : null),
    list, more);
}
