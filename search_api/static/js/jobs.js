// Jobs: how far they are, and the means to pause, resume, cancel and retry them.

import * as api from "./api.js";
import { h, toast } from "./dom.js";
import { ago, count, duration, plural } from "./format.js";
import { may } from "./session.js";

const EVERY_MS = 1500;
const ACTIONS = {
  queued: [["cancel", "Cancel"]],
  running: [["pause", "Pause"], ["cancel", "Cancel"]],
  paused: [["resume", "Resume"], ["cancel", "Cancel"]],
  failed: [["retry", "Retry"]],
  cancelled: [["retry", "Retry"]],
};

export function jobsPanel(panel) {
  const list = h("ul", { class: "cards" });
  panel.append(list);
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
      if (!jobs.length) list.append(h("li", { class: "hint" }, "No job has run yet."));
    } catch (error) {
      list.replaceChildren(h("li", { class: "hint" }, error.message));
    }
    if (!left) timer = setTimeout(draw, EVERY_MS);
  };
  draw();
  return () => {
    left = true;
    clearTimeout(timer);
  };
}

function replace(old, made) {
  const focused = old.contains(document.activeElement) ? document.activeElement.textContent : null;
  old.replaceWith(made);
  if (focused) [...made.querySelectorAll("button")].find((button) => button.textContent === focused)?.focus();
}

function card(job, draw) {
  const share = job.state === "done" ? 1 : job.total ? job.done / job.total : 0;
  const far = job.total ? `${count(job.done)} of ${count(job.total)}` : count(job.done);
  const facts = [far];
  if (job.state === "running" && job.rate) facts.push(`${job.rate.toFixed(1)} photos/s`);
  if (job.state === "running" && job.seconds_left) facts.push(`${duration(job.seconds_left)} left`);
  if (job.failed) facts.push(`${count(job.failed)} failed`);
  facts.push(ago(job.finished_at ?? job.started_at ?? job.created_at));
  const act = (action) => async () => {
    try {
      await api.act(`/v1/jobs/${job.id}/${action}`);
      await draw();
    } catch (error) {
      toast(error.message, "bad");
    }
  };
  return h("li", { class: `card-item job ${job.state}` },
    h("div", { class: "card-head" }, h("h3", {}, `${job.kind} ${job.album ?? ""}`), h("span", { class: "tag" }, job.state === "running" && job.phase ? job.phase : job.state)),
    h("div", { class: "progress", role: "progressbar", "aria-label": `Job ${job.id}`, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(share * 100) }, h("i", { vars: { "--done": share } })),
    h("p", { class: "hint" }, facts.join(" · ")),
    job.message ? h("p", { class: "hint" }, job.message) : null,
    job.failed ? failures(job) : null,
    may("write") && ACTIONS[job.state] ? h("div", { class: "actions" }, ACTIONS[job.state].map(([action, label]) => h("button", { type: "button", class: "small", onclick: act(action) }, label))) : null);
}

function failures(job) {
  const list = h("ul", { class: "refused" });
  return h("details", { ontoggle: async (event) => {
    if (!event.target.open || list.children.length) return;
    try {
      const page = await api.get(`/v1/jobs/${job.id}/failures?size=100`);
      list.append(...page.failures.map((failure) => h("li", {}, `${failure.path ?? `photo ${failure.photo}`}: ${failure.reason}`)));
    } catch (error) {
      list.append(h("li", {}, error.message));
    }
  } }, h("summary", {}, plural(job.failed, "photo that failed", "photos that failed")), list);
}
