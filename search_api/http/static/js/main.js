// Puts the page together: the form, what is in the address, keys.

import { go, installAddress, leave, listOf, lowerTo, raise, shown, whileOpening } from "./address.js";
import * as api from "./api.js";
import { Browse } from "./browse.js";
import { Cutouts } from "./cutouts.js";
import { $, all, h, icon, isTyping, toast } from "./dom.js";
import { installDrawer, showTab } from "./drawer.js";
import { installExports } from "./exports.js";
import { firstAlbum } from "./first.js";
import { installLanguage } from "./language.js";
import { filters, inArea, installFilters, setFilters, within } from "./filters.js";
import { Lightbox } from "./lightbox.js";
import { installSaving } from "./saved.js";
import { Search } from "./search.js";
import { loadServed } from "./served.js";
import { installSession } from "./session.js";
import { watchServer } from "./status.js";
import { installTheme } from "./theme.js";
import { chooseVerifier, installVerifier, loadVerifiers, verification } from "./verifier.js";
import { fillPage, say } from "./words.js";

const EXAMPLES = [
  "a dog",
  "the person on the left",
  "everyone except the one on the right",
  "red car",
  "pizza on a table",
  "an elephant riding a bicycle",
];

let opened = null; // the list that is shown, as `listOf` names it; null: one that has no address yet
const cutouts = new Cutouts();
const lightbox = new Lightbox({
  cut: (item) => cutouts.open(search.run, { photos: [item.photo.id], number: 1, sample: item }),
  similar: (item, options) => moreLike(item, options),
  turned: ({ photo }) => raise("photo", photo.id),
  closed: (item) => (browse.shown ? browse : search.grid).focus(item),
});
const browse = new Browse({
  open: (item) => lightbox.open(item, browse.turning()),
  turned: (order) => look(order),
  area: (box) => { inArea(box); showFilters(); },
});
const search = new Search({
  open: (item) => lightbox.open(item, search.turning(item)),
  similar: (item) => moreLike(item, { region: item.confidence !== undefined && item.accepted }),
  changed: remember,
  sorted: (order, fold) => {
    go({ ...shown(), order: order === "confidence" ? null : order, fold: fold ? "1" : null }, { ...where(), scroll: 0 });
    openAddress();
  },
  marked: () => lightbox.drawMarks(),
  left: () => { leave(); opened = null; lowerTo({}); browse.hide(); },
});

/** Show what the next search is narrowed to, and let one write it. */
function showFilters() {
  $("filters").hidden = false;
  $("filters-toggle").setAttribute("aria-expanded", "true");
  $("expression").focus();
  $("expression").select();
}

function leaveField() {
  if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
}

function ask() {
  const expression = $("expression").value.trim();
  if (!expression) {
    $("expression").focus();
    return;
  }
  leaveField();
  /** @type {Record<string, any>} */
  const request = { expression, mode: new FormData($("ask")).get("mode"), filters: filters(), ...verification() };
  if ($("album").value) request.album = $("album").value;
  search.start(request);
  scrollTo({ top: 0 });
}

/** More like a photo, or like what the search shown now found in it; it has an address, so that Back and links lead there. */
function moreLike(item, { region = false, duplicates = false }) {
  const view = { like: item.photo.id, in: region ? search.runId : null, same: duplicates ? "1" : null, album: $("album").value || null };
  search.similar(item, like(view));
  go(view);
  opened = listOf(view);
  scrollTo({ top: 0 });
}

const like = (view) => ({ runId: view.in, duplicates: view.same !== null, album: view.album });

/** Open the address of a `moreLike` again. */
async function openLike(view) {
  search.reset();
  search.draw();
  try {
    const photo = await api.get(`/v1/photos/${encodeURIComponent(view.like)}`);
    $("album").value = view.album ?? "";
    await search.similar({ photo }, like(view));
  } catch (error) {
    toast(error.message, "bad");
  }
}

/** Look at the photos of the album that is chosen, without a search. */
function look(order = "newest") {
  go({ look: order, album: $("album").value || null });
  openAddress();
}

async function openLook(view) {
  search.reset();
  search.draw();
  $("album").value = view.album ?? "";
  document.title = `${view.album ?? say("look.all")} · Referent`;
  await browse.show(view);
}

/** Keep the run in the address, so that it can be opened again, shared and gone back to. */
function remember(runId) {
  if (shown().run !== runId) go({ run: runId });
  opened = listOf(shown());
  document.title = `${search.request.expression} · Referent`;
}

/** Show what the address names, as one left it; of the list that is shown already, only what lies above it. */
async function openAddress() {
  const view = shown();
  const { scroll = 0, minimum = null, chosen = [], near = false } = history.state ?? {};
  const list = listOf(view);
  if (opened === list) lowerTo(view);
  else {
    lowerTo({});
    await whileOpening(async () => {
      const coming = openList(view);
      opened = list;
      await coming;
      if (opened !== list) return;
      search.selection.choose(chosen);
      search.setMinimum(minimum);
      if (near) search.showNearest();
      await search.reach(scroll).catch((error) => toast(error.message, "bad"));
    });
  }
  if (opened !== list) return;
  if (view.tab) showTab(view.tab);
  if (view.photo) await openPhoto(Number(view.photo));
}

/** Where one is in the list, which a history entry keeps beside its address. */
const where = () => ({ scroll: Math.round(scrollY), minimum: search.minimum, chosen: [...search.selection.photos], near: search.askedForNear });

async function openPhoto(photoId) {
  const item = await (browse.shown ? browse : search).find(photoId).catch((error) => toast(error.message, "bad"));
  if (item && Number(shown().photo) === photoId) lightbox.open(item, browse.shown ? browse.turning() : search.turning(item));
}

async function openList(view) {
  if (view.like) return openLike(view);
  if (view.look) return openLook(view);
  if (!view.run) {
    search.reset();
    search.draw();
    document.title = "Referent";
    return;
  }
  await search.reopen(view.run, { order: view.order ?? undefined, fold: view.fold !== null });
  if (!search.request) return;
  $("expression").value = search.request.expression;
  $("album").value = search.request.album ?? "";
  all(`[name=mode][value=${search.request.mode}]`)[0].checked = true;
  chooseVerifier(search.request.verifier ?? "");
}

async function loadAlbums() {
  const { albums } = await api.get("/v1/albums");
  const known = $("album").options.length > 1;
  const chosen = known ? $("album").value : browse.view?.album ?? search.request?.album ?? "";
  $("album").replaceChildren(h("option", { value: "" }, say("look.all")), ...albums.map((album) => h("option", { value: album.name, "data-id": album.id }, album.name)));
  $("album").value = albums.some((album) => album.name === chosen) ? chosen : "";
  const photos = albums.reduce((sum, album) => sum + album.photos, 0);
  drawExamples(photos);
  await loadServed();
}

function drawExamples(photos) {
  if (!photos && $("examples").querySelector(".first")) return; // it may be in use
  const tries = EXAMPLES.map((text) =>
    h("button", { type: "button", class: "example", onclick: () => { $("expression").value = text; ask(); } }, text));
  const first = photos
    ? h("p", { class: "examples-title" }, say("html.try"))
    : firstAlbum(async (name) => {
        await loadAlbums();
        $("album").value = name;
        look();
      });
  const everything = h("button", { type: "button", class: "secondary", onclick: () => look() }, icon("photos"), say("look.start", { n: photos }));
  $("examples").replaceChildren(first, ...(photos ? [...tries, h("p", { class: "look-start" }, everything)] : []));
}

function toggleMasks() {
  const off = document.body.classList.toggle("masks-off");
  $("masks").setAttribute("aria-pressed", String(!off));
  try {
    localStorage.setItem("referent-masks", off ? "off" : "on");
  } catch {
    // Storage is switched off: the choice lasts as long as the page.
  }
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const inDialog = document.querySelector("dialog[open]");
  if (event.key === "Escape") {
    if (inDialog) return;
    if (search.state === "running") search.stop();
    else if (search.selection.size) search.selection.clear();
    else leaveField();
    return;
  }
  if (isTyping(event)) {
    if (event.key === "ArrowDown" && event.target === $("expression")) $("grid").querySelector(".open")?.focus();
    return;
  }
  if (event.key === "m" && (!inDialog || inDialog === $("lightbox"))) toggleMasks();
  if (inDialog) return;
  if (event.key === "/") {
    event.preventDefault();
    $("expression").focus();
    $("expression").select();
  } else if (event.key === "?") $("keys").showModal();
  else if (event.key.startsWith("Arrow") && document.activeElement === document.body) {
    const first = $("grid").querySelector(".open");
    if (first && event.key !== "ArrowUp") {
      event.preventDefault();
      first.focus();
    }
  }
}

function install() {
  fillPage();
  installTheme();
  installLanguage();
  installFilters(() => {});
  $("album").addEventListener("change", () => {
    if (browse.shown) look(browse.view.order);
    loadServed().catch((error) => toast(error.message, "bad"));
  });
  $("open-look").addEventListener("click", () => look());
  for (const name of ["aria-label", "title"]) $("open-look").setAttribute(name, say("look.open"));
  installExports();
  installSaving(() => search.request);
  installVerifier();
  try {
    if (localStorage.getItem("referent-masks") === "off") toggleMasks();
  } catch {
    // Storage is switched off.
  }
  installDrawer({
    albumsChanged: () => loadAlbums().catch((error) => toast(error.message, "bad")),
    openRun: (runId) => { go({ run: runId }); openAddress(); },
    askAgain: (saved) => {
      $("expression").value = saved.expression;
      $("album").value = saved.album ?? "";
      setFilters(saved.filters);
      ask();
    },
    lookAt: (name) => { $("album").value = name; look(); },
    searchAlbum: (name) => { $("album").value = name; $("expression").focus(); },
  });
  $("ask").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  $("home").addEventListener("click", (event) => {
    event.preventDefault();
    go({});
    $("expression").value = "";
    openAddress();
    $("expression").focus();
  });
  $("masks").addEventListener("click", toggleMasks);
  $("cut").addEventListener("click", async () => {
    try {
      cutouts.open(search.run, await search.chosenWhole());
    } catch (error) {
      toast(error.message, "bad");
    }
  });
  $("within").addEventListener("click", () => {
    within(search.runId, search.chosen());
    showFilters();
  });
  $("open-keys").addEventListener("click", () => $("keys").showModal());
  addEventListener("keydown", onKey);
  installAddress({ where, moved: openAddress });
  installSession(() => {
    loadAlbums().catch((error) => toast(error.message, "bad"));
    loadVerifiers().catch((error) => toast(error.message, "bad"));
    openAddress();
    watchServer(loadAlbums);
  });
}

install();
