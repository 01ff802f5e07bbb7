// One photo, large: zoom, mask, minimap, confidence, what is known about it, downloads.

import * as api from "./api.js";
import { $, h, icon, toast } from "./dom.js";
import { bytes, clockTime, count, day, percent } from "./format.js";
import { TILE_SIDE } from "./grid.js";
import { maskOf, outline } from "./masks.js";
import { may } from "./session.js";
import { say } from "./words.js";
import { Zoom } from "./zoom.js";

const SIDE = 2048;
const MASK_SIDE = 1600;
const BROWSER_SHOWS = new Set(["JPEG", "PNG", "WEBP", "GIF", "AVIF"]);
const VIEWS = [["photo", say("view.photo")], ["mask", say("view.mask")], ["minimap", say("view.minimap")]];

export class Lightbox {
  /**
   * `similar(item, options)` asks for more like it, `cut(item)` cuts it out; `turned(item)` runs whenever another
   * photo is shown, `closed(item)` at the end.
   */
  constructor({ similar, cut, turned, closed }) {
    this.similar = similar;
    this.cut = cut;
    this.turned = turned;
    this.closed = closed;
    this.list = null;
    this.search = null;
    this.runId = null;
    this.dialog = $("lightbox");
    this.view = "photo";
    this.paper = h("div", { class: "paper" });
    this.stage = h("div", { class: "stage", tabindex: -1, autofocus: true }, this.paper,
      this.button("left", say("view.previous"), () => this.step(-1), "previous"),
      this.button("right", say("view.next"), () => this.step(1), "next"),
      h("div", { class: "zoom-tools" },
        this.button("minus", say("view.out"), () => this.zoom.by(1 / 1.5)),
        h("output", { class: "zoom-level" }),
        this.button("plus", say("view.in"), () => this.zoom.by(1.5))));
    this.views = h("div", { class: "segments", role: "group", "aria-label": say("view.view") }, VIEWS.map(([name, label], i) =>
      h("button", { type: "button", "data-view": name, "aria-keyshortcuts": String(i + 1), onclick: () => this.show(name) }, label)));
    this.about = h("div", { class: "about" });
    this.place = h("span", { class: "place-in-list" });
    this.dialog.append(
      this.stage,
      h("aside", { "aria-label": say("view.about") },
        h("header", {}, this.place, this.button("close", say("close"), () => this.dialog.close())),
        this.views, this.about));
    this.zoom = new Zoom(this.stage, this.paper, (scale) => {
      this.stage.querySelector(".zoom-level").textContent = `${Math.round(scale * 100)} %`;
      if (scale > 1.6) this.sharpen();
    });
    this.dialog.addEventListener("keydown", (event) => this.onKey(event));
    this.dialog.addEventListener("close", () => this.closed(this.item));
  }

  button(symbol, label, onclick, more = "") {
    return h("button", { type: "button", class: `round ${more}`, "aria-label": label, title: label, onclick }, icon(symbol));
  }

  /**
   * Show a photo of a `list`: how many it has in `total()`, the `index(item)` of one and the item `at(index)`, which may
   * have to be fetched; `search` is what found them, null where nothing did.
   */
  open(item, list) {
    this.list = list;
    this.search = list.search;
    this.runId = list.search?.kind === "search" ? list.search.runId : null;
    if (!this.dialog.open) this.dialog.showModal();
    this.turnTo(item);
  }

  async step(by) {
    const from = this.item;
    const next = await this.near(by);
    if (next && from === this.item) this.turnTo(next);
  }

  /** The item so many places on; undefined where there is none, or it cannot be fetched. */
  near(by) {
    return this.list.at(this.list.index(this.item) + by).catch((error) => { toast(error.message, "bad"); });
  }

  turnTo(item) {
    this.item = item;
    this.turned(item);
    this.zoom.reset();
    this.drawPlace();
    const { photo } = item;
    this.dialog.setAttribute("aria-label", photo.path);
    const ratio = photo.width && photo.height ? photo.width / photo.height : 1.5;
    this.paper.style.setProperty("--ratio", String(ratio));
    this.image = h("img", { class: "picture", src: api.thumbnail(photo, SIDE), alt: photo.path, draggable: "false" });
    // The grid's small picture, which the browser has, until the large one is there.
    this.image.style.backgroundImage = `url("${api.thumbnail(photo, TILE_SIDE)}")`;
    this.image.addEventListener("error", () => this.paper.replaceChildren(h("p", { class: "gone-text" }, say("view.gone"))), { once: true });
    this.paper.replaceChildren(this.image);
    this.sharp = false;
    this.mask = null;
    const judged = this.judged();
    this.views.hidden = !judged;
    this.views.querySelector("[data-view=mask]").disabled = !item.accepted;
    if (judged && item.accepted) this.loadMask(item);
    if (judged) this.paper.append(this.minimap = h("img", { class: "minimap", src: `${api.ofHit(this.runId, photo.id, "minimap.png")}?side=480`, alt: "", draggable: "false" }));
    if (!judged || (this.view === "mask" && !item.accepted)) this.view = "photo";
    this.show(this.view);
    this.drawAbout();
    for (const by of [1, -1]) {
      this.near(by).then((neighbour) => { if (neighbour && item === this.item) new Image().src = api.thumbnail(neighbour.photo, SIDE); });
    }
    this.loadCopies(item);
  }

  /** A verdict came or changed. */
  drawMarks() {
    if (this.dialog.open && this.judged()) this.drawAbout();
  }

  judged() {
    return this.runId !== null && this.item.confidence !== undefined;
  }

  drawPlace() {
    const at = this.list.index(this.item);
    const total = this.list.total();
    this.place.textContent = say("photo.place", { at: at + 1, total });
    this.stage.querySelector(".previous").disabled = at <= 0;
    this.stage.querySelector(".next").disabled = at >= total - 1;
  }

  /** Other places of the same bytes. */
  async loadCopies(item) {
    try {
      item.copies ??= (await api.get(`/v1/photos/${item.photo.id}/copies`)).photos;
      if (item === this.item && item.copies.length) this.drawAbout();
    } catch {
      // What is known of the photo itself is shown all the same.
    }
  }

  async loadMask(item) {
    try {
      const mask = await maskOf(this.runId, item.photo.id, MASK_SIDE);
      if (item !== this.item) return;
      this.mask = mask;
      this.image.after(outline(mask));
      this.drawAbout();
    } catch (error) {
      if (item === this.item) toast(error.message, "bad");
    }
  }

  show(view) {
    this.view = view;
    this.paper.dataset.view = view;
    for (const button of this.views.children) button.setAttribute("aria-pressed", String(button.dataset.view === view));
  }

  /** Swap in the original once one looks closely. */
  sharpen() {
    const { photo } = this.item ?? {};
    if (this.sharp || !photo || !BROWSER_SHOWS.has(photo.format) || Math.max(photo.width, photo.height) <= SIDE) return;
    this.sharp = true;
    const whole = new Image();
    const image = this.image;
    whole.addEventListener("load", () => { image.src = whole.src; }, { once: true });
    whole.src = api.original(photo.id);
  }

  drawAbout() {
    const { item, runId } = this;
    const { photo } = item;
    const rows = [
      [say("fact.file"), photo.path],
      [say("fact.album"), photo.album],
      [say("photo.copies"), item.copies?.length ? item.copies.map((copy) => h("span", { class: "line" }, `${copy.album}/${copy.path}`)) : null],
      [say("fact.taken"), photo.taken_at && taken(photo)],
      [say("fact.camera"), photo.camera],
      [say("fact.place"), photo.lat !== null && photo.lon !== null ? `${photo.lat.toFixed(4)}, ${photo.lon.toFixed(4)}` : null],
      [say("fact.size"), photo.width && `${count(photo.width)} × ${count(photo.height)} px, ${bytes(photo.size_bytes)}`],
      [say("fact.type"), photo.format],
    ];
    if (this.mask?.photo_width) {
      const share = this.mask.area / (this.mask.photo_width * this.mask.photo_height);
      rows.push([say("view.mask"), say("fact.share", { share: percent(share) })]);
      if (this.mask.box) rows.push([say("fact.box"), this.mask.box.join(", ")]);
    }
    const focused = this.about.contains(document.activeElement) ? document.activeElement.textContent : null;
    this.about.replaceChildren(...[
      this.verdict(),
      this.judged() && this.search.run ? this.search.marks.buttons(item) : null,
      photo.note ? h("p", { class: "note" }, photo.note) : null,
      item.vanished ? h("p", { class: "note" }, say("view.vanished")) : null,
      h("dl", { class: "facts" }, rows.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
      h("div", { class: "actions" },
        runId && item.accepted ? this.like(say("view.likeRegion"), { region: true }) : null,
        this.like(say("view.likePhoto"), { region: false }),
        this.like(say("view.duplicates"), { region: false, duplicates: true }),
        runId && item.accepted && this.search.run && may("write") ? h("button", { type: "button", class: "small", onclick: () => this.cut(item) }, icon("cut"), say("view.cut")) : null),
      h("div", { class: "actions" },
        runId && item.accepted ? this.link(api.ofHit(runId, photo.id, "mask.png"), say("view.mask"), `${stem(photo)}-mask.png`) : null,
        runId && item.accepted ? this.link(api.ofHit(runId, photo.id, "overlay.jpg"), say("view.overlay"), `${stem(photo)}-overlay.jpg`) : null,
        runId && item.accepted ? this.link(api.ofHit(runId, photo.id, "mask.json"), "COCO", `${stem(photo)}-mask.json`) : null,
        item.vanished ? null : this.link(api.original(photo.id), say("view.original"), photo.path.split("/").pop())),
    ].filter(Boolean));
    if (focused) [...this.about.querySelectorAll("button")].find((button) => button.textContent === focused)?.focus();
  }

  verdict() {
    const { item } = this;
    if (item.confidence === undefined && item.similarity === undefined) return null;
    if (item.confidence === undefined) {
      return h("div", { class: "verdict" }, h("p", { class: "big" }, item.similarity.toFixed(3)),
        h("p", {}, item.same_file ? say("view.same") : say("view.resembles")));
    }
    const { threshold, request } = this.search;
    return h("div", { class: `verdict ${item.accepted ? "yes" : "no"}` },
      h("p", { class: "expression" }, `“${request.expression}”`),
      h("p", { class: "big" }, percent(item.confidence), h("small", {}, ` ${say(item.accepted ? "view.likely" : "view.rejected")}`)),
      h("div", { class: "meter", vars: { "--value": item.confidence, "--at": threshold }, title: say("view.from", { at: percent(threshold) }) }, h("i"), h("b")));
  }

  like(label, options) {
    return h("button", { type: "button", class: "small", onclick: () => {
      this.similar(this.item, options);
    } }, icon("similar"), label);
  }

  link(href, label, name) {
    return h("a", { class: "small", href, download: name }, icon("download"), label);
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const does = {
      ArrowLeft: () => this.step(-1),
      ArrowRight: () => this.step(1),
      "+": () => this.zoom.by(1.5),
      "=": () => this.zoom.by(1.5),
      "-": () => this.zoom.by(1 / 1.5),
      0: () => this.zoom.reset(),
    }[event.key];
    const view = VIEWS[Number(event.key) - 1]?.[0];
    if (does) does();
    else if (view && !this.views.hidden && !this.views.querySelector(`[data-view=${view}]`).disabled) this.show(view);
    else if (!this.judged() || !this.search.run || !this.search.marks.onKey(event.key, this.item)) return;
    event.preventDefault();
  }
}

/** When a photo was taken: its clock, the clock's zone where the camera wrote it, and whether only its name says so. */
function taken({ taken_at: at, taken_source: source, taken_offset_min: ahead }) {
  const zone = ahead === null ? "" : ` UTC${ahead < 0 ? "−" : "+"}${[Math.trunc(Math.abs(ahead) / 60), Math.abs(ahead) % 60].map((each) => String(each).padStart(2, "0")).join(":")}`;
  const when = source.endsWith("-day") ? day(at) : clockTime(at) + zone;
  return source.startsWith("name") ? say("photo.named", { when }) : when;
}

const stem = (photo) => photo.path.split("/").pop().replace(/\.[^.]*$/, "");
