// The dialogs: acknowledge, rate, keys, sign in. The browser keeps the focus in an open dialog, closes it on Escape and gives the focus back.
import { make, printable } from "./dom.js";
import { words } from "./levels.js";
import { ApiError, call, read, segment, stream } from "./api.js";
import { part, wallPath } from "./address.js";
import { clock, iso, now, seconds } from "./time.js";

let number = 0;
let ratings = 0; // how often a rating was asked for

// Opens a dialog with this title; `content` are its elements. It leaves the page when it closes.
export function openDialog(title, ...content) {
  const id = `dialog-${++number}`;
  const dialog = make("dialog", { "aria-labelledby": id }, make("h2", { id }, title), ...content);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

const button = (text, run, attributes = {}) => make("button", { type: "button", onClick: run, ...attributes }, text);

function actions(...buttons) {
  return make("div", { class: "actions" }, ...buttons);
}

const ENDS = [["", "when the alert ends"], ["900", "in 15 minutes"], ["3600", "in an hour"], ["14400", "in 4 hours"], ["86400", "in a day"]];

// What all acknowledgements of these alerts have in common: their `note` or `until`; null where they have none, undefined where they differ.
const common = (entries, name) => (new Set(entries.map(({ ack }) => ack?.[name])).size === 1 ? entries[0].ack?.[name] ?? null : undefined);
const OWN = "own"; // each acknowledgement's own end

// Somebody may have acknowledged it, or changed that, since the form was opened: their name and note stay.
const asSeen = (ack) => (ack ? { "If-Match": `"${ack.at}"` } : { "If-None-Match": "*" });

// Asks for a note and an end, and acknowledges all of these alerts; the server knows who asks. entries: [{alert, ack}].
export function ackDialog(entries, { done, toast }) {
  const acked = entries.filter(({ ack }) => ack);
  // Who changes one keeps what was said; of several that differ, each keeps its own.
  const said = common(entries, "note");
  const note = make("textarea", { rows: "3", maxlength: "2000", placeholder: said === undefined ? "empty: each keeps its own note" : "what is known, who works on it" });
  note.value = said ?? "";
  const end = common(entries, "until");
  const before = end === undefined ? [[OWN, "as now: each its own end"]] : end ? [[end, `as now: ${clock(end)}`]] : [];
  const until = make("select", {}, ...before.concat(ENDS).map(([value, text]) => make("option", { value }, text)));
  const error = make("p", { class: "error", role: "alert" });
  const progress = make("p", { class: "dim" });
  const names = entries.slice(0, 6).map(({ alert }) => `${printable(alert.stream_id)}: ${words(alert.kind)}`);
  if (entries.length > names.length) names.push(`and ${entries.length - names.length} more`);
  const cancel = button("Cancel", () => dialog.close());
  const form = make("form", { method: "dialog" },
    make("ul", {}, ...names.map((text) => make("li", {}, text))),
    make("label", {}, "Note", note), make("label", {}, "It holds until", until), error, progress,
    actions(make("button", { type: "submit" }, `Acknowledge ${entries.length === 1 ? "" : `all ${entries.length}`}`.trim()),
      acked.length ? button(`Take back ${acked.length === 1 ? "the acknowledgement" : `${acked.length} acknowledgements`}`, () => send(takeBack)) : null,
      cancel));
  const dialog = openDialog(entries.length === 1 ? "Acknowledge the alert" : `Acknowledge ${entries.length} alerts`, form);
  note.focus();

  const give = ({ alert, ack }) => {
    const body = { note: note.value || (said === undefined ? ack?.note ?? "" : "") };
    if (until.value === OWN) body.until = ack?.until ?? null;
    else if (until.value) body.until = until.value === end ? end : new Date((now() + Number(until.value)) * 1000).toISOString();
    return call("PUT", `/alerts/${part(alert.alert_id)}/ack`, body, { headers: asSeen(ack) });
  };
  const takeBack = ({ alert, ack }) => (ack ? call("DELETE", `/alerts/${part(alert.alert_id)}/ack`, undefined, { headers: asSeen(ack) }) : null);

  async function send(one) {
    for (const element of form.elements) element.disabled = element !== cancel;
    error.textContent = "";
    const failed = [];
    let sent = 0;
    for (const entry of entries) {
      if (!dialog.open) break; // closed meanwhile: the rest is not wanted
      if (entries.length > 1) progress.textContent = `${sent} of ${entries.length} are sent.`;
      try {
        await patiently(() => one(entry));
      } catch (reason) {
        failed.push([entry, reason]);
      }
      sent += 1;
    }
    for (const element of form.elements) element.disabled = false;
    progress.textContent = "";
    const left = failed.length + entries.length - sent;
    const problem = failed.length ? `${left} of ${entries.length} were not sent. ${failed[0][1].message}` : "";
    if (dialog.open && problem) {
      error.textContent = problem;
      entries = failed.map(([entry]) => entry);
      return;
    }
    dialog.close();
    if (problem) toast(problem);
    else if (sent < entries.length) toast(`Stopped: ${sent} of ${entries.length} were sent.`);
    else toast(one === give ? `${entries.length === 1 ? "The alert is" : `${entries.length} alerts are`} acknowledged.` : "Taken back.");
    done();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(give);
  });
}

// Sends a request again while the server says that it is one too many for now: hundreds of alerts are more than it takes at once.
async function patiently(request) {
  for (let tries = 0; ; tries++) {
    try {
      return await request();
    } catch (reason) {
      if (reason.status !== 429 || !reason.wait || tries === PATIENCE) throw reason;
      await new Promise((go) => { setTimeout(go, reason.wait * 1000); });
    }
  }
}

const PATIENCE = 5; // times that a request is sent again
const RECENT = 600; // seconds: an older clip or picture says nothing about the row
const NEAR = 10; // seconds between a segment and a picture that still shows how it was
const RATINGS = ["bad", "poor", "fair", "good", "excellent"];

// Rates a segment in five levels before its score is shown: seeing the score first would pull the opinion towards it.
export async function rateDialog(streamId, segmentId, rendition, { toast }) {
  const turn = ++ratings;
  const asked = location.pathname;
  let shown;
  try {
    shown = await view(streamId, segmentId, rendition);
  } catch (reason) {
    toast(reason.message);
    return;
  }
  // Asked for once more meanwhile, or no longer wanted: another view or another dialog is open.
  if (turn !== ratings || location.pathname !== asked || document.querySelector("dialog[open]")) return;
  const error = make("p", { class: "error", role: "alert" });
  const choose = async (value) => {
    error.textContent = "";
    try {
      const answer = await call("POST", `${segment(streamId, shown.segmentId, "/rating")}?${new URLSearchParams(ofRendition(shown.rendition))}`, { level: value });
      dialog.close();
      const score = answer?.score;
      toast(`Rated ${RATINGS[value - 1]}.${Number.isFinite(score) ? ` The model said ${Math.round(score)}.` : ""}`);
    } catch (reason) {
      error.textContent = reason instanceof ApiError && reason.status === 404 ? `This segment cannot be rated: ${reason.message}.` : reason.message;
    }
  };
  const levels = make("div", { class: "levels" }, ...[5, 4, 3, 2, 1].map((value) => button(`${value}  ${RATINGS[value - 1]}`, () => choose(value))));
  const dialog = openDialog("How good is the picture quality?", shown.element,
    make("p", { class: "dim" }, "Judge the picture, not what it shows. The model's score is shown afterwards."), levels, error,
    actions(button("Cancel", () => dialog.close())));
  dialog.tabIndex = -1;
  dialog.focus(); // on no level: Enter would choose it
  dialog.addEventListener("keydown", (event) => {
    if (/^[1-5]$/.test(event.key)) choose(Number(event.key));
  });
}

// Renditions may give their segments the same ids. rendition: "" for none, null for any.
const ofRendition = (rendition) => (rendition === null ? {} : { rendition });

// The clip of a segment where it was kept; else a small picture of about its time, with a word that a picture shows less than a clip. Without a
// segment: the newest clip of the last minutes, which one can watch, else the latest segment. Fails where there is nothing to judge by.
async function view(streamId, segmentId, rendition) {
  const which = segmentId ? { segment_id: segmentId, ...ofRendition(rendition) } : { from: iso(now() - RECENT) };
  const clips = await read("/clips", { stream_id: streamId, ...which, worst: "false", limit: "1" }).catch(() => ({ items: [] }));
  const [kept] = clips.items;
  if (kept) {
    const video = make("video", { src: wallPath(kept.url), controls: true, loop: true, "aria-label": "the clip to rate" });
    video.muted = true; // else no browser plays it without a click
    video.autoplay = true;
    return { segmentId: kept.segment_id, rendition: kept.rendition ?? "", element: video };
  }
  const last = segmentId ? null : await read(stream(streamId));
  const [id, of] = last ? [last.segment_id, last.rendition ?? ""] : [segmentId, rendition];
  const [{ start }, { items }] = await Promise.all([read(segment(streamId, id), ofRendition(of)), read(stream(streamId, "/pictures"))]);
  const away = (one) => Math.abs(seconds(one.start) - seconds(start));
  const near = items.filter((one) => away(one) <= (segmentId ? NEAR : RECENT)).sort((one, other) => away(one) - away(other))[0];
  if (!near) throw new Error("Nobody can judge this segment: no clip of it is kept, and no picture of its time.");
  const image = make("img", { src: wallPath(near.url), alt: "the segment's picture", width: "320", height: "180" });
  return { segmentId: id, rendition: of, element: make("div", {}, image, make("p", { class: "dim" }, "A preview of about this time; no clip of this segment was kept.")) };
}

// keys: [[keys], text] of all keys.
export function helpDialog(keys) {
  const rows = keys.map(([names, text]) => make("div", {},
    make("dt", {}, ...names.flatMap((name, place) => [place ? " " : "", ...name.split(" ").map((one) => make("kbd", {}, one))])), make("dd", {}, text)));
  const dialog = openDialog("Keys", make("dl", { class: "help-keys" }, ...rows),
    make("p", { class: "dim" }, "A television: open the page with ?tv=1. The address holds what you see: copy it to share it."),
    actions(button("Close", () => dialog.close())));
}

// Asks for a token; done() after the server has taken it.
export function signInDialog(done) {
  if (document.getElementById("token")) return;
  const token = make("input", { type: "password", id: "token", autocomplete: "off", autocapitalize: "off", spellcheck: "false", required: true });
  const error = make("p", { class: "error", role: "alert" });
  const form = make("form", { method: "dialog" }, make("label", {}, "Your token", token), error, actions(make("button", { type: "submit" }, "Sign in")));
  const dialog = openDialog("Sign in", form);
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = token.value;
    token.value = "";
    try {
      await call("POST", "/session", { token: text });
      dialog.close();
      done();
    } catch (reason) {
      error.textContent = reason.message;
    }
  });
}
