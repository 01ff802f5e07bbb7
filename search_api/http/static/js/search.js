// One search: its events, its hits, the live line, the confidence slider, pages of old runs.

import { shown } from "./address.js";
import * as api from "./api.js";
import { $, all, h, toast } from "./dom.js";
import { drawEmpty } from "./empty.js";
import { drawExports } from "./exports.js";
import { filters, setFilters } from "./filters.js";
import { Grid } from "./grid.js";
import { drawLive } from "./live.js";
import { Marks } from "./marks.js";
import { Selection } from "./selection.js";
import { may } from "./session.js";
import { drawSlider } from "./slider.js";
import { drawEffect, installSure } from "./sure.js";
import { noted, say } from "./words.js";

// More hits than this are paged from the server instead of kept from the stream.
const KEPT_HITS = 1000;
const PAGE = 100;
const ORDERS = /** @type {const} */ (["confidence", "newest", "oldest", "name"]);
const REJECTED = 24;
// The next page is fetched when so few photos are left to turn to.
const AHEAD = 5;
// Tiles are added when the end of the grid is this near to the window.
const NEAR_PX = 900;
// After one stops a search, the server ends its run within moments.
const ENDS_WITHIN_MS = 20000;

export class Search {
  /**
   * `left` runs whenever its photos make way for others: what shows one of them must go with them.
   * `sorted(order, fold)` runs when one wants the matches in another order, or alike ones as one or apart.
   */
  constructor({ open, similar, changed, marked, left, sorted }) {
    this.marks = new Marks(() => {
      for (const grid of [this.grid, this.near]) grid.drawStates();
      this.drawActions();
      marked();
    });
    this.selection = new Selection(() => {
      this.grid.drawStates();
      this.drawActions();
    });
    const { marks, selection } = this;
    this.grid = new Grid($("grid"), { open, similar, marks, selection });
    this.near = new Grid($("near-grid"), { open, similar, marks });
    this.changed = changed;
    this.left = left;
    this.minimum = null;
    this.reset();
    $("stop").addEventListener("click", () => this.stop());
    $("minimum").addEventListener("input", () => this.setMinimum(Number($("minimum").value) / 100));
    $("minimum-reset").addEventListener("click", () => this.setMinimum(null));
    installSure(this);
    $("order").append(...ORDERS.map((order) => h("option", { value: order }, say(`order.${order}`))));
    $("order").setAttribute("aria-label", say("look.order"));
    $("order").addEventListener("change", () => sorted($("order").value, this.folds !== null));
    $("fold-word").textContent = say("fold.button");
    $("fold").title = say("fold.title");
    $("fold").addEventListener("click", () => sorted(this.order, this.folds === null));
    $("unselect").addEventListener("click", () => this.selection.clear());
    new IntersectionObserver(() => this.more(), { rootMargin: `${NEAR_PX}px` }).observe($("sentinel"));
  }

  reset() {
    this.left();
    this.abort?.abort();
    this.abort = null;
    clearInterval(this.ticking);
    this.runId = null;
    this.run = null;
    this.request = null;
    this.kind = "search";
    this.hits = [];
    this.rejected = [];
    // How far this run was paged; what is fetched for an earlier one finds another object here.
    this.pages = { cursor: null, fetching: null, ended: true };
    this.state = "idle";
    this.coverage = { total: 0, filtered: 0, prefiltered: 0, verified: 0, matched: 0 };
    this.threshold = 0.5;
    this.minimum = null;
    this.order = "confidence";
    this.folds = null; // photo -> every photo that is shown as one with it; null: none is folded
    this.elapsed = 0;
    this.notes = [];
    this.askedForNear = false;
    this.marks.clear();
    this.selection.clear();
    this.grid.clear(null);
    this.near.clear(null);
  }

  /** Search for an expression; hits show up as they are verified. */
  async start(request) {
    this.reset();
    this.request = request;
    this.state = "running";
    this.began = performance.now();
    const abort = new AbortController();
    this.abort = abort;
    this.draw();
    this.ticking = setInterval(() => this.draw(), 1000);
    try {
      for await (const [name, data] of api.searchEvents({ ...request, rejected: REJECTED }, abort.signal)) {
        if (this.abort !== abort) return;
        await this.take(name, data);
      }
      if (this.state === "running") this.fail(new Error(say("search.broke")));
    } catch (error) {
      if (this.abort === abort) this.fail(error);
    }
  }

  async take(name, data) {
    if (name === "started") {
      this.runId = data.run;
      this.threshold = data.threshold;
      this.coverage = data.coverage;
      this.notes = data.notes;
      this.grid.clear(this.runId);
      this.near.clear(this.runId);
      this.changed(this.runId);
    } else if (name === "hit") {
      if (this.hits.length < KEPT_HITS) this.hits.push(data);
    } else if (name === "progress") {
      this.coverage = data.coverage;
    } else if (name === "problem") {
      this.fail(new api.Problem(data.status, api.problemSays(data)));
      return;
    } else if (name === "done") {
      await this.end(data);
    }
    this.drawSoon();
  }

  async end({ run, order, rejected }) {
    this.run = run;
    this.notes = run.notes;
    this.state = run.state;
    this.elapsed = (performance.now() - this.began) / 1000;
    clearInterval(this.ticking);
    if (!await this.pageBeyond(run)) {
      const rank = new Map(order.map((photoId, i) => [photoId, i]));
      this.hits.sort((a, b) => rank.get(a.photo.id) - rank.get(b.photo.id));
    }
    await Promise.all([rejected ? this.loadRejected() : null, this.marks.load(run.id)]);
  }

  /** Where an ended run holds more hits than the stream's that were kept: page them, from the first. */
  async pageBeyond(run) {
    this.coverage = run.coverage;
    if (run.coverage.matched <= this.hits.length) return false;
    this.hits = [];
    this.pages = { cursor: null, fetching: null, ended: false };
    await this.page();
    return true;
  }

  /** Open a run of the history again, its matches in an order, or with alike ones as one. */
  async reopen(runId, { order = "confidence", fold = false } = {}) {
    this.reset();
    this.order = order;
    const { pages } = this;
    pages.ended = false;
    this.state = "opening";
    this.draw();
    try {
      const run = await api.get(`/v1/search/${runId}`);
      if (pages !== this.pages) return;
      this.run = run;
      this.runId = runId;
      this.request = { expression: this.run.expression, album: this.run.album, mode: this.run.mode, filters: this.run.filters, verifier: this.run.verifier };
      this.coverage = this.run.coverage;
      this.notes = this.run.notes;
      this.threshold = this.run.threshold ?? 0.5;
      this.state = this.run.state;
      this.elapsed = (this.run.timings_ms.total ?? 0) / 1000;
      setFilters(this.run.filters);
      this.grid.clear(runId);
      this.near.clear(runId);
      this.changed(runId);
      if (fold) await this.loadFolds();
      await this.page();
      await Promise.all([this.loadRejected(), this.marks.load(runId)]);
    } catch (error) {
      if (pages === this.pages) this.fail(error);
    }
    if (pages === this.pages) this.draw();
  }

  /** Rank photos by how much they resemble one; nothing is verified. */
  async similar(item, { runId = null, duplicates = false, album = null }) {
    this.reset();
    const { pages } = this;
    this.kind = duplicates ? "duplicates" : "similar";
    this.source = item;
    this.region = runId !== null;
    this.state = "running";
    this.began = performance.now();
    this.draw();
    try {
      const body = { photo: item.photo.id, duplicates, size: 60 };
      if (runId) body.run = runId;
      if (album) body.album = album;
      const found = await api.post("/v1/similar", body);
      if (pages !== this.pages) return;
      this.hits = found.photos;
      this.state = "done";
      this.elapsed = (performance.now() - this.began) / 1000;
    } catch (error) {
      if (pages === this.pages) this.fail(error);
    }
    if (pages === this.pages) this.draw();
  }

  stop() {
    if (this.state !== "running") return;
    this.state = "stopped";
    this.abort?.abort();
    this.abort = null;
    clearInterval(this.ticking);
    this.elapsed = (performance.now() - this.began) / 1000;
    this.hits.sort((a, b) => b.confidence - a.confidence);
    this.draw();
    if (this.runId) this.waitForEnd().catch((error) => toast(error.message, "bad"));
  }

  /** A search that was stopped here ends on the server a moment later; then it can be marked, exported, cut out. */
  async waitForEnd() {
    const { runId } = this;
    for (const began = performance.now(); performance.now() - began < ENDS_WITHIN_MS;) {
      const run = await api.get(`/v1/search/${runId}`);
      if (runId !== this.runId) return;
      if (run.state !== "running") {
        this.run = run;
        await Promise.all([this.pageBeyond(run), this.marks.load(runId)]);
        this.draw();
        return;
      }
      await new Promise((resolve) => { setTimeout(resolve, 250); });
    }
  }

  fail(error) {
    if (error.name === "AbortError") return;
    clearInterval(this.ticking);
    this.abort = null;
    this.state = "failed";
    const wait = error.retryAfter ? ` ${say("search.retry", { seconds: error.retryAfter })}` : "";
    this.notes = [{ code: "problem", text: error.message + wait }];
    this.draw();
  }

  get hasMore() {
    return !this.pages.ended;
  }

  /** Fetch the run's next hits, if there are any. */
  async page() {
    const { pages } = this;
    if (pages.ended) return;
    pages.fetching ??= this.fetchPage(pages).finally(() => { pages.fetching = null; });
    await pages.fetching;
  }

  async fetchPage(pages) {
    const found = await api.get(`/v1/search/${this.runId}/hits${api.query({ size: PAGE, cursor: pages.cursor, order: this.order })}`);
    if (pages !== this.pages) return;
    this.hits.push(...found.hits);
    pages.cursor = found.next_cursor;
    pages.ended = found.next_cursor === null;
  }

  async loadFolds() {
    const { runId, pages } = this;
    const { folds } = await api.get(`/v1/search/${runId}/folds`);
    if (pages === this.pages) this.folds = new Map(folds.flatMap((group) => group.map((photoId) => [photoId, group])));
  }

  async loadRejected() {
    const { runId, pages } = this;
    const found = await api.get(`/v1/search/${runId}/hits${api.query({ size: 100, rejected: true })}`);
    if (pages === this.pages) this.rejected = found.hits;
  }

  /** While the end of the grid is near: show more tiles, then fetch more pages. */
  async more() {
    if ($("sentinel").getBoundingClientRect().top > innerHeight + NEAR_PX) return;
    if (this.grid.grow()) requestAnimationFrame(() => this.more());
    else await this.nextPage();
  }

  /** Fetch the next page of a run; false when there is none or it is on its way. */
  async nextPage() {
    if (!this.runId || this.pages.ended || this.pages.fetching || !this.hits.length) return false;
    try {
      await this.page();
    } catch (error) {
      toast(error.message, "bad");
      return false;
    }
    this.draw();
    return true;
  }

  /** Scroll to where one was, as soon as so many photos are there. */
  async reach(top) {
    for (;;) {
      scrollTo({ top });
      if (scrollY > top - 1 || this.state === "failed") return;
      if (this.grid.grow()) continue;
      if (!this.hasMore) return;
      await this.page();
      this.draw();
    }
  }

  /** What is shown beside a photo, to be turned over: what matches, or what was rejected. */
  turning({ accepted }) {
    const rejected = this.nearest().length ? this.nearest() : this.rejected;
    const items = () => (accepted === false ? rejected : this.visible());
    const total = () => (accepted === false || this.minimum !== null ? items().length : Math.max(items().length, this.coverage.matched));
    return {
      search: this,
      total,
      index: (item) => items().indexOf(item),
      at: async (place) => {
        while (place >= items().length && place < total() && this.hasMore) await this.page();
        if (accepted !== false && place > items().length - AHEAD) this.nextPage();
        return items()[place];
      },
    };
  }

  /** What was decided about a photo, paged as far as it takes; undefined where nothing was. */
  async find(photoId) {
    const of = (items) => items.find((item) => item.photo.id === photoId);
    while (!of(this.hits) && !of(this.rejected) && this.hasMore) await this.page();
    return of(this.hits) ?? of(this.rejected);
  }

  visible() {
    if (this.kind !== "search" || this.minimum === null) return this.hits;
    return this.hits.filter((hit) => hit.confidence >= this.minimum);
  }

  /** What is shown of matches: of those that are alike the first, for all of its group. */
  faces(hits) {
    if (!this.folds) return hits;
    const seen = new Set();
    return hits.filter((hit) => {
      hit.group = this.folds.get(hit.photo.id);
      if (!hit.group) return true;
      const first = !seen.has(hit.group);
      seen.add(hit.group);
      return first;
    });
  }

  nearest() {
    if (this.minimum !== null) return this.rejected.filter((hit) => hit.confidence >= this.minimum);
    return this.askedForNear ? this.rejected : [];
  }

  /**
   * The matches that every button means: the selected ones, or those from the slider on; never those marked wrong.
   * `least` and `photos` are null where they narrow nothing; `text` says it beside the buttons.
   */
  chosen() {
    const { selection } = this;
    const right = (hit) => this.marks.of(hit) !== "wrong";
    if (selection.size) {
      const photos = this.hits.filter((hit) => selection.has(hit.photo.id) && right(hit)).map((hit) => hit.photo.id);
      return { photos, least: null, number: photos.length, text: say("chosen.selected", { n: photos.length }) };
    }
    const fewer = this.minimum !== null && this.minimum > this.threshold;
    const meant = this.hits.filter((hit) => !fewer || hit.confidence >= this.minimum);
    const wrong = meant.filter((hit) => !right(hit)).length;
    const number = (fewer ? meant.length : this.coverage.matched) - wrong;
    const without = wrong ? `, ${say("chosen.without", { n: wrong })}` : "";
    return { photos: null, least: fewer ? this.minimum : null, number,
      text: `${say(fewer ? "chosen.shown" : "chosen.every", { n: number })}${without}` };
  }

  /** Whether hits are yet to be fetched that `chosen` counts. Best first, below the slider is none. */
  get uncounted() {
    if (!this.hasMore || !this.hits.length) return false;
    if (this.selection.size) return this.lack(this.selection.photos);
    if (this.minimum !== null && this.minimum > this.threshold) return this.order !== "confidence" || this.hits.at(-1).confidence >= this.minimum;
    return this.lack(this.marks.wrong);
  }

  /** Whether some photos are not among the hits that were fetched. */
  lack(photoIds) {
    const here = new Set(this.hits.map((hit) => hit.photo.id));
    return [...photoIds].some((photoId) => !here.has(photoId));
  }

  /** Fetch what `chosen` counts, so that the page says the number that the buttons mean. */
  async countWhole() {
    while (this.uncounted) await this.page();
  }

  /** `chosen` after every hit that it counts has been fetched; `sample` is one of them. */
  async chosenWhole() {
    await this.countWhole();
    const chosen = this.chosen();
    const sample = this.hits.find((hit) => this.marks.of(hit) !== "wrong" && (!chosen.photos || chosen.photos.includes(hit.photo.id)));
    return { ...chosen, sample };
  }

  /** Show hits from this confidence on; null goes back to the calibrated decision. */
  setMinimum(value) {
    this.minimum = value !== null && Math.abs(value - this.threshold) < 0.005 ? null : value;
    this.draw();
  }

  drawSoon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  draw() {
    const running = this.state === "running";
    document.body.classList.toggle("at-start", this.state === "idle" && !shown().look);
    document.body.classList.toggle("running", running);
    $("bar").hidden = this.state === "idle";
    $("stop").hidden = !running || this.kind !== "search";
    $("confidence").hidden = this.kind !== "search" || this.state === "failed";
    drawLive(this);
    const share = this.coverage.prefiltered ? this.coverage.verified / this.coverage.prefiltered : 0;
    $("progress").setAttribute("aria-valuenow", String(Math.round(share * 100)));
    $("progress").firstElementChild.style.setProperty("--done", share.toFixed(4));
    drawSlider(this);
    drawEffect(this);
    this.drawActions();
    this.drawNotes();
    this.grid.show(this.faces(this.visible()));
    const nearest = this.nearest();
    $("near").hidden = !nearest.length;
    this.near.show(nearest);
    drawEmpty(this);
    if (this.uncounted) this.countWhole().then(() => this.drawSoon(), (error) => toast(error.message, "bad"));
    requestAnimationFrame(() => this.more());
  }

  /** What can be done with all that was found: cut it out, export it, search within it. */
  drawActions() {
    const ended = this.run !== null && this.run.state !== "running" && this.kind === "search" && this.state !== "failed";
    const { size } = this.selection;
    const chosen = this.chosen();
    const fewer = chosen.least !== null;
    $("sorting").hidden = !ended || this.coverage.matched < 2;
    $("order").value = this.order;
    $("fold").setAttribute("aria-pressed", String(this.folds !== null));
    $("bar-actions").hidden = !ended || chosen.number < 1;
    document.body.classList.toggle("selecting", size > 0);
    $("unselect").hidden = !size;
    $("cut").hidden = !may("write");
    $("save-row").hidden = !ended || !may("write");
    $("cut-label").textContent = size ? say("cut.selected", { n: chosen.number }) : fewer ? say("cut.shown") : say("cut.all", { n: chosen.number });
    if (ended) drawExports(this.run, this.marks.size > 0, chosen);
    const narrowed = fewer || size || chosen.number < this.coverage.matched;
    $("meant").textContent = narrowed ? say("chosen.for", { what: chosen.text }) : "";
    $("within").title = say("chosen.within", { what: chosen.text });
  }

  drawNotes() {
    $("notes").replaceChildren(
      ...this.notes.filter((note) => note.code !== "stopped" || this.state !== "done").map((note) => h("p", { class: `note ${note.code}` }, noted(note))),
    );
  }

  /** Show the nearest photos that were rejected. */
  showNearest() {
    this.askedForNear = true;
    this.draw();
  }

  /** The same search over every photo that passes the filters. */
  exhaustive() {
    all("[name=mode][value=exhaustive]")[0].checked = true;
    this.start({ ...this.request, mode: "exhaustive", filters: filters() });
  }
}
