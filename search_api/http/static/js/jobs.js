// Jobs: how far they are, and the means to start, pause, resume, cancel and retry them.

import * as api from "./api.js";
import { h, icon, toast } from "./dom.js";
import { ago, count, duration } from "./format.js";
import { may } from "./session.js";
import { say } from "./words.js";

const EVERY_MS = 1500;
const [PAUSE, CANCEL, RESUME, RETRY] = [["pause", say("job.pause")], ["cancel", say("job.cancel")], ["resume", say("job.resume")], ["retry", say("job.retry")]];
const ACTIONS = { queued: [PAUSE, CANCEL], running: [PAUSE, CANCEL], paused: [RESUME, CANCEL], failed: [RETRY], cancelled: [RETRY] };
const STATES = {
  queued: say("job.queued"), running: say("job.running"), paused: say("job.paused"), cancelling: say("job.cancelling"),
  cancelled: say("job.cancelled"), failed: say("job.failed"), done: say("job.done"),
};

/** A job's state in words. */
export const stateOf = (job) => STATES[job.state] ?? job.state;

// What one can start here: its label, and what the API is told.
/** @type {[string, { kind: string, which?: string }][]} */
const STARTS = [
  [say("start.missing"), { kind: "index" }],
  [say("start.anew"), { kind: "index", which: "all" }],
  [say("start.reindex"), { kind: "reindex" }],
  [say("start.verify"), { kind: "verify" }],
  [say("start.compact"), { kind: "compact" }],
];

export function jobsPanel(panel) {
  const list = h("ul", { class: "cards" });
  let timer = null;
  let left = false;
  const items = new Map();
  const draw = async () => {
    clearTimeout(timer);
    try {
      const { jobs } = await api.get("/v1/jobs?size=30");
      if (left) return;
      // Only what changed is made anew: a button that has the focus keeps it.
      const wanted = jobs.map((job) => {
        const known = items.get(job.id);
        const now = JSON.stringify(job);
        if (known?.drawn === now) return known.element;
        const made = { drawn: now, element: card(job, draw) };
        if (known) replace(known.element, made.element);
        items.set(job.id, made);
        return made.element;
      });
      wanted.forEach((element, i) => {
        if (list.children[i] !== element) list.insertBefore(element, list.children[i] ?? null);
      });
      while (list.children.length > wanted.length) list.lastChild.remove();
      if (!jobs.length) list.append(h("li", { class: "hint" }, say("job.none")));
    } catch (error) {
      list.replaceChildren(h("li", { class: "hint" }, error.message));
    }
    if (!left) timer = setTimeout(draw, EVERY_MS);
  };
  panel.append(...[may("write") ? startForm(draw) : null, list].filter(Boolean));
  draw();
  return () => {
    left = true;
    clearTimeout(timer);
  };
}

/** Choose a job, an album and, to re-index, a model. */
function startForm(draw) {
  const select = (label) => h("select", { "aria-label": label });
  const [what, album, model] = [say("start.what"), say("start.album"), say("start.model")].map(select);
  const fill = (control, options) => control.append(...options.map(([label, value]) => h("option", { value }, label)));
  const shown = (control) => h("div", { class: "select" }, control);
  const withModel = shown(model);
  fill(what, STARTS.map(([label], i) => [label, i]));
  withModel.hidden = true;
  what.addEventListener("change", () => { withModel.hidden = STARTS[what.value][1].kind !== "reindex"; });
  const form = h("form", { class: "start-job", hidden: true, onsubmit: async (event) => {
    event.preventDefault();
    /** @type {Record<string, any>} */
    const body = { ...STARTS[what.value][1], album: album.value };
    if (body.kind === "reindex") body.model = model.value;
    try {
      await api.post("/v1/jobs", body);
      await draw();
    } catch (error) {
      toast(error.message, "bad");
    }
  } }, shown(what), shown(album), withModel, h("button", { class: "primary", type: "submit" }, say("start.start")));
  Promise.all([api.get("/v1/albums"), api.get("/v1/models")]).then(([{ albums }, { models }]) => {
    fill(album, albums.map(({ name }) => [name, name]));
    fill(model, [...new Set(models.map(({ name }) => name))].map((name) => [name, name]));
    form.hidden = !albums.length;
  }).catch((error) => toast(error.message, "bad"));
  return form;
}

function replace(old, made) {
  const focused = old.contains(document.activeElement) ? document.activeElement.textContent : null;
  const open = old.querySelector("details")?.open;
  old.replaceWith(made);
  if (open && made.querySelector("details")) made.querySelector("details").open = true;
  if (focused) [...made.querySelectorAll("button")].find((button) => button.textContent === focused)?.focus();
}

function card(job, draw) {
  return h("li", { class: `card-item job ${job.state}` },
    h("div", { class: "card-head" }, h("h3", {}, title(job)), h("span", { class: "tag" }, job.state === "running" && job.phase ? job.phase : stateOf(job))),
    meter(job),
    h("p", { class: "hint" }, [...progress(job), ago(job.finished_at ?? job.started_at ?? job.created_at)].join(" · ")),
    job.message ? h("p", { class: "hint" }, job.message) : null,
    job.failed ? failures(job) : null,
    h("div", { class: "actions" }, actions(job, draw),
      job.kind === "matte" && job.result?.written ? h("a", { class: "small", href: api.cutOuts(job.id), download: `cutouts-${job.id}.zip` }, icon("download"), say("job.zip", { n: job.result.written })) : null));
}

function title(job) {
  if (job.expression) return say("cut.of", { expression: job.expression });
  return `${job.kind} ${job.album ?? ""}`;
}

/** A bar of how far a job is. */
export function meter(job) {
  const share = job.state === "done" ? 1 : job.total ? job.done / job.total : 0;
  return h("div", { class: "progress", role: "progressbar", "aria-label": say("job.number", { number: String(job.id) }), "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(share * 100) }, h("i", { vars: { "--done": share } }));
}

/** How far a job is, how fast, what failed: a few words each. */
export function progress(job) {
  const facts = job.total ? [say("photo.place", { at: job.done, total: job.total })] : job.done ? [count(job.done)] : [];
  if (job.state === "running" && job.rate) facts.push(say("job.rate", { rate: job.rate.toFixed(1) }));
  if (job.state === "running" && job.seconds_left) facts.push(say("job.left", { time: duration(job.seconds_left) }));
  if (job.failed) facts.push(say("job.failures", { n: job.failed }));
  return facts;
}

/** Buttons for what may be done with a job now; `acted(job)` runs after each. */
export function actions(job, acted) {
  if (!may("write")) return null;
  const possible = ACTIONS[job.state] ?? (job.state === "done" && job.failed ? [["retry", say("job.retryFailed")]] : []);
  return possible.map(([action, label]) => h("button", { type: "button", class: "small", onclick: async () => {
    try {
      await acted(await api.act(`/v1/jobs/${job.id}/${action}`));
    } catch (error) {
      toast(error.message, "bad");
    }
  } }, label));
}

/** The photos that a job could not handle, fetched when one looks. */
export function failures(job) {
  const list = h("ul", { class: "refused" });
  const more = h("button", { type: "button", class: "small", hidden: true, onclick: () => fetch() }, say("album.more"));
  let next = null;
  const fetch = async () => {
    try {
      const page = await api.get(`/v1/jobs/${job.id}/failures${api.query({ size: 100, cursor: next })}`);
      list.append(...page.failures.map((failure) => h("li", {}, `${failure.path ?? say("job.photo", { number: String(failure.photo) })}: ${failure.reason}`)));
      next = page.next_cursor;
      more.hidden = !next;
    } catch (error) {
      list.append(h("li", {}, error.message));
    }
  };
  return h("details", { ontoggle: (event) => { if (event.target.open && !list.children.length) fetch(); } },
    h("summary", {}, say("album.failed", { n: job.failed })), list, more);
}
