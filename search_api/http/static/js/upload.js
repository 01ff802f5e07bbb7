// Files on their way into an album: out of a picker or dropped, folders with what lies in them.

import * as api from "./api.js";
import { say } from "./words.js";

// One request carries at most this much; the server's own limits lie above.
const FILES_AT_ONCE = 20;
const BYTES_AT_ONCE = 100e6;

/** Send files to an album; `told(done)` runs before each request. What became of them. */
export async function uploadTo(albumId, files, told) {
  const found = { taken: 0, known: 0, refused: [] };
  for (const batch of batches(files)) {
    told(found.taken + found.known + found.refused.length);
    const form = new FormData();
    for (const file of batch) form.append("files", file);
    try {
      const answer = await api.upload(`/v1/albums/${albumId}/photos`, form);
      for (const file of answer.files) {
        if (file.known) found.known += 1;
        else if (file.path) found.taken += 1;
        else found.refused.push(file);
      }
    } catch (error) {
      found.refused.push(...batch.map(({ name }) => ({ name, reason: error.message })));
    }
  }
  return found;
}

/** That in words. */
export function outcome({ taken, known, refused }) {
  return [
    say("upload.taken", { n: taken }),
    known ? say("upload.known", { n: known }) : null,
    refused.length ? say("upload.refused", { n: refused.length }) : null,
  ].filter(Boolean).join(", ") + say("upload.goesOn");
}

/** The files that were dropped, and those in folders that were. */
export async function filesOf(dropped) {
  const entries = [...dropped.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  const files = [];
  const walk = async (entry) => {
    if (entry.isFile) files.push(await new Promise((resolve, reject) => { entry.file(resolve, reject); }));
    if (!entry.isDirectory) return;
    const reader = entry.createReader();
    for (;;) { // it gives a hundred at a time, and none at its end
      const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
      if (!some.length) return;
      for (const each of some) await walk(each);
    }
  };
  for (const entry of entries) await walk(entry);
  return files;
}

/** The folder that was dropped, by name; null where single files were. */
export function folderOf(dropped) {
  const entries = [...dropped.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  return entries.length === 1 && entries[0].isDirectory ? entries[0].name : null;
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
