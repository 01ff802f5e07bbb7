// The confidence slider: where it stands, where the calibrated mark is, how confidences are spread.

import { $, s } from "./dom.js";
import { percent } from "./format.js";
import { say } from "./words.js";

const BINS = 40;
const TALL = 20;

/** Draw the slider of a search: its minimum, its threshold, a histogram of hits and rejected. */
export function drawSlider({ minimum, threshold, hits, rejected }) {
  const at = minimum ?? threshold;
  $("minimum").value = String(Math.round(at * 100));
  $("minimum").setAttribute("aria-valuetext", minimum === null ? say("slider.calibrated", { at: percent(at) }) : percent(at));
  $("minimum-shown").textContent = `≥ ${percent(at)}`;
  $("minimum-reset").hidden = minimum === null;
  $("mark").style.setProperty("--at", String(threshold));
  $("histogram").replaceChildren(...bars(binned(hits), binned(rejected)));
}

function binned(items) {
  const bins = new Array(BINS).fill(0);
  for (const { confidence } of items) {
    if (confidence !== undefined) bins[Math.min(BINS - 1, Math.floor(confidence * BINS))] += 1;
  }
  return bins;
}

/** Bars of hits standing below bars of rejected ones; roots, so that single photos are seen. */
function bars(hits, rejected) {
  const most = Math.max(1, ...hits.map((n, i) => n + rejected[i]));
  const bar = (kind, i, y, height) =>
    s("rect", { class: kind, x: (i * 100) / BINS + 0.3, y, width: 100 / BINS - 0.6, height });
  return hits.flatMap((n, i) => {
    const all = n + rejected[i];
    if (!all) return [];
    const height = Math.max(2, TALL * Math.sqrt(n / most + rejected[i] / most));
    const below = (height * n) / all;
    return [
      below < height ? bar("no", i, TALL - height, height - below) : null,
      below ? bar("yes", i, TALL - below, below) : null,
    ].filter(Boolean);
  });
}
