// The colours of the theme for canvases, which cannot use CSS variables by themselves.

const NAMES = ["bad", "poor", "fair", "good", "excellent", "none", "page", "text", "dim", "line", "stroke", "accent"];
let colours = null;
const listeners = new Set();

export function palette() {
  if (!colours) {
    const style = getComputedStyle(document.documentElement);
    colours = Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
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
