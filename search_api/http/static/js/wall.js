// A grid of any number of photos under headings, of which only what is near the window is in the document.

import * as api from "./api.js";
import { h } from "./dom.js";
import { say } from "./words.js";

const BLOCK = 100;
const KEPT_BLOCKS = 60;
const GAP = 4;
const HEADING = 56;
const OVER_PX = 600;
// While one races past, nothing is fetched.
const SETTLED_MS = 90;
const SIDE_PX = 400;

/** How wide a tile may be at most; narrow windows have small ones. */
const widest = (width) => (width < 720 ? 132 : 212);

export class Wall {
  /**
   * `fetch(first, size)` gives items {photo} in their order, null where the order is another one by now;
   * `open(item)` shows one large, `moved()` runs when other photos came into view.
   */
  constructor(list, { fetch, open, moved, named }) {
    this.list = list;
    this.fetch = fetch;
    this.open = open;
    this.moved = moved;
    this.named = named;
    this.clear();
    this.seen = new ResizeObserver(() => this.layOut());
    this.seen.observe(list);
    addEventListener("scroll", () => this.drawSoon(), { passive: true });
    addEventListener("resize", () => this.drawSoon());
    list.addEventListener("keydown", (event) => this.onKey(event));
  }

  clear() {
    this.groups = [];
    this.total = 0;
    this.blocks = new Map(); // the number of a stretch -> its items, the last used last
    this.coming = new Map();
    this.nodes = new Map(); // place -> tile, -1 - group -> heading
    this.at = 0; // the place that keys move from, which is always in the document
    this.drawn = "";
    this.width = 0;
    this.list.replaceChildren();
    this.list.style.removeProperty("height");
  }

  /** Show groups {label, photos} in their order. */
  show(groups) {
    const { at } = this;
    const held = this.list.contains(document.activeElement);
    this.clear();
    let first = 0;
    this.groups = groups.map(({ label, photos }) => {
      first += photos;
      return { label, photos, first: first - photos, top: 0, bottom: 0 };
    });
    this.total = first;
    this.at = Math.min(at, Math.max(0, first - 1));
    this.layOut();
    if (held && first) this.focus(this.at);
  }

  layOut() {
    const width = this.list.clientWidth;
    if (!width || width === this.width) return;
    const kept = this.width ? this.placeAt(scrollY - this.list.offsetTop) : null;
    this.width = width;
    this.columns = Math.max(3, Math.ceil((width + GAP) / (widest(width) + GAP)));
    this.side = (width + GAP) / this.columns - GAP;
    let top = 0;
    for (const group of this.groups) {
      group.top = top;
      top += HEADING + Math.ceil(group.photos / this.columns) * (this.side + GAP) + GAP;
      group.bottom = top;
    }
    this.list.style.height = `${top}px`;
    this.list.style.setProperty("--side", `${this.side}px`);
    this.drawn = "";
    if (kept) scrollTo({ top: this.list.offsetTop + this.boxOf(kept).top - HEADING });
    this.draw();
  }

  get height() {
    return this.groups.at(-1)?.bottom ?? 0;
  }

  /** The group that lies at a height. */
  groupAt(top) {
    let [low, high] = [0, this.groups.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.groups[middle].bottom > top) high = middle;
      else low = middle + 1;
    }
    return this.groups[low];
  }

  /** The first place of the row at a height. */
  placeAt(top) {
    const group = this.groupAt(top);
    if (!group) return 0;
    const row = Math.max(0, Math.floor((top - group.top - HEADING) / (this.side + GAP)));
    return Math.min(group.first + row * this.columns, group.first + group.photos - 1);
  }

  groupOf(place) {
    let [low, high] = [0, this.groups.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.groups[middle].first + this.groups[middle].photos > place) high = middle;
      else low = middle + 1;
    }
    return this.groups[low];
  }

  boxOf(place) {
    const group = this.groupOf(place);
    const nth = place - group.first;
    return {
      top: group.top + HEADING + Math.floor(nth / this.columns) * (this.side + GAP),
      start: (nth % this.columns) * (this.side + GAP),
    };
  }

  drawSoon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  draw() {
    if (!this.total || !this.width || !this.list.offsetParent) return;
    const top = scrollY - this.list.offsetTop;
    const from = this.placeAt(top - OVER_PX);
    const last = this.groupOf(this.placeAt(top + innerHeight + OVER_PX));
    const to = Math.min(this.placeAt(top + innerHeight + OVER_PX) + this.columns, last.first + last.photos) - 1;
    this.moved();
    const drawn = `${from} ${to} ${this.at}`;
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    this.range = [from, to];
    const wanted = new Map();
    const add = (key, make) => wanted.set(key, this.nodes.get(key) ?? make());
    const tile = (place) => add(place, () => this.tile(place));
    if (this.at < from) tile(this.at);
    for (let place = from; place <= to; place += 1) {
      const group = this.groupOf(place);
      if (place === group.first || place === from) {
        const at = this.groups.indexOf(group);
        add(-1 - at, () => this.heading(group));
      }
      tile(place);
    }
    if (this.at > to) tile(this.at);
    for (const [key, node] of this.nodes) if (!wanted.has(key)) node.remove();
    this.nodes = wanted;
    let before = this.list.firstChild;
    for (const node of wanted.values()) {
      if (node === before) before = before.nextSibling;
      else this.list.insertBefore(node, before);
    }
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.load(from, to), this.blocks.size ? SETTLED_MS : 0);
  }

  heading(group) {
    return h("li", { class: "wall-heading", vars: { "--top": `${group.top}px` } }, h("h2", {}, group.label), h("span", { class: "hint" }, say("look.photos", { n: group.photos })));
  }

  tile(place) {
    const { top, start } = this.boxOf(place);
    const tile = h("li", { class: "wall-tile", vars: { "--top": `${top}px`, "--start": `${start}px` } });
    this.fill(tile, place);
    return tile;
  }

  /** Put a photo on its tile, once it is there. */
  fill(tile, place) {
    const item = this.itemAt(place);
    if (!item || tile.item) return;
    tile.item = item;
    const name = this.named(item.photo);
    const image = h("img", { src: api.thumbnail(item.photo, SIDE_PX), alt: "", decoding: "async", draggable: "false" });
    const open = h("button", { type: "button", class: "open", "aria-label": name, tabindex: place === this.at ? 0 : -1, onclick: () => { this.reach(place); this.open(item); } }, image);
    image.addEventListener("load", () => tile.classList.add("loaded"), { once: true });
    image.addEventListener("error", () => {
      tile.classList.add("gone");
      open.append(h("span", { class: "gone-text" }, say("photo.gone", { name })));
    }, { once: true });
    tile.append(open);
  }

  itemAt(place) {
    return this.blocks.get(Math.floor(place / BLOCK))?.[place % BLOCK];
  }

  async load(from, to) {
    for (let number = Math.floor(from / BLOCK); number <= Math.floor(to / BLOCK); number += 1) await this.block(number);
  }

  /** A stretch of the order; undefined where it could not be fetched or is out of date. */
  async block(number) {
    const { blocks } = this;
    const known = blocks.get(number);
    if (known) {
      blocks.delete(number);
      blocks.set(number, known);
      return known;
    }
    const coming = this.coming.get(number) ?? this.fetch(number * BLOCK, BLOCK);
    this.coming.set(number, coming);
    const found = await coming;
    if (blocks !== this.blocks) return undefined;
    this.coming.delete(number);
    if (!found) return undefined;
    blocks.set(number, found);
    if (blocks.size > KEPT_BLOCKS) blocks.delete(blocks.keys().next().value);
    for (const [place, node] of this.nodes) if (place >= 0) this.fill(node, place);
    return found;
  }

  /** The item at a place, fetched where it is not there. */
  async item(place) {
    if (place < 0 || place >= this.total) return undefined;
    return (await this.block(Math.floor(place / BLOCK)))?.[place % BLOCK];
  }

  /** Where an item is that was fetched; -1 where it is not. */
  place(item) {
    for (const [number, items] of this.blocks) {
      const at = items.findIndex((each) => each.photo.id === item.photo.id);
      if (at >= 0) return number * BLOCK + at;
    }
    return -1;
  }

  /** Let keys move from a place. */
  reach(place) {
    this.nodes.get(this.at)?.querySelector(".open")?.setAttribute("tabindex", "-1");
    this.at = place;
    this.draw();
    this.nodes.get(place)?.querySelector(".open")?.setAttribute("tabindex", "0");
  }

  /** Go to a place with the keyboard. */
  async focus(place) {
    const { top } = this.boxOf(place);
    const above = this.list.offsetTop + top - HEADING - 12;
    const below = this.list.offsetTop + top + this.side + 12 - innerHeight;
    if (scrollY > above) scrollTo({ top: above });
    else if (scrollY < below) scrollTo({ top: below });
    this.reach(place);
    await this.item(place);
    if (this.at === place) this.nodes.get(place)?.querySelector(".open")?.focus({ preventScroll: true });
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.total) return;
    const along = getComputedStyle(this.list).direction === "rtl" ? -1 : 1;
    const to = {
      ArrowRight: () => this.at + along,
      ArrowLeft: () => this.at - along,
      ArrowDown: () => this.beside(1),
      ArrowUp: () => this.beside(-1),
      Home: () => 0,
      End: () => this.total - 1,
    }[event.key]?.();
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    if (to >= 0 && to < this.total) this.focus(to);
  }

  /** The place above or below in the same column, or the last of that row. */
  beside(rows) {
    const group = this.groupOf(this.at);
    const column = (this.at - group.first) % this.columns;
    const next = this.at + rows * this.columns;
    if (next >= group.first && next < group.first + group.photos) return next;
    const end = group.first + group.photos - 1;
    if (rows > 0 && Math.floor((end - group.first) / this.columns) > Math.floor((this.at - group.first) / this.columns)) return end;
    const other = this.groups[this.groups.indexOf(group) + rows];
    if (!other) return this.at;
    if (rows > 0) return Math.min(other.first + column, other.first + other.photos - 1);
    const start = Math.floor((other.photos - 1) / this.columns) * this.columns;
    return Math.min(other.first + start + column, other.first + other.photos - 1);
  }
}
