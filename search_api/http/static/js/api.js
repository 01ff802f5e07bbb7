// The HTTP API: JSON requests, problem documents as errors, searches as streams of events.

import { say, told } from "./words.js";

/** An address of the server, relative to the page: a proxy may serve both below a path. */
export const here = (path) => (path.startsWith("/") ? `.${path}` : path);

export class Problem extends Error {
  constructor(status, detail, retryAfter = 0) {
    super(detail);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

let whenSignedOut = () => {};
/** `callback` is told whenever the server wants a key. */
export const onSignedOut = (callback) => { whenSignedOut = callback; };

/** What a problem document says, in the reader's language: its kind is known by the name in its type. */
export function problemSays({ type = "", title, detail, errors = [] }, otherwise = "") {
  const first = errors[0]?.message;
  const english = [detail ?? title ?? otherwise, detail?.includes(first) ? null : first].filter(Boolean).join(" ");
  return told(`problem.${type.split(":").pop()}`, english, { field: errors[0] ? ` (${errors[0].field})` : "" });
}

async function problemOf(answer) {
  let detail = say("api.answered", { status: String(answer.status) });
  try {
    detail = problemSays(await answer.json(), detail);
  } catch {
    // Not a problem document: the status must do.
  }
  if (answer.status === 401) whenSignedOut();
  return new Problem(answer.status, detail, Number(answer.headers.get("retry-after")) || 0);
}

async function send(path, options = {}) {
  let answer;
  try {
    answer = await fetch(here(path), { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, say("api.unreachable"));
  }
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

const withBody = (method, body) => ({
  method,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});

export const get = async (path, options) => (await send(path, options)).json();
export const post = async (path, body, options) => (await send(path, { ...withBody("POST", body), ...options })).json();
export const put = async (path, body) => (await send(path, withBody("PUT", body))).json();
export const patch = async (path, body) => (await send(path, withBody("PATCH", body))).json();
export const act = async (path) => (await send(path, { method: "POST" })).json();
export const remove = async (path) => { await send(path, { method: "DELETE" }); };
export const upload = async (path, form) => (await send(path, { method: "POST", body: form })).json();

/** Search, yielding `[name, data]` of each event: started, hit, progress, done or problem. */
export async function* searchEvents(body, signal) {
  const options = withBody("POST", body);
  options.headers.accept = "text/event-stream";
  const answer = await send("/v1/search", { ...options, signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks.filter((each) => !each.startsWith(":"))) {
      const lines = block.split("\n");
      const name = lines[0].replace(/^event: /, "");
      yield [name, JSON.parse(lines[1].replace(/^data: /, ""))];
    }
  }
}

/** Follow a job: `seen(job)` runs at each change and at its end. Returns what stops that. */
export function watchJob(jobId, seen, lost) {
  const source = new EventSource(here(`/v1/jobs/${jobId}/events`));
  source.addEventListener("job", ({ data }) => seen(JSON.parse(data)));
  source.addEventListener("done", ({ data }) => {
    source.close();
    seen(JSON.parse(data));
  });
  // A stream that ends before the job is opened again by the browser; only a refusal closes it.
  source.addEventListener("error", () => source.readyState === EventSource.CLOSED && lost());
  return () => source.close();
}

/** A query string without what is empty. */
export function query(values) {
  const kept = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return kept.length ? `?${new URLSearchParams(kept)}` : "";
}

/** Addressed by the content as well, so that no browser shows a picture that it kept of another file. */
export const thumbnail = (photo, size) => here(`/v1/photos/${photo.id}/thumbnail?size=${size}&v=${photo.version}`);
export const original = (photoId) => here(`/v1/photos/${photoId}/original`);
export const cutOuts = (jobId) => here(`/v1/jobs/${jobId}/cutouts.zip`);
export const ofHit = (runId, photoId, what) => here(`/v1/search/${runId}/hits/${photoId}/${what}`);
