// A stream's segments as a table: the latest, to which the socket adds, or those around a time that was chosen in the course.
import { orNothing, read, readAll, stream } from "./api.js";
import { make, printable, setText, when } from "./dom.js";
import { chip, levelOf } from "./levels.js";
import { bothClocks, clock, iso, seconds } from "./time.js";

const KEPT = 120; // segments that the page keeps of the stream while it is open
const SHOWN = 30;
const AROUND = 60; // seconds before and after a chosen time
const NEAREST = 120; // of the segments around it: with many renditions those of fewer seconds
const MOST_READ = "400"; // segments that the server gives at once

export class Segments {
  // chosen(): {rendition, at} of the address, each null for none. toNow(): leaves the chosen time.
  constructor(app, id, chosen, toNow) {
    this.app = app;
    this.id = id;
    this.chosen = chosen;
    this.stop = new AbortController();
    this.kept = []; // whole events, oldest first
    this.past = null; // those around the chosen time, newest first
    this.turn = 0; // counts the readings
    this.reading = true;
    this.problem = ""; // why the last reading failed
    this.active = 0;
    this.list = make("tbody", {});
    this.heading = make("span", {}, "Segments");
    this.nothing = make("p", { class: "dim", hidden: true });
    this.toNow = make("button", { type: "button", hidden: true, onClick: toNow }, "show the latest");
    this.table = make("table", { class: "stacked", tabindex: "0", "aria-label": "Segments" },
      make("thead", {}, make("tr", {}, ...["start", "score", "rendition", "what", "model", ""].map((text) => make("th", { scope: "col" }, text || make("span", { class: "unseen" }, "actions"))))), this.list);
    this.list.addEventListener("click", (event) => this.activate([...this.list.children].indexOf(event.target.closest("tr"))));
    this.table.addEventListener("focus", () => this.activate(this.active));
    this.element = make("div", { class: "panel" }, make("h3", {}, this.heading, " ", this.toNow), this.table, this.nothing);
  }

  close() {
    this.stop.abort();
  }

  clear() {
    this.kept = [];
  }

  take(score) {
    const { rendition } = this.chosen();
    if (rendition && score.rendition !== rendition) return;
    if (this.kept.some((one) => one.segment_id === score.segment_id && one.rendition === score.rendition)) return;
    this.kept.push(score);
    this.kept.sort((one, other) => seconds(one.start) - seconds(other.start));
    if (this.kept.length > KEPT) this.kept.shift();
  }

  // The last scored ones of a rendition, oldest first; null for segments that name none.
  scored(rendition, most) {
    return this.kept.filter((score) => score.status === "scored" && (score.rendition ?? null) === rendition).slice(-most);
  }

  // Reads what was before the page was opened, or what was around the chosen time.
  async read() {
    const { rendition, at } = this.chosen();
    const turn = ++this.turn; // another time or rendition may be chosen before the answer
    this.past = null;
    this.reading = true;
    this.heading.replaceChildren(...(at ? ["Segments around ", when(iso(at))] : ["Segments"]));
    this.toNow.hidden = !at;
    const query = { limit: at ? MOST_READ : String(SHOWN), ...(rendition ? { rendition } : {}) };
    if (at) Object.assign(query, { from: iso(at - AROUND), to: iso(at + AROUND) });
    const [path, options] = [stream(this.id, "/segments"), { signal: this.stop.signal }];
    try {
      const answer = at ? readAll(path, query, options) : read(path, query, options).then((page) => page.items);
      const items = await answer.catch(orNothing([]));
      if (turn !== this.turn) return;
      this.reading = false;
      this.problem = "";
      if (at) this.past = nearest(items, at);
      else items.forEach((score) => this.take(score));
      this.draw();
    } catch (error) {
      if (error.name === "AbortError" || turn !== this.turn) return;
      this.problem = `${at ? "They" : "Older ones"} could not be read: ${error.message}`;
      this.draw();
    }
  }

  draw() {
    const { at } = this.chosen();
    const shown = at ? this.past ?? [] : this.kept.slice(-SHOWN).reverse();
    this.nothing.hidden = !this.problem && (shown.length > 0 || this.reading);
    setText(this.nothing, this.problem || (at ? "No segment of that time is kept." : "No segment has come in the last hour."));
    // While someone is in the table it stands still.
    if (!this.table.contains(document.activeElement)) this.list.replaceChildren(...shown.map((score) => this.row(score)));
  }

  row(score) {
    const uncertainty = score.uncertainty ?? null;
    const parts = [score.status === "skipped" ? `skipped: ${printable(score.reason ?? "")}` : levelOf(score.score)];
    const second = score.shallow ?? score.second;
    if (second) parts.push(`second opinion ${Math.round(second.score)}`);
    return make("tr", { data: { segment: score.segment_id, rendition: score.rendition ?? "" } },
      make("td", { title: bothClocks(score.start) }, when(score.start)),
      make("td", {}, chip(score.score ?? null, uncertainty)), make("td", {}, printable(score.rendition ?? "")),
      make("td", {}, parts.join("; "), " ", score.tier === "deep" ? make("abbr", { class: "badge", title: "The large model looked at this segment." }, "deep") : null,
        score.tier === "glance" ? make("abbr", { class: "badge", title: "The segment is as it was: it has the score of the last one that the model looked at." }, "glance") : null),
      make("td", { class: "dim" }, score.model ? printable(`${score.model.name}@${score.model.version}`) : ""),
      make("td", {}, make("button", { type: "button", data: { needs: "rate" }, "aria-label": `rate the segment of ${clock(score.start)}`, onClick: () => this.app.rate(this.id, score.segment_id, score.rendition ?? "") }, "rate")));
  }

  // Keys
  move(steps) {
    const rows = [...this.list.children];
    if (!rows.length) return;
    const inside = this.table.contains(document.activeElement);
    this.table.focus({ preventScroll: true });
    this.activate(Math.min(rows.length - 1, Math.max(0, this.active + (inside ? steps : 0))));
    rows[this.active].scrollIntoView({ block: "nearest" });
  }

  activate(place) {
    this.active = place;
    [...this.list.children].forEach((row, at) => row.classList.toggle("active", at === place));
  }

  // Id and rendition of the row that the keys act on; nothing while the table has no focus.
  activeSegment() {
    const row = this.table.contains(document.activeElement) ? this.list.children[this.active] : null;
    return row ? [row.dataset.segment, row.dataset.rendition] : [];
  }
}

// The segments that start nearest to a time, in their order.
function nearest(scores, at) {
  const away = (score) => Math.abs(seconds(score.start) - at);
  const farthest = scores.map(away).sort((one, other) => one - other)[NEAREST - 1] ?? Infinity;
  return scores.filter((score) => away(score) <= farthest);
}
