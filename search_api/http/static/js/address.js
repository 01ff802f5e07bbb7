// What the page shows, as its address; and where on it one was, in the browser's history.

// A search run, or photos like one (those of `in`, a run's match; `same`: duplicates); the photo that is open.
const NAMES = ["run", "like", "in", "same", "album", "photo"];
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
  for (const name of ["scroll", "change", "click"]) {
    addEventListener(name, () => { clearTimeout(timer); timer = setTimeout(keep, SETTLED_MS); }, { passive: true });
  }
  addEventListener("pagehide", keep);
}

/** The view that the address names. */
export function shown() {
  const asked = new URLSearchParams(location.search);
  return Object.fromEntries(NAMES.map((name) => [name, asked.get(name)]));
}

/** A view without its open photo, as a text that is the same for the same list of photos. */
export const listOf = (view) => addressOf({ ...view, photo: null });

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

/** Say that the view here is another one. */
export const turn = (view) => history.replaceState(history.state, "", addressOf(view));

/** Keep nothing while `work` puts a view together: its places are not yet those that one chose. */
export async function whileOpening(work) {
  held += 1;
  try {
    await work();
  } finally {
    held -= 1;
  }
}

function keep() {
  if (!held && !left) history.replaceState({ ...history.state, ...told() }, "");
}

function addressOf(view) {
  const asked = new URLSearchParams(NAMES.filter((name) => view[name]).map((name) => [name, view[name]]));
  return asked.size ? `./?${asked}` : "./";
}
