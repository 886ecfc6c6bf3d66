// The rating page: sign in, then for each clip: watch, vote. One section is visible at a time; `stage` is its name, "blank" for none.
"use strict";

const get = (id) => document.getElementById(id);
const SECTIONS = ["sign-in", "start", "watch", "vote", "notice"];
const WAIT_MS = 3000;
const MOST_SECONDS = 86400; // that the server takes for a vote: a rater may come back after days

let stage = "";
let next = null; // the last answer of api/next: {state, presentation, scale, enlarge, digit_votes, done, total, minutes, can_undo, pause, name}
let seen = false; // the rater has watched the clip to its end at least once
let touched = false; // the rater has moved the slider; its first position is no opinion
let factor = 1; // screen pixels per clip pixel, as the clip was last played
let asked = 0; // when the page first asked for the vote, ms
let busy = false; // a request to the server is running
let goOn = null; // the function that Enter calls on a notice
let waiting = 0; // timer that asks again for a clip that could not be read

class SignedOut extends Error {}
class Refused extends Error {}
class Unable extends Error {}

// What the server says of a refusal. A proxy before it answers with a page of its own.
async function said(answer) {
  const content = await answer.json().catch(() => null);
  return content?.error || `${answer.status} ${answer.statusText}`.trim();
}

// Raises what a refusal means.
async function check(answer) {
  if (answer.ok) return;
  const text = await said(answer);
  if (answer.status === 401) throw new SignedOut(text);
  throw answer.status < 500 ? new Refused(text) : new Unable(text);
}

async function call(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  const answer = await fetch(path, { ...options, credentials: "same-origin", cache: "no-store" });
  await check(answer);
  return answer.json();
}

function show(name) {
  stage = name;
  document.body.dataset.stage = name;
  for (const section of SECTIONS) get(section).hidden = section !== name;
  get("foot").hidden = ["sign-in", "watch", "blank"].includes(name);
  get("status").textContent = "";
  if (name === "blank") return;
  const focused = { "sign-in": "token", start: "begin", watch: "clip", vote: "vote-title", notice: "notice-title" }[name];
  get(focused).focus({ preventScroll: true });
}

function notice(title, text, action) {
  get("notice-title").textContent = title;
  get("notice-text").textContent = text;
  get("go-on").hidden = !action;
  goOn = action;
  show("notice");
}

// Runs one task at a time. After a failure a notice says what is wrong, and Enter tries again.
async function attempt(work) {
  if (busy) return;
  busy = true;
  clearTimeout(waiting);
  try {
    await work();
  } catch (error) {
    if (error instanceof SignedOut) {
      show("sign-in");
      get("status").textContent = error.message;
    } else if (error instanceof Refused) {
      notice("That is no longer possible", error.message, () => attempt(load));
    } else if (error instanceof Unable) {
      const text = `It says: ${error.message}. Nothing that was confirmed is lost; Enter tries again.`;
      notice("The server cannot do that now", text, () => attempt(work));
    } else {
      notice("No connection", "The server does not answer. Nothing that was confirmed is lost.", () => attempt(work));
    }
  } finally {
    busy = false;
  }
}

// Asks the server for the next clip, and shows the progress.
async function askNext() {
  next = await call("api/next");
  document.body.dataset.scale = next.scale;
  document.body.dataset.digits = next.digit_votes;
  get("progress").max = Math.max(1, next.total);
  get("progress").value = next.done;
  get("count").textContent = `${next.done} of ${next.total}`;
  get("who").textContent = next.name;
  get("undo").disabled = !next.can_undo;
}

async function load() {
  show("blank"); // only the grey surround, so that the eyes rest between two clips
  await askNext();
  if (next.state === "waiting") {
    notice("One moment", "The next clip cannot be read yet. The page goes on by itself.", null);
    waiting = setTimeout(() => attempt(load), WAIT_MS);
  } else if (next.state === "done") {
    const text = next.done ? `You have rated all ${next.done}. Thank you!` : "There is nothing to rate yet.";
    notice(next.done ? "All done" : "No clips", `${text} Enter looks for new clips.`, () => attempt(load));
  } else if (next.pause) {
    notice("Time for a pause", `${next.done} of ${next.total} are rated. Rest your eyes; Enter goes on.`, () => attempt(watch));
  } else {
    await watch();
  }
}

// Loads the whole clip before it plays: a slow network must not look like a bad picture.
async function watch() {
  const answer = await fetch(next.presentation && `api/clips/${next.presentation}`, { credentials: "same-origin" });
  if (answer.status === 404) throw new Refused("It is no longer to be rated.");
  await check(answer);
  const data = await answer.blob();
  const video = get("clip");
  if (video.src) URL.revokeObjectURL(video.src);
  seen = false;
  touched = false;
  asked = 0;
  get("vote-form").reset();
  get("points").textContent = "–";
  // Its size is needed before it plays. A clip that cannot be played has none: then play() reports it.
  await new Promise((resolve) => {
    video.onloadedmetadata = video.onerror = resolve;
    video.src = URL.createObjectURL(data);
  });
  play();
}

// The largest factor at which the whole clip is seen: the asked one, smaller whole numbers, then 1/2, 1/3, ...
// The window never decides anything between these, so that votes can be told apart by their factor.
function fitting(enlarge, width, height, roomWidth, roomHeight) {
  for (let whole = enlarge; whole >= 1; whole -= 1) {
    if (width * whole <= roomWidth && height * whole <= roomHeight) return whole;
  }
  return 1 / Math.ceil(Math.max(width / roomWidth, height / roomHeight));
}

// The window in screen pixels: the browser's zoom and a screen of high density change devicePixelRatio.
function room() {
  return [innerWidth * devicePixelRatio, innerHeight * devicePixelRatio].map((size) => Math.max(1, Math.round(size)));
}

function factorNow() {
  const video = get("clip");
  return fitting(next.enlarge, video.videoWidth || 1, video.videoHeight || 1, ...room());
}

// Puts the clip into the middle, on whole screen pixels: between two of them the browser would blur it.
function place() {
  const video = get("clip");
  const [width, height] = [video.videoWidth * factor, video.videoHeight * factor].map(Math.round);
  const [roomWidth, roomHeight] = room();
  const css = (pixels) => `${pixels / devicePixelRatio}px`;
  video.style.width = css(width);
  video.style.height = css(height);
  video.style.left = css(Math.floor((roomWidth - width) / 2));
  video.style.top = css(Math.floor((roomHeight - height) / 2));
}

function play() {
  const video = get("clip");
  show("watch");
  const fits = factorNow();
  if (fits !== factor) seen = false; // not at this size
  factor = fits;
  place();
  video.currentTime = 0;
  video.play().catch(() => { if (video.error) unplayable(); });
}

function unplayable() {
  const presentation = next.presentation;
  notice("This clip cannot be played here", "It is left out; Enter goes on.", () => attempt(async () => {
    await call("api/skip", { presentation });
    await load();
  }));
}

function ask() {
  seen = true;
  asked ||= performance.now();
  show("vote");
  if (next.scale === "slider") get("slider").focus();
}

function value() {
  if (next.scale === "slider") return touched ? get("slider").valueAsNumber : null;
  const level = document.querySelector("input[name=level]:checked");
  return level && Number(level.value);
}

function confirmVote() {
  const vote = value();
  if (vote === null) {
    get("status").textContent = next.scale === "slider" ? "Move the slider first." : "Choose 1 to 5 first.";
    return;
  }
  const seconds = Math.min(MOST_SECONDS, (performance.now() - asked) / 1000);
  const body = { presentation: next.presentation, value: vote, seconds, factor };
  attempt(async () => {
    await call("api/ratings", body); // after a failure it is sent again, and the server keeps it once
    await load();
  });
}

function undo() {
  if (!next?.can_undo) return;
  attempt(async () => {
    get("clip").pause();
    await call("api/undo", {});
    await load();
  });
}

function choose(level) {
  const radio = document.querySelector(`input[name=level][value="${level}"]`);
  radio.checked = true;
  radio.focus();
  get("status").textContent = "";
  if (next.digit_votes) confirmVote();
}

function begin() {
  attempt(async () => {
    // The browser may not support full screen, or may refuse it: then the clip has the window.
    await document.documentElement.requestFullscreen?.().catch(() => {});
    await load();
  });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat && event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
  if (stage === "sign-in") return;
  const enter = event.key === "Enter" || event.key === " ";
  // These keys press the button that has the focus: the browser does that itself.
  if (enter && event.target instanceof HTMLButtonElement) return;
  const level = /^[1-5]$/.test(event.key) && next?.scale === "acr" && seen && (stage === "vote" || stage === "watch");
  if (enter && stage === "start") begin();
  else if (enter && stage === "notice") goOn?.();
  else if (enter && stage === "vote") confirmVote();
  else if (level) { if (stage === "watch") { get("clip").pause(); ask(); } choose(event.key); }
  else if (event.key.toLowerCase() === "r" && stage === "vote") play();
  else if (event.key === "Backspace") undo();
  else return;
  event.preventDefault();
});

get("clip").addEventListener("ended", () => { if (stage === "watch") ask(); });
get("clip").addEventListener("error", () => { if (stage === "watch") unplayable(); });
get("clip").addEventListener("pause", () => {
  // Media keys and a sleeping screen can pause the clip: start it again, because raters must see all of it.
  if (stage === "watch" && !get("clip").ended && !document.hidden && !busy) play();
});
addEventListener("resize", () => {
  if (stage !== "watch") return;
  // A clip is watched at one size: at another one it is played from its beginning.
  if (factorNow() === factor) place();
  else play();
});
document.addEventListener("visibilitychange", () => {
  if (stage !== "watch") return;
  if (document.hidden) get("clip").pause();
  else play();
});
get("slider").addEventListener("input", () => {
  touched = true;
  get("points").textContent = get("slider").value;
  get("status").textContent = "";
});
get("vote-form").addEventListener("submit", (event) => { event.preventDefault(); confirmVote(); });
get("replay").addEventListener("click", play);
get("undo").addEventListener("click", undo);
get("begin").addEventListener("click", begin);
get("go-on").addEventListener("click", () => goOn?.());
get("sign-out").addEventListener("click", () => attempt(async () => {
  await call("api/sign-out", {});
  show("sign-in");
}));

async function signIn(token) {
  try {
    await call("api/sign-in", { token });
  } catch (error) {
    if (!(error instanceof SignedOut)) throw error;
    show("sign-in");
    get("status").textContent = error.message;
    return;
  }
  await greet();
}

function many(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

async function greet() {
  await askNext();
  const left = next.total - next.done;
  get("amount").textContent = left ? `${many(left, "clip")}, about ${many(next.minutes, "minute")}` : next.done ? "All clips are rated." : "There is nothing to rate yet.";
  show("start");
}

get("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = get("token").value.split("#token=").pop(); // of a link, which people paste as well
  get("token").value = "";
  attempt(() => signIn(token));
});

// A link has the token behind the #: browsers send that part to no server. Remove it from the address bar at once.
const linked = new URLSearchParams(location.hash.slice(1)).get("token");
if (location.hash) history.replaceState(null, "", location.pathname);
attempt(linked ? () => signIn(linked) : greet);
