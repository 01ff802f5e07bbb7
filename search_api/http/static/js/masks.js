// Masks as outlines: the API's polygons, drawn as SVG paths over the photo.

import * as api from "./api.js";
import { Queue, s } from "./dom.js";

const KEPT = 400;
const queue = new Queue(4);
const known = new Map();

/** The mask of a hit, rendered at most `side` pixels large. */
export function maskOf(runId, photoId, side) {
  const key = `${runId}/${photoId}/${side}`;
  if (!known.has(key)) {
    const asked = queue.add(() => api.get(api.ofHit(runId, photoId, `mask.json?side=${side}`)));
    asked.catch(() => known.delete(key));
    known.set(key, asked);
    if (known.size > KEPT) known.delete(known.keys().next().value);
  }
  return known.get(key);
}

/** Polygons [x, y, x, y ...] as the `d` of one path, to be filled by the even-odd rule. */
export function pathOf(polygons) {
  return polygons
    .map((flat) => {
      const points = [];
      for (let i = 0; i < flat.length; i += 2) points.push(`${flat[i]} ${flat[i + 1]}`);
      return `M${points.join("L")}Z`;
    })
    .join("");
}

/** An SVG that lies over the photo: the rest a little darker, a crisp line around the referent. */
export function outline(mask) {
  const { photo_width: width, photo_height: height } = mask;
  const border = pathOf(mask.polygons);
  return s(
    "svg",
    { class: "outline", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    s("path", { class: "outside", d: `M0 0H${width}V${height}H0Z${border}` }),
    s("path", { class: "inside", d: border }),
    s("path", { class: "halo", d: border }),
    s("path", { class: "line", d: border }),
  );
}
