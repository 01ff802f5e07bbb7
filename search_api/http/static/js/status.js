// What the server is busy with: whether it is ready, and the jobs that run.

import * as api from "./api.js";
import { $, h } from "./dom.js";
import { openDrawer } from "./drawer.js";
import { stateOf } from "./jobs.js";
import { say } from "./words.js";

const EVERY_MS = 4000;
const VERBS = { index: say("does.index"), reindex: say("does.reindex"), verify: say("does.verify"), compact: say("does.compact"), matte: say("does.matte"), export: say("does.export"), watch: say("does.watch") };
let watching = false;
let unfinished = 0;

/** Keep the header's line about jobs and readiness current; `jobEnded` runs when a job is over. */
export function watchServer(jobEnded) {
  if (watching) return;
  watching = true;
  $("busy").addEventListener("click", () => openDrawer($("busy").dataset.tab));
  const look = async () => {
    try {
      if (!document.hidden) await show(jobEnded);
    } catch {
      // The next look may succeed; a search tells what is wrong.
    }
    setTimeout(look, EVERY_MS);
  };
  look();
}

async function show(jobEnded) {
  const ready = await fetch(api.here("/readyz"));
  const { jobs } = await api.get("/v1/jobs?unfinished=true&size=20");
  const running = jobs.find((job) => job.state === "running") ?? jobs[0];
  let word = "";
  let far = "";
  if (running) {
    word = running.state === "running" ? VERBS[running.kind] ?? running.kind : `${running.kind} ${stateOf(running)}`;
    far = running.total ? `${Math.floor((100 * running.done) / running.total)} %` : "…";
  } else if (ready.status === 503) [word, far] = [say("does.load"), "…"];
  const busy = $("busy");
  busy.hidden = !word;
  if (busy.title !== `${word} ${far}`) {
    busy.dataset.tab = running ? "jobs" : "models";
    busy.title = `${word} ${far}`;
    busy.setAttribute("aria-label", busy.title);
    busy.replaceChildren(h("span", { class: "word" }, word), h("span", {}, far));
  }
  if (jobs.length < unfinished) await jobEnded();
  unfinished = jobs.length;
}
