// What the page shows, as its address; and where on it one was, in the browser's history.

import { $, all } from "./dom.js";

// A search run (its matches in an `order`, alike ones folded into one: `fold`), or photos like one (those of `in`, a
// run's match; `same`: duplicates), or an album without a search (`look`: in which order).
const LIST = ["run", "order", "fold", "like", "in", "same", "look", "album"];
// The photo that is open above them, or the drawer's tab: what the dialog that lies there shows.
const ABOVE = { photo: "lightbox", tab: "drawer" };
const NAMES = [...LIST, ...Object.keys(ABOVE)];
// How a dialog is closed whose address was left.
const MOVED = "moved";
const SETTLED_MS = 150;

let told = () => ({});
let timer = null;
let held = 0;
let left = false;

/** `where()` gives what each history entry keeps beside its address; `moved()` runs after Back, Forward. */
export function installAddress({ where, moved }) {
  told = where;
  history.scrollRestoration = "manual"; // the photos come later than the browser would scroll
  addEventListener("popstate", () => { clearTimeout(timer); left = false; moved(); });
  for (const name of ["scroll", "change", "click", "keyup"]) {
    addEventListener(name, () => { clearTimeout(timer); timer = setTimeout(keep, SETTLED_MS); }, { passive: true });
  }
  addEventListener("pagehide", keep);
  for (const [name, dialog] of Object.entries(ABOVE)) {
    $(dialog).addEventListener("close", () => {
      if ($(dialog).returnValue !== MOVED) lower(name);
      $(dialog).returnValue = "";
    });
  }
}

/** The view that the address names. */
export function shown() {
  const asked = new URLSearchParams(location.search);
  return Object.fromEntries(NAMES.map((name) => [name, asked.get(name)]));
}

/** A view without what lies above its list, as a text that is the same for the same list of photos. */
export const listOf = (view) => addressOf(Object.fromEntries(LIST.map((name) => [name, view[name]])));

/** Close every dialog that a view does not name. */
export function lowerTo(view) {
  const stays = (dialog) => Object.entries(ABOVE).some(([name, id]) => dialog.id === id && view[name]);
  for (const dialog of all("dialog[open]:not(#sign-in)")) if (!stays(dialog)) dialog.close(MOVED);
}

/** What is shown makes way for a view whose address comes later: the place here is kept as it was. */
export function leave() {
  if (held) return;
  keep();
  left = true;
}

/** Go to another view, from which Back leads here. */
export function go(view, state = {}) {
  keep();
  clearTimeout(timer);
  left = false;
  history.pushState(state, "", addressOf(view));
}

/** Show something above the list: it has its own address, so Back closes it. */
export function raise(name, value) {
  const view = { ...shown(), [name]: value };
  if (shown()[name]) turn(view);
  else go(view, { above: true });
}

/** What lay above the list was closed by hand: its address goes, and nothing is left to go back to. */
function lower(name) {
  const view = shown();
  if (!view[name]) return;
  if (history.state?.above) history.back();
  else turn({ ...view, [name]: null });
}

const turn = (view) => history.replaceState(history.state, "", addressOf(view));

/** Keep nothing while `work` puts a view together: its places are not yet those that one chose. */
export async function whileOpening(work) {
  held += 1;
  left = false;
  try {
    await work();
  } finally {
    held -= 1;
    keep(); // what one chose meanwhile
  }
}

function keep() {
  if (!held && !left) history.replaceState({ ...history.state, ...told() }, "");
}

function addressOf(view) {
  const asked = new URLSearchParams(NAMES.filter((name) => view[name]).map((name) => [name, view[name]]));
  return asked.size ? `./?${asked}` : "./";
}
