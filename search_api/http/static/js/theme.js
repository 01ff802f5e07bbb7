// The switch between light and dark; without a choice the system's preference holds.

import { $ } from "./dom.js";

const KEY = "referent-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

export function installTheme() {
  $("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const now = root.dataset.theme ?? (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(KEY, root.dataset.theme);
    } catch {
      // Storage is switched off: the choice lasts as long as the page.
    }
  });
}
