// The state of all streams, as columns, and the order of their rows. Pure: it knows no element and no socket, and is given the time.
import { printable } from "./dom.js";
import { LOW, SCORELESS, levelOf, rankOf, words } from "./levels.js";

export const LINGER = 10; // seconds that a row stays in its place after all is good again, so that it does not vanish under the hand
export const POINTS = 60; // of a sparkline

// The orders that one may choose.
export const SORTS = { worst: "worst first", id: "by name", since: "latest change" };

// Groups of rows, worst first. Within a group the smoothed score decides, then the id.
const FIRST_ALERT = 0; // + the alert's rank, under 30
const TROUBLE = 40; // a state that is no picture, and no alert yet
const ACKED = 50;
const LOW_SCORE = 60;
const OLD_SCORE = 61; // nobody knows how it is now
const FINE = 62;
const NO_SCORE = 63;

// The states as the server numbers them. A newer server adds names at the end only, and its snapshot may bring the list.
export const STATES = [
  "ok", "low-quality", "quality-drop", "black", "frozen", "silent", "no-segments", "no-face", "skipped", "stale", "ended", "unknown",
];
const QUIET = new Set(["ok", "low-quality", "quality-drop", "skipped"]); // states of a picture that the score describes

// An acknowledgement where it holds at this time, seconds; null where its end has come, or there is none.
export const heldAt = (ack, at) => (ack?.until && Date.parse(ack.until) / 1000 <= at ? null : ack ?? null);

export class Fleet {
  constructor() {
    this.clear();
    this.text = "";
    this.sort = "worst"; // one of SORTS
    this.all = false;
    this.held = false;
    this.order = []; // all streams that pass the filter, in the chosen order
    this.shown = []; // the rows as they are on the screen: the order, or what it was when it was held
    this.listed = 0; // how many at the front of `shown` are not fine; in another order than the worst first, all of it
    this.moved = 0; // rows that would change places if they were not held
  }

  clear() {
    this.ids = [];
    this.renditions = [];
    this.searched = []; // texts that the filter looks into
    this.since = [];
    this.usual = [];
    this.scores = []; // of the last segment
    this.smoothed = []; // over the last seconds: what rows show and are ordered by
    this.uncertainties = [];
    this.states = [];
    this.lags = [];
    this.ends = []; // of the last segment
    this.maintenance = []; // when it ends, seconds; null where the stream is in none
    this.gone = [];
    this.alertOf = [];
    this.badAt = [];
    this.badKey = [];
    this.places = [];
    this.indexes = new Map(); // stream id -> its index
    this.alerts = new Map(); // alert id -> {alert, ack}
    this.alertIds = new Map(); // stream id -> the ids of its alerts: when thousands fire at once, nobody may look through all for each
    this.sparks = new Map(); // index -> {scores, oldest first; version, which counts the changes}
    this.names = STATES;
  }

  // Takes a frame of the socket. Returns whether streams came or went.
  apply(frame) {
    if (frame.type === "snapshot") this.snapshot(frame);
    else if (frame.type === "scores") this.takeScores(frame);
    else if (frame.type === "streams") this.takeStreams(frame);
    else if (frame.type === "alert") this.takeAlert(frame.alert, frame.ack, frame.at);
    else if (frame.type === "sparks") this.takeSparks(frame);
    return frame.type === "snapshot" || frame.type === "streams";
  }

  snapshot(frame) {
    const sparks = this.sparks;
    const before = this.indexes;
    this.clear();
    if (Array.isArray(frame.states)) this.names = frame.states;
    const streams = frame.streams;
    for (let index = 0; index < streams.id.length; index++) {
      if (streams.id[index] === null) {
        this.lose(index); // a place that a stream has left
        continue;
      }
      this.put(index, Object.fromEntries(Object.entries(streams).map(([name, column]) => [name, column[index]])));
      // A reconnection keeps the sparklines until fresh ones arrive, so that the rows do not flicker.
      const old = before.get(streams.id[index]);
      if (old !== undefined && sparks.has(old)) this.sparks.set(index, sparks.get(old));
    }
    this.rankIds();
    for (const entry of frame.alerts ?? []) this.takeAlert(entry.alert, entry.ack, frame.at);
    this.held = false;
  }

  put(index, row) {
    const known = this.ids[index] === row.id && !this.gone[index];
    this.ids[index] = row.id;
    this.renditions[index] = row.rendition;
    this.searched[index] = searchedOf(row);
    this.since[index] = row.since;
    this.usual[index] = row.usual;
    this.scores[index] = row.score;
    this.smoothed[index] = row.smoothed;
    this.uncertainties[index] = row.uncertainty;
    this.states[index] = this.stateName(row.state);
    this.lags[index] = row.lag;
    this.maintenance[index] = row.maintenance ?? null;
    if (known) return;
    this.gone[index] = false;
    this.badAt[index] = -Infinity;
    this.badKey[index] = 0;
    this.indexes.set(row.id, index);
    this.alertOf[index] = this.worstAlert(row.id);
  }

  lose(index) {
    const id = this.ids[index];
    if (this.indexes.get(id) === index) {
      this.indexes.delete(id);
      // No frame tells the end of its alerts.
      for (const alertId of this.alertIds.get(id) ?? []) this.alerts.delete(alertId);
      this.alertIds.delete(id);
    }
    this.ids[index] ??= "";
    this.gone[index] = true;
    this.sparks.delete(index);
  }

  stateName(state) {
    return this.names[state] ?? "unknown";
  }

  rankIds() {
    const sorted = [...this.ids.keys()].sort((one, other) => (this.ids[one] < this.ids[other] ? -1 : this.ids[one] > this.ids[other] ? 1 : one - other));
    this.places = new Array(this.ids.length);
    sorted.forEach((index, place) => { this.places[index] = place; });
  }

  takeScores(frame) {
    for (let place = 0; place < frame.i.length; place++) {
      const index = frame.i[place];
      const score = points(frame.s[place]);
      this.scores[index] = score;
      this.smoothed[index] = points(frame.m[place]);
      this.uncertainties[index] = points(frame.u[place]);
      this.states[index] = this.stateName(frame.k[place]);
      this.lags[index] = points(frame.l[place]);
      // The row is also told where only its state, an alert or another rendition has changed.
      const known = this.ends[index] === frame.e[place];
      this.ends[index] = frame.e[place];
      const spark = this.sparks.get(index);
      if (!spark || known) continue;
      spark.scores.push(score);
      if (spark.scores.length > POINTS) spark.scores.shift();
      spark.version += 1;
    }
  }

  // New streams, streams of which something changed that `scores` does not tell, and places of streams that are gone.
  takeStreams(frame) {
    const count = this.ids.length;
    for (const row of frame.add) this.put(row.i, row);
    for (const index of frame.gone) this.lose(index);
    if (this.ids.length !== count) this.rankIds();
  }

  takeAlert(alert, ack, at) {
    const index = this.indexes.get(alert.stream_id);
    // A stream that has lost the label of this feed is not in it, and its alert may be.
    if (alert.state === "resolved" || index === undefined) {
      this.alerts.delete(alert.alert_id);
      this.alertIds.get(alert.stream_id)?.delete(alert.alert_id);
    } else {
      this.alerts.set(alert.alert_id, { alert, ack: heldAt(ack, at) });
      this.alertIds.set(alert.stream_id, (this.alertIds.get(alert.stream_id) ?? new Set()).add(alert.alert_id));
    }
    if (index !== undefined) this.alertOf[index] = this.worstAlert(alert.stream_id);
  }

  worstAlert(id) {
    let worst = null;
    for (const alertId of this.alertIds.get(id) ?? []) {
      const { alert, ack } = this.alerts.get(alertId);
      const rank = rankOf(alert) + (ack ? 100 : 0);
      if (!worst || rank < worst.rank) worst = { alert, ack, rank };
    }
    return worst;
  }

  takeSparks(frame) {
    frame.i.forEach((index, place) => {
      const version = (this.sparks.get(index)?.version ?? 0) + 1;
      this.ends[index] = frame.e[place];
      this.sparks.set(index, { scores: frame.s[place].map(points).slice(-POINTS), version });
    });
  }

  // The level that the chip shows: none where the state says that the score is not about now.
  levelOf(index) {
    const state = this.states[index];
    return state === "stale" || SCORELESS.has(state) ? "none" : levelOf(this.smoothed[index]);
  }

  group(index) {
    const state = this.states[index];
    const worst = this.alertOf[index];
    if (worst) return worst.ack ? ACKED : FIRST_ALERT + worst.rank;
    if (state === "ended" || state === "unknown" || this.smoothed[index] === null) return NO_SCORE;
    if (state === "stale") return OLD_SCORE;
    if (!QUIET.has(state)) return TROUBLE;
    return this.smoothed[index] < LOW ? LOW_SCORE : FINE;
  }

  passes(index) {
    return !this.gone[index] && (!this.text || has(this.searched[index], this.text) || has(this.troubles(index), this.text));
  }

  // What is wrong with a stream, in the words by which the filter finds it: its state, the kinds of its alerts, and maintenance.
  troubles(index) {
    const kinds = [...this.alertIds.get(this.ids[index]) ?? []].map((id) => this.alerts.get(id).alert.kind);
    const work = this.maintenance[index] === null ? [] : ["maintenance"];
    return [this.states[index], ...kinds, ...work].filter((name) => name !== "ok").flatMap((name) => [name, words(name)]);
  }

  // Whether an alert is of a stream, or of a kind, that the text filters for.
  passesAlert({ stream_id: id, labels = {}, kind }) {
    return !this.text || has([...searchedOf({ id, labels }), kind, words(kind)], this.text);
  }

  // Orders all streams. now: the server's time, seconds.
  arrange(now) {
    const keys = new Float64Array(this.ids.length);
    const order = [];
    const listed = new Set();
    const counts = { streams: 0, bad: 0, acked: 0, silent: 0, stale: 0 };
    for (let index = 0; index < this.ids.length; index++) {
      if (!this.passes(index)) continue;
      const group = this.group(index);
      const score = this.smoothed[index] === null ? 100 : Math.round(this.smoothed[index]);
      keys[index] = (group * 1000 + score) * 1e7 + this.places[index];
      this.count(counts, this.states[index], group);
      if (group < FINE) {
        this.badAt[index] = now;
        this.badKey[index] = keys[index];
        listed.add(index);
      } else if (now - this.badAt[index] < LINGER) {
        keys[index] = this.badKey[index];
        listed.add(index);
      }
      order.push(index);
    }
    order.sort(this.comparison(keys));
    this.order = order;
    this.counts = counts;
    this.show(listed);
    return this.shown;
  }

  comparison(keys) {
    const byName = (one, other) => this.places[one] - this.places[other];
    if (this.sort === "id") return byName;
    if (this.sort === "since") return (one, other) => this.sinceOf(other) - this.sinceOf(one) || byName(one, other);
    return (one, other) => keys[one] - keys[other];
  }

  // Since when a stream is as it is: the start of its alert, or its last change of level; seconds.
  sinceOf(index) {
    const open = this.alertOf[index];
    return (open ? Date.parse(open.alert.started_at) / 1000 : this.since[index]) || 0;
  }

  count(counts, state, group) {
    counts.streams += 1;
    if (group < TROUBLE) counts.bad += 1;
    if (group === ACKED) counts.acked += 1;
    if (state === "no-segments") counts.silent += 1;
    if (state === "stale") counts.stale += 1;
  }

  show(listed) {
    const bad = this.order.filter((index) => listed.has(index));
    this.fine = this.order.length - bad.length;
    const next = this.all ? this.order : bad;
    // Only rows that are not fine count as moved: scores of healthy streams change places all the time, and nobody looks for it.
    const front = this.sort === "worst" ? bad : next;
    if (!this.held) {
      this.shown = next;
      this.listed = front.length;
      this.moved = 0;
      return;
    }
    this.shown = this.shown.filter((index) => !this.gone[index]);
    this.moved = front.filter((index, place) => this.shown[place] !== index).length + Math.max(0, this.listed - front.length);
  }

  // Holds the order while someone reads; letting go shows the new one at the next arrangement.
  hold(held) {
    this.held = held;
  }

  // Open alerts, most urgent first, acknowledged ones last.
  openAlerts() {
    return [...this.alerts.values()].sort((one, other) => (one.ack ? 100 : 0) + rankOf(one.alert) - (other.ack ? 100 : 0) - rankOf(other.alert)
      || (one.alert.started_at < other.alert.started_at ? 1 : -1));
  }
}

// Frames count in tenths.
const points = (tenths) => (tenths === null ? null : tenths / 10);

const has = (searched, wanted) => searched.some((text) => text.includes(wanted));

// What a filter finds a stream by, in lower case: its id and labels as they are, and as the page shows those with invisible characters.
function searchedOf({ id, labels }) {
  const texts = [id, ...Object.entries(labels).map(([name, value]) => `${name}:${value}`)];
  return [...new Set([...texts, ...texts.map(printable)].map((text) => text.toLowerCase()))];
}
