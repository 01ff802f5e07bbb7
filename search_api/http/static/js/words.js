// What the page says. Every language is one table of `words/`, with the same keys and the same places for values.

import { count } from "./format.js";
import { language } from "./locale.js";
import de from "./words/de.js";
import en from "./words/en.js";
import serverDe from "./words/server-de.js";

const TABLE = { de, en }[language];
/** @type {Record<string, any>} */
const OF_SERVER = { de: serverDe, en: {} }[language]; // which speaks English itself
const plurals = new Intl.PluralRules(language);

/** Say the page's own words in the reader's language; they are written there in English. */
export function fillPage() {
  const said = (name, put) => {
    for (const element of document.querySelectorAll(`[data-say${name}]`)) put(element, say(/** @type {any} */ (element.getAttribute(`data-say${name}`))));
  };
  said("", (element, text) => { element.textContent = text; });
  said("-label", (element, text) => element.setAttribute("aria-label", text));
  for (const name of ["title", "placeholder"]) said(`-${name}`, (element, text) => element.setAttribute(name, text));
}

/**
 * A sentence with its values. One that depends on a number `n` has a form for each of the language's plurals.
 * @param {keyof typeof en} key
 * @param {Record<string, any>} values
 * @returns {string}
 */
export function say(key, values = {}) {
  return fill(TABLE[key], values);
}

/**
 * What the server says, in the reader's language: by its code and values, else in its own English words.
 * @param {string} code
 * @param {string} english
 * @param {Record<string, any>} values
 * @returns {string}
 */
export function told(code, english, values = {}) {
  const found = OF_SERVER[`${code}.${values.why}`] ?? OF_SERVER[code];
  if (!found) return english;
  const text = fill(found, values);
  return text.includes("{") ? english : text; // an old note kept no values
}

/** A note of the server. */
export const noted = ({ code, text, values }) => told(`note.${code}`, text, values);

/** A table's entry with its values; where they are left out, their places stay. */
function fill(entry, values) {
  const text = typeof entry === "string" ? entry : entry[plurals.select(values.n)] ?? entry.other;
  return text.replace(/\{(\w+)\}/g, (place, name) => (typeof values[name] === "number" ? count(values[name]) : String(values[name] ?? place)));
}
