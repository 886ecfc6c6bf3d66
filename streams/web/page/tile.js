// A stream's small picture, as rows and the mosaic show it: the picture, or what its state says in its place.
import { picture } from "./api.js";
import { make, setData } from "./dom.js";
import { stateIcon } from "./levels.js";

const PICTURE_SECONDS = 10; // the server has a new picture of a stream at most this often

// States that are shown in place of the picture, and states that are written over it.
const COVERED = new Set(["black", "no-segments", "ended"]);
const MARKED = new Set(["frozen", "silent", "no-face", "skipped", "stale"]);

export class Tile {
  // size: of the picture as it is shown, CSS pixels, [width, height].
  constructor([width, height]) {
    this.image = make("img", { alt: "", width: String(width), height: String(height), decoding: "async", hidden: true });
    this.text = make("span", { class: "tile-text" });
    this.element = make("div", { class: "tile" }, this.image, this.text);
    this.image.addEventListener("load", () => { this.image.hidden = false; });
    this.image.addEventListener("error", () => { this.image.hidden = true; });
    this.forget();
  }

  // Another stream is shown from now on.
  forget() {
    this.wanted = "";
    this.image.hidden = true;
  }

  // shown: {id, state, tile, now, pictures}. still: whether pictures may be loaded now.
  write(shown, still = true) {
    const covers = COVERED.has(shown.state);
    const key = `${shown.state} ${covers ? shown.tile : ""}`;
    if (this.key !== key) {
      this.key = key;
      setData(this.element, "state", shown.state);
      const marked = covers || MARKED.has(shown.state);
      // A black tile is its own sign.
      this.text.replaceChildren(...(marked ? [shown.state === "black" ? "" : stateIcon(shown.state), shown.tile] : []));
    }
    if (covers) this.forget();
    if (covers || !shown.pictures || !still) return;
    const turn = Math.floor(shown.now / PICTURE_SECONDS);
    if (this.wanted === `${shown.id} ${turn}`) return;
    this.wanted = `${shown.id} ${turn}`;
    this.image.src = `${picture(shown.id)}#${turn}`;
  }
}
