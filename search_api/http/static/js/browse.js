// An album as it lies there, without a search: its photos by time, name or folder, and a scrubber.

import * as api from "./api.js";
import { $, h, toast } from "./dom.js";
import { day, duration, month } from "./format.js";
import { WorldMap } from "./map.js";
import { Wall } from "./wall.js";
import { say } from "./words.js";

const ORDERS = /** @type {const} */ (["newest", "oldest", "name", "folder", "map"]);
// Words beside the scrubber stand at least this far apart.
const APART_PX = 26;
// How often it looks for what has become searchable.
const EVERY_MS = 3000;

export class Browse {
  /**
   * `open(item)` shows a photo large, `turned(order)` runs when another order was chosen, `area(box)` when one wants
   * to search in a part of the map.
   */
  constructor({ open, turned, area }) {
    this.view = null;
    this.revision = "";
    this.map = new WorldMap($("map"), {
      open: (photoId) => this.find(photoId).then(open, (error) => toast(error.message, "bad")),
      area,
      told: ({ photos, located }) => { $("look-facts").textContent = say("map.located", { n: located, of: photos }); },
    });
    this.wall = new Wall($("wall"), {
      open,
      fetch: (first, size) => this.fetch(first, size),
      moved: () => this.drawScrubber(),
      named: (photo) => [photo.path.split("/").pop(), photo.taken_at && day(photo.taken_at)].filter(Boolean).join(", "),
    });
    $("look-order").append(...ORDERS.map((order) => h("option", { value: order }, say(`look.${order}`))));
    $("look-order").setAttribute("aria-label", say("look.order"));
    $("look-order").addEventListener("change", () => turned($("look-order").value));
    $("wall").setAttribute("aria-label", say("look.wall"));
    $("scrub").setAttribute("aria-label", say("look.scrub"));
    $("scrub").addEventListener("input", () => scrollTo({ top: (Number($("scrub").value) / 1000) * this.farthest }));
  }

  get shown() {
    return this.view !== null;
  }

  hide() {
    if (!this.view) return;
    this.view = null;
    clearTimeout(this.following);
    this.wall.clear();
    $("browse").hidden = true;
    document.body.classList.remove("looking");
  }

  /** Show an album, or all, in an order. */
  async show({ look, album }) {
    const view = { order: ORDERS.includes(look) ? look : ORDERS[0], album };
    this.view = view;
    this.revision = "";
    document.body.classList.add("looking");
    $("look-title").textContent = album ?? say("look.all");
    $("look-facts").textContent = "";
    $("look-order").value = view.order;
    $("browse").hidden = false;
    const onMap = view.order === "map";
    $("map").hidden = !onMap;
    $("wall").hidden = onMap;
    $("look-empty").textContent = "";
    this.wall.clear();
    clearTimeout(this.following);
    if (!onMap) return this.load();
    $("scrubber").hidden = true;
    await this.map.show(album).catch((error) => { if (view === this.view) toast(error.message, "bad"); });
  }

  async load() {
    const { view } = this;
    try {
      const found = await this.timeline({});
      if (view !== this.view) return;
      const waiting = found.photos - found.searchable;
      const job = waiting ? await indexing() : null;
      if (view !== this.view) return;
      $("look-facts").textContent = [
        say("look.photos", { n: found.photos }),
        waiting ? say("look.waiting", { n: waiting }) : null,
        job?.rate ? say("look.until", { time: duration(waiting / job.rate) }) : null,
        found.unreadable ? say("look.unreadable", { n: found.unreadable }) : null,
      ].filter(Boolean).join(" · ");
      clearTimeout(this.following);
      if (waiting) this.following = setTimeout(() => this.load(), EVERY_MS);
      if (found.revision === this.revision) return;
      this.revision = found.revision;
      $("look-empty").textContent = found.photos ? "" : say("look.empty");
      this.wall.show(found.groups.map(({ key, photos }) => ({ label: labelOf(view.order, key), photos })));
      this.drawTicks();
    } catch (error) {
      if (view === this.view) toast(error.message, "bad");
    }
  }

  timeline(more) {
    return api.get(`/v1/timeline${api.query({ order: this.view.order, album: this.view.album, ...more })}`);
  }

  async fetch(first, size) {
    const { view } = this;
    try {
      const found = await api.get(`/v1/timeline/photos${api.query({ order: view.order, album: view.album, first, size })}`);
      if (view !== this.view) return null;
      if (found.revision !== this.revision) {
        await this.load(); // photos came or went: every place behind them is another one
        return null;
      }
      return found.photos.map((photo) => ({ photo }));
    } catch (error) {
      if (view === this.view) toast(error.message, "bad");
      return null;
    }
  }

  /** Its photos as one turns them over; on the map each is alone. */
  turning() {
    const { wall } = this;
    if (this.view.order === "map") return { search: null, total: () => 1, index: () => 0, at: async (place) => (place ? undefined : this.alone) };
    return { search: null, total: () => wall.total, index: (item) => wall.place(item), at: (place) => wall.item(place) };
  }

  /** A photo by its number, wherever it stands; undefined where the album has none. */
  async find(photoId) {
    const { view } = this;
    if (view.order === "map") return (this.alone = { photo: await api.get(`/v1/photos/${photoId}`) });
    const { place } = await this.timeline({ photo: photoId });
    return view === this.view && place !== null ? this.wall.item(place) : undefined;
  }

  focus(item) {
    if (this.view.order === "map") return;
    const place = this.wall.place(item);
    if (place >= 0) this.wall.focus(place);
  }

  get farthest() {
    return Math.max(1, document.documentElement.scrollHeight - innerHeight);
  }

  drawScrubber() {
    const group = this.wall.groupAt(scrollY - $("wall").offsetTop + 80);
    $("scrubber").hidden = this.wall.height < innerHeight * 1.5;
    if (document.activeElement !== $("scrub") || !$("scrub").matches(":active")) {
      $("scrub").value = String(Math.round((scrollY / this.farthest) * 1000));
    }
    $("scrub").setAttribute("aria-valuetext", group.label);
    $("scrub-at").textContent = group.label;
    $("scrubber").style.setProperty("--at", (scrollY / this.farthest).toFixed(4));
  }

  /** Years, or headings, beside the scrubber, as many as there is room for. */
  drawTicks() {
    const byTime = this.view.order === "newest" || this.view.order === "oldest";
    const { groups, height } = this.wall;
    const room = $("scrubber").clientHeight || innerHeight - 200;
    const ticks = [];
    let above = -APART_PX;
    let said = "";
    for (const group of groups) {
      const text = byTime ? /\d{4}/.exec(group.label)?.[0] ?? "" : group.label.split("/").pop().slice(0, 9);
      const at = (group.top / height) * room;
      if (!text || text === said || at - above < APART_PX || at > room - APART_PX) continue;
      [above, said] = [at, text];
      ticks.push(h("span", { vars: { "--at": (group.top / height).toFixed(4) } }, text));
    }
    $("ticks").replaceChildren(...ticks);
  }
}

/** The job that makes photos searchable, if one runs. */
async function indexing() {
  const { jobs } = await api.get("/v1/jobs?unfinished=true&size=20");
  return jobs.find((job) => job.kind === "index" && job.state === "running") ?? null;
}

function labelOf(order, key) {
  if (order === "folder") return key || say("look.top");
  if (order === "name") return key ?? "";
  return key === null ? say("look.undated") : month(key);
}
