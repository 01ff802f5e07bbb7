// Verdicts of people on a search's decisions: right, wrong, wrong mask; missed for a rejected photo.

import * as api from "./api.js";
import { h, icon, toast } from "./dom.js";
import { may } from "./session.js";
import { say } from "./words.js";

// Verdict, key, symbol, what its button says; those of a match, then that of a rejected photo.
const OF_MATCH = [
  ["right", "y", "check", say("mark.right")],
  ["wrong", "n", "close", say("mark.wrong")],
  ["wrong_mask", "b", "mask", say("mark.mask")],
];
const OF_REJECTED = [["missed", "y", "flag", say("mark.missed")]];
const SAID = { right: say("marked.right"), wrong: say("marked.wrong"), wrong_mask: say("marked.mask"), missed: say("marked.missed") };
const SYMBOLS = Object.fromEntries([...OF_MATCH, ...OF_REJECTED].map(([verdict, , symbol]) => [verdict, symbol]));

const choices = (item) => (item.accepted ? OF_MATCH : OF_REJECTED);

export class Marks {
  /** `changed` runs whenever verdicts came or changed. */
  constructor(changed) {
    this.changed = changed;
    this.clear();
  }

  clear() {
    this.runId = null;
    this.verdicts = new Map();
  }

  get size() {
    return this.verdicts.size;
  }

  /** Ids of the photos that were marked as wrong. */
  get wrong() {
    return [...this.verdicts].filter(([, verdict]) => verdict === "wrong").map(([photoId]) => photoId);
  }

  of(item) {
    return this.verdicts.get(item.photo.id) ?? null;
  }

  /** Fetch what people said of this run's photos, in whichever run of its expression. */
  async load(runId) {
    this.runId = runId;
    try {
      const { marks } = await api.get(`/v1/search/${runId}/marks`);
      if (runId !== this.runId) return;
      this.verdicts = new Map(marks.map((mark) => [mark.photo, mark.verdict]));
      this.changed();
    } catch (error) {
      toast(error.message, "bad");
    }
  }

  /** Keep a verdict; the same one again takes it back. */
  async put(item, verdict) {
    const path = api.ofHit(this.runId, item.photo.id, "mark");
    const before = this.of(item);
    this.set(item, before === verdict ? null : verdict);
    try {
      if (before === verdict) await api.remove(path);
      else await api.put(path, { verdict });
    } catch (error) {
      this.set(item, before);
      toast(error.message, "bad");
    }
  }

  set(item, verdict) {
    if (verdict) this.verdicts.set(item.photo.id, verdict);
    else this.verdicts.delete(item.photo.id);
    this.changed();
  }

  /** What a key press says of a judged photo; true when it is a verdict's key. */
  onKey(key, item) {
    const choice = choices(item).find(([, its]) => its === key);
    if (!choice || !this.runId || !may("write")) return false;
    this.put(item, choice[0]);
    return true;
  }

  /** Buttons for a photo's verdict, or what was said where one may not change it. */
  buttons(item) {
    const chosen = this.of(item);
    if (!may("write")) return chosen ? h("p", { class: "hint" }, SAID[chosen]) : null;
    return h("div", { class: "marks", role: "group", "aria-label": say("mark.question") }, choices(item).map(([verdict, key, symbol, label]) =>
      h("button", { type: "button", class: `small toggle ${verdict}`, "aria-pressed": String(verdict === chosen), "aria-keyshortcuts": key, onclick: () => this.put(item, verdict) }, icon(symbol), label)));
  }
}

/** A small sign of a verdict for a tile's corner. */
export const badge = (verdict) => h("span", { class: `verdict-badge ${verdict}`, title: SAID[verdict] }, icon(SYMBOLS[verdict]));

export const said = (verdict) => (verdict ? `, ${SAID[verdict]}` : "");
