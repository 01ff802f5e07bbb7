// How sure a search is: what other confidences would bring, and how well confidences held where they were measured.

import { $, h, s, toast } from "./dom.js";
import { percent } from "./format.js";
import { modelOf } from "./served.js";
import { say } from "./words.js";

// Of these the nearest below and above where matches begin are told.
const BELOW = [0.3, 0.1];
const ABOVE = [0.9, 0.95];
const APART = 0.04;

let told = null;

export function installSure(search) {
  told = search;
  $("sure").textContent = say("sure.link");
  $("sure").addEventListener("click", () => open(search).catch((error) => toast(error.message, "bad")));
}

/** Say how many more or fewer photos would match from other confidences on, each to be tried at once. */
export function drawEffect({ run, threshold, coverage, kind }) {
  const counts = kind === "search" ? run?.at_threshold ?? {} : {};
  const of = (at) => counts[String(at)];
  const below = BELOW.find((at) => at < threshold - APART && of(at) !== undefined);
  const above = ABOVE.find((at) => at > threshold + APART && of(at) !== undefined);
  const key = JSON.stringify([run?.id, below, above]);
  $("sure").hidden = below === undefined && above === undefined;
  if ($("effect").dataset.of === key) return;
  $("effect").dataset.of = key;
  const offer = (at, text) => h("button", { type: "button", class: "effect", onclick: () => told.setMinimum(at) }, text);
  $("effect").replaceChildren(...[
    below === undefined ? null : offer(below, say("effect.more", { n: Math.max(0, of(below) - coverage.matched), at: percent(below) })),
    above === undefined ? null : offer(above, say("effect.fewer", { n: Math.max(0, coverage.matched - of(above)), at: percent(above) })),
  ].filter(Boolean));
}

async function open({ run, threshold }) {
  const option = [...$("album").options].find((each) => run.album !== null && each.value === run.album);
  const { model, curve = [] } = await modelOf(option?.dataset.id);
  const measured = curve.length > 0 && !run.verifier;
  $("sure-title").textContent = say("sure.title");
  $("sure-close").textContent = say("close");
  $("sure-body").replaceChildren(
    h("p", {}, say("sure.means")),
    measured
      ? h("figure", { class: "curve" }, drawn(curve, threshold),
          h("figcaption", {}, say("sure.caption", { model, n: curve.reduce((sum, point) => sum + point.pairs, 0) })),
          h("ul", { class: "hidden" }, curve.map((point) => h("li", {}, say("sure.point", { n: point.pairs, at: percent(point.confidence), share: percent(point.share) })))))
      : h("p", {}, say("sure.unmeasured", { model: run.verifier ?? model })),
    h("p", {}, say("sure.threshold", { at: percent(threshold) })));
  $("sure-dialog").showModal();
}

/** The curve: where its points lie on the diagonal, confidences held. */
function drawn(curve, threshold) {
  const most = Math.max(...curve.map((point) => point.pairs));
  const at = ({ confidence, share }) => [confidence * 100, 100 - share * 100];
  const label = (x, y, text, anchor) => s("text", { x, y, "text-anchor": anchor }, text);
  return s("svg", { viewBox: "-14 -6 122 122", "aria-hidden": "true" },
    s("path", { class: "axes", d: "M0 0V100H100" }),
    s("path", { class: "ideal", d: "M0 100 100 0" }),
    s("path", { class: "from", d: `M${threshold * 100} 0V100` }),
    s("polyline", { class: "held", points: curve.map((point) => at(point).join(",")).join(" ") }),
    ...curve.map((point) => s("circle", { cx: at(point)[0], cy: at(point)[1], r: 1.4 + 2.6 * Math.sqrt(point.pairs / most) })),
    ...[0, 50, 100].flatMap((each) => [label(each, 110, `${each} %`, "middle"), label(-2, 102 - each, `${each} %`, "end")]));
}
