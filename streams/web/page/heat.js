// The heat strip: every stream is a cell of 6 pixels, in the order of the rows, on one canvas.
import { onTheme, palette } from "./palette.js";
import { SCORELESS } from "./levels.js";

const CELL = 6;
const GAP = 1;

export class Heat {
  // pick(place): called with the place of the cell that was clicked.
  constructor(canvas, pick) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.painted = [];
    this.columns = 0;
    this.order = [];
    canvas.addEventListener("click", (event) => {
      const place = this.placeAt(event);
      if (place !== null) pick(this.order[place]);
    });
    onTheme(() => { this.columns = 0; });
    const strip = canvas.parentElement;
    const sizes = new ResizeObserver(() => {
      this.width = 0;
      strip.tabIndex = strip.scrollHeight > strip.clientHeight ? 0 : -1; // what scrolls can be reached by keyboard
    });
    sizes.observe(strip);
    sizes.observe(canvas);
  }

  placeAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / CELL);
    const row = Math.floor((event.clientY - box.top) / CELL);
    const place = row * this.columns + column;
    return column < this.columns && place < this.order.length ? place : null;
  }

  // order: indexes of streams, worst first. look(index): {level, state, acked}. Only cells that changed are painted.
  draw(order, look) {
    this.order = order;
    if (!this.fit(order.length)) return;
    const colours = palette();
    for (let place = 0; place < Math.max(order.length, this.painted.length); place++) {
      const seen = place < order.length ? look(order[place]) : null;
      const key = seen ? `${seen.state === "ok" ? "" : seen.state} ${seen.level} ${seen.acked}` : "";
      if (this.painted[place] === key) continue;
      this.painted[place] = key;
      this.paint(place, seen, colours);
    }
    this.painted.length = order.length;
  }

  // Sizes the canvas for so many cells. Returns false while it has no width.
  fit(count) {
    if (!this.width) {
      const style = getComputedStyle(this.canvas.parentElement);
      this.width = this.canvas.parentElement.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    }
    if (this.width <= 0) return false;
    const columns = Math.max(1, Math.floor(this.width / CELL));
    const rows = Math.max(1, Math.ceil(count / columns));
    if (columns === this.columns && rows === this.rows) return true;
    this.columns = columns;
    this.rows = rows;
    const ratio = Math.min(2, devicePixelRatio || 1);
    this.canvas.width = columns * CELL * ratio;
    this.canvas.height = rows * CELL * ratio;
    this.canvas.style.width = `${columns * CELL}px`;
    this.canvas.style.height = `${rows * CELL}px`;
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.context.fillStyle = palette().page;
    this.context.fillRect(0, 0, columns * CELL, rows * CELL);
    this.painted = [];
    return true;
  }

  paint(place, seen, colours) {
    const left = (place % this.columns) * CELL;
    const top = Math.floor(place / this.columns) * CELL;
    const side = CELL - GAP;
    const { context } = this;
    context.fillStyle = colours.page;
    context.fillRect(left, top, CELL, CELL);
    if (!seen) return;
    if (seen.state === "black" || seen.state === "no-segments") {
      // A frame in the colour of the text: it is seen without any colour.
      context.fillStyle = colours.text;
      context.fillRect(left, top, side, side);
      context.fillStyle = seen.state === "black" ? "#000" : colours.page;
      context.fillRect(left + 1, top + 1, side - 2, side - 2);
      return;
    }
    context.globalAlpha = seen.acked ? 0.6 : 1;
    context.fillStyle = colours[seen.level] ?? colours.none;
    context.fillRect(left, top, side, side);
    context.globalAlpha = 1;
    if (seen.state === "frozen") {
      context.fillStyle = colours.text;
      context.fillRect(left + 1, top, 1, side);
      context.fillRect(left + 3, top, 1, side);
    } else if (SCORELESS.has(seen.state)) {
      context.fillStyle = colours.dim;
      context.fillRect(left + 2, top + 2, 1, 1);
    }
  }
}
