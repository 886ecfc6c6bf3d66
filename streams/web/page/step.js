// Two clips of a stream side by side, the last good one and the first bad one, played in step: one slider, one button, the same time of both.
import { wallPath } from "./address.js";
import { readAll } from "./api.js";
import { setText, make, printable, when } from "./dom.js";
import { LOW, chip } from "./levels.js";
import { bothClocks, iso, seconds } from "./time.js";

const BEFORE = 3600; // seconds before the time that is asked about from which a good clip may be
const APART = 0.04; // seconds by which the two may differ before the second plays a little faster or slower
const FAR = 0.3; // and before it is set to the other's time, which stops it for a moment
const FRAME = 0.04; // seconds of one step
const PAN = 40; // pixels that an arrow moves what is seen of a picture in its own size

// The clips of a stream among which clipsAround finds the pair of a time, newest first. at, end: as there.
export async function readAround(streamId, { at, end }, options) {
  return readAll("/clips", { stream_id: streamId, from: iso(at - BEFORE), to: iso(end), worst: "false" }, options);
}

// The pair of clips around a time, each null where none is kept. items: clips of one stream as the API lists them. at: seconds. end: the last
// second of what is bad. rendition: null for any. A clip before the time counts as good from the score LOW on.
export function clipsAround(items, { at, end, rendition = null }) {
  const ours = items.filter((item) => rendition === null || item.rendition === rendition).map((item) => ({ item, start: seconds(item.start) }));
  const good = ours.filter(({ item, start }) => start + item.duration <= at && start > at - BEFORE && item.score >= LOW);
  const bad = ours.filter(({ start }) => start >= at && start <= end);
  const latest = (one, other) => (one.start >= other.start ? one : other);
  const earliest = (one, other) => (one.start <= other.start ? one : other);
  return { good: good.length ? good.reduce(latest).item : null, bad: bad.length ? bad.reduce(earliest).item : null };
}

class StepPlayer {
  // good, bad: clips as the API lists them.
  constructor({ good, bad }) {
    this.sides = [good, bad].map((item, place) => this.side(item, place ? "first bad clip" : "last good clip"));
    [this.first, this.second] = this.sides.map(({ video }) => video);
    this.offset = { x: 0, y: 0 }; // of what is seen of the pictures in their own size, from their middle
    this.button = make("button", { type: "button", onClick: () => this.toggle() }, "▸ Play both (p)");
    this.size = make("button", { type: "button", "aria-pressed": "false", onClick: () => this.toggleSize() }, "1:1");
    this.slider = make("input", { type: "range", min: "0", max: "1", step: String(FRAME), value: "0", "aria-label": "Time in both clips, seconds" });
    this.slider.addEventListener("input", () => { this.pause(); this.seek(this.slider.valueAsNumber); });
    this.time = make("span", {}, "0.00 s");
    this.hint = make("p", { class: "dim" }, "1:1 shows each pixel as one pixel: drag, or use the arrow keys on a picture, to look at the same place of both.");
    this.element = make("div", { class: "step" },
      make("div", { class: "step-sides" }, ...this.sides.map(({ figure }) => figure)),
      make("div", { class: "actions" }, this.button, this.step("‹", "a picture back", -FRAME), this.step("›", "a picture on", FRAME), this.size, this.time), this.slider, this.hint);
    this.first.addEventListener("timeupdate", () => this.follow());
    for (const video of [this.first, this.second]) {
      video.addEventListener("loadedmetadata", () => this.measure());
      video.addEventListener("ended", () => this.restart());
    }
  }

  side(item, words) {
    const video = make("video", { src: wallPath(item.url), preload: "auto", playsinline: true, "aria-label": `${words} of ${printable(item.stream_id)}` });
    video.muted = true; // two at once are no sound to listen to
    const box = make("div", { class: "step-box", tabindex: "0", role: "group", "aria-label": `${words}: arrow keys move what is seen at 1:1` }, video);
    video.addEventListener("error", () => box.replaceChildren(make("p", { class: "dim" }, "This clip cannot be played here; it may have left the store.")));
    let from = null;
    box.addEventListener("pointerdown", (event) => { from = { x: event.clientX, y: event.clientY }; box.setPointerCapture(event.pointerId); });
    box.addEventListener("pointermove", (event) => {
      if (!from) return;
      this.pan(event.clientX - from.x, event.clientY - from.y);
      from = { x: event.clientX, y: event.clientY };
    });
    box.addEventListener("pointerup", () => { from = null; });
    box.addEventListener("keydown", (event) => {
      const [x, y] = { ArrowLeft: [PAN, 0], ArrowRight: [-PAN, 0], ArrowUp: [0, PAN], ArrowDown: [0, -PAN] }[event.key] ?? [0, 0];
      if (!(x || y) || !this.isOwnSize()) return;
      event.preventDefault();
      event.stopPropagation();
      this.pan(x, y);
    });
    const text = make("span", { title: bothClocks(item.start) }, `${words} `, when(item.start), " ");
    return { video, box, figure: make("figure", {}, box, make("figcaption", {}, text, chip(item.score, item.uncertainty))) };
  }

  step(text, label, by) {
    return make("button", { type: "button", "aria-label": label, onClick: () => { this.pause(); this.seek(this.first.currentTime + by); } }, text);
  }

  // The time that both have, seconds.
  duration() {
    return Math.min(...[this.first, this.second].map((video) => (Number.isFinite(video.duration) ? video.duration : Infinity)));
  }

  measure() {
    const duration = this.duration();
    if (Number.isFinite(duration)) this.slider.max = String(duration);
    this.place();
  }

  toggle() {
    if (this.first.paused) this.play();
    else this.pause();
  }

  play() {
    if (this.second.currentTime !== this.first.currentTime) this.second.currentTime = this.first.currentTime;
    setText(this.button, "❚❚ Pause both (p)");
    for (const video of [this.first, this.second]) video.play().catch(() => this.pause());
  }

  pause() {
    setText(this.button, "▸ Play both (p)");
    for (const video of [this.first, this.second]) video.pause();
    // Where it stops, both show the same picture.
    if (Math.abs(this.second.currentTime - this.first.currentTime) > FRAME / 2) this.second.currentTime = this.first.currentTime;
  }

  seek(time) {
    const wanted = Math.min(Math.max(0, time), Math.max(0, this.duration() - FRAME));
    for (const video of [this.first, this.second]) video.currentTime = wanted;
    this.show(wanted);
  }

  // The second keeps to the first's time; the shorter of the two ends both, and they begin again together.
  follow() {
    const time = this.first.currentTime;
    if (!this.first.paused && time >= this.duration()) {
      this.restart();
      return;
    }
    const ahead = this.second.currentTime - time;
    if (Math.abs(ahead) > FAR) this.second.currentTime = time;
    this.second.playbackRate = ahead > APART ? 0.93 : ahead < -APART ? 1.07 : 1;
    this.show(time);
  }

  restart() {
    this.seek(0);
    this.play();
  }

  show(time) {
    this.slider.value = String(time);
    this.slider.setAttribute("aria-valuetext", `${time.toFixed(2)} seconds`);
    setText(this.time, `${time.toFixed(2)} s`);
  }

  isOwnSize() {
    return this.size.getAttribute("aria-pressed") === "true";
  }

  toggleSize() {
    this.size.setAttribute("aria-pressed", !this.isOwnSize());
    this.offset = { x: 0, y: 0 };
    this.place();
  }

  pan(x, y) {
    if (!this.isOwnSize()) return;
    this.offset = { x: this.offset.x + x, y: this.offset.y + y };
    this.place();
  }

  // Puts both pictures where the offset says, at 1:1 or fitted into their boxes.
  place() {
    for (const { video, box } of this.sides) {
      const own = this.isOwnSize();
      box.classList.toggle("own-size", own);
      const [width, height] = [video.videoWidth / devicePixelRatio, video.videoHeight / devicePixelRatio];
      video.style.width = own ? `${width}px` : "";
      video.style.height = own ? `${height}px` : "";
      const limit = (moved, inside, outside) => Math.max(-Math.max(0, inside - outside) / 2, Math.min(Math.max(0, inside - outside) / 2, moved));
      const [x, y] = [limit(this.offset.x, width, box.clientWidth), limit(this.offset.y, height, box.clientHeight)];
      video.style.transform = own ? `translate(calc(-50% + ${x}px), calc(-50% + ${y}px))` : "";
    }
  }
}

// The panel of a pair: the player where both clips are kept; else what is missing. Returns {element, player}, player null without one.
export function stepPanel({ good, bad }) {
  const title = make("h3", {}, "Last good and first bad clip, in step");
  if (good && bad) {
    const player = new StepPlayer({ good, bad });
    return { element: make("div", { class: "panel" }, title, player.element), player };
  }
  const missing = good ? "of the bad time" : bad ? "of the hour before" : "of this time";
  const text = `No clip ${missing} is kept: clips are kept of segments that the model finds hard, and of those that somebody rates.`;
  return { element: make("div", { class: "panel" }, title, make("p", { class: "dim" }, text)), player: null };
}
