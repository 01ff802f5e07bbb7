// What the server is busy with: whether it is ready, and the jobs that run.

import * as api from "./api.js";
import { $ } from "./dom.js";
import { openDrawer } from "./drawer.js";
import { count } from "./format.js";

const EVERY_MS = 4000;
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
  const ready = await fetch("/readyz");
  const { jobs } = await api.get("/v1/jobs?unfinished=true&size=20");
  const running = jobs.find((job) => job.state === "running") ?? jobs[0];
  let text = "";
  if (running) {
    const far = running.total ? ` ${count(running.done)} / ${count(running.total)}` : "";
    text = `${running.state === "paused" ? "Paused:" : ""} ${running.kind} ${running.album ?? ""}${far}`.trim();
  } else if (ready.status === 503) text = "Loading the model …";
  $("busy").dataset.tab = running ? "jobs" : "models";
  $("busy").textContent = text;
  $("busy").hidden = !text;
  if (jobs.length < unfinished) await jobEnded();
  unfinished = jobs.length;
}
