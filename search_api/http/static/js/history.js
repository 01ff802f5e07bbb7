// Searches made earlier, newest first; each can be opened again or forgotten.

import * as api from "./api.js";
import { h, icon, toast } from "./dom.js";
import { ago } from "./format.js";
import { may } from "./session.js";
import { say } from "./words.js";

export function historyPanel(panel, host) {
  const list = h("ul", { class: "cards" });
  const more = h("button", { type: "button", class: "secondary", hidden: true, onclick: () => load() }, say("history.older"));
  panel.append(list, more);
  let cursor = null;
  const load = async () => {
    try {
      const page = await api.get(`/v1/history${api.query({ size: 30, cursor })}`);
      cursor = page.next_cursor;
      more.hidden = cursor === null;
      list.append(...page.runs.map((run) => card(run, host)));
      if (!list.children.length) list.append(h("li", { class: "hint" }, say("history.none")));
    } catch (error) {
      toast(error.message, "bad");
    }
  };
  load();
}

function card(run, host) {
  const { verified, total, matched } = run.coverage;
  const facts = [say(run.mode === "fast" ? "mode.fast" : "mode.exhaustive"), run.album ?? say("look.all"), ago(run.created_at)];
  if (run.verifier) facts.push(say("live.by", { name: run.verifier }));
  if (run.state !== "done") facts.push(run.state === "stopped" ? say("live.stopped") : say("live.searching"));
  const element = h("li", { class: "card-item run" },
    h("button", { type: "button", class: "whole", onclick: () => host.openRun(run.id) },
      h("span", { class: "expression" }, `“${run.expression}”`),
      h("span", { class: "hint" }, h("b", {}, say("history.match", { n: matched })), ` · ${say("history.verified", { verified, of: total })}`),
      h("span", { class: "hint" }, facts.join(" · "))),
    may("write") ? h("button", { type: "button", class: "round tiny", "aria-label": say("history.forgetIt", { expression: run.expression }), title: say("history.forget"), onclick: async () => {
      try {
        await api.remove(`/v1/search/${run.id}`);
        element.remove();
      } catch (error) {
        toast(error.message, "bad");
      }
    } }, icon("close")) : null);
  return element;
}
