// Sparklines: one neutral line; what lies under the threshold is filled with the colour of its level.
import { LEVELS } from "./levels.js";
import { palette } from "./palette.js";
import { POINTS } from "./fleet.js";

// canvas: its CSS size is taken from `width` and `height`. scores: oldest first, null where there was none.
export function drawSpark(canvas, scores, { width, height, threshold = 40 }) {
  const ratio = Math.min(2, devicePixelRatio || 1);
  if (canvas.width !== width * ratio || canvas.height !== height * ratio) {
    canvas.width = width * ratio;
    canvas.height = height * ratio;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  if (!scores?.length) return;
  const colours = palette();
  const x = (place) => ((place + POINTS - scores.length) / (POINTS - 1)) * (width - 2) + 1;
  const y = (score) => 1 + (1 - Math.min(100, Math.max(0, score)) / 100) * (height - 2);
  fillUnder(context, scores, x, y, threshold, colours);
  context.strokeStyle = colours.stroke;
  context.lineWidth = 1.5;
  context.lineJoin = "round";
  context.beginPath();
  let drawing = false;
  scores.forEach((score, place) => {
    if (score === null) drawing = false;
    else if (drawing) context.lineTo(x(place), y(score));
    else {
      context.moveTo(x(place), y(score));
      drawing = true;
    }
  });
  context.stroke();
}

function fillUnder(context, scores, x, y, threshold, colours) {
  const bottom = y(threshold);
  for (let place = 1; place < scores.length; place++) {
    const [before, score] = [scores[place - 1], scores[place]];
    if (before === null || score === null || Math.min(before, score) >= threshold) continue;
    context.fillStyle = colours[LEVELS[Math.min(4, Math.floor(Math.min(before, score) / 20))]];
    context.beginPath();
    context.moveTo(x(place - 1), bottom);
    context.lineTo(x(place - 1), Math.max(bottom, y(before)));
    context.lineTo(x(place), Math.max(bottom, y(score)));
    context.lineTo(x(place), bottom);
    context.fill();
  }
}
