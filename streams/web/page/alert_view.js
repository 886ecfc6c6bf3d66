// One alert: what happened, why, since when, the good and the bad picture, who knows about it.
import { part } from "./address.js";
import { measured, streamPathOf } from "./alerts_view.js";
import { read, stream } from "./api.js";
import { clipCard } from "./clips_view.js";
import { comparePictures } from "./compare.js";
import { idText, make, printable, setText, when } from "./dom.js";
import { heldAt } from "./fleet.js";
import { stateIcon, words } from "./levels.js";
import { bothClocks, clock, length, now, seconds } from "./time.js";
import { clipsAround, readAround, stepPanel } from "./step.js";
import { valueText } from "./stream_view.js";

const AROUND = 30; // seconds before and after an alert from which its clips may be
const MOST_CLIPS = 8;

export const openAlert = (app) => new AlertView(app);

class AlertView {
  constructor(app) {
    this.app = app;
    this.id = app.route.id;
    this.stop = new AbortController();
    this.content = make("div", { class: "scroll" }, make("p", { class: "notice" }, "Loading the alert"));
    this.clips = make("div", {});
    this.both = make("div", {});
    this.player = null;
    this.element = make("section", { "aria-label": "Alert" }, this.content);
  }

  opened() {
    this.load();
  }

  close() {
    this.stop.abort();
    this.player?.pause();
  }

  changed() {
    this.load();
  }

  // While the connection was lost the alert may have ended, or somebody may have acknowledged it.
  afterSnapshot() {
    this.load();
  }

  frame(frame) {
    if (frame.type === "alert" && frame.alert.alert_id === this.id) this.show(frame);
  }

  async load() {
    try {
      this.show(await read(`/alerts/${part(this.id)}`, null, { signal: this.stop.signal }));
    } catch (error) {
      const notice = this.app.failed(error);
      if (notice) this.content.replaceChildren(make("h2", { class: "unseen" }, "Alert"), notice);
    }
  }

  show({ alert, ack }) {
    const first = !this.entry;
    const held = heldAt(ack, now());
    this.entry = { alert, ack: held };
    const firing = alert.state === "firing";
    this.lasted = make("span", {});
    this.pictures ??= make("div", {}, make("p", { class: "dim" }, "Loading the pictures"));
    const heading = make("h2", { tabindex: "-1" }, stateIcon(alert.kind), ` ${words(alert.kind)}`);
    this.content.replaceChildren(
      make("div", { class: "title" }, heading, make("a", { href: streamPathOf(alert) }, idText(alert.stream_id, 60)),
        alert.rendition ? make("span", {}, printable(alert.rendition)) : null, this.lasted, make("span", { class: "actions" },
          firing ? make("button", { type: "button", data: { needs: "ack" }, onClick: () => this.ack() }, held ? "Acknowledged: change (a)" : "Acknowledge (a)") : null,
          make("button", { type: "button", onClick: () => this.app.copy(location.href) }, "Copy link"))),
      make("div", { class: "columns" },
        make("div", { class: "panel" }, make("h3", {}, "What and why"), facts(alert)),
        make("div", { class: "panel", data: { needs: "media" } }, make("h3", {}, "Last good and first bad"), this.pictures)),
      this.both,
      make("div", { class: "panel" }, make("h3", {}, "Timeline"), timeline(alert, ack)),
      this.clips);
    this.tick();
    if (!first) return;
    heading.focus({ preventScroll: true });
    if (!this.app.may.has("media")) return;
    this.readPictures();
    this.readClips();
  }

  async readPictures() {
    const { alert } = this.entry;
    try {
      const pair = await read(stream(alert.stream_id, "/compare"), { at: alert.started_at }, { signal: this.stop.signal });
      this.pictures.replaceChildren(comparePictures(pair));
    } catch (error) {
      if (error.name !== "AbortError") this.pictures.replaceChildren(make("p", { class: "dim" }, `The pictures could not be read: ${error.message}`));
    }
  }

  // Clips of the stream from the time of the alert: what the pictures only hint at.
  async readClips() {
    const { alert } = this.entry;
    const begin = seconds(alert.started_at) - AROUND;
    const end = (seconds(alert.ended_at) ?? now()) + AROUND;
    const firstBad = seconds(alert.started_at) - 1; // a segment's start and its alert's are rounded apart
    const items = await readAround(alert.stream_id, { at: firstBad, end }, { signal: this.stop.signal }).catch(() => null);
    if (!items) return; // no clip store, or none that this person may see
    const { element, player } = stepPanel(clipsAround(items, { at: firstBad, end, rendition: alert.rendition ?? null }));
    this.player = player;
    this.both.replaceChildren(element);
    const around = items.filter((item) => seconds(item.start) >= begin && seconds(item.start) <= end).slice(0, MOST_CLIPS);
    if (!around.length) return;
    this.clips.className = "panel";
    this.clips.replaceChildren(make("h3", {}, "Clips of this time"), make("ul", { class: "cards" }, ...around.map((item) => clipCard(this.app, item))));
  }

  tick() {
    if (!this.entry) return;
    const { alert } = this.entry;
    const end = alert.state === "firing" ? now() : seconds(alert.ended_at);
    setText(this.lasted, alert.state === "firing" ? `firing ${length(end - seconds(alert.started_at))}` : `over at ${clock(alert.ended_at)} after ${length(end - seconds(alert.started_at))}`);
  }

  ack() {
    if (this.entry?.alert.state === "firing") this.app.ack([this.entry]);
  }

  openStream() {
    if (this.entry) this.app.go(streamPathOf(this.entry.alert));
  }

  playBoth() {
    this.player?.toggle();
  }
}

function facts(alert) {
  const { cause } = alert;
  const rows = [
    ["what", alert.summary ? printable(alert.summary) : words(alert.kind)],
    ["since", make("span", { title: bothClocks(alert.started_at) }, when(alert.started_at))],
    ["measured", `${measured(alert)}${Number.isFinite(alert.threshold) ? `; the threshold is ${alert.threshold}` : ""}`],
    ["severity", alert.severity ?? "–"],
    ["why", cause ? printable(cause.text) : "not known"],
  ];
  if (cause) rows.push(["where", `${cause.where}${cause.rendition ? `: ${printable(cause.rendition)}` : ""}`]);
  for (const move of cause?.signals ?? []) {
    rows.push([printable(move.name), `${valueText(move.name, move.value)}, usual ${valueText(move.name, move.usual)}${move.usual > 0 ? ` (${(move.value / move.usual).toFixed(1)}×)` : ""}`]);
  }
  const labels = Object.entries(alert.labels ?? {}).map(([name, value]) => make("span", { class: "label" }, printable(`${name}:${value}`)));
  if (labels.length) rows.push(["labels", make("span", { class: "labels" }, ...labels)]);
  return make("dl", { class: "facts" }, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function timeline(alert, ack) {
  const events = [[alert.started_at, `${words(alert.kind)} begins`]];
  if (ack) {
    const until = ack.until ? [", until ", when(ack.until)] : [", until it is over"];
    events.push([ack.at, `acknowledged by ${printable(ack.by)}`, ...until, ack.note ? `: ${printable(ack.note)}` : ""]);
  }
  if (alert.ended_at) events.push([alert.ended_at, "it is over"]);
  events.sort((one, other) => seconds(one[0]) - seconds(other[0]));
  return make("ul", { class: "timeline" }, ...events.map(([time, ...texts]) => make("li", {}, make("span", { title: bothClocks(time) }, when(time)), make("span", {}, ...texts))));
}
