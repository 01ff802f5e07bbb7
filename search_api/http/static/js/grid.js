// A justified grid of photos that grows as one scrolls and shows masks as tiles come into view.

import * as api from "./api.js";
import { h, icon } from "./dom.js";
import { count, percent } from "./format.js";
import { badge, said } from "./marks.js";
import { maskOf, outline } from "./masks.js";
import { say } from "./words.js";

const STEP = 48;
export const TILE_SIDE = devicePixelRatio > 1.2 ? 640 : 400;

/**
 * Items are {photo, confidence, accepted, vanished} of a search, or {photo, similarity}.
 * `open(item)` shows one large, `similar(item)` asks for more like it; `marks` are the verdicts on
 * them, and with a `selection` photos can be chosen.
 */
export class Grid {
  constructor(list, { open, similar, marks, selection = null }) {
    this.list = list;
    this.open = open;
    this.similar = similar;
    this.marks = marks;
    this.selection = selection;
    this.items = [];
    this.tiles = new Map();
    this.runId = null;
    this.shown = STEP;
    this.seen = new IntersectionObserver((entries) => this.come(entries), { rootMargin: "300px" });
    list.addEventListener("keydown", (event) => this.onKey(event));
  }

  clear(runId) {
    this.runId = runId;
    this.shown = STEP;
    this.tiles.clear();
    this.seen.disconnect();
    this.show([]);
  }

  /** Show these items in this order; tiles that are there already stay as they are. */
  show(items) {
    this.items = [...items]; // hits that come later are shown by the next call, in their order
    const wanted = this.items.slice(0, this.shown).map((item) => this.tile(item));
    wanted.forEach((tile, i) => {
      if (this.list.children[i] !== tile) this.list.insertBefore(tile, this.list.children[i] ?? null);
    });
    while (this.list.children.length > wanted.length) this.list.lastChild.remove();
  }

  /** Show more of the items; false when all are shown. */
  grow() {
    if (this.shown >= this.items.length) return false;
    this.shown += STEP;
    this.show(this.items);
    return true;
  }

  /** Show on each tile whether it is chosen and what was said of it. */
  drawStates() {
    for (const tile of this.tiles.values()) this.drawState(tile);
  }

  drawState(tile) {
    const { item } = tile;
    const chosen = this.selection?.has(item.photo.id) ?? false;
    const verdict = this.marks.of(item);
    tile.classList.toggle("chosen", chosen);
    tile.querySelector(".pick")?.setAttribute("aria-pressed", String(chosen));
    if ((tile.dataset.verdict ?? null) === verdict) return;
    tile.querySelector(".verdict-badge")?.remove();
    delete tile.dataset.verdict;
    if (verdict) {
      tile.dataset.verdict = verdict;
      tile.querySelector(".open").append(badge(verdict));
    }
    tile.querySelector(".open").setAttribute("aria-label", tile.spoken + said(verdict));
  }

  pick(item, event) {
    this.selection.toggle(item.photo.id, event.shiftKey ? this.items.map((each) => each.photo.id) : null);
    this.selection.together(item.photo.id, item.group ?? []);
  }

  focus(item) {
    this.tiles.get(item.photo.id)?.querySelector(".open").focus();
  }

  tile(item) {
    const known = this.tiles.get(item.photo.id);
    if (known) return known;
    const { photo } = item;
    const ratio = photo.width && photo.height ? photo.width / photo.height : 4 / 3;
    const name = photo.path.split("/").pop();
    const isHit = item.confidence !== undefined;
    const score = isHit ? percent(item.confidence) : item.similarity.toFixed(2);
    const alike = item.group ? `, ${say("fold.tile", { n: item.group.length })}` : "";
    const spoken = say(isHit ? (item.accepted ? "tile.hit" : "tile.rejected") : "tile.similar", { name, score }) + alike;
    const image = h("img", { src: api.thumbnail(photo, TILE_SIDE), alt: "", loading: "lazy", decoding: "async", draggable: "false" });
    const frame = h("button", { class: "open", type: "button", "aria-label": spoken, onclick: () => this.open(item) },
      image,
      h("span", { class: "score", "aria-hidden": "true" }, isHit && !item.accepted ? h("span", { class: "word" }, say("tile.word")) : null, score),
      item.group ? h("span", { class: "folded", "aria-hidden": "true" }, icon("similar"), count(item.group.length)) : null);
    const tile = h("li", { class: "tile", vars: { "--ratio": Math.min(2.6, Math.max(0.5, ratio)).toFixed(4) } },
      frame,
      this.selection && isHit ? h("button", { class: "pick", type: "button", title: say("tile.select"), "aria-label": say("tile.selectIt", { name }), "aria-pressed": "false", "aria-keyshortcuts": "x", onclick: (event) => this.pick(item, event) }, icon("check")) : null,
      h("button", { class: "like", type: "button", title: say("tile.like"), "aria-label": say("live.like", { name }), onclick: () => this.similar(item) }, icon("similar")));
    image.addEventListener("load", () => tile.classList.add("loaded"), { once: true });
    image.addEventListener("error", () => {
      tile.classList.add("gone");
      frame.append(h("span", { class: "gone-text" }, say("photo.gone", { name })));
    }, { once: true });
    Object.assign(tile, { item, spoken });
    this.tiles.set(photo.id, tile);
    this.drawState(tile);
    if (isHit && item.accepted) this.seen.observe(tile);
    return tile;
  }

  come(entries) {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      this.seen.unobserve(target);
      const runId = this.runId;
      maskOf(runId, target.item.photo.id, 512)
        .then((mask) => {
          if (runId === this.runId && mask.polygons.length) target.querySelector("img").after(outline(mask));
        })
        .catch(() => target.classList.add("no-mask"));
    }
  }

  onKey(event) {
    /** @type {any} */
    const tile = document.activeElement?.closest(".tile");
    if (!tile || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.startsWith("Arrow")) this.move(event, tile);
    else if (event.key.toLowerCase() === "x" && this.selection && tile.querySelector(".pick")) this.pick(tile.item, event);
    else if (tile.item.confidence !== undefined) this.marks.onKey(event.key, tile.item);
  }

  move(event, tile) {
    const tiles = [...this.list.children];
    const at = tiles.indexOf(tile);
    let next = at + { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (Number.isNaN(next)) next = vertical(tiles, at, event.key === "ArrowDown" ? 1 : -1);
    if (tiles[next]) {
      event.preventDefault();
      tiles[next].querySelector(".open").focus();
    }
  }
}

/** The tile in the next row whose middle is nearest. */
function vertical(tiles, at, direction) {
  const here = tiles[at].getBoundingClientRect();
  const middle = here.left + here.width / 2;
  let best = -1;
  let row = null;
  let nearest = Infinity;
  for (let i = at + direction; tiles[i]; i += direction) {
    const box = tiles[i].getBoundingClientRect();
    if (Math.abs(box.top - here.top) < 4) continue;
    row ??= box.top;
    if (Math.abs(box.top - row) > 4) break;
    const far = Math.abs(box.left + box.width / 2 - middle);
    if (far < nearest) [nearest, best] = [far, i];
  }
  return best;
}
