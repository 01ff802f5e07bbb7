// Cutting matches out: how, with a rough preview; then the job's progress and its zip.

import * as api from "./api.js";
import { $, h, icon, s, toast } from "./dom.js";
import { actions, failures, meter, progress } from "./jobs.js";
import { maskOf, pathOf } from "./masks.js";
import { say } from "./words.js";

const SIDE = 1024;

export class Cutouts {
  constructor() {
    this.dialog = $("cutouts");
    this.form = $("cutouts-form");
    this.leave = () => {};
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.start(); });
    this.form.addEventListener("input", (event) => {
      if (event.target === $("colour")) this.form.elements.background.value = "colour";
      this.draw();
    });
    this.form.querySelector("[data-close]").addEventListener("click", () => this.dialog.close());
  }

  /** Ask how to cut `photos` of an ended run out (null: every match, `number` of them). */
  async open(run, { photos, least = null, number, sample }) {
    this.leave();
    this.run = run;
    this.photos = photos;
    this.least = least;
    this.sample = sample;
    this.mask = null;
    $("cutouts-title").textContent = say("cut.of", { expression: run.expression });
    $("cutouts-start").textContent = say("cut.start", { n: number });
    const { width, height } = sample.photo;
    $("preview").style.setProperty("--photo", width && height ? width / height : 1.5);
    $("cutouts-error").hidden = true;
    $("cutouts-job").hidden = true;
    this.form.hidden = false;
    this.draw();
    this.dialog.showModal();
    try {
      const mask = await maskOf(run.id, sample.photo.id, SIDE);
      if (this.sample === sample) this.mask = mask;
    } catch {
      // Without its mask the sample cannot be shown; its cut-out will say why.
    }
    this.draw();
  }

  /**
   * The choices as the API takes them.
   * @returns {Record<string, any>}
   */
  choices() {
    const { background, form, crop, mask_only: maskOnly } = this.form.elements;
    if (maskOnly.checked) return { crop: crop.checked, mask_only: true };
    const colour = background.value === "colour" ? $("colour").value : background.value;
    return { format: form.value, background: colour || null, crop: crop.checked };
  }

  draw() {
    const maskOnly = this.form.elements.mask_only.checked;
    $("backgrounds").disabled = maskOnly;
    $("formats").disabled = maskOnly;
    $("preview").replaceChildren(...(this.mask ? [picture(this.sample.photo, this.mask, this.choices())] : []));
  }

  async start() {
    /** @type {Record<string, any>} */
    const body = { run: this.run.id, ...this.choices() };
    if (this.photos) body.photos = this.photos;
    if (this.least != null) body.least = this.least;
    $("cutouts-start").disabled = true;
    try {
      const job = await api.post("/v1/matte", body);
      this.follow(job);
    } catch (error) {
      $("cutouts-error").textContent = error.message;
      $("cutouts-error").hidden = false;
    } finally {
      $("cutouts-start").disabled = false;
    }
  }

  /** Show how far the job is; it goes on when the dialog is closed. */
  follow(job) {
    this.form.hidden = true;
    $("cutouts-job").hidden = false;
    const stop = api.watchJob(job.id, (now) => this.drawJob(now), () => toast(say("cut.lost"), "bad"));
    this.leave = () => { stop(); this.leave = () => {}; };
    this.drawJob(job);
  }

  drawJob(job) {
    const panel = $("cutouts-job");
    const ended = ["done", "failed", "cancelled"].includes(job.state);
    const written = job.result?.written ?? job.done;
    const title = { done: say("cut.ready", { n: written }), failed: say("cut.failed"), cancelled: say("cut.cancelled"), paused: say("cut.paused"), queued: say("cut.queued") }[job.state] ?? say("cut.running");
    const focused = panel.contains(document.activeElement) ? document.activeElement.textContent : null;
    panel.replaceChildren(
      h("p", { class: "big", role: "status" }, title),
      meter(job),
      h("p", { class: "hint" }, progress(job).join(" · ")),
      ...[job.message && job.state === "failed" ? h("p", { class: "error" }, job.message) : null, job.failed ? failures(job) : null].filter(Boolean),
      h("div", { class: "actions end" },
        actions(job, (now) => (ended ? this.follow(now) : this.drawJob(now))),
        h("button", { type: "button", class: "secondary", onclick: () => this.dialog.close() }, say(ended ? "close" : "cut.leave")),
        job.state === "done" && written ? h("a", { class: "primary", href: api.cutOuts(job.id), download: `cutouts-${job.id}.zip` }, icon("download"), say("cut.zip")) : null));
    if (focused) [...panel.querySelectorAll("button")].find((button) => button.textContent === focused)?.focus();
    if (job.state === "done" && !this.dialog.open) toast(say("cut.there"));
  }
}

/** One match as the choices would show it, with its mask's hard edges. */
function picture(photo, mask, choices) {
  const { background, crop, mask_only: maskOnly } = choices;
  const { photo_width: width, photo_height: height } = mask;
  const [x, y, w, h_] = crop && mask.box ? mask.box : [0, 0, width, height];
  const d = pathOf(mask.polygons);
  const source = { href: api.thumbnail(photo, SIDE), width, height, preserveAspectRatio: "none" };
  const plain = maskOnly ? "#000000" : background;
  return s("svg", { class: plain ? "" : "transparent", viewBox: `${x} ${y} ${w} ${h_}`, vars: { "--ratio": w / h_ }, role: "img", "aria-label": say("cut.preview") },
    s("clipPath", { id: "cut-shape" }, s("path", { d, "clip-rule": "evenodd" })),
    // Larger than the photo, so that its blurred border stays outside.
    plain === "blur" ? s("image", { ...source, x: -0.06 * width, y: -0.06 * height, width: 1.12 * width, height: 1.12 * height, class: "behind", vars: { "--blur": `${Math.round(Math.max(w, h_) / 40)}px` } }) : null,
    plain && plain !== "blur" ? s("rect", { x, y, width: w, height: h_, fill: plain }) : null,
    maskOnly ? s("path", { d, fill: "#ffffff", "fill-rule": "evenodd" }) : s("image", { ...source, "clip-path": "url(#cut-shape)" }));
}
