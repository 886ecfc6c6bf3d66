// The fleet: heat strip, rows worst first, and what may be done with selected rows.
import { get, make, printable, setText } from "./dom.js";
import { SORTS } from "./fleet.js";
import { nextTry, whyOld } from "./head.js";
import { Heat } from "./heat.js";
import { LOW, SCORELESS, UNSURE, nameOf, words } from "./levels.js";
import { Mosaic } from "./mosaic.js";
import { Rows } from "./rows.js";
import { alertPath, streamPath } from "./address.js";
import { inMaintenance, length, now, seconds } from "./time.js";
import { onTheme } from "./palette.js";

const POINTER_HOLD = 60_000; // ms after the pointer's last move: one that was left on the list does not hold the order for ever
const TV_PAGE = 12_000; // ms that a television shows a page
const NARROW = "(max-width: 640px)"; // of a phone, which has rows only: three pictures beside each other would show nothing

export function openFleet(app) {
  return new FleetView(app);
}

class FleetView {
  constructor(app) {
    this.app = app;
    this.fleet = app.fleet;
    this.title = "";
    this.tv = app.route.query.get("tv") === "1";
    this.fleet.all = app.route.query.get("all") === "1" || this.tv;
    const sort = app.route.query.get("sort") ?? "";
    this.fleet.sort = Object.hasOwn(SORTS, sort) ? sort : "worst";
    this.narrow = matchMedia(NARROW);
    this.mosaic = app.route.query.get("view") === "mosaic" && (this.tv || !this.narrow.matches);
    this.build();
    this.rows = new (this.mosaic ? Mosaic : Rows)(this.list, { rows: () => this.fleet.shown, describe: (index) => this.describe(index) }, {
      open: (index) => this.open(index),
      ack: (index) => this.ack([index]),
      rate: (index) => this.app.rate(this.fleet.ids[index]),
      select: () => this.drawBar(),
      visible: (indexes) => this.ask(indexes),
    });
    this.list.append(this.fold);
    this.watchHold();
    this.turned = () => { if (app.route.query.get("view") === "mosaic") app.reopen(); };
    this.narrow.addEventListener("change", this.turned);
    this.off = onTheme(() => this.rows.redraw());
    if (this.tv) this.cycling = setInterval(() => this.turnPage(), TV_PAGE);
  }

  build() {
    this.list = make("div", { id: "list" });
    this.notice = make("div", { class: "notice", hidden: true });
    this.foldButton = make("button", { type: "button", onClick: () => this.toggleAll() });
    this.moved = make("button", { type: "button", id: "moved", hidden: true, title: "Show the new order (.)", onClick: () => this.release() });
    this.beyond = make("span", { class: "dim" });
    this.fold = make("div", { id: "fold" }, this.foldButton, this.beyond, this.moved);
    this.order = make("select", { "aria-label": "Order", onChange: () => this.chooseSort(this.order.value) },
      ...Object.entries(SORTS).map(([value, text]) => make("option", { value }, text)));
    this.order.value = this.fleet.sort;
    this.mosaicButton = make("button", { type: "button", class: "desk", "aria-pressed": this.mosaic ? "true" : "false", onClick: () => this.toggleMosaic() }, "Mosaic (m)");
    get("tools").replaceChildren(this.order, this.mosaicButton);
    this.element = make("section", { "aria-label": "Fleet" }, make("h2", { class: "unseen" }, "Fleet"), this.notice, this.list);
    const canvas = get("heat").firstElementChild;
    this.heat = this.app.heat ??= new Heat(canvas, (index) => this.app.heatPick(index));
    this.app.heatPick = (index) => this.open(index);
    this.bar = get("bar");
  }

  opened() {
    const kept = this.app.memory.fleet;
    this.draw();
    this.rows.measure();
    if (kept) {
      this.list.scrollTop = kept.top;
      this.rows.active = this.fleet.indexes.get(kept.id) ?? null;
      this.rows.grid.focus({ preventScroll: true });
    }
    this.rows.settle();
    this.draw();
  }

  close() {
    this.app.memory.fleet = { top: this.list.scrollTop, id: this.fleet.ids[this.rows.active] };
    clearInterval(this.cycling);
    this.narrow.removeEventListener("change", this.turned);
    get("tools").replaceChildren();
    this.fleet.hold(false);
    this.off();
    this.bar.replaceChildren();
    this.bar.classList.remove("shown");
  }

  // Frames: a snapshot numbers the streams anew, so selection and active row follow their ids.
  beforeSnapshot() {
    this.keep = { active: this.fleet.ids[this.rows.active], selected: [...this.rows.selected].map((index) => this.fleet.ids[index]) };
  }

  afterSnapshot() {
    const place = (id) => this.fleet.indexes.get(id);
    this.rows.active = place(this.keep.active) ?? null;
    this.rows.selected = new Set(this.keep.selected.map(place).filter((index) => index !== undefined));
    this.fleet.arrange(now());
    this.rows.draw();
    this.rows.settle();
  }

  // Hold: the order stands still while the pointer or the keyboard's focus is in the list.
  watchHold() {
    this.pointer = -Infinity;
    this.list.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse") this.pointer = performance.now(); });
    this.list.addEventListener("pointerleave", () => { this.pointer = -Infinity; });
  }

  wantsHold() {
    if (this.tv) return false;
    return performance.now() - this.pointer < POINTER_HOLD || this.list.contains(document.activeElement) || this.rows.selected.size > 0;
  }

  release() {
    this.fleet.hold(false);
    this.fleet.arrange(now());
    this.draw();
    this.rows.settle();
  }

  // Once a second: rows that came into sight without scrolling need their sparklines too.
  tick() {
    this.ask(this.rows.inSight().filter((index) => !this.fleet.sparks.has(index)));
  }

  draw() {
    const { fleet } = this;
    fleet.hold(this.wantsHold());
    fleet.arrange(now());
    this.heat.draw(fleet.order, (index) => ({ level: fleet.levelOf(index), state: fleet.states[index], acked: Boolean(fleet.alertOf[index]?.ack) }));
    const label = `${fleet.counts.streams} streams as cells, worst first; ${fleet.counts.bad} with an alert`;
    const canvas = this.heat.canvas;
    if (canvas.getAttribute("aria-label") !== label) canvas.setAttribute("aria-label", label);
    this.rows.draw();
    if (fleet.shown.length !== this.count) {
      this.count = fleet.shown.length;
      this.rows.settle();
    }
    this.drawFold();
    this.drawNotice();
  }

  drawFold() {
    const { fleet } = this;
    this.foldButton.hidden = !fleet.order.length || (!fleet.all && !fleet.fine);
    const fine = `${fleet.fine.toLocaleString("en")} ${fleet.fine === 1 ? "is" : "are"} fine`;
    setText(this.foldButton, fleet.all ? `Hide the ${fleet.fine.toLocaleString("en")} that are fine` : `▸ ${fine}`);
    this.foldButton.setAttribute("aria-expanded", fleet.all);
    const beyond = fleet.shown.length - this.rows.indexes().length; // the mosaic has some of them only
    setText(this.beyond, beyond ? `${beyond.toLocaleString("en")} more are not in the mosaic; the rows have all (m)` : "");
    this.moved.hidden = !fleet.moved;
    setText(this.moved, `${fleet.moved} moved (.)`);
  }

  drawNotice() {
    const { fleet } = this;
    let text = "";
    if (!this.app.known) text = this.app.live.state === "connecting" ? "Loading the fleet" : whyOld(this.app) + nextTry(this.app);
    else if (!fleet.ids.length && !this.app.route.query.has("label")) text = "No streams yet. They appear when the first score arrives.";
    else if (!fleet.order.length) text = "No stream fits the filter.";
    else if (!fleet.shown.length) text = "All streams are fine.";
    this.notice.hidden = !text;
    setText(this.notice, text);
  }

  // What a row shows of a stream.
  describe(index) {
    const { fleet } = this;
    const time = now();
    const state = fleet.states[index];
    const open = fleet.alertOf[index];
    const alert = open?.alert ?? null;
    const since = seconds(alert ? alert.started_at : fleet.since[index]);
    const uncertainty = fleet.uncertainties[index];
    const score = SCORELESS.has(state) ? null : fleet.smoothed[index];
    return {
      id: fleet.ids[index],
      path: streamPath(fleet.ids[index], this.app.keptQuery()),
      now: time,
      score,
      uncertainty,
      level: fleet.levelOf(index),
      state,
      alert,
      ack: open?.ack ? initials(open.ack.by) : null,
      since: alert || state !== "ok" || score < LOW ? since : null,
      usual: fleet.usual[index],
      maintenance: inMaintenance(fleet.maintenance[index]),
      kind: kindOf(alert, state, score, uncertainty, fleet.renditions[index]),
      why: whyOf(alert, state, score, uncertainty),
      tile: state === "no-segments" ? length(time - since) : state === "black" ? `BLACK ${length(time - since)}` : words(state).toUpperCase(),
      spark: fleet.sparks.get(index),
      threshold: alert?.threshold ?? LOW,
      pictures: this.app.may.has("media"),
      canRate: !SCORELESS.has(state) && this.app.may.has("rate"),
    };
  }

  ask(indexes) {
    if (indexes.length) this.app.live.send({ type: "sparks", i: indexes.slice(0, 100) });
  }

  open(index) {
    this.app.go(streamPath(this.fleet.ids[index], this.app.keptQuery()));
  }

  openActive() {
    if (this.rows.active !== null) this.open(this.rows.active);
  }

  openStream() {
    this.openActive();
  }

  openAlert() {
    const alert = this.rows.active === null ? null : this.fleet.alertOf[this.rows.active]?.alert;
    if (alert) this.app.go(alertPath(alert.alert_id));
  }

  // All open alerts of these streams, acknowledged in one form.
  ack(indexes = this.rows.targets()) {
    const ids = new Set(indexes.map((index) => this.fleet.ids[index]));
    const entries = this.fleet.openAlerts().filter(({ alert }) => ids.has(alert.stream_id));
    if (entries.length) this.app.ack(entries, () => this.rows.clearSelection());
    else this.app.toast(ids.size ? "No open alert in what is selected." : "Choose a row first: j and k move, x selects.");
  }

  toggleAll() {
    this.app.change({ all: this.fleet.all ? null : "1" });
    this.fleet.all = !this.fleet.all;
    this.release();
  }

  // The streams as pictures, or as rows again. A phone has rows only.
  toggleMosaic() {
    if (!this.mosaic && this.narrow.matches && !this.tv) {
      this.app.toast("The mosaic needs a wider screen.");
      return;
    }
    this.app.change({ view: this.mosaic ? null : "mosaic" }, false);
    this.app.reopen();
  }

  chooseSort(sort) {
    this.app.change({ sort: sort === "worst" ? null : sort }, false);
    this.fleet.sort = sort;
    this.order.value = sort;
    this.release();
  }

  nextSort() {
    const names = Object.keys(SORTS);
    this.chooseSort(names[(names.indexOf(this.fleet.sort) + 1) % names.length]);
  }

  drawBar() {
    const count = this.rows.selected.size;
    this.bar.classList.toggle("shown", count > 0);
    if (!count) {
      this.bar.replaceChildren();
      return;
    }
    const button = (text, run, needs = null) => make("button", { type: "button", onClick: run, data: needs ? { needs } : {} }, text);
    const one = count === 1 ? [button("open", () => this.open([...this.rows.selected][0]))] : [];
    this.bar.replaceChildren(make("span", {}, `${count} selected`), make("span", { class: "space" }), ...one,
      button("ack", () => this.ack(), "ack"), button("clear", () => this.rows.clearSelection()));
  }

  turnPage() {
    const { list, rows } = this;
    const page = Math.max(1, Math.floor(list.clientHeight / rows.height)) * rows.height;
    const end = list.scrollTop + list.clientHeight >= rows.extent(this.fleet.listed);
    list.scrollTop = end ? 0 : list.scrollTop + page;
  }

  // Keys
  move(steps) {
    this.rows.grid.focus({ preventScroll: true });
    this.rows.move(steps);
    this.draw();
  }

  // A line up or down: in the mosaic as many tiles as stand beside each other.
  line(steps) {
    this.move(steps * (this.rows.columns ?? 1));
  }

  across(steps) {
    if (this.mosaic) this.move(steps);
  }

  select(range) {
    const place = this.rows.activePlace();
    if (place < 0) return;
    if (range) this.rows.selectTo(place);
    else {
      this.rows.toggle(this.rows.active);
      this.rows.anchor = place;
    }
  }

  escape() {
    if (this.rows.selected.size) this.rows.clearSelection();
    else {
      this.rows.active = null;
      document.activeElement?.blur();
    }
    this.draw();
  }

  rateActive() {
    if (this.rows.active !== null) this.app.rate(this.fleet.ids[this.rows.active]);
  }
}

function initials(name) {
  return printable(name).slice(0, 24);
}

function kindOf(alert, state, score, uncertainty, rendition) {
  const kind = nameOf(alert, state, score, uncertainty);
  return rendition ? `${kind} · ${printable(rendition)}` : kind;
}

function whyOf(alert, state, score, uncertainty) {
  const text = alert?.cause?.text || alert?.summary;
  if (text) return printable(text);
  if (state === "stale") return "its last score is too old to say how it is now";
  if (state === "no-segments") return "nothing is announced any more";
  if (state === "skipped") return "its last segment was skipped";
  if (score !== null && uncertainty > UNSURE) return `model unsure: ${Math.round(score)} ±${Math.round(uncertainty)}`;
  return "";
}
