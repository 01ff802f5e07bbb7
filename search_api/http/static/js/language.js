// The switch between the page's languages; without a choice the browser's preference holds.

import { $ } from "./dom.js";
import { other, switchLanguage } from "./locale.js";

const NAMES = { de: "Deutsch", en: "English" };

/** Name the other language in its own words. */
export function installLanguage() {
  const button = $("language");
  button.textContent = other.toUpperCase();
  button.lang = other;
  button.title = `${NAMES[other]} (${button.textContent})`;
  button.setAttribute("aria-label", button.title);
  button.addEventListener("click", switchLanguage);
}
