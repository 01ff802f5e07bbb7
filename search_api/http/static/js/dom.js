// Small helpers to make elements. No markup is ever built from text, so nothing can be injected.

const SVG = "http://www.w3.org/2000/svg";

/** @type {(id: string) => any} */
export const $ = (id) => document.getElementById(id);

/** @type {(selector: string) => any[]} */
export const all = (selector) => [...document.querySelectorAll(selector)];

/**
 * An element with attributes, listeners (`onclick`) and children (nodes, texts, null).
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "vars") for (const [key, v] of Object.entries(value)) element.style.setProperty(key, v);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** One of the page's symbols. */
export function icon(name) {
  return s("svg", { class: "icon", "aria-hidden": "true" }, s("use", { href: `#i-${name}` }));
}

/** A short message at the edge of the page. */
export function toast(text, kind = "info") {
  const note = h("p", { class: `toast ${kind}` }, text);
  $("toasts").append(note);
  setTimeout(() => note.classList.add("leaving"), 5000);
  setTimeout(() => note.remove(), 5400);
}

/** Ask before something that cannot be taken back; whether the answer is yes. */
export function ask(title, text, yes) {
  const dialog = $("question");
  $("question-title").textContent = title;
  $("question-text").textContent = text;
  $("question-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Whether a key press belongs to a text field. */
export function isTyping(event) {
  const at = event.target;
  if (!(at instanceof HTMLElement)) return false;
  if (at.matches("textarea, select, [contenteditable]")) return true;
  return at.matches("input") && !["checkbox", "radio", "range", "button"].includes(at.type);
}

/** Runs `work` on at most `width` items at a time, newest request first. */
export class Queue {
  constructor(width) {
    this.width = width;
    this.running = 0;
    this.waiting = [];
  }

  add(work) {
    return new Promise((resolve, reject) => {
      this.waiting.push(() => work().then(resolve, reject));
      this.next();
    });
  }

  next() {
    while (this.running < this.width && this.waiting.length) {
      this.running += 1;
      this.waiting.pop()().finally(() => {
        this.running -= 1;
        this.next();
      });
    }
  }
}
