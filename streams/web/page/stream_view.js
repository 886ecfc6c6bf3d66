// One stream: its course, its alerts under it, its signals against what is usual, its segments, its good and bad picture, its clips.
import { alertPath, wallPath } from "./address.js";
import { whyOf } from "./alerts_view.js";
import { orNothing, read, stream } from "./api.js";
import { courseChart, drawSignal, lanesOf, medians, withGaps } from "./chart.js";
import { comparePictures } from "./compare.js";
import { clipCard } from "./clips_view.js";
import { idText, make, printable, setText, shortened } from "./dom.js";
import { chip, nameOf, stateIcon, words, writeChip } from "./levels.js";
import { onTheme } from "./palette.js";
import { Segments } from "./segments.js";
import { clipsAround, readAround, stepPanel } from "./step.js";
import { clock, inMaintenance, iso, length, now, readTime, seconds } from "./time.js";

const SIGNALS = { blur: 1, blockiness: null, noise: null, black: 1, freeze: 1, luma: 255, contrast: null, face: 1 };
const MEANINGS = { // docs/signals.md
  blur: "Share of fine detail's contrast that is lost, 0 to 1; clean pictures: up to 0.6",
  blockiness: "Strength of the coding grid, relative to the mean step of pixels; clean pictures: up to 0.15",
  noise: "Noise in flat parts at 360 lines, 8-bit levels; clean pictures: up to 3.5",
  black: "Share of black pixels",
  freeze: "Share of the time in which the picture stands still",
  luma: "Mean luma, 8-bit levels; clean pictures: 19 to 200",
  contrast: "Standard deviation of luma, 8-bit levels; clean pictures: 17 to 83",
  face: "Share of the picture under the largest face",
};
const SIGNAL_SIZE = { width: 200, height: 48 };
const REFRESH = 15; // seconds between two readings of the course, at least: longer ranges have longer steps
const RANGES = { "10m": [600, "10 min"], "1h": [3600, "1 h"], "6h": [21_600, "6 h"], "24h": [86_400, "24 h"] };
const PICTURE_SECONDS = 10; // between two pictures of a stream: it may have turned bad so long before the first bad one
const POINTS = 500; // of a course
const BAR_HEIGHT = 14; // pixels of a row of alerts under the course
const GONE = { labels: {}, renditions: [], rendition: null, last: [] }; // a stream that the wall knows no more, and the store does

export const openStream = (app) => new StreamView(app);

class StreamView {
  constructor(app) {
    this.app = app;
    this.id = app.route.id;
    this.stop = new AbortController();
    this.turn = 0; // counts the readings of the pictures
    this.segments = new Segments(app, this.id, () => ({ rendition: this.rendition, at: this.at }), () => this.pick(null));
    this.off = onTheme(() => this.drawCourse());
    this.build();
  }

  get range() {
    const range = this.app.route.query.get("range");
    return Object.hasOwn(RANGES, range ?? "") ? range : "1h";
  }

  get at() {
    return readTime(this.app.route.query.get("at") ?? "");
  }

  get rendition() {
    return this.app.route.query.get("rendition") || null;
  }

  build() {
    this.chip = chip(null, null, "none");
    this.stateText = make("span", {});
    this.why = make("p", { class: "why", hidden: true });
    this.labels = make("span", { class: "labels" });
    this.renditions = make("select", { "aria-label": "Rendition", onChange: (event) => this.chooseRendition(event.target.value || null) });
    this.ranges = make("span", { class: "switch", role: "group", "aria-label": "Time shown (t)" },
      ...Object.entries(RANGES).map(([range, [, text]]) => make("button", { type: "button", data: { range }, onClick: () => this.chooseRange(range) }, text)));
    this.drawRanges();
    this.csv = make("a", { download: "scores.csv" }, "CSV");
    this.chart = make("div", { class: "chart" });
    this.bars = make("div", { class: "alert-bars" });
    this.courseNotice = make("p", { class: "dim" }, "Loading the course");
    this.signals = make("div", { class: "small-multiples" });
    this.signalsHeading = make("h3", {}, "Signals of the last segments, dotted: usual");
    this.pictures = make("div", {}, make("p", { class: "dim" }, "Loading the pictures"));
    this.both = make("div", {});
    this.player = null;
    this.clips = make("ul", { class: "cards" });
    this.clipsNotice = make("p", { class: "dim" }, "Loading the clips");
    this.content = make("div", { class: "scroll" },
      make("div", { class: "title" }, make("h2", { tabindex: "-1" }, idText(this.id, 60)), this.chip, this.stateText, this.labels, this.renditions, this.ranges,
        make("button", { type: "button", data: { needs: "ack" }, onClick: () => this.ack() }, "Acknowledge (a)"), make("button", { type: "button", data: { needs: "rate" }, onClick: () => this.rateActive() }, "Rate (r)"), this.csv),
      this.why,
      make("div", { class: "panel" }, make("h3", {}, "Score over time, with its expected error; thin: the lowest of each step; dots: the large model"), this.courseNotice, this.chart, this.bars),
      make("div", { class: "panel" }, this.signalsHeading, this.signals),
      make("div", { class: "columns" },
        make("div", { data: { needs: "media" } }, make("div", { class: "panel" }, make("h3", {}, "Good and bad"), this.pictures), this.both),
        this.segments.element),
      make("div", { class: "panel", data: { needs: "media" } }, make("h3", {}, "Worst clips of this stream"), this.clipsNotice, this.clips));
    this.element = make("section", { "aria-label": "Stream" }, this.content);
  }

  opened() {
    this.content.querySelector("h2").focus({ preventScroll: true });
    this.checkTime();
    this.app.live.send({ type: "watch", id: this.id });
    this.load();
    this.readRest();
    this.draw();
  }

  // A time that nobody can read leaves the address: what is shown is now.
  checkTime() {
    const text = this.app.route.query.get("at");
    if (text === null || this.at !== null) return;
    this.app.change({ at: null });
    this.app.toast(`The time in the link cannot be read: ${shortened(text, 40)}. You see now.`);
  }

  close() {
    this.stop.abort();
    this.segments.close();
    this.player?.pause();
    clearTimeout(this.timer);
    this.off();
    this.course?.end();
    this.app.live.send({ type: "watch", id: null });
  }

  afterSnapshot() {
    this.app.live.send({ type: "watch", id: this.id });
    if (this.failed) this.load();
  }

  // A whole event of the watched stream.
  frame(frame) {
    if (frame.type !== "event" || frame.id !== this.id) return;
    this.segments.take(frame.event);
    this.segments.draw();
    this.drawSignals();
  }

  chooseRange(range) {
    this.app.change({ range: range === "1h" ? null : range });
    this.drawRanges();
    this.load();
  }

  // The next longer range, and after the longest the shortest.
  nextRange() {
    const names = Object.keys(RANGES);
    this.chooseRange(names[(names.indexOf(this.range) + 1) % names.length]);
  }

  drawRanges() {
    for (const button of this.ranges.children) button.setAttribute("aria-pressed", button.dataset.range === this.range);
  }

  chooseRendition(rendition) {
    this.app.change({ rendition });
    this.segments.clear();
    this.load();
    this.readPictures();
    this.segments.read();
  }

  // The time that the course shows, seconds: up to now, or around a chosen time that is longer ago. Its steps begin at whole steps, so that
  // old points keep their segments.
  shown() {
    const [span] = RANGES[this.range];
    const step = span / POINTS;
    const isPast = this.at !== null && this.at <= now() - span;
    const to = Math.ceil((isPast ? Math.min(now(), this.at + span / 2) : now()) / step) * step;
    return { from: to - span, to, step, isPast };
  }

  // Reads the course, and again when it may have a further point.
  async load() {
    clearTimeout(this.timer);
    const { from, to, step } = this.shown();
    const turn = (this.timer = setTimeout(() => this.load(), Math.max(REFRESH, step) * 1000)); // another range may be chosen before the answer
    this.from = from;
    this.to = to;
    const query = { from: iso(this.from), to: iso(this.to), ...(this.rendition ? { rendition: this.rendition } : {}) };
    this.csv.href = `${wallPath("/api/v1")}${stream(this.id, "/scores")}?${new URLSearchParams({ ...query, format: "csv" })}`;
    const { signal } = this.stop;
    try {
      this.detail = await read(stream(this.id), null, { signal });
    } catch (error) {
      if (error.status !== 404 || !(this.detail === GONE || await this.hasPast(query))) {
        this.unread(error);
        return;
      }
      this.detail = GONE;
    }
    if (this.failed) { // the stream is there, or there again: what could not be read before may be read now
      this.failed = false;
      this.element.replaceChildren(this.content);
      this.readRest();
    }
    this.drawDetail();
    try {
      const [course, health, alerts] = await Promise.all([
        read(stream(this.id, "/scores"), query, { signal }).catch(orNothing({ items: [], step: 0 })),
        read("/health", null, { signal }).catch(() => null),
        read("/alerts", { stream_id: this.id, state: "all", limit: "100" }, { signal }).catch(() => ({ items: [] })),
      ]);
      if (turn !== this.timer) return;
      if (this.segments.problem) this.segments.read(); // the store answers again
      this.alerts = alerts.items;
      const lasts = Math.max(0, ...this.detail.renditions.map((one) => one.duration));
      const points = course.items.map((point) => ({ t: seconds(point.t), mean: point.mean, min: point.min, uncertainty: point.uncertainty }));
      this.points = withGaps(points, Math.max(3 * course.step, 4 * lasts));
      this.shifts = health?.shifts ?? [];
      this.drawCourse();
    } catch (error) {
      if (error.name !== "AbortError" && turn === this.timer) this.noCourse(`The course could not be read: ${error.message}`);
    }
  }

  // Whether the store has scores of the time that is asked for.
  async hasPast(query) {
    return read(stream(this.id, "/scores"), query, { signal: this.stop.signal }).then(({ items }) => items.length > 0, () => false);
  }

  // What is known stays in sight while the server does not answer: the page says that it is old.
  unread(error) {
    const notice = this.app.failed(error);
    if (!notice) return;
    this.failed = true;
    if (this.detail && error.status !== 404) return;
    this.element.replaceChildren(make("div", { class: "scroll" }, make("div", { class: "title" }, make("h2", {}, idText(this.id, 60))), notice,
      error.status === 404 ? make("p", { class: "dim" }, "The wall knows a stream for a day after its last segment. A link with a time (?at=), as those of alerts, shows what the store keeps for longer.") : ""));
  }

  readRest() {
    if (this.app.may.has("media")) this.readClips();
    this.readPictures();
    this.segments.read();
  }

  noCourse(text) {
    this.course?.end();
    this.course = null;
    this.chart.replaceChildren();
    this.bars.replaceChildren();
    this.courseNotice.hidden = false;
    setText(this.courseNotice, text);
  }

  drawDetail() {
    const { detail } = this;
    this.labels.replaceChildren(...Object.entries(detail.labels).map(([name, value]) => make("span", { class: "label" }, printable(`${name}:${value}`))));
    const names = detail.renditions.map((one) => one.rendition).filter(Boolean);
    const gone = this.rendition !== null && !names.includes(this.rendition); // it may still have a past
    const options = ["", ...names].map((name) => make("option", { value: name }, name ? printable(name) : "all renditions"));
    if (gone) options.push(make("option", { value: this.rendition }, `${shortened(this.rendition, 30)}: not there now`));
    this.renditions.replaceChildren(...options);
    this.renditions.value = this.rendition ?? "";
    this.renditions.hidden = names.length < 2 && !gone;
    for (const score of detail.last) this.segments.take(score);
    if (detail === GONE) {
      this.stateKey = null;
      this.stateText.replaceChildren("Nothing has come for a day: the wall does not follow it any more.");
    }
    // One rendition's: what is usual for one is not for another.
    this.measured = detail.renditions.find((one) => (one.rendition ?? null) === (this.rendition ?? detail.rendition));
    setText(this.signalsHeading, `Signals of the last segments${this.measured?.rendition ? ` of ${printable(this.measured.rendition)}` : ""}, dotted: usual`);
    this.segments.draw();
    this.drawSignals();
  }

  drawCourse() {
    if (!this.points) return;
    if (!this.points.some((point) => point.mean !== null)) {
      this.noCourse(`No scores of ${this.rendition ? `its rendition ${shortened(this.rendition, 40)}` : "this stream"} ${this.shown().isPast ? `around ${clock(this.at)}` : `in the last ${RANGES[this.range][1]}`}.`);
      return;
    }
    this.courseNotice.hidden = true;
    this.course?.end();
    const marks = [
      ...this.shifts.map((shift) => ({ t: seconds(shift.time), text: `${printable(shift.name)}@${printable(shift.version ?? "–")}${medians(shift)}`, strong: false })),
      ...this.alerts.filter(({ ack }) => ack?.note).map(({ ack }) => ({ t: seconds(ack.at), text: `${printable(ack.by)}: ${shortened(ack.note, 30)}`, strong: false })),
    ].filter(({ t }) => t > this.from && t < this.to);
    if (this.at) marks.push({ t: this.at, text: clock(this.at), strong: true });
    const dots = this.segments.kept.filter((score) => score.tier === "deep").map((score) => ({ t: seconds(score.start), score: score.score }))
      .filter(({ t }) => t > this.from && t < this.to);
    this.course = courseChart(this.chart, { points: this.points, from: this.from, to: this.to, marks, dots, pick: (t) => this.pick(t), laid: (left, width) => this.layBars(left, width) });
    this.drawBars();
  }

  // A click on the course puts its time into the address, and shows the segments and pictures around it; null goes back to now.
  pick(t) {
    this.app.change({ at: t === null ? null : iso(t) });
    this.drawCourse();
    if (this.shown().isPast || this.to < now() - REFRESH) this.load(); // the course moves to that time, or back to now
    this.readPictures();
    this.segments.read();
  }

  layBars(left, width) {
    this.bars.style.marginLeft = `${left}px`;
    this.bars.style.width = `${width}px`;
  }

  drawBars() {
    const span = this.to - this.from;
    const inRange = this.alerts.filter(({ alert }) => seconds(alert.started_at) < this.to && (seconds(alert.ended_at) ?? this.to) > this.from);
    const least = span / 200; // a bar of a moment has a width too
    const stretches = inRange.map(({ alert }) => {
      const from = Math.max(this.from, seconds(alert.started_at));
      return { from, to: Math.max(from + least, Math.min(this.to, seconds(alert.ended_at) ?? this.to)) };
    });
    const lanes = lanesOf(stretches);
    this.bars.style.height = `${(Math.max(0, ...lanes) + 1) * BAR_HEIGHT}px`;
    this.bars.replaceChildren(...inRange.map(({ alert }, place) => {
      const { from, to } = stretches[place];
      const text = `${words(alert.kind)} since ${clock(alert.started_at)}`;
      const bar = make("a", { class: "alert-bar", href: alertPath(alert.alert_id), title: text, "aria-label": text, data: alert.state === "firing" ? { open: "" } : {} });
      bar.style.left = `${((from - this.from) / span) * 100}%`;
      bar.style.width = `${((to - from) / span) * 100}%`;
      bar.style.top = `${lanes[place] * BAR_HEIGHT + 1}px`;
      return bar;
    }));
  }

  drawSignals() {
    const scores = this.measured ? this.segments.scored(this.measured.rendition, 60) : [];
    const width = parseFloat(getComputedStyle(this.signals).gridTemplateColumns) || SIGNAL_SIZE.width; // of a column
    const figures = Object.entries(SIGNALS).map(([name, most]) => {
      const values = scores.map((score) => (name === "face" ? score.faces?.area : score.signals?.[name]) ?? null);
      const usual = this.measured?.signals[name]?.usual ?? null;
      const last = values.at(-1) ?? this.measured?.signals[name]?.value ?? null;
      const canvas = make("canvas", { role: "img", "aria-label": `${name}: ${valueText(name, last)}, usual ${valueText(name, usual)}` });
      drawSignal(canvas, values, usual, { ...SIGNAL_SIZE, width, most });
      return make("figure", {}, make("figcaption", {}, make("b", { title: MEANINGS[name] }, name), make("span", {}, `${valueText(name, last)} `, make("span", { class: "dim" }, `usual ${valueText(name, usual)}`))), canvas);
    });
    this.signals.replaceChildren(...figures);
  }

  async readPictures() {
    if (!this.app.may.has("media")) return;
    const turn = ++this.turn; // another time may be chosen before the answer
    try {
      const pair = await read(stream(this.id, "/compare"), this.at ? { at: iso(this.at) } : null, { signal: this.stop.signal })
        .catch(orNothing({ good: null, bad: null }));
      if (turn !== this.turn) return;
      this.pictures.replaceChildren(comparePictures(pair));
      this.readBoth(this.at ?? seconds(pair.bad?.start), turn);
    } catch (error) {
      if (error.name !== "AbortError" && turn === this.turn) this.pictures.replaceChildren(make("p", { class: "dim" }, `The pictures could not be read: ${error.message}`));
    }
  }

  // The clips of before and after the chosen time, or of before and after the first bad picture, where both are kept.
  async readBoth(at, turn) {
    const around = { at: at - PICTURE_SECONDS, end: now(), rendition: this.rendition };
    const items = at === null ? [] : await readAround(this.id, around, { signal: this.stop.signal }).catch(() => []);
    if (turn !== this.turn) return;
    const pair = clipsAround(items, around);
    const { element, player } = pair.good && pair.bad ? stepPanel(pair) : { element: "", player: null };
    this.player?.pause();
    this.player = player;
    this.both.replaceChildren(element);
  }

  playBoth() {
    this.player?.toggle();
  }

  async readClips() {
    try {
      const { items } = await read("/clips", { stream_id: this.id, limit: "6" }, { signal: this.stop.signal });
      this.clips.replaceChildren(...items.map((item) => clipCard(this.app, item)));
      setText(this.clipsNotice, items.length ? "" : "No clip of this stream is kept.");
    } catch (error) {
      if (error.name !== "AbortError") setText(this.clipsNotice, `The clips could not be read: ${error.message}`);
    }
  }

  draw() {
    const { fleet } = this.app;
    const index = fleet.indexes.get(this.id);
    if (index === undefined) return;
    const state = fleet.states[index];
    const level = fleet.levelOf(index);
    writeChip(this.chip, level === "none" ? null : fleet.smoothed[index], fleet.uncertainties[index], level);
    const open = fleet.alertOf[index];
    const since = seconds(open ? open.alert.started_at : fleet.since[index]);
    const name = nameOf(open?.alert, state, fleet.smoothed[index], fleet.uncertainties[index]);
    const work = inMaintenance(fleet.maintenance[index]);
    const text = `${name} since ${clock(since)} (${length(now() - since)}), usual ${Math.round(fleet.usual[index] ?? NaN) || "–"}${open?.ack ? `, acknowledged by ${printable(open.ack.by)}` : ""}${work ? `, in ${work}: nothing new of it fires` : ""}`;
    if (this.stateKey !== state) {
      this.stateKey = state;
      this.stateText.replaceChildren(...(state === "ok" ? [] : [stateIcon(state), " "]), make("span"));
    }
    setText(this.stateText.lastElementChild, text);
    this.drawWhy(open?.alert);
  }

  // Why the stream is bad, in the words of its alert, with the way to it: a finger has no key for that.
  drawWhy(alert) {
    const text = alert ? whyOf(alert) : "";
    const key = alert ? `${alert.alert_id} ${text}` : "";
    if (this.whyKey === key) return;
    this.whyKey = key;
    this.why.hidden = !alert;
    this.why.replaceChildren(...(alert ? [text, " ", make("a", { href: alertPath(alert.alert_id) }, "open the alert (o)")] : []));
  }

  // Keys
  move(steps) {
    this.segments.move(steps);
  }

  openActive() {
    this.rateActive();
  }

  openAlert() {
    const index = this.app.fleet.indexes.get(this.id);
    const open = index === undefined ? null : this.app.fleet.alertOf[index];
    if (open) this.app.go(alertPath(open.alert.alert_id));
  }

  ack() {
    const entries = this.app.fleet.openAlerts().filter(({ alert }) => alert.stream_id === this.id);
    if (entries.length) this.app.ack(entries);
    else this.app.toast("This stream has no open alert.");
  }

  rateActive() {
    this.app.rate(this.id, ...this.segments.activeSegment());
  }
}

const PERCENT = new Set(["black", "freeze", "face"]);
export function valueText(name, value) {
  if (value === null || value === undefined) return "–";
  if (PERCENT.has(name)) return `${(value * 100).toFixed(value < 0.1 ? 1 : 0)} %`;
  return value >= 10 ? value.toFixed(0) : value.toFixed(2);
}
