// The page of `referent annotate`: choose targets, write, or verify what somebody else wrote.

const part = (id) => document.getElementById(id);
const percent = (p) => `${Math.round(100 * p)} %`;

const state = {
  photos: [], place: 0, chosen: new Set(), verifying: null, mode: "write",
  advised: "", drawnFrom: null,
};

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  const answer = await fetch(path, options);
  const told = await answer.json();
  if (!answer.ok) throw new Error(typeof told.detail === "string" ? told.detail : "That is not possible.");
  return told;
}

function say(text) { part("live").textContent = text; }

function who() { return part("who").value.trim(); }

function showAgreement(told) {
  const exact = told.exact === null ? "" : `, ${percent(told.exact)} the same targets, overlap ${told.iou.toFixed(2)}`;
  part("agreement").textContent = `${told.written} written, ${told.verified} verified${exact}`;
}

function showChosen() {
  const count = state.chosen.size;
  part("chosen").textContent = count === 0 ? "No target chosen." : `${count} ${count === 1 ? "target" : "targets"} chosen.`;
  const save = part("save");
  save.textContent = state.mode === "verify" ? (count ? "These are meant" : "Nothing is meant") : "Keep";
  if (count) part("rules").hidden = true;
}

function toggle(shape, id) {
  if (!state.chosen.delete(id)) state.chosen.add(id);
  shape.setAttribute("aria-pressed", String(state.chosen.has(id)));
  state.advised = "";
  showChosen();
}

function choosable(thing) {
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
  shape.setAttribute("d", thing.outline.map((line) => `M${line.map((point) => point.join(",")).join("L")}Z`).join(""));
  shape.setAttribute("fill-rule", "evenodd");
  for (const [name, value] of Object.entries({ role: "button", tabindex: "0", "aria-pressed": "false", "aria-label": thing.kind, "data-id": thing.id })) {
    shape.setAttribute(name, value);
  }
  shape.addEventListener("click", () => toggle(shape, thing.id));
  shape.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); toggle(shape, thing.id); }
  });
  return shape;
}

async function showPhoto(id) {
  state.chosen.clear();
  state.advised = "";
  state.drawnFrom = null;
  part("rules").hidden = true;
  part("things").replaceChildren(); // nothing of the photo before can be chosen meanwhile
  const told = await ask(`/api/photos/${id}`);
  part("picture").src = `/api/photos/${id}/picture`;
  part("picture").alt = `Photo ${id}`;
  const things = part("things");
  things.setAttribute("viewBox", `0 0 ${told.width} ${told.height}`);
  things.replaceChildren(...told.things.map(choosable));
  things.dataset.photo = id;
  showChosen();
}

async function showAdvice(text) {
  const id = state.photos[state.place].id;
  const told = await ask("/api/advice", { image_id: id, text });
  const words = told.words.map((each) => `${each.word} ${percent(each.p)}`).join(", ");
  part("rule1").textContent = told.irrelevant
    ? `The network finds nothing of it here (${words || "no word that names anything"}): it may be totally irrelevant.`
    : `The network finds of it here: ${words}.`;
  const others = told.elsewhere_count;
  part("rule2").textContent = others ? `It seems true of ${others} other ${others === 1 ? "photo" : "photos"}:` : "It seems true of no other photo.";
  part("elsewhere").replaceChildren(...told.elsewhere.map((each) => {
    const image = document.createElement("img");
    image.src = `/api/photos/${each.image_id}/picture`;
    image.alt = `Photo ${each.image_id}, ${percent(each.p)}`;
    return image;
  }));
  part("rules").hidden = false;
  say(`The network gives ${percent(told.here)} that it is here after all. Keep it again if it refers to nothing in this photo.`);
}

async function keep() {
  const by = who();
  const targets = [...state.chosen];
  if (state.mode === "verify") {
    const told = await ask("/api/verify", { id: state.verifying.id, by, targets });
    showAgreement(told.agreement);
    await nextToVerify();
    say(told.agrees ? "You mean the same. " + part("live").textContent : "You mean something else; it is left out. " + part("live").textContent);
    return;
  }
  const text = part("text").value;
  if (!targets.length && state.advised !== text) {
    await showAdvice(text);
    state.advised = text;
    return;
  }
  const told = await ask("/api/expressions", {
    by, targets, text, image_id: state.photos[state.place].id, drawn_from: targets.length ? null : state.drawnFrom,
  });
  showAgreement(told.agreement);
  part("text").value = "";
  await showPhoto(state.photos[state.place].id);
  say(`Kept as number ${told.id}.`);
}

async function nextToVerify() {
  state.verifying = null;
  if (!who()) { say("Say who you are first."); return; }
  const told = await ask(`/api/verify?by=${encodeURIComponent(who())}`);
  part("asked").hidden = false;
  part("save").disabled = told.id === undefined;
  if (told.id === undefined) {
    part("asked").textContent = "";
    part("things").replaceChildren();
    say("Nothing is left to verify.");
    return;
  }
  state.verifying = told;
  part("asked").textContent = `“${told.text}”`;
  await showPhoto(told.image_id);
  say("Mark all that it refers to, or nothing.");
}

async function go(mode) {
  state.mode = mode;
  const verifying = mode === "verify";
  part("to-write").setAttribute("aria-pressed", String(!verifying));
  part("to-verify").setAttribute("aria-pressed", String(verifying));
  for (const id of ["wording", "draw", "before", "next", "place"]) part(id).hidden = verifying;
  part("asked").hidden = !verifying;
  part("save").disabled = false;
  say("");
  await (verifying ? nextToVerify() : goTo(state.place));
}

async function goTo(place) {
  const count = state.photos.length;
  state.place = (place + count) % count;
  part("place").textContent = `${state.place + 1} of ${count}`;
  await showPhoto(state.photos[state.place].id);
}

async function drawOne() {
  const told = await ask(`/api/deceptive?image_id=${state.photos[state.place].id}`);
  for (const shape of part("things").children) shape.setAttribute("aria-pressed", "false");
  state.chosen.clear();
  state.advised = "";
  state.drawnFrom = told.drawn_from;
  part("text").value = told.text;
  showChosen();
}

const tried = (work) => () => { work().catch((error) => say(error.message)); };

part("form").addEventListener("submit", (event) => { event.preventDefault(); tried(keep)(); });
part("text").addEventListener("input", () => { state.drawnFrom = null; });
part("draw").addEventListener("click", tried(drawOne));
part("clear").addEventListener("click", () => {
  for (const shape of part("things").children) shape.setAttribute("aria-pressed", "false");
  state.chosen.clear();
  showChosen();
});
part("before").addEventListener("click", tried(() => goTo(state.place - 1)));
part("next").addEventListener("click", tried(() => goTo(state.place + 1)));
part("to-write").addEventListener("click", tried(() => go("write")));
part("to-verify").addEventListener("click", tried(() => go("verify")));

tried(async () => {
  const told = await ask("/api/state");
  state.photos = told.photos;
  showAgreement(told.agreement);
  await goTo(0);
})();
