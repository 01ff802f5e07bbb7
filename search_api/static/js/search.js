// One search: its events, its hits, the live line, the confidence slider, pages of old runs.

import * as api from "./api.js";
import { $, h, toast } from "./dom.js";
import { drawEmpty } from "./empty.js";
import { count, duration, plural } from "./format.js";
import { filters, setFilters } from "./filters.js";
import { Grid } from "./grid.js";
import { drawSlider } from "./slider.js";

// More hits than this are paged from the server instead of kept from the stream.
const KEPT_HITS = 1000;
const PAGE = 100;
const REJECTED = 24;
// Tiles are added when the end of the grid is this near to the window.
const NEAR_PX = 900;
const SPOKEN_EVERY_MS = 1500;

export class Search {
  constructor({ open, similar, changed }) {
    this.grid = new Grid($("grid"), { open: (item) => open(item, this.visible()), similar });
    this.near = new Grid($("near-grid"), { open: (item) => open(item, this.nearest()), similar });
    this.changed = changed;
    this.minimum = null;
    this.reset();
    $("stop").addEventListener("click", () => this.stop());
    $("minimum").addEventListener("input", () => this.setMinimum(Number($("minimum").value) / 100));
    $("minimum-reset").addEventListener("click", () => this.setMinimum(null));
    new IntersectionObserver(() => this.more(), { rootMargin: `${NEAR_PX}px` }).observe($("sentinel"));
  }

  reset() {
    this.abort?.abort();
    this.abort = null;
    this.runId = null;
    this.run = null;
    this.request = null;
    this.kind = "search";
    this.hits = [];
    this.rejected = [];
    this.cursor = null;
    this.paged = false;
    this.state = "idle";
    this.coverage = { total: 0, filtered: 0, prefiltered: 0, verified: 0, matched: 0 };
    this.threshold = 0.5;
    this.minimum = null;
    this.elapsed = 0;
    this.notes = [];
    this.askedForNear = false;
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
    try {
      for await (const [name, data] of api.searchEvents({ ...request, rejected: REJECTED }, abort.signal)) {
        if (this.abort !== abort) return;
        await this.take(name, data);
      }
      if (this.state === "running") this.fail(new Error("The stream of results broke off; search again."));
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
      this.fail(new api.Problem(data.status, data.detail));
      return;
    } else if (name === "done") {
      await this.end(data);
    }
    this.drawSoon();
  }

  async end({ run, order, rejected }) {
    this.run = run;
    this.coverage = run.coverage;
    this.notes = run.notes;
    this.state = run.state;
    this.elapsed = (performance.now() - this.began) / 1000;
    if (order.length > this.hits.length) {
      this.paged = true;
      this.hits = [];
      await this.page();
    } else {
      const rank = new Map(order.map((photoId, i) => [photoId, i]));
      this.hits.sort((a, b) => rank.get(a.photo.id) - rank.get(b.photo.id));
    }
    if (rejected) await this.loadRejected();
  }

  /** Open a run of the history again. */
  async reopen(runId) {
    this.reset();
    this.state = "opening";
    try {
      this.run = await api.get(`/v1/search/${runId}`);
      this.runId = runId;
      this.request = { expression: this.run.expression, album: this.run.album, mode: this.run.mode, filters: this.run.filters };
      Object.assign(this, { coverage: this.run.coverage, notes: this.run.notes, threshold: this.run.threshold ?? 0.5, state: this.run.state, paged: true });
      this.elapsed = (this.run.timings_ms.total ?? 0) / 1000;
      setFilters(this.run.filters);
      this.grid.clear(runId);
      this.near.clear(runId);
      this.changed(runId);
      await this.page();
      await this.loadRejected();
    } catch (error) {
      this.fail(error);
    }
    this.draw();
  }

  /** Rank photos by how much they resemble one; nothing is verified. */
  async similar(item, { region, duplicates = false, album = null }) {
    const runId = region ? this.runId : null;
    this.reset();
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
      this.hits = found.photos;
      this.state = "done";
      this.elapsed = (performance.now() - this.began) / 1000;
    } catch (error) {
      this.fail(error);
    }
    this.draw();
  }

  stop() {
    if (this.state !== "running") return;
    this.state = "stopped";
    this.abort?.abort();
    this.abort = null;
    this.elapsed = (performance.now() - this.began) / 1000;
    this.hits.sort((a, b) => b.confidence - a.confidence);
    this.draw();
  }

  fail(error) {
    if (error.name === "AbortError") return;
    this.abort = null;
    this.state = "failed";
    const wait = error.retryAfter ? ` Try again in ${error.retryAfter} s.` : "";
    this.notes = [{ code: "problem", text: error.message + wait }];
    this.draw();
  }

  async page() {
    if (this.loading || (this.cursor === null && this.hits.length)) return;
    this.loading = true;
    const runId = this.runId;
    try {
      const found = await api.get(`/v1/search/${runId}/hits${api.query({ size: PAGE, cursor: this.cursor })}`);
      if (runId !== this.runId) return;
      this.hits.push(...found.hits);
      this.cursor = found.next_cursor;
    } finally {
      this.loading = false;
    }
  }

  async loadRejected() {
    const runId = this.runId;
    const found = await api.get(`/v1/search/${runId}/hits${api.query({ size: 100, rejected: true })}`);
    if (runId === this.runId) this.rejected = found.hits;
  }

  /** While the end of the grid is near: show more tiles, then fetch more pages. */
  async more() {
    if ($("sentinel").getBoundingClientRect().top > innerHeight + NEAR_PX) return;
    if (this.grid.grow()) requestAnimationFrame(() => this.more());
    else await this.nextPage();
  }

  /** Fetch the next page of a run; false when there is none or it is on its way. */
  async nextPage() {
    if (!this.paged || this.cursor === null || this.loading) return false;
    try {
      await this.page();
    } catch (error) {
      toast(error.message, "bad");
      return false;
    }
    this.draw();
    return true;
  }

  visible() {
    if (this.kind !== "search" || this.minimum === null) return this.hits;
    return this.hits.filter((hit) => hit.confidence >= this.minimum);
  }

  nearest() {
    if (this.minimum !== null) return this.rejected.filter((hit) => hit.confidence >= this.minimum);
    return this.askedForNear ? this.rejected : [];
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
    document.body.classList.toggle("at-start", this.state === "idle");
    document.body.classList.toggle("running", running);
    $("bar").hidden = this.state === "idle";
    $("stop").hidden = !running || this.kind !== "search";
    $("within").hidden = running || this.kind !== "search" || !this.hits.length;
    $("confidence").hidden = this.kind !== "search" || this.state === "failed";
    $("asked").textContent = this.request ? `“${this.request.expression}”` : "";
    $("live").textContent = this.liveLine();
    this.speak();
    const share = this.coverage.prefiltered ? this.coverage.verified / this.coverage.prefiltered : 0;
    $("progress").setAttribute("aria-valuenow", String(Math.round(share * 100)));
    $("progress").firstElementChild.style.setProperty("--done", share.toFixed(4));
    drawSlider(this);
    this.drawNotes();
    this.grid.show(this.visible());
    const nearest = this.nearest();
    $("near").hidden = !nearest.length;
    this.near.show(nearest);
    drawEmpty(this);
    requestAnimationFrame(() => this.more());
  }

  liveLine() {
    const { verified, prefiltered, matched } = this.coverage;
    if (this.state === "failed") return "The search did not work.";
    if (this.kind !== "search") {
      const what = this.kind === "duplicates" ? "Duplicates of" : this.region ? "More like what was found in" : "More like";
      const name = this.source.photo.path.split("/").pop();
      if (this.state === "running") return `${what} ${name} …`;
      return `${what} ${name}: ${plural(this.hits.length, "photo")}, ranked by resemblance; nothing was verified.`;
    }
    const line = `verified ${count(verified)} of ${count(this.state === "done" ? this.coverage.total : prefiltered)}, ${count(matched)} match`;
    const shown = this.minimum === null ? "" : `, ${count(this.visible().length)} shown`;
    if (this.state === "running") return line;
    const took = this.elapsed ? ` · ${duration(this.elapsed)}` : "";
    return `${line}${shown}${this.state === "stopped" ? " · stopped" : ""}${took}`;
  }

  /** Tell the line to screen readers, but not dozens of times a second. */
  speak() {
    const now = performance.now();
    if (this.state === "running" && now - (this.spokenAt ?? 0) < SPOKEN_EVERY_MS) return;
    this.spokenAt = now;
    if ($("spoken").textContent !== $("live").textContent) $("spoken").textContent = $("live").textContent;
  }

  drawNotes() {
    $("notes").replaceChildren(
      ...this.notes.filter((note) => note.code !== "stopped" || this.state !== "done").map((note) => h("p", { class: `note ${note.code}` }, note.text)),
    );
  }

  /** Show the nearest photos that were rejected. */
  showNearest() {
    this.askedForNear = true;
    this.draw();
  }

  /** The same search over every photo that passes the filters. */
  exhaustive() {
    document.querySelector("[name=mode][value=exhaustive]").checked = true;
    this.start({ ...this.request, mode: "exhaustive", filters: filters() });
  }
}
