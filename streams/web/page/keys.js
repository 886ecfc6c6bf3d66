// Keys. A table of what each key does in which view; the help is made of the same table.

const SEQUENCE_MS = 1500; // time in which the second key of "g f" must follow

export class Keys {
  constructor() {
    this.table = new Map(); // key, as "j" or "g f" -> {run, text, views}
    this.prefix = "";
    this.timer = 0;
    this.view = "";
    document.addEventListener("keydown", (event) => this.press(event));
  }

  // keys: for example "j" or "g f"; views: names of views, or null for all; text: for the help; run(event).
  add(keys, text, run, views = null) {
    for (const key of [].concat(keys)) this.table.set(key, [...(this.table.get(key) ?? []), { run, text, views }]);
  }

  press(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (document.querySelector("dialog[open]")) return; // a dialog has keys of its own
    const writing = event.target.matches?.("input:not([type=checkbox], [type=range]), textarea, select");
    // A slider has keys of its own, but letters are not among them.
    if (event.target.matches?.("input[type=range]") && /^(Arrow|Page|Home|End)/.test(event.key)) return;
    if (writing && event.key !== "Escape") return;
    // Enter and Space press the button, link or box that has the focus: the browser does that itself.
    if ((event.key === "Enter" || event.key === " ") && event.target.matches?.("button, a[href], summary, input, video")) return;
    const name = event.key.length === 1 ? (event.shiftKey && /[a-z]/i.test(event.key) ? event.key.toUpperCase() : event.key) : event.key;
    const full = this.prefix ? `${this.prefix} ${name}` : name;
    this.end();
    const entry = this.find(full) ?? (full === name ? null : this.find(name));
    if (entry) {
      event.preventDefault();
      entry.run(event);
    } else if ([...this.table.keys()].some((key) => key.startsWith(`${name} `))) {
      event.preventDefault();
      this.prefix = name;
      this.timer = setTimeout(() => this.end(), SEQUENCE_MS);
    }
  }

  end() {
    clearTimeout(this.timer);
    this.prefix = "";
  }

  find(keys) {
    return this.table.get(keys)?.find((entry) => !entry.views || entry.views.includes(this.view));
  }

  // [keys, text] for the help, in the order in which they were added.
  list() {
    const texts = new Map();
    for (const [key, entries] of this.table) {
      for (const entry of entries) texts.set(entry.text, [...(texts.get(entry.text) ?? []), key]);
    }
    return [...texts].map(([text, keys]) => [[...new Set(keys)], text]);
  }
}
