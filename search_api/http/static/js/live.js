// The line that says how far a search is, on the page and to screen readers.

import { $ } from "./dom.js";
import { count, duration, plural } from "./format.js";

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
  if (state === "failed") return "The search did not work.";
  if (search.kind !== "search") return resemblance(search);
  if (state === "idle" || state === "opening") return "opening …";
  if (state === "running") {
    const spent = (performance.now() - search.began) / 1000;
    const clock = spent < PATIENT_S ? "" : request.seconds ? ` · ${Math.round(spent)} of ${request.seconds} s` : ` · ${duration(spent)}`;
    if (search.runId) return `${soFar(search, coverage.prefiltered)}${clock}`;
    return `${request.verifier ? `loading ${request.verifier}` : "searching"} …${clock}`;
  }
  const shown = search.minimum === null ? "" : `, ${count(search.visible().length)} shown`;
  const judge = request.verifier ? ` by ${request.verifier}` : "";
  const took = search.elapsed ? ` · ${duration(search.elapsed)}` : "";
  return `${soFar(search, state === "done" ? coverage.total : coverage.prefiltered)}${judge}${shown}${state === "stopped" ? " · stopped" : ""}${took}`;
}

function soFar({ coverage: { verified, matched } }, of) {
  return `verified ${count(verified)} of ${count(of)}, ${count(matched)} match`;
}

function resemblance({ kind, region, source, state, hits }) {
  const what = kind === "duplicates" ? "Duplicates of" : region ? "More like what was found in" : "More like";
  const name = source.photo.path.split("/").pop();
  if (state === "running") return `${what} ${name} …`;
  return `${what} ${name}: ${plural(hits.length, "photo")}, ranked by resemblance; nothing was verified.`;
}
