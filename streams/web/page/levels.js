// Levels and states: what a score and a state mean on this page.
import { icon } from "./dom.js";

export const LEVELS = ["bad", "poor", "fair", "good", "excellent"];

// Each level is a fifth of the scale, as in the scorer.
export const levelOf = (score) => (score === null || !Number.isFinite(score) ? "none" : LEVELS[Math.min(4, Math.max(0, Math.floor(score / 20)))]);

// Over this expected error, in points, the model is called unsure.
export const UNSURE = 12;

// Under this score a stream is not fine, whether an alert has fired or not.
export const LOW = 40;

const STATE_WORDS = {
  ok: "fine",
  black: "black",
  frozen: "frozen",
  silent: "silent",
  "no-segments": "no segments",
  "no-face": "no face",
  skipped: "skipped",
  stale: "old score",
  ended: "ended",
  unknown: "no score yet",
  "low-quality": "low quality",
  "quality-drop": "quality drop",
};

export const words = (state) => STATE_WORDS[state] ?? String(state).replaceAll("-", " ");

// What a stream is called: by its alert, else by its state, and where that is ok by its score.
export function nameOf(alert, state, score, uncertainty) {
  if (alert || state !== "ok") return words(alert ? alert.kind : state);
  return score !== null && score < LOW ? `low (${levelOf(score)})` : uncertainty > UNSURE ? "unsure" : "fine";
}

// States in which the score says nothing about what viewers see now.
export const SCORELESS = new Set(["black", "no-segments", "no-face", "skipped", "unknown", "ended"]);

// How urgent an alert's kind is, most urgent first.
const URGENCY = ["black", "no-segments", "frozen", "quality-drop", "low-quality", "silent", "no-face"];
const SEVERITY = { critical: 0, warning: 10, info: 20 };

// The place of an alert among the others; smaller is more urgent.
export function rankOf(alert) {
  const kind = URGENCY.indexOf(alert.kind);
  return (SEVERITY[alert.severity] ?? 10) + (kind < 0 ? URGENCY.length : kind);
}

// The chip: score, its expected error, and the level by colour and by word.
export function chip(score, uncertainty, level = levelOf(score)) {
  const element = document.createElement("span");
  element.className = "chip";
  writeChip(element, score, uncertainty, level);
  return element;
}

export function writeChip(element, score, uncertainty, level) {
  const has = score !== null && Number.isFinite(score) && level !== "none";
  const unsure = has && uncertainty !== null && uncertainty > UNSURE;
  const text = has ? String(Math.round(score)) : "–";
  const error = has && uncertainty !== null && Number.isFinite(uncertainty) ? `±${Math.round(uncertainty)}${unsure ? "?" : ""}` : "";
  const key = `${text} ${error} ${level}`;
  if (element.dataset.shown === key) return;
  element.dataset.shown = key;
  element.dataset.level = level;
  element.classList.toggle("unsure", unsure);
  if (!element.firstChild) element.append(document.createElement("b"), document.createElement("small"));
  element.firstChild.textContent = text;
  element.lastChild.textContent = error;
  element.title = !has ? "no score" : unsure ? `${level}; the model is unsure: ${text} ±${Math.round(uncertainty)}` : level;
}

export function stateIcon(state) {
  return icon(state, words(state));
}
