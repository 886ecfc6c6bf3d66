// What calls a person who looks elsewhere: the count in the tab's title and icon, and a beep where it was asked for.

import { wallPath } from "./address.js";

const BEEP_GAP = 10_000; // ms: at most one beep in this time

let shown = "";
let beeped = -Infinity;
let audio = null;

// count: streams with an alert that nobody has acknowledged. old: the data is too old to be trusted.
export function showCount(count, old, place = "") {
  const key = `${count} ${old} ${place}`;
  if (key === shown) return;
  shown = key;
  document.title = `${old ? "(old) " : count ? `(${count}) ` : ""}FVQ${place && ` ${place}`}`;
  const icon = old ? "old" : count > 9 ? "many" : count ? String(count) : "quiet";
  document.getElementById("icon").href = wallPath(`/icons/${icon}.svg`);
}

// A short tone; browsers allow it only after a click, which switching the sound on is.
export function beep() {
  if (performance.now() - beeped < BEEP_GAP) return;
  beeped = performance.now();
  audio ??= new AudioContext();
  const tone = audio.createOscillator();
  const volume = audio.createGain();
  tone.frequency.value = 660;
  volume.gain.setValueAtTime(0.15, audio.currentTime);
  volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + 0.35);
  tone.connect(volume).connect(audio.destination);
  tone.start();
  tone.stop(audio.currentTime + 0.4);
}
