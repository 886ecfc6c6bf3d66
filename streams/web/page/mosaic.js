// The mosaic: the worst streams as pictures with their score and state. A list of choices, so that the arrows move in it as in a table.
import { idText, make, printable, setData, setText } from "./dom.js";
import { chip, writeChip } from "./levels.js";
import { Selection } from "./selection.js";
import { Tile } from "./tile.js";
import { length } from "./time.js";

const MOST = 48; // tiles: more pictures at once cost a browser its frames, and nobody looks at them
const PICTURE = [160, 90];

export class Mosaic extends Selection {
  // list: the scrolling element. model, on: as of a selection.
  constructor(list, model, on) {
    super(model, on);
    this.list = list;
    this.grid = make("div", {
      role: "listbox", id: "mosaic", tabindex: "0", "aria-label": `The worst streams as pictures, ${MOST} at most`, "aria-multiselectable": "true",
    });
    list.prepend(this.grid);
    this.pool = [];
    this.columns = 1;
    this.height = 150;
    new ResizeObserver(() => this.measure()).observe(list);
    this.grid.addEventListener("click", (event) => this.click(event));
  }

  indexes() {
    return super.indexes().slice(0, MOST);
  }

  measure() {
    this.columns = Math.max(1, getComputedStyle(this.grid).gridTemplateColumns.split(" ").length);
    this.height = this.pool[0]?.element.offsetHeight || this.height;
  }

  // A tile shows no sparkline: nothing is asked of the server.
  inSight() {
    return [];
  }

  settle() {
    this.draw();
  }

  redraw() {
    this.draw();
  }

  // Its length, CSS pixels.
  extent() {
    return this.grid.offsetHeight;
  }

  draw() {
    const indexes = this.indexes();
    this.grid.hidden = !indexes.length;
    const before = this.pool.length;
    while (this.pool.length < indexes.length) this.pool.push(this.makeCell(this.pool.length));
    while (this.pool.length > indexes.length) this.pool.pop().element.remove();
    indexes.forEach((index, place) => this.write(this.pool[place], index));
    if (!before !== !indexes.length) this.measure();
    this.mark();
  }

  makeCell(number) {
    const cell = { index: -1, tile: new Tile(PICTURE), chip: chip(null, null, "none"), name: make("span", { class: "name" }), kind: make("span", { class: "kind" }) };
    cell.element = make("div", { role: "option", class: "cell", id: `cell-${number}` }, cell.tile.element,
      make("div", { class: "about" }, cell.chip, cell.name), cell.kind);
    this.grid.append(cell.element);
    return cell;
  }

  write(cell, index) {
    const shown = this.model.describe(index);
    if (cell.index !== index || cell.id !== shown.id) {
      cell.index = index;
      cell.id = shown.id;
      cell.tile.forget();
      cell.name.replaceChildren(idText(shown.id, 22));
    }
    writeChip(cell.chip, shown.score, shown.uncertainty, shown.level);
    setData(cell.element, "state", shown.state);
    setData(cell.element, "alert", shown.alert ? (shown.ack ? "acked" : "firing") : null);
    const lasted = shown.since === null ? "" : ` (${length(shown.now - shown.since)})`;
    setText(cell.kind, `${shown.ack ? "✓ " : ""}${shown.kind}${lasted}${shown.maintenance ? ` · ${shown.maintenance}` : ""}`);
    cell.tile.write(shown);
    const title = printable(shown.why);
    if (cell.element.title !== title) cell.element.title = title;
  }

  reveal(place) {
    this.pool[place]?.element.scrollIntoView({ block: "nearest" });
  }

  mark() {
    let activeId = "";
    for (const cell of this.pool) {
      const active = cell.index === this.active;
      if (active) activeId = cell.element.id;
      cell.element.classList.toggle("active", active);
      cell.element.setAttribute("aria-selected", this.selected.has(cell.index));
    }
    if (activeId) this.grid.setAttribute("aria-activedescendant", activeId);
    else this.grid.removeAttribute("aria-activedescendant");
  }

  // A click opens the stream, with Shift it selects up to it, with Ctrl it selects it.
  click(event) {
    const place = this.pool.findIndex((cell) => cell.element.contains(event.target));
    if (place < 0) return;
    const { index } = this.pool[place];
    this.activate(place);
    if (event.shiftKey) this.selectTo(place);
    else if (event.ctrlKey || event.metaKey) {
      this.toggle(index);
      this.anchor = place;
    } else this.on.open(index);
  }
}
