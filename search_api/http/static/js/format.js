// Numbers, sizes and times as people read them.

import { locale } from "./locale.js";

const whole = new Intl.NumberFormat(locale);
const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });

export const count = (n) => whole.format(n);

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

/** A probability; never rounded up to certainty. */
export function percent(p) {
  if (p >= 1) return "100 %";
  if (p > 0.99) return "> 99 %";
  if (p < 0.01) return p === 0 ? "0 %" : "< 1 %";
  return `${Math.round(p * 100)} %`;
}

export function bytes(n) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) {
    n /= 1000;
    unit += 1;
  }
  return `${n < 10 && unit ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

/** Seconds as a rough length of time. */
export function duration(seconds) {
  if (seconds < 0.95) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** Unix seconds as "3 minutes ago". */
export function ago(unixSeconds) {
  const seconds = unixSeconds - Date.now() / 1000;
  /** @type {[Intl.RelativeTimeFormatUnit, number][]} */
  const units = [["day", 86400], ["hour", 3600], ["minute", 60]];
  for (const [unit, size] of units) {
    if (Math.abs(seconds) >= size) return relative.format(Math.round(seconds / size), unit);
  }
  return relative.format(0, "second");
}

/** A photo's clock time, which has no zone. */
export const clockTime = (iso) => new Date(iso).toLocaleString(locale, { dateStyle: "medium", timeStyle: "short" });

/** Its day alone. */
export const day = (iso) => new Date(iso).toLocaleDateString(locale, { dateStyle: "medium" });

/** A month (2024-05) in words. */
export const month = (key) => new Date(`${key}-01T00:00`).toLocaleDateString(locale, { month: "long", year: "numeric" });
