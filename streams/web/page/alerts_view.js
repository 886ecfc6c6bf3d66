// The alerts: groups with one cause, then those that fire, then those that are over.
import { alertPath, streamPath } from "./address.js";
import { read, readCsv } from "./api.js";
import { idText, make, printable, setText, when } from "./dom.js";
import { rankOf, stateIcon, words } from "./levels.js";
import { bothClocks, length, now, seconds } from "./time.js";

const REFRESH_SECONDS = 10;
const TYPING = 300; // ms after the last letter before the alerts that are over and fit a filter are read
const LISTED = 200; // open alerts that are listed at first, and more with each wish for more: a table of thousands stops a browser for seconds
const MOST_OVER = "50"; // alerts that are over and are listed

export const openAlerts = (app) => new AlertsView(app);

class AlertsView {
  constructor(app) {
    this.app = app;
    this.selected = new Set();
    this.active = null; // id of the alert that the keys act on
    this.last = 0; // its place, or the one that it had when it left the list
    this.entries = []; // those that are listed
    this.most = LISTED;
    this.rows = new Map(); // alert id -> table row
    this.grouped = false; // whether the groups have been read
    this.past = null; // the entries of those that are over, once they are read
    this.turn = 0; // counts their readings
    this.stop = new AbortController();
    this.groups = make("div", {});
    this.notice = make("p", { class: "notice" });
    this.body = make("tbody", {});
    const head = ["", "since", "stream", "kind", "why", "measured", "acknowledged"];
    this.table = make("table", { class: "alerts stacked", tabindex: "0", "aria-label": "Open alerts" },
      make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text || make("span", { class: "unseen" }, "select"))))), this.body);
    this.body.addEventListener("click", (event) => this.activate(event.target.closest("tr").dataset.id));
    this.ackButton = make("button", { type: "button", data: { needs: "ack" }, onClick: () => this.ack() }, "Acknowledge (a)");
    this.moreButton = make("button", { type: "button", hidden: true, onClick: () => { this.most += LISTED; this.draw(); } });
    this.over = make("div", {});
    this.element = make("section", { "aria-label": "Alerts" }, make("div", { class: "scroll" },
      make("div", { class: "title" }, make("h2", {}, "Alerts"), this.ackButton,
        make("button", { type: "button", title: "Open alerts and those that are over, all that fit the filter", onClick: () => this.saveCsv() }, "CSV")), this.groups, this.notice, this.table, this.moreButton, this.over));
  }

  opened() {
    const kept = this.app.memory.alerts; // who comes back from an alert goes on where they were
    if (kept) [this.active, this.last, this.most] = [kept.active, kept.last, kept.most];
    this.draw();
    if (this.active !== null && this.entries.length) this.move(0);
    this.readGroups();
    this.readOver();
    this.timer = setInterval(() => this.refresh(), REFRESH_SECONDS * 1000);
  }

  close() {
    this.app.memory.alerts = { active: this.active, last: this.last, most: this.most };
    clearInterval(this.timer);
    clearTimeout(this.typing);
    this.stop.abort();
  }

  changed() {
    this.selected.clear();
    this.draw();
  }

  // Reads what the socket does not tell, but takes no link or button away under the keyboard's focus.
  refresh() {
    if (!this.groups.contains(document.activeElement)) this.readGroups();
    if (!this.over.contains(document.activeElement)) this.readOver();
  }

  async readGroups() {
    try {
      const { items } = await read("/groups", this.query(), { signal: this.stop.signal });
      this.grouped = true; // stays in sight while the server does not answer: the page says that it is old
      this.groups.replaceChildren(...(items.length ? [make("div", { class: "panel" }, make("h3", {}, "Together"),
        make("ul", {}, ...items.slice(0, 20).map((group) => this.group(group))))] : []));
    } catch (error) {
      if (error.name !== "AbortError" && !this.grouped) this.groups.replaceChildren(make("p", { class: "dim" }, `The groups could not be read: ${error.message}`));
    }
  }

  query() {
    return this.app.route.query.getAll("label").map((label) => ["label", label]);
  }

  // Labels and the filter's text.
  filter() {
    const text = this.app.route.query.get("q");
    return [...this.query(), ...(text ? [["q", text]] : [])];
  }

  // The server gives a thousand lines at once: all its pages become one file.
  async saveCsv() {
    try {
      const text = await readCsv("/alerts", [...this.filter(), ["state", "all"]], { signal: this.stop.signal });
      const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
      make("a", { href: address, download: "alerts.csv" }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000); // once the browser has taken it
    } catch (error) {
      if (error.name !== "AbortError") this.app.toast(`The CSV could not be read: ${error.message}`);
    }
  }

  group(group) {
    const ids = new Set(group.alerts);
    const ack = () => {
      const entries = this.app.fleet.openAlerts().filter(({ alert }) => ids.has(alert.alert_id));
      if (entries.length) this.app.ack(entries);
    };
    return make("li", {}, printable(group.text), " ", make("span", { class: "dim", title: bothClocks(group.started_at) }, "since ", when(group.started_at), " "),
      make("button", { type: "button", data: { needs: "ack" }, onClick: ack, "aria-label": `ack all of ${printable(group.text)}` }, "ack all"));
  }

  async readOver() {
    const turn = ++this.turn; // another filter may be chosen before the answer
    try {
      const answer = await read("/alerts", [...this.filter(), ["state", "resolved"], ["limit", MOST_OVER]], { signal: this.stop.signal });
      if (turn !== this.turn) return;
      this.past = answer.items;
      this.more = Boolean(answer.next);
      this.drawOver();
    } catch (error) {
      if (error.name !== "AbortError" && turn === this.turn && !this.past) this.over.replaceChildren(make("p", { class: "dim" }, `What is over could not be read: ${error.message}`));
    }
  }

  drawOver() {
    const items = this.past.filter(({ alert }) => this.app.fleet.passesAlert(alert));
    const lines = items.map(({ alert, ack }) => make("tr", {},
      make("td", { title: bothClocks(alert.started_at) }, when(alert.started_at), " to ", when(alert.ended_at), ` (${length(seconds(alert.ended_at) - seconds(alert.started_at))})`),
      make("td", {}, streamLink(alert, streamPathOf(alert))), make("td", {}, make("a", { href: alertPath(alert.alert_id) }, words(alert.kind))),
      make("td", {}, whyOf(alert)), make("td", {}, ack ? printable(ack.by) : "")));
    const { query } = this.app.route;
    const filtered = query.has("label") || query.has("q");
    this.over.replaceChildren(make("h3", {}, "Over"), items.length
      ? make("table", { class: "alerts stacked", "aria-label": "Alerts that are over" }, make("thead", {}, make("tr", {}, ...["when", "stream", "kind", "why", "acknowledged"].map((text) => make("th", { scope: "col" }, text)))), make("tbody", {}, ...lines))
      : make("p", { class: "dim" }, filtered ? "No alert that is over fits the filter." : "No alert of the last days is over."),
    this.more ? make("p", { class: "dim" }, `These are the latest ${this.past.length}; the filter finds older ones, the CSV has all.`) : "");
  }

  // The filter's text has changed: of what is there the rest goes at once, what else fits is read once the text stands still.
  release() {
    if (this.past) this.drawOver();
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.readOver(), TYPING);
  }

  // The open alerts: unacknowledged ones by urgency, then acknowledged ones, the oldest first.
  draw() {
    const { fleet } = this.app;
    const wanted = new Map(fleet.openAlerts().filter(({ alert }) => fleet.passesAlert(alert)).map((entry) => [entry.alert.alert_id, entry]));
    const held = this.table.contains(document.activeElement) || this.selected.size > 0;
    if (held) {
      // While someone works in the list it does not move: what is new goes to its end, what is over leaves.
      const kept = this.entries.map(({ alert }) => wanted.get(alert.alert_id)).filter(Boolean);
      const shown = new Set(kept.map(({ alert }) => alert.alert_id));
      this.entries = [...kept, ...[...wanted.values()].filter(({ alert }) => !shown.has(alert.alert_id))];
    } else {
      this.entries = [...wanted.values()].sort(order);
    }
    this.entries = this.entries.slice(0, this.most);
    const listed = new Set(this.entries.map(({ alert }) => alert.alert_id));
    for (const [id, row] of this.rows) {
      if (listed.has(id)) continue;
      row.remove();
      this.rows.delete(id);
      this.selected.delete(id);
    }
    this.entries.forEach((entry, place) => this.place(entry, place));
    this.mark();
    this.table.hidden = !this.entries.length;
    this.notice.hidden = this.entries.length > 0;
    this.ackButton.hidden = !this.entries.length;
    const beyond = wanted.size - this.entries.length;
    this.moreButton.hidden = !beyond;
    setText(this.moreButton, `${beyond.toLocaleString("en")} more are open: show ${Math.min(beyond, LISTED)} of them`);
    setText(this.notice, !this.app.known ? "Loading the alerts" : fleet.alerts.size ? "No open alert fits the filter." : "No alert is open.");
  }

  place(entry, place) {
    const { alert, ack } = entry;
    let row = this.rows.get(alert.alert_id);
    const key = `${ack?.at ?? ""} ${alert.cause?.text ?? ""}`;
    if (!row || row.dataset.key !== key) {
      const next = this.makeRow(entry);
      next.dataset.key = key;
      row?.replaceWith(next);
      this.rows.set(alert.alert_id, next);
      row = next;
    }
    if (this.body.children[place] !== row) this.body.insertBefore(row, this.body.children[place] ?? null);
    setText(row.querySelector(".for"), `(${length(now() - seconds(alert.started_at))})`);
  }

  makeRow({ alert, ack }) {
    const check = make("input", { type: "checkbox", tabindex: "-1", "aria-label": `select ${printable(alert.stream_id)}`, onChange: () => this.toggle(alert.alert_id) });
    const until = ack?.until ? [", until ", when(ack.until)] : [];
    return make("tr", { data: { id: alert.alert_id, alert: ack ? "acked" : "firing" } },
      make("td", {}, check),
      make("td", { title: bothClocks(alert.started_at) }, when(alert.started_at), " ", make("span", { class: "for" })),
      make("td", {}, streamLink(alert)),
      make("td", {}, stateIcon(alert.kind), " ", make("a", { href: alertPath(alert.alert_id) }, words(alert.kind)), alert.severity ? ` (${alert.severity})` : ""),
      make("td", {}, whyOf(alert)),
      make("td", {}, measured(alert)),
      make("td", {}, ...(ack ? [`✓ ${printable(ack.by)}`, ...until, ack.note ? `: ${printable(ack.note)}` : ""] : [])));
  }

  mark() {
    this.entries.forEach(({ alert }, place) => {
      const row = this.rows.get(alert.alert_id);
      const active = alert.alert_id === this.active;
      if (active) this.last = place;
      row.classList.toggle("active", active);
      row.querySelector("input").checked = this.selected.has(alert.alert_id);
    });
  }

  activate(id) {
    this.active = id;
    this.mark();
  }

  activeEntry() {
    return this.entries.find(({ alert }) => alert.alert_id === this.active);
  }

  // The place of the alert that the keys act on; where it has left the list, the place that it had.
  activePlace() {
    return Math.min(this.last, this.entries.length - 1);
  }

  toggle(id) {
    if (!this.selected.delete(id)) this.selected.add(id);
    this.mark();
  }

  // Keys
  move(steps) {
    const inside = this.table.contains(document.activeElement) && this.activeEntry();
    this.table.focus({ preventScroll: true });
    const place = this.activePlace() + (inside ? steps : 0);
    const entry = this.entries[Math.min(this.entries.length - 1, Math.max(0, place))];
    if (!entry) return;
    this.rows.get(entry.alert.alert_id).scrollIntoView({ block: "nearest" });
    this.activate(entry.alert.alert_id);
  }

  select(range) {
    const active = this.activePlace();
    const entry = this.entries[active];
    if (!entry) return;
    if (!range) {
      this.anchor = active;
      this.toggle(entry.alert.alert_id);
      return;
    }
    const from = Math.min(this.anchor ?? active, this.entries.length - 1); // the list may have become shorter
    for (let place = Math.min(from, active); place <= Math.max(from, active); place++) this.selected.add(this.entries[place].alert.alert_id);
    this.mark();
  }

  openActive() {
    const entry = this.activeEntry();
    if (entry) this.app.go(alertPath(entry.alert.alert_id));
  }

  openStream() {
    const entry = this.activeEntry();
    if (entry) this.app.go(streamPathOf(entry.alert));
  }

  ack() {
    const chosen = this.entries.filter(({ alert }) => (this.selected.size ? this.selected.has(alert.alert_id) : alert.alert_id === this.active));
    if (chosen.length) this.app.ack(chosen);
    else if (this.entries.length) this.app.toast("Choose a row first: j and k move, x selects.");
  }
}

function order(one, other) {
  if (Boolean(one.ack) !== Boolean(other.ack)) return one.ack ? 1 : -1;
  const older = one.alert.started_at < other.alert.started_at ? -1 : 1;
  return one.ack ? older : rankOf(one.alert) - rankOf(other.alert) || older;
}

function streamLink(alert, path = streamPath(alert.stream_id)) {
  const link = make("a", { href: path }, idText(alert.stream_id, 40));
  return alert.rendition ? make("span", {}, link, " ", make("span", { class: "dim" }, printable(alert.rendition))) : link;
}

// A stream at the time when its alert began.
export const streamPathOf = ({ stream_id: id, started_at: at }) => streamPath(id, `at=${encodeURIComponent(at)}`);

// What was measured when the alert fired, in the unit of its kind.
export function measured({ kind, value, baseline }) {
  if (kind === "no-segments") return `${Math.round(value)} s without a segment`;
  if (kind === "no-face") return `${Math.round(value)} s without a face`;
  if (kind === "silent") return `${Math.round(value * 100)} % of the time without sound`;
  if (kind !== "low-quality" && kind !== "quality-drop") return `${Math.round(value * 100)} % of the pictures`;
  return Number.isFinite(baseline) ? `score ${Math.round(value)}, usual ${Math.round(baseline)}` : `score ${Math.round(value)}`;
}

export const whyOf = (alert) => printable(alert.cause?.text || alert.summary || "");
