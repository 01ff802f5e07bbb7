// In which language the page speaks, and how numbers and dates are written where the reader lives.

const SHIPPED = ["en", "de"];
const FROM_RIGHT = new Set(["ar", "dv", "fa", "he", "ps", "ur", "yi"]);

export const locale = navigator.language || "en";

/** The first of the reader's languages that the page speaks. */
export const language = navigator.languages.map((tag) => tag.split("-")[0]).find((each) => SHIPPED.includes(each)) ?? "en";

document.documentElement.lang = language;
document.documentElement.dir = FROM_RIGHT.has(language) ? "rtl" : "ltr";
