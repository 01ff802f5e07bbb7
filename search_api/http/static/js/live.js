// The line that says how far a search is, on the page and to screen readers.

import { $ } from "./dom.js";
import { duration } from "./format.js";
import { say } from "./words.js";

const SPOKEN_EVERY_MS = 1500;
// A search that takes longer than this says for how long it has been at it.
const PATIENT_S = 3;
let spokenAt = 0;

/** Write a search's line, and now and then tell it to screen readers, then without the clock. */
export function drawLive(search) {
  $("asked").textContent = search.request ? `“${search.request.expression}”` : "";
  $("live").textContent = line(search);
  const running = search.state === "running";
  if (running && (!search.runId || performance.now() - spokenAt < SPOKEN_EVERY_MS)) return;
  spokenAt = performance.now();
  const said = running && search.kind === "search" ? soFar(search, search.coverage.prefiltered) : $("live").textContent;
  if ($("spoken").textContent !== said) $("spoken").textContent = said;
}

function line(search) {
  const { state, coverage, request } = search;
  if (state === "failed") return say("live.failed");
  if (search.kind !== "search") return resemblance(search);
  if (state === "idle" || state === "opening") return say("live.opening");
  if (state === "running") {
    const spent = (performance.now() - search.began) / 1000;
    const clock = spent < PATIENT_S ? "" : request.seconds ? ` · ${say("live.budget", { spent: Math.round(spent), of: request.seconds })}` : ` · ${duration(spent)}`;
    if (search.runId) return `${soFar(search, coverage.prefiltered)}${clock}`;
    return `${request.verifier ? say("live.loading", { name: request.verifier }) : say("live.searching")}${clock}`;
  }
  const shown = search.minimum === null ? "" : `, ${say("live.shown", { n: search.visible().length })}`;
  const judge = request.verifier ? ` ${say("live.by", { name: request.verifier })}` : "";
  const took = search.elapsed ? ` · ${duration(search.elapsed)}` : "";
  return `${soFar(search, state === "done" ? coverage.total : coverage.prefiltered)}${judge}${shown}${state === "stopped" ? ` · ${say("live.stopped")}` : ""}${took}`;
}

function soFar({ coverage: { verified, matched } }, of) {
  return say("live.far", { verified, of, n: matched });
}

function resemblance({ kind, region, source, state, hits }) {
  const what = kind === "duplicates" ? "live.duplicates" : region ? "live.likeRegion" : "live.like";
  const name = source.photo.path.split("/").pop();
  if (state === "running") return `${say(what, { name })} …`;
  return say("live.ranked", { what: say(what, { name }), n: hits.length });
}
