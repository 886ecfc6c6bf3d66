// Makes elements. The page's content security policy forbids innerHTML and style attributes, so every element is made by these functions, and
// text from outside only ever becomes a text node.

import { clock } from "./time.js";

export const get = (id) => document.getElementById(id);

// Characters that a reader cannot see or that turn the direction of the text around them; joiners stay, because scripts and emoji need them.
const INVISIBLE = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

// The text on one line, with each invisible character written as its code.
export function printable(text) {
  return String(text).replace(INVISIBLE, (char) => `\\u{${char.codePointAt(0).toString(16)}}`);
}

// The text cut in its middle to at most `length` characters, because ids differ at their ends.
export function shortened(text, length = 34) {
  const characters = Array.from(printable(text));
  if (characters.length <= length) return characters.join("");
  const head = Math.ceil((length - 1) / 2);
  return `${characters.slice(0, head).join("")}…${characters.slice(characters.length - (length - 1 - head)).join("")}`;
}

// An element with attributes and children. `on<Event>` is a listener, `true` an empty attribute; null, undefined and false are left out.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2).toLowerCase(), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// An id of a stream as text that neither breaks the line nor turns its direction; the whole id is in the title.
export function idText(id, length) {
  return make("bdi", { class: "id", title: printable(id) }, shortened(id, length));
}

// A time's clock that stands for longer, in what nobody draws again. `renewTimes` puts its day in front once that is over.
export function when(time) {
  return time === null || time === undefined ? "–" : make("time", { datetime: time }, clock(time));
}

export function renewTimes() {
  for (const element of document.querySelectorAll("time")) setText(element, clock(element.dateTime));
}

// Writes the text only if it differs: an unchanged node costs the browser no layout.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setData(element, name, value) {
  if (value === null || value === undefined || value === "") delete element.dataset[name];
  else if (element.dataset[name] !== String(value)) element.dataset[name] = value;
}

const SVG = "http://www.w3.org/2000/svg";

// Icons are drawn, because the fonts of televisions often lack emoji. Each is a path in a box of 16 x 16.
const ICONS = {
  black: "M1 3h14v10H1zM3 5h10v6H3z",
  frozen: "M4 3h3v10H4zM9 3h3v10H9z",
  silent: "M2 6h3l4-3v10L5 10H2zM11 6l4 4M15 6l-4 4",
  "no-segments": "M2 3h3M7 3h3M12 3h2v2M14 7v3M14 12v1h-3M9 13H6M4 13H2v-2M2 9V6",
  "no-face": "M8 2a4 4 0 0 1 0 8 4 4 0 0 1 0-8M2 15c1-4 11-4 12 0M2 2l12 12",
  skipped: "M1 8l7-7M2 14L14 2M8 15l7-7",
  stale: "M8 1a7 7 0 1 0 .1 0M8 4v4l3 2",
  "low-quality": "M8 1l7 13H1zM8 6v4M8 12v.5",
  "quality-drop": "M1 3l5 3 3 5 6 3M15 10v4h-4",
  acked: "M2 8l4 4 8-9",
  deep: "M8 1a5 5 0 1 0 .1 0M12 11l3 4",
  close: "M3 3l10 10M13 3L3 13",
};
const FILLED = new Set(["black", "frozen"]);

export function icon(name, label) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", `icon${FILLED.has(name) ? " filled" : ""}`);
  if (label) {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
  } else {
    svg.setAttribute("aria-hidden", "true");
  }
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name] ?? ICONS["low-quality"]);
  path.setAttribute("fill-rule", "evenodd");
  svg.append(path);
  return svg;
}
