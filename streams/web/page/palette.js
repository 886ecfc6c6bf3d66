// The colours of the theme for canvases, which cannot use CSS variables by themselves.
import { make } from "./dom.js";

const NAMES = ["bad", "poor", "fair", "good", "excellent", "none", "page", "text", "dim", "line", "stroke", "accent"];
let colours = null;
const listeners = new Set();

export function palette() {
  if (!colours) {
    // A variable's own value is still both colours, light and dark; only where it is used as a colour is one of them chosen.
    const probe = make("span", { hidden: true });
    // With forced colours an element's colours are the system's, and a canvas keeps the theme's: levels must differ there too.
    probe.style.forcedColorAdjust = "none";
    document.body.append(probe);
    colours = Object.fromEntries(NAMES.map((name) => {
      probe.style.color = `var(--${name})`;
      return [name, getComputedStyle(probe).color];
    }));
    probe.remove();
  }
  return colours;
}

// Calls the function after each change of the theme.
export function onTheme(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

// theme: "dark", "light" or "auto", which follows the system.
export function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  refresh();
}

function refresh() {
  colours = null;
  for (const listener of listeners) listener();
}

matchMedia("(prefers-color-scheme: light)").addEventListener("change", refresh);
