// The first album of an empty library: named, filled by a picker or by dropping a folder, and looked at at once.

import * as api from "./api.js";
import { h, toast } from "./dom.js";
import { may, mayAddFolders } from "./session.js";
import { filesOf, folderOf, outcome, uploadTo } from "./upload.js";
import { say } from "./words.js";

/** What an empty library offers. `made(name)` runs as soon as the album has photos to look at. */
export function firstAlbum(made) {
  const title = h("h2", {}, say("first.title"));
  if (!may("write")) return h("div", { class: "welcome" }, title, h("p", {}, say("first.others")));
  const name = h("input", { type: "text", maxlength: 255, placeholder: say("first.name"), "aria-label": say("first.nameLabel") });
  const path = mayAddFolders() ? h("input", { type: "text", maxlength: 4096, placeholder: "/srv/photos", spellcheck: "false", "aria-label": say("first.path") }) : null;
  const said = h("p", { class: "hint", role: "status" });
  let working = false;
  const begin = async (folder, fill) => {
    if (working) return;
    working = true;
    try {
      const album = await albumOf(name.value.trim() || folder || say("first.name"));
      await fill(album);
    } catch (error) {
      said.textContent = "";
      toast(error.message, "bad");
    } finally {
      working = false;
    }
  };
  const send = (files, folder) => begin(folder, async (album) => {
    const photos = files.filter((file) => !file.name.startsWith("."));
    let looked = false;
    const found = await uploadTo(album.id, photos, (done) => {
      said.textContent = say("upload.far", { done, of: photos.length });
      if (!done || looked) return;
      looked = true;
      made(album.name);
    });
    toast(outcome(found), found.taken ? "info" : "bad");
    made(album.name);
  });
  const picked = (more) => h("input", { type: "file", multiple: true, class: "hidden", tabindex: -1, "aria-label": say("first.files"), ...more,
    onchange: (event) => send([...event.target.files], event.target.files[0]?.webkitRelativePath.split("/")[0] || null) });
  const files = picked({ accept: "image/*,.heic,.heif" });
  const folders = picked({ webkitdirectory: true });
  const drop = h("div", { class: "drop-here" },
    h("p", {}, say("first.drop")),
    h("div", { class: "actions" },
      h("button", { type: "button", class: "primary", onclick: () => files.click() }, say("first.files")),
      h("button", { type: "button", class: "secondary wide-only", onclick: () => folders.click() }, say("first.folder"))),
    files, folders);
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("drop"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("drop"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("drop");
    const folder = folderOf(event.dataTransfer);
    filesOf(event.dataTransfer).then((found) => send(found, folder));
  });
  const served = path && h("form", { class: "inline", onsubmit: (event) => {
    event.preventDefault();
    const folder = path.value.trim().replace(/\/+$/, "").split("/").pop();
    if (folder) begin(folder, async (album) => {
      await api.post(`/v1/albums/${album.id}/roots`, { path: path.value.trim() });
      made(album.name);
    });
  } }, path, h("button", { type: "submit", class: "secondary" }, say("first.index")));
  return h("div", { class: "welcome first" }, title, h("p", {}, say("first.text")), h("label", { class: "first-name" }, h("span", {}, say("first.nameLabel")), name), drop, served, said);
}

/** The album of this name, made where there is none: an attempt before this one may have made it. */
async function albumOf(name) {
  const { albums } = await api.get("/v1/albums");
  return albums.find((album) => album.name === name) ?? api.post("/v1/albums", { name });
}
