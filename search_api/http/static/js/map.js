// Where an album's photos were taken: clusters on a coarse outline of the world, which comes with the page.

import * as api from "./api.js";
import { h, icon, s } from "./dom.js";
import { say } from "./words.js";

const CELLS = 14;
const SETTLED_MS = 160;
// Pixels of a degree: the whole world in a narrow window, and a few streets.
const LEAST = 0.8;
const MOST = 60000;
const STEP = 1.6;
// A drag that goes less far is a click.
const STILL_PX = 5;
// Map pictures: their side, how far they go into detail, and how far north.
const TILE_PX = 256;
const DEEPEST = 19;
const NORTHMOST = 85.0511;

const DEGREE = Math.PI / 180;
/** How latitudes lie on the sheet, in degrees of longitude: evenly, or where map pictures have them. */
const EVEN = { up: (lat) => lat, down: (y) => y, most: 90 };
const MERCATOR = {
  up: (lat) => Math.asinh(Math.tan(Math.max(-NORTHMOST, Math.min(NORTHMOST, lat)) * DEGREE)) / DEGREE,
  down: (y) => Math.atan(Math.sinh(y * DEGREE)) / DEGREE,
  most: 180,
};

export class WorldMap {
  /** `open(photoId)` shows a photo, `area(box)` searches in one, `told(found)` runs with what the server found. */
  constructor(host, { open, area, told }) {
    this.host = host;
    this.open = open;
    this.told = told;
    this.album = null;
    this.lie = EVEN;
    this.tiles = null;
    this.laid = new Map();
    this.fingers = new Map();
    this.ground = h("div", { class: "tiles", "aria-hidden": "true" });
    this.source = h("p", { class: "map-source" }, say("map.source"));
    this.land = s("path", { class: "land" });
    this.sheet = s("svg", { "aria-hidden": "true", preserveAspectRatio: "none" }, this.land);
    this.spots = h("ul", { class: "spots", "aria-label": say("map.spots") });
    const button = (symbol, label, onclick) => h("button", { type: "button", class: "round", "aria-label": label, title: label, onclick }, icon(symbol));
    host.append(this.sheet, this.ground, this.spots,
      h("div", { class: "map-tools" },
        button("plus", say("view.in"), () => this.zoom(STEP)),
        button("minus", say("view.out"), () => this.zoom(1 / STEP))),
      h("button", { type: "button", class: "small map-area", onclick: () => area(this.box()) }, icon("search"), say("map.area")),
      this.source);
    host.tabIndex = 0;
    host.setAttribute("role", "group");
    host.setAttribute("aria-label", say("map.label"));
    host.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * 0.0022), event);
    }, { passive: false });
    host.addEventListener("pointerdown", (event) => this.touch(event));
    addEventListener("pointermove", (event) => this.drag(event));
    for (const name of ["pointerup", "pointercancel"]) addEventListener(name, (event) => this.leave(event));
    host.addEventListener("click", (event) => { if (this.dragged && event.detail) event.stopPropagation(); }, { capture: true }); // a key's has no detail
    host.addEventListener("keydown", (event) => this.onKey(event));
    new ResizeObserver(() => this.draw()).observe(host);
  }

  /** Show where an album's photos, or everyone's, were taken. */
  async show(album) {
    this.album = album;
    this.middle = [0, 20];
    this.scale = 1;
    this.spots.replaceChildren();
    const found = await api.get(`/v1/places${api.query({ album, cells: 1 })}`);
    await this.lay(found.tiles ?? null);
    this.told(found);
    this.fit(found.bounds ?? { west: -180, south: -60, east: 180, north: 80 });
  }

  /** Lay the ground: map pictures of a server, or the outline that comes with the page. */
  async lay(tiles) {
    this.tiles = tiles;
    this.lie = tiles ? MERCATOR : EVEN;
    if (tiles) this.source.textContent = tiles.attribution;
    else if (!this.land.hasAttribute("d")) this.land.setAttribute("d", (await import("./world.js")).default);
  }

  /** The part of the globe that is seen, in degrees. */
  box() {
    const { clientWidth: width, clientHeight: height } = this.host;
    const [lon, y] = this.middle;
    const [wide, high] = [width / this.scale / 2, height / this.scale / 2];
    const round = (value, most) => Math.max(-most, Math.min(most, Number(value.toFixed(4))));
    return { west: round(lon - wide, 180), south: round(this.lie.down(y - high), 90), east: round(lon + wide, 180), north: round(this.lie.down(y + high), 90) };
  }

  /** See a box as large as it fits. */
  fit({ west, south, east, north }) {
    const wide = Math.max(0.01, east < west ? 360 : east - west);
    const [top, bottom] = [this.lie.up(north), this.lie.up(south)];
    const high = Math.max(0.01, top - bottom);
    const { clientWidth: width, clientHeight: height } = this.host;
    this.scale = Math.min(MOST, Math.max(LEAST, 0.75 * Math.min(width / wide, height / high)));
    this.middle = [east < west ? 0 : (west + east) / 2, (bottom + top) / 2];
    this.draw();
  }

  zoom(by, at = null) {
    const scale = Math.min(MOST, Math.max(LEAST, this.scale * by));
    if (at) {
      const box = this.host.getBoundingClientRect();
      const [x, y] = [at.clientX - box.left - box.width / 2, at.clientY - box.top - box.height / 2];
      this.middle = [this.middle[0] + x / this.scale - x / scale, this.middle[1] - y / this.scale + y / scale];
    }
    this.scale = scale;
    this.draw();
  }

  move(x, y) {
    this.middle = [this.middle[0] - x / this.scale, this.middle[1] + y / this.scale];
    this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.host;
    if (!width || this.album === undefined || !this.middle) return;
    this.middle = [Math.max(-180, Math.min(180, this.middle[0])), Math.max(-this.lie.most, Math.min(this.lie.most, this.middle[1]))];
    if (this.tiles) this.pave(width, height);
    else {
      const [wide, high] = [(width / this.scale) * 10, (height / this.scale) * 10];
      this.sheet.setAttribute("viewBox", `${this.middle[0] * 10 - wide / 2} ${-this.middle[1] * 10 - high / 2} ${wide} ${high}`);
    }
    for (const spot of this.spots.children) this.put(spot);
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.load().catch(() => {}), SETTLED_MS);
  }

  /** Put the map pictures that are seen in their places; those that were there stay. */
  pave(width, height) {
    const zoom = Math.max(0, Math.min(DEEPEST, Math.round(Math.log2((360 * this.scale) / TILE_PX))));
    const many = 2 ** zoom;
    const side = (360 * this.scale) / many;
    const [left, top] = [width / 2 - (this.middle[0] + 180) * this.scale, height / 2 - (180 - this.middle[1]) * this.scale];
    const seen = (start, length) => [Math.max(0, Math.floor(-start / side)), Math.min(many - 1, Math.floor((length - start) / side))];
    const [[firstX, lastX], [firstY, lastY]] = [seen(left, width), seen(top, height)];
    const laid = new Map();
    for (let x = firstX; x <= lastX; x += 1) {
      for (let y = firstY; y <= lastY; y += 1) {
        const src = this.tiles.url.replace(/\{([zxy])\}/g, (_, name) => String({ z: zoom, x, y }[name]));
        // Servers of map pictures want to know for which site they are, and need not know more.
        const tile = this.laid.get(src) ?? h("img", { src, alt: "", draggable: "false", decoding: "async", referrerpolicy: "origin", onerror: () => tile.classList.add("gone") });
        for (const [name, value] of [["--x", left + x * side], ["--y", top + y * side], ["--side", side]]) tile.style.setProperty(name, `${value}px`);
        laid.set(src, tile);
      }
    }
    this.laid = laid;
    this.ground.replaceChildren(...laid.values());
  }

  async load() {
    const { album } = this;
    if (!this.host.offsetParent) return;
    const found = await api.get(`/v1/places${api.query({ album, cells: CELLS, ...this.box() })}`);
    if (album !== this.album) return;
    const held = this.spots.contains(document.activeElement);
    this.spots.replaceChildren(...found.clusters.map((cluster) => this.spot(cluster)));
    if (held) this.host.focus();
  }

  spot(cluster) {
    const { photos, lon, lat, photo_id: photoId, box } = cluster;
    const image = h("img", { src: api.here(`/v1/photos/${photoId}/thumbnail?size=160`), alt: "", decoding: "async", draggable: "false" });
    const still = box.west === box.east && box.south === box.north;
    const spot = h("li", {}, h("button", { type: "button", class: "spot", "aria-label": say("map.spot", { n: photos, lat: lat.toFixed(2), lon: lon.toFixed(2) }),
      onclick: () => (photos === 1 || still || this.scale === MOST ? this.open(photoId) : this.fit(box)) }, image, photos > 1 ? h("b", {}, say("map.count", { n: photos })) : null));
    Object.assign(spot, { cluster });
    this.put(spot);
    return spot;
  }

  put(spot) {
    const { clientWidth: width, clientHeight: height } = this.host;
    const { lon, lat } = spot.cluster;
    spot.style.setProperty("--x", `${width / 2 + (lon - this.middle[0]) * this.scale}px`);
    spot.style.setProperty("--y", `${height / 2 - (this.lie.up(lat) - this.middle[1]) * this.scale}px`);
  }

  touch(event) {
    if (event.button || event.target.closest(".map-tools, .map-area")) return;
    if (!this.fingers.size) this.dragged = false;
    this.fingers.set(event.pointerId, event);
  }

  /** One pointer moves the map; of two, what lies between them stays there and grows with their distance. */
  drag(event) {
    const before = this.fingers.get(event.pointerId);
    if (!before) return;
    const [x, y] = [event.clientX - before.clientX, event.clientY - before.clientY];
    if (!this.dragged && Math.hypot(x, y) < STILL_PX) return;
    this.dragged = true;
    this.host.classList.add("dragged");
    this.fingers.set(event.pointerId, event);
    const other = [...this.fingers.values()].find((each) => each.pointerId !== event.pointerId);
    if (!other) {
      this.move(x, y);
      return;
    }
    const apart = (one) => Math.max(1, Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY));
    this.move(x / 2, y / 2);
    this.zoom(apart(event) / apart(before), { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 });
  }

  leave(event) {
    this.fingers.delete(event.pointerId);
    if (!this.fingers.size) this.host.classList.remove("dragged");
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== this.host) return;
    const far = 80;
    const does = {
      ArrowLeft: () => this.move(far, 0),
      ArrowRight: () => this.move(-far, 0),
      ArrowUp: () => this.move(0, far),
      ArrowDown: () => this.move(0, -far),
      "+": () => this.zoom(STEP),
      "=": () => this.zoom(STEP),
      "-": () => this.zoom(1 / STEP),
    }[event.key];
    if (!does) return;
    event.preventDefault();
    event.stopPropagation();
    does();
  }
}
