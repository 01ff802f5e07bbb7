// In which language the page speaks, and how numbers and dates are written where the reader lives.

const SHIPPED = ["en", "de"];
const FROM_RIGHT = new Set(["ar", "dv", "fa", "he", "ps", "ur", "yi"]);

const KEY = "referent-language";
const base = (tag) => tag.split("-")[0];

function chosen() {
  try {
    return SHIPPED.find((each) => each === localStorage.getItem(KEY));
  } catch {
    return undefined; // Storage is switched off.
  }
}

/** The language that was chosen, else the first of the browser's that the page speaks. */
export const language = chosen() ?? navigator.languages.map(base).find((each) => SHIPPED.includes(each)) ?? "en";

/** How numbers and dates are written: as in the browser's first language, unless another was chosen. */
export const locale = chosen() ? navigator.languages.find((tag) => base(tag) === language) ?? language : navigator.language || "en";

/** The language that the page can speak instead. */
export const other = SHIPPED.find((each) => each !== language);

/** Speak it from now on. */
export function switchLanguage() {
  try {
    localStorage.setItem(KEY, other);
  } catch {
    // Storage is switched off: the browser's language stays.
  }
  location.reload();
}

document.documentElement.lang = language;
document.documentElement.dir = FROM_RIGHT.has(language) ? "rtl" : "ltr";
