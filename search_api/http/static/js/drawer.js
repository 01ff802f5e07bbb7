// The drawer at the side: albums, jobs, models, history and, for admins, keys, one tab each.

import { raise } from "./address.js";
import { $, h } from "./dom.js";
import { albumsPanel } from "./albums.js";
import { historyPanel } from "./history.js";
import { jobsPanel } from "./jobs.js";
import { keysPanel } from "./keys.js";
import { modelsPanel } from "./models.js";
import { savedPanel } from "./saved.js";
import { may } from "./session.js";
import { say } from "./words.js";

/** @type {[string, string, (panel: HTMLElement, host: any) => any][]} */
const TABS = [
  ["albums", say("drawer.albums"), albumsPanel],
  ["jobs", say("drawer.jobs"), jobsPanel],
  ["models", say("drawer.models"), modelsPanel],
  ["history", say("drawer.history"), historyPanel],
  ["saved", say("saved.tab"), savedPanel],
  ["keys", say("drawer.keys"), keysPanel],
];
const shown = () => TABS.filter(([name]) => name !== "keys" || may("admin"));
let host = {};
let leave = null;

/** `host` has albumsChanged(), openRun(id), askAgain(saved), searchAlbum(name) and lookAt(name). */
export function installDrawer(callbacks) {
  host = {
    ...callbacks,
    openRun: (runId) => { $("drawer").close(); callbacks.openRun(runId); },
    searchAlbum: (name) => { $("drawer").close(); callbacks.searchAlbum(name); },
    askAgain: (saved) => { $("drawer").close(); callbacks.askAgain(saved); },
    lookAt: (name) => { $("drawer").close(); callbacks.lookAt(name); },
    show: (name) => openDrawer(name),
  };
  $("tabs").append(...TABS.map(([name, label]) =>
    h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "panel", onclick: () => openDrawer(name) }, label)));
  $("tabs").addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const tabs = shown();
    const at = tabs.findIndex(([name]) => event.target.id === `tab-${name}`);
    const [next] = tabs[(at + by + tabs.length) % tabs.length];
    openDrawer(next);
    $(`tab-${next}`).focus();
  });
  $("open-history").addEventListener("click", () => openDrawer("history"));
  $("open-library").addEventListener("click", () => openDrawer("albums"));
  $("drawer-close").addEventListener("click", () => $("drawer").close());
  $("drawer").addEventListener("click", (event) => event.target === $("drawer") && $("drawer").close());
  $("drawer").addEventListener("close", () => { leave?.(); leave = null; });
}

/** Open the drawer at a tab, which has an address. */
export function openDrawer(wanted) {
  raise("tab", wanted);
  showTab(wanted);
}

/** Show a tab, as its address names it; nothing where there is none of the name for whoever is signed in. */
export function showTab(wanted) {
  const tab = shown().find(([name]) => name === wanted);
  if (!tab) return;
  leave?.();
  for (const [name] of TABS) {
    $(`tab-${name}`).hidden = !shown().some(([each]) => each === name);
    $(`tab-${name}`).setAttribute("aria-selected", String(name === wanted));
    $(`tab-${name}`).tabIndex = name === wanted ? 0 : -1;
  }
  const [, label, make] = tab;
  $("panel").setAttribute("aria-labelledby", `tab-${wanted}`);
  $("drawer-title").textContent = label;
  $("panel").replaceChildren();
  leave = make($("panel"), host) ?? null;
  if (!$("drawer").open) $("drawer").showModal();
}
