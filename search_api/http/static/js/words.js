// What the page says. Every language is one table of `words/`, with the same keys and the same places for values.

import { count } from "./format.js";
import { language } from "./locale.js";
import de from "./words/de.js";
import en from "./words/en.js";

const TABLE = { de, en }[language];
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
  const found = TABLE[key];
  const text = typeof found === "string" ? found : found[plurals.select(values.n)] ?? found.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? count(values[name]) : String(values[name])));
}
