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

export class WorldMap {
  /** `open(photoId)` shows a photo, `area(box)` searches in one, `told(found)` runs with what the server found. */
  constructor(host, { open, area, told }) {
    this.host = host;
    this.open = open;
    this.told = told;
    this.album = null;
    this.land = s("path", { class: "land" });
    this.sheet = s("svg", { "aria-hidden": "true", preserveAspectRatio: "none" }, this.land);
    this.spots = h("ul", { class: "spots", "aria-label": say("map.spots") });
    const button = (symbol, label, onclick) => h("button", { type: "button", class: "round", "aria-label": label, title: label, onclick }, icon(symbol));
    host.append(this.sheet, this.spots,
      h("div", { class: "map-tools" },
        button("plus", say("view.in"), () => this.zoom(STEP)),
        button("minus", say("view.out"), () => this.zoom(1 / STEP))),
      h("button", { type: "button", class: "small map-area", onclick: () => area(this.box()) }, icon("search"), say("map.area")),
      h("p", { class: "map-source" }, say("map.source")));
    host.tabIndex = 0;
    host.setAttribute("role", "group");
    host.setAttribute("aria-label", say("map.label"));
    host.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * 0.0022), event);
    }, { passive: false });
    host.addEventListener("pointerdown", (event) => this.drag(event));
    host.addEventListener("keydown", (event) => this.onKey(event));
    new ResizeObserver(() => this.draw()).observe(host);
  }

  /** Show where an album's photos, or everyone's, were taken. */
  async show(album) {
    this.album = album;
    this.middle = [0, 20];
    this.scale = 1;
    this.spots.replaceChildren();
    const [world, found] = await Promise.all([
      this.land.hasAttribute("d") ? null : import("./world.js"),
      api.get(`/v1/places${api.query({ album, cells: 1 })}`),
    ]);
    if (world) this.land.setAttribute("d", world.default);
    this.told(found);
    this.fit(found.bounds ?? { west: -180, south: -60, east: 180, north: 80 });
  }

  /** The part of the globe that is seen, in degrees. */
  box() {
    const { clientWidth: width, clientHeight: height } = this.host;
    const [lon, lat] = this.middle;
    const [wide, high] = [width / this.scale / 2, height / this.scale / 2];
    const round = (value, most) => Math.max(-most, Math.min(most, Number(value.toFixed(4))));
    return { west: round(lon - wide, 180), south: round(lat - high, 90), east: round(lon + wide, 180), north: round(lat + high, 90) };
  }

  /** See a box as large as it fits. */
  fit({ west, south, east, north }) {
    const wide = Math.max(0.01, east < west ? 360 : east - west);
    const high = Math.max(0.01, north - south);
    const { clientWidth: width, clientHeight: height } = this.host;
    this.scale = Math.min(MOST, Math.max(LEAST, 0.75 * Math.min(width / wide, height / high)));
    this.middle = [east < west ? 0 : (west + east) / 2, (south + north) / 2];
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
    this.middle = [Math.max(-180, Math.min(180, this.middle[0])), Math.max(-90, Math.min(90, this.middle[1]))];
    const [wide, high] = [(width / this.scale) * 10, (height / this.scale) * 10];
    this.sheet.setAttribute("viewBox", `${this.middle[0] * 10 - wide / 2} ${-this.middle[1] * 10 - high / 2} ${wide} ${high}`);
    for (const spot of this.spots.children) this.put(spot);
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.load().catch(() => {}), SETTLED_MS);
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
    spot.style.setProperty("--y", `${height / 2 - (lat - this.middle[1]) * this.scale}px`);
  }

  drag(event) {
    if (event.button || event.target.closest("button")) return;
    let [x, y] = [event.clientX, event.clientY];
    const move = (to) => {
      if (Math.hypot(to.clientX - x, to.clientY - y) < STILL_PX && !this.host.classList.contains("dragged")) return;
      this.host.classList.add("dragged");
      this.move(to.clientX - x, to.clientY - y);
      [x, y] = [to.clientX, to.clientY];
    };
    const end = () => {
      this.host.classList.remove("dragged");
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", end);
      removeEventListener("pointercancel", end);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", end);
    addEventListener("pointercancel", end);
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
