// What rows and tiles have in common: the stream that the keys act on, and the streams that are selected.

export class Selection {
  // model: {rows() -> indexes of streams in their order, describe(index) -> what is shown of one}. on: {open, ack, rate, select, visible}.
  constructor(model, on) {
    this.model = model;
    this.on = on;
    this.active = null; // index of the stream that the keys act on
    this.selected = new Set();
    this.anchor = null; // where a range selection begins
  }

  // The indexes that are listed.
  indexes() {
    return this.model.rows();
  }

  toggle(index) {
    if (!this.selected.delete(index)) this.selected.add(index);
    this.mark();
    this.on.select(this.selected.size);
  }

  selectTo(place) {
    const indexes = this.indexes();
    const from = this.anchor ?? place;
    for (let at = Math.min(from, place); at <= Math.max(from, place); at++) if (at < indexes.length) this.selected.add(indexes[at]);
    this.mark();
    this.on.select(this.selected.size);
  }

  clearSelection() {
    this.selected.clear();
    this.anchor = null;
    this.mark();
    this.on.select(0);
  }

  // The place of the active stream in the list now; -1 if it has left it.
  activePlace() {
    return this.active === null ? -1 : this.indexes().indexOf(this.active);
  }

  move(steps) {
    const count = this.indexes().length;
    if (!count) return;
    const place = this.activePlace();
    this.activate(place < 0 ? 0 : Math.min(count - 1, Math.max(0, place + steps)));
  }

  activate(place) {
    this.active = this.indexes()[place] ?? null;
    this.reveal(place);
    this.draw();
  }

  // The keys' streams: the selected ones, or else the active one.
  targets() {
    if (this.selected.size) return [...this.selected];
    return this.active === null ? [] : [this.active];
  }
}
