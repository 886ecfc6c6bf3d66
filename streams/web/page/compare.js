// Two pictures of the same scale over each other, with a divider that a slider moves: left of it the good one, right of it the bad one.
import { wallPath } from "./address.js";
import { make, when } from "./dom.js";
import { bothClocks } from "./time.js";
import { chip } from "./levels.js";

// pair: {good, bad} as the API gives them, each null or {url, start, score, width, height}. Returns an element.
export function comparePictures(pair) {
  const { good, bad } = pair;
  if (!good && !bad) return make("p", { class: "dim" }, "No pictures of this stream are kept.");
  if (!good || !bad) {
    const only = good ?? bad;
    return make("figure", {}, picture(only, good ? "last good picture" : "first bad picture"), caption(only, good ? "last good" : "first bad"));
  }
  const left = picture(good, "last good picture");
  const right = picture(bad, "first bad picture");
  const edge = make("div", { class: "edge" });
  const box = make("div", { class: "compare" }, right, left, edge);
  box.style.aspectRatio = `${good.width || 16} / ${good.height || 9}`;
  const slider = make("input", { type: "range", min: "0", max: "100", value: "50", "aria-label": "Divider: good picture left, bad picture right" });
  const move = () => {
    left.style.clipPath = `inset(0 ${100 - slider.valueAsNumber}% 0 0)`;
    edge.style.left = `${slider.value}%`;
    slider.setAttribute("aria-valuetext", `${slider.value} % good`);
  };
  slider.addEventListener("input", move);
  box.addEventListener("pointermove", (event) => {
    const area = box.getBoundingClientRect();
    slider.value = String(Math.round(((event.clientX - area.left) / area.width) * 100));
    move();
  });
  move();
  return make("div", {}, box, slider, make("div", { class: "sides" }, caption(good, "last good"), caption(bad, "first bad")),
    make("p", { class: "dim" }, "Previews: small pictures do not show all of the quality. Judge on the clip."));
}

function picture(one, alt) {
  const image = make("img", { src: wallPath(one.url), alt, width: String(one.width), height: String(one.height) });
  image.addEventListener("error", () => image.replaceWith(make("p", { class: "dim" }, `The ${alt} is not kept any more.`)));
  return image;
}

function caption(one, words) {
  const text = make("span", { title: bothClocks(one.start) }, `${words} `, when(one.start), " ");
  return make("span", {}, text, chip(one.score, null));
}
