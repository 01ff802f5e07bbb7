// Albums: make one, fill it, index it again, remove it.

import * as api from "./api.js";
import { ask, h, toast } from "./dom.js";
import { plural } from "./format.js";
import { may, mayAddFolders } from "./session.js";

// One request carries at most this much; the server's own limits lie above.
const FILES_AT_ONCE = 20;
const BYTES_AT_ONCE = 100e6;

export function albumsPanel(panel, host) {
  const list = h("ul", { class: "cards" });
  const name = h("input", { type: "text", maxlength: 255, required: true, placeholder: "holiday", "aria-label": "Name of the new album" });
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
  } }, name, h("button", { class: "primary", type: "submit" }, "Make album"));
  const draw = async () => {
    try {
      const { albums } = await api.get(`/v1/albums${may("admin") ? "?roots=true" : ""}`);
      list.replaceChildren(...albums.map((album) => card(album, host, draw)));
      if (!albums.length) list.append(h("li", { class: "hint" }, "There is no album yet."));
    } catch (error) {
      list.replaceChildren(h("li", { class: "hint" }, error.message));
    }
  };
  panel.append(...[may("write") ? form : null, list].filter(Boolean));
  draw();
}

function card(album, host, draw) {
  const { indexed, failed, missing } = { indexed: 0, failed: 0, missing: 0, ...album.by_status };
  const waiting = album.photos - indexed - failed;
  const parts = [`${plural(indexed, "photo")} searchable`];
  if (waiting) parts.push(`${waiting} waiting`);
  if (failed) parts.push(`${failed} failed`);
  if (missing) parts.push(`${missing} missing`);
  const picker = h("input", { type: "file", multiple: true, accept: "image/*,.heic,.heif", class: "hidden", tabindex: -1, "aria-label": `Photos for ${album.name}`,
    onchange: () => send([...picker.files]) });
  const said = h("p", { class: "hint", role: "status" });
  const refused = h("ul", { class: "refused" });
  const send = async (files) => {
    let taken = 0, known = 0;
    for (const batch of batches(files)) {
      said.textContent = `Uploading ${taken + known + refused.children.length} of ${files.length} …`;
      const form = new FormData();
      for (const file of batch) form.append("files", file);
      try {
        const answer = await api.upload(`/v1/albums/${album.id}/photos`, form);
        for (const file of answer.files) {
          if (file.known) known += 1;
          else if (file.path) taken += 1;
          else refused.append(h("li", {}, `${file.name}: ${file.reason}`));
        }
      } catch (error) {
        for (const file of batch) refused.append(h("li", {}, `${file.name}: ${error.message}`));
      }
    }
    picker.value = "";
    const others = [known && `${known} here already`, refused.children.length && `${refused.children.length} refused`].filter(Boolean);
    said.textContent = `${[`${plural(taken, "photo")} taken`, ...others].join(", ")}; indexing goes on by itself.`;
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
  const drop = async () => {
    if (!(await ask(`Remove “${album.name}”?`, "The album leaves the library and uploaded photos go with it. Folders of the server stay as they are.", "Remove"))) return;
    try {
      await api.remove(`/v1/albums/${album.id}`);
      await draw();
      host.albumsChanged();
    } catch (error) {
      toast(error.message, "bad");
    }
  };
  const element = h("li", { class: "card-item" },
    h("div", { class: "card-head" }, h("h3", {}, album.name), h("span", { class: "tag" }, album.model ?? "not indexed")),
    h("div", { class: "stack", role: "img", "aria-label": parts.join(", "), vars: { "--indexed": indexed, "--waiting": waiting, "--failed": failed } }, h("i", { class: "ok" }), h("i", { class: "wait" }), h("i", { class: "bad" })),
    h("p", { class: "hint" }, parts.join(" · ")),
    h("div", { class: "actions" },
      h("button", { type: "button", class: "small", onclick: () => host.searchAlbum(album.name) }, "Search it"),
      may("write") ? h("button", { type: "button", class: "small", onclick: () => picker.click() }, "Upload photos") : null,
      may("write") ? h("button", { type: "button", class: "small", onclick: index }, "Index again") : null,
      may("admin") ? h("button", { type: "button", class: "small danger", onclick: drop, "aria-label": `Remove ${album.name}` }, "Remove") : null),
    failed ? failedPhotos(album, failed, host) : null,
    album.roots?.length ? h("details", { class: "folder" }, h("summary", {}, plural(album.roots.length, "folder")), h("ul", { class: "roots" }, album.roots.map((root) => h("li", {}, root)))) : null,
    mayAddFolders() ? folderForm(album, host) : null,
    picker, said, refused);
  if (may("write")) {
    element.addEventListener("dragover", (event) => { event.preventDefault(); element.classList.add("drop"); });
    element.addEventListener("dragleave", () => element.classList.remove("drop"));
    element.addEventListener("drop", (event) => {
      event.preventDefault();
      element.classList.remove("drop");
      send([...event.dataTransfer.files]);
    });
  }
  return element;
}

/** The photos that failed, fetched when one looks: with reasons, to filter and to try again. */
function failedPhotos(album, number, host) {
  const words = h("input", { type: "search", placeholder: "Reason", "aria-label": `Filter the failed photos of ${album.name} by reason` });
  const list = h("ul", { class: "refused" });
  const more = h("button", { type: "button", class: "small", hidden: true, onclick: () => fetch() }, "Show more");
  let next = null;
  const again = async (body, row) => {
    try {
      const { photos } = await api.post(`/v1/albums/${album.id}/retry`, body);
      toast(`${plural(photos, "photo")} will be tried again.`);
      if (row) row.remove();
      else host.show("jobs");
    } catch (error) {
      toast(error.message, "bad");
    }
  };
  const line = (photo) => {
    const row = h("li", {}, `${photo.path}: ${photo.error ?? "unknown"} `);
    if (may("write")) row.append(h("button", { type: "button", class: "small", "aria-label": `Retry ${photo.path}`, onclick: () => again({ photos: [photo.id] }, row) }, "Retry"));
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
    h("summary", {}, plural(number, "photo that failed", "photos that failed")),
    h("div", { class: "inline" }, words, may("write") ? h("button", { type: "button", class: "small", onclick: all }, "Retry all of these") : null),
    list, more);
}

/** Let the album scan a folder of the server, where its settings allow that. */
function folderForm(album, host) {
  const path = h("input", { type: "text", required: true, maxlength: 4096, placeholder: "/srv/photos", spellcheck: "false", "aria-label": `Folder of the server for ${album.name}` });
  const form = h("form", { class: "inline", onsubmit: async (event) => {
    event.preventDefault();
    try {
      await api.post(`/v1/albums/${album.id}/roots`, { path: path.value });
      host.albumsChanged();
      host.show("jobs");
    } catch (error) {
      toast(error.message, "bad");
    }
  } }, path, h("button", { class: "small", type: "submit" }, "Add"));
  return h("details", { class: "folder" }, h("summary", {}, "Add a folder of the server"), form);
}

function* batches(files) {
  let batch = [];
  let size = 0;
  for (const file of files) {
    if (batch.length && (batch.length === FILES_AT_ONCE || size + file.size > BYTES_AT_ONCE)) {
      yield batch;
      [batch, size] = [[], 0];
    }
    batch.push(file);
    size += file.size;
  }
  if (batch.length) yield batch;
}
