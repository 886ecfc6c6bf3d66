// The worst clips that wait to be rated: watch them, rate them.
import { streamPath, wallPath } from "./address.js";
import { read } from "./api.js";
import { idText, make, printable, when } from "./dom.js";
import { bothClocks } from "./time.js";
import { chip } from "./levels.js";

const PAGE = 24;
const TYPING = 300; // ms after the last letter before the clips that fit a filter are read

export const openClips = (app) => new ClipsView(app);

// A clip as a card: it loads only when someone plays it.
export function clipCard(app, item) {
  const place = make("div", {});
  const play = make("button", { type: "button", "aria-label": `play the clip of ${printable(item.stream_id)}`, onClick: () => {
    const video = make("video", { src: wallPath(item.url), controls: true, loop: true, "aria-label": `clip of ${printable(item.stream_id)}` });
    video.addEventListener("error", () => place.replaceChildren(make("p", { class: "dim" }, "This clip cannot be played here; it may have left the store.")));
    video.muted = true; // else no browser plays it by itself
    video.autoplay = true;
    place.replaceChildren(video);
    video.focus();
  } }, "▸ play");
  const rate = make("button", { type: "button", data: { needs: "rate" }, "aria-label": `rate the clip of ${printable(item.stream_id)}`, onClick: () => app.rate(item.stream_id, item.segment_id, item.rendition ?? "") }, "rate");
  return make("li", { data: { stream: item.stream_id, segment: item.segment_id, rendition: item.rendition ?? "" } }, place,
    make("div", {}, chip(item.score, item.uncertainty), " ", make("a", { href: streamPath(item.stream_id) }, idText(item.stream_id, 28)), " ", printable(item.rendition ?? "")),
    make("div", { class: "dim", title: bothClocks(item.start) }, when(item.start), `, ${item.duration.toFixed(1)} s, kept as: ${printable(item.reason)}`),
    make("div", { class: "actions" }, play, rate));
}

class ClipsView {
  constructor(app) {
    this.app = app;
    this.stop = new AbortController();
    this.active = -1;
    this.turn = 0; // counts the readings
    this.cards = make("ul", { class: "cards" });
    this.notice = make("div", { class: "notice" }, "Loading the clips");
    this.more = make("button", { type: "button", hidden: true, onClick: () => this.load() }, "More");
    this.element = make("section", { "aria-label": "Clips" }, make("div", { class: "scroll" },
      make("div", { class: "title" }, make("h2", {}, "Worst clips"), make("span", { class: "dim" }, "They wait to be rated; the model finds them hard.")), this.notice, this.cards, this.more));
  }

  opened() {
    this.load();
  }

  close() {
    clearTimeout(this.typing);
    this.stop.abort();
  }

  afterSnapshot() {
    if (this.failed) this.load(); // the server is there again
  }

  // The filter's text has changed: what fits it is read once it stands still.
  release() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => {
      this.next = null;
      this.load();
    }, TYPING);
  }

  query() {
    const { query } = this.app.route;
    const text = query.get("q");
    return [["worst", "true"], ["limit", String(PAGE)], ...query.getAll("label").map((label) => ["label", label]),
      ...(text ? [["q", text]] : []), ...(this.next ? [["cursor", this.next]] : [])];
  }

  async load() {
    this.failed = false;
    const turn = ++this.turn; // another filter may be chosen before the answer
    const first = !this.next;
    try {
      const answer = await read("/clips", this.query(), { signal: this.stop.signal });
      if (turn !== this.turn) return;
      if (first) {
        this.cards.replaceChildren();
        this.active = -1;
      }
      this.cards.append(...answer.items.map((item) => clipCard(this.app, item)));
      this.next = answer.next;
      this.more.hidden = !this.next;
      this.notice.hidden = this.cards.children.length > 0;
      const filtered = this.app.route.query.has("label") || this.app.route.query.has("q");
      this.notice.replaceChildren(filtered ? "No clip fits the filter." : "No clips are kept. Segments that the model finds hard are kept where a clip store is set.");
    } catch (error) {
      if (turn !== this.turn) return;
      const notice = this.app.failed(error);
      if (!notice) return;
      this.failed = true;
      this.notice.hidden = false;
      this.notice.replaceChildren(notice);
    }
  }

  // Keys
  move(steps) {
    const plays = [...this.cards.querySelectorAll(":scope > li")];
    if (!plays.length) return;
    this.active = Math.min(plays.length - 1, Math.max(0, this.active + steps));
    plays[this.active].querySelector("button").focus();
  }

  openActive() {
    const card = this.cards.children[this.active];
    if (card) this.app.go(streamPath(card.dataset.stream));
  }

  rateActive() {
    const card = document.activeElement?.closest?.(".cards > li") ?? this.cards.children[this.active];
    if (card) this.app.rate(card.dataset.stream, card.dataset.segment, card.dataset.rendition);
  }
}
