// The list of rows: some forty elements that are used again for whatever is in sight. Row = position mod pool: scrolling by one row rewrites
// one element and leaves the others alone.
import { idText, make, printable, setData, setText } from "./dom.js";
import { chip, writeChip } from "./levels.js";
import { bothClocks, clock, length } from "./time.js";
import { Selection } from "./selection.js";
import { drawSpark } from "./spark.js";
import { Tile } from "./tile.js";

const OVERSCAN = 6; // rows above and below the sight
const SETTLE = 100; // ms after the last scroll before sparklines and pictures are drawn
const PICTURE = [64, 36];

export class Rows extends Selection {
  // list: the scrolling element. model, on: as of a selection.
  constructor(list, model, on) {
    super(model, on);
    this.list = list;
    this.grid = make("div", { role: "grid", id: "rows", tabindex: "0", "aria-label": "Streams, worst first", "aria-multiselectable": "true" });
    list.prepend(this.grid);
    this.pool = [];
    this.height = 48;
    this.scrolled = -Infinity;
    this.pending = false;
    list.addEventListener("scroll", () => this.scroll(), { passive: true });
    new ResizeObserver(() => this.measure()).observe(list);
    this.grid.addEventListener("click", (event) => this.click(event));
    this.grid.addEventListener("change", (event) => this.tick(event));
    this.listenForTouch();
    this.measure();
  }

  // The row's height is a CSS variable, which differs on phones and televisions.
  measure() {
    const style = getComputedStyle(document.documentElement);
    this.height = parseInt(style.getPropertyValue("--row"), 10) || 48;
    this.spark = { width: parseInt(style.getPropertyValue("--spark"), 10) || 120, height: Math.min(40, this.height - 16) };
    const wanted = Math.ceil(this.list.clientHeight / this.height) + 2 * OVERSCAN;
    while (this.pool.length < wanted) this.pool.push(this.makeRow(this.pool.length));
    while (this.pool.length > wanted) this.pool.pop().element.remove();
    for (const row of this.pool) row.place = -1;
    this.draw();
  }

  makeRow(number) {
    const cell = (name, ...children) => make("div", { role: "gridcell", class: name }, ...children);
    const row = { place: -1, index: -1, sparkKey: "", tile: new Tile(PICTURE) };
    row.check = make("input", { type: "checkbox", tabindex: "-1", "aria-label": "select" });
    row.chip = chip(null, null, "none");
    row.id = make("a", { class: "open", tabindex: "-1", href: "#" });
    row.kind = make("span", { class: "kind" });
    row.canvas = make("canvas", { "aria-hidden": "true" });
    row.clock = make("span", { class: "clock" });
    row.lasted = make("span", {});
    row.usual = make("span", { class: "usual" });
    row.since = make("span", { class: "since" }, row.clock, row.lasted, row.usual);
    row.why = make("span", { class: "why" });
    row.ack = make("button", { type: "button", tabindex: "-1", data: { does: "ack", needs: "ack" } }, "ack");
    row.rate = make("button", { type: "button", tabindex: "-1", data: { does: "rate" } }, "rate");
    row.element = make("div", { role: "row", class: "row", id: `row-${number}` },
      cell("c-check", row.check), cell("c-chip", row.chip), cell("c-tile", row.tile.element),
      cell("c-id", row.id, row.kind), cell("c-spark", row.canvas), cell("c-why", row.since, row.why), cell("c-act", row.ack, row.rate));
    this.grid.append(row.element);
    return row;
  }

  scroll() {
    this.scrolled = performance.now();
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.draw();
      this.settle();
    });
  }

  settle() {
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      this.on.visible(this.inSight());
      this.draw();
    }, SETTLE);
  }

  inSight() {
    return this.pool.filter((row) => row.index >= 0).map((row) => row.index);
  }

  // Writes every row that is in sight. Call it after each change of the state; unchanged rows cost nearly nothing.
  draw() {
    const indexes = this.indexes();
    const total = `${indexes.length * this.height}px`;
    if (this.grid.style.height !== total) this.grid.style.height = total;
    this.grid.setAttribute("aria-rowcount", indexes.length);
    const first = Math.max(0, Math.floor(this.list.scrollTop / this.height) - OVERSCAN);
    const still = performance.now() - this.scrolled >= SETTLE;
    const count = this.pool.length;
    for (let place = first; place < first + count; place++) {
      const row = this.pool[place % count];
      if (place >= indexes.length) this.empty(row);
      else this.write(row, place, indexes[place], still);
    }
    this.mark();
  }

  empty(row) {
    if (row.index === -1 && row.element.hidden) return;
    row.index = -1;
    row.place = -1;
    row.element.hidden = true;
  }

  write(row, place, index, still) {
    if (row.place !== place) {
      row.place = place;
      row.element.hidden = false;
      row.element.style.transform = `translateY(${place * this.height}px)`;
      row.element.setAttribute("aria-rowindex", place + 1);
    }
    const shown = this.model.describe(index);
    if (row.index !== index || row.name !== shown.id) this.rename(row, index, shown);
    writeChip(row.chip, shown.score, shown.uncertainty, shown.level);
    setData(row.element, "state", shown.state);
    setData(row.element, "alert", shown.alert ? (shown.ack ? "acked" : "firing") : null);
    setText(row.kind, shown.kind);
    this.writeTimes(row, shown);
    setText(row.why, shown.why);
    if (row.why.title !== shown.why) row.why.title = shown.why;
    row.ack.hidden = !shown.alert;
    const act = shown.ack ? "acked" : "ack";
    if (row.ack.textContent !== act || row.ackId !== shown.id) {
      row.ackId = shown.id;
      row.ack.textContent = act;
      row.ack.setAttribute("aria-label", `${act} ${printable(shown.id)}`);
    }
    row.rate.hidden = !shown.canRate;
    row.tile.write(shown, still);
    this.writeSpark(row, shown, still);
  }

  rename(row, index, shown) {
    row.index = index;
    row.name = shown.id;
    row.sparkKey = "";
    row.tile.forget();
    row.id.href = shown.path;
    row.id.replaceChildren(idText(shown.id, 30));
    row.check.setAttribute("aria-label", `select ${printable(shown.id)}`);
    row.rate.setAttribute("aria-label", `rate ${printable(shown.id)}`);
  }

  writeTimes(row, shown) {
    const has = shown.since !== null;
    setText(row.clock, has ? clock(shown.since) : "–");
    setText(row.lasted, has ? ` (${length(shown.now - shown.since)})` : "");
    const usual = shown.usual === null ? "" : ` · usual ${Math.round(shown.usual)}`;
    setText(row.usual, usual + (shown.ack ? ` · ✓ ${shown.ack}` : "") + (shown.maintenance ? ` · ${shown.maintenance}` : ""));
    if (row.sinceAt === shown.since) return;
    row.sinceAt = shown.since;
    row.since.title = has ? bothClocks(shown.since) : "";
  }

  writeSpark(row, shown, still) {
    const key = shown.spark ? `${shown.spark.version} ${shown.threshold} ${this.spark.width}` : "none";
    if (!still || row.sparkKey === key) return;
    row.sparkKey = key;
    row.canvas.style.width = `${this.spark.width}px`;
    row.canvas.style.height = `${this.spark.height}px`;
    drawSpark(row.canvas, shown.spark?.scores, { ...this.spark, threshold: shown.threshold });
  }

  // The theme or the size changed: everything on canvases is drawn again.
  redraw() {
    for (const row of this.pool) row.sparkKey = "";
    this.draw();
  }

  mark() {
    let activeId = "";
    for (const row of this.pool) {
      if (row.index < 0) continue;
      const active = row.index === this.active;
      if (active) activeId = row.element.id;
      row.element.classList.toggle("active", active);
      const selected = this.selected.has(row.index);
      row.element.setAttribute("aria-selected", selected);
      if (row.check.checked !== selected) row.check.checked = selected;
    }
    if (activeId) this.grid.setAttribute("aria-activedescendant", activeId);
    else this.grid.removeAttribute("aria-activedescendant");
  }

  rowOf(element) {
    const found = element.closest?.(".row");
    return found && this.pool.find((row) => row.element === found);
  }

  click(event) {
    const row = this.rowOf(event.target);
    if (!row || row.index < 0) return;
    const does = event.target.closest("[data-does]")?.dataset.does;
    if (does) {
      this.active = row.index;
      this.on[does](row.index);
    } else if (event.target.closest("a")) {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab: the browser's own
      event.preventDefault();
      this.on.open(row.index);
    } else if (event.target !== row.check) {
      this.activate(row.place);
      if (event.shiftKey) this.selectTo(row.place);
      else if (event.detail === 2) this.on.open(row.index);
    }
    this.mark();
  }

  tick(event) {
    const row = this.rowOf(event.target);
    if (!row) return;
    this.toggle(row.index);
    this.anchor = row.place;
  }

  // A long press selects on a touch screen, as a click with shift does with a mouse.
  listenForTouch() {
    let timer = 0;
    let start = null;
    this.grid.addEventListener("touchstart", (event) => {
      const row = this.rowOf(event.target);
      start = { x: event.touches[0].clientX, y: event.touches[0].clientY, row };
      timer = setTimeout(() => { if (row) this.toggle(row.index); start = null; }, 500);
    }, { passive: true });
    this.grid.addEventListener("touchmove", (event) => {
      const [dx, dy] = start ? [event.touches[0].clientX - start.x, event.touches[0].clientY - start.y] : [0, 0];
      if (Math.abs(dx) + Math.abs(dy) > 10) clearTimeout(timer);
      if (start?.row && Math.abs(dx) > 60 && Math.abs(dy) < 30) {
        this.toggle(start.row.index);
        start = null;
      }
    }, { passive: true });
    this.grid.addEventListener("touchend", () => clearTimeout(timer), { passive: true });
  }

  reveal(place) {
    const top = place * this.height;
    if (top < this.list.scrollTop) this.list.scrollTop = top;
    else if (top + this.height > this.list.scrollTop + this.list.clientHeight) this.list.scrollTop = top + this.height - this.list.clientHeight;
  }

  // Its length without the streams that are fine, CSS pixels. listed: how many are not.
  extent(listed) {
    return listed * this.height;
  }
}
