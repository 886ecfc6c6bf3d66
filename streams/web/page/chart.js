// Charts over time: a stream's course (uPlot), and small multiples of its signals (a canvas each).
import uPlot from "./vendor/uPlot.js";
import { palette } from "./palette.js";
import { LOW } from "./levels.js";
import { isLocal, tick } from "./time.js";

const HEIGHT = 220;
const MOST_LANES = 5; // rows of words over each other: more would hide the course; the lines are drawn all the same

// The course of a stream. element: its place. points: [{t, mean, min, uncertainty}], t in seconds; mean null in a gap. marks: [{t, text, strong}] vertical lines. dots: [{t, score}]. pick(t): on a click.
// laid(left, width): where the plot is in its element, CSS pixels, after each drawing; what is drawn under it has the same time axis.
export function courseChart(element, { points, from, to, marks = [], dots = [], threshold = LOW, pick, laid }) {
  const data = columns(points);
  const colours = palette();
  const axis = { stroke: colours.dim, grid: { stroke: colours.line, width: 1 }, ticks: { stroke: colours.line, width: 1 } };
  const options = {
    width: Math.max(200, element.clientWidth),
    height: HEIGHT,
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 6 } },
    tzDate: isLocal() ? undefined : (t) => uPlot.tzDate(new Date(t * 1000), "Etc/UTC"),
    scales: { x: { time: true, range: [from, to] }, y: { range: [0, 100] } },
    axes: [{ ...axis, size: 36, values: (_, times) => times.map((t) => tick(t)), space: 120 }, { ...axis, size: 50, values: (_, values) => values.map(String) }],
    series: [
      {},
      { label: "score", stroke: colours.stroke, width: 2, points: { show: false } },
      { label: "high", stroke: "transparent", points: { show: false } },
      { label: "low", stroke: "transparent", points: { show: false } },
      { label: "lowest", stroke: colours.dim, width: 1, points: { show: false } },
    ],
    bands: [{ series: [2, 3], fill: faded(colours.stroke) }],
    hooks: {
      draw: [(chart) => {
        drawMarks(chart, marks, threshold);
        drawDots(chart, dots);
        laid(chart.bbox.left / devicePixelRatio, chart.bbox.width / devicePixelRatio);
      }],
    },
  };
  if (!options.tzDate) delete options.tzDate;
  const chart = new uPlot(options, data, element);
  chart.over.addEventListener("click", (event) => pick(chart.posToVal(event.offsetX, "x")));
  const resize = new ResizeObserver(() => chart.setSize({ width: Math.max(200, element.clientWidth), height: HEIGHT }));
  resize.observe(element);
  return {
    end() {
      resize.disconnect();
      chart.destroy();
    },
  };
}

// How the whole fleet moved when the model changed: ": fleet 71 → 68"; nothing where that is not known.
export function medians({ median_before: before, median_after: after }) {
  return before === null || after === null ? "" : `: fleet ${Math.round(before)} → ${Math.round(after)}`;
}

function columns(points) {
  const near = (value) => Math.min(100, Math.max(0, value));
  return [
    points.map((point) => point.t),
    points.map((point) => point.mean),
    points.map((point) => (point.mean === null || !point.uncertainty ? point.mean : near(point.mean + point.uncertainty))),
    points.map((point) => (point.mean === null || !point.uncertainty ? point.mean : near(point.mean - point.uncertainty))),
    points.map((point) => point.min),
  ];
}

// The points with a hole wherever none came for longer than `longest` seconds: a line across a silence would be made up.
export function withGaps(points, longest) {
  return points.flatMap((point, place) => (place && point.t - points[place - 1].t > longest
    ? [{ t: (point.t + points[place - 1].t) / 2, mean: null, min: null, uncertainty: null }, point] : [point]));
}

const faded = (colour) => colour.replace(/^rgb\(([^)]*)\)$/, "rgb($1, 0.27)");

// The threshold as a line of dots, and what happened, as vertical lines with a word.
function drawMarks(chart, marks, threshold) {
  const { ctx } = chart;
  const { top, width, height } = chart.bbox;
  const colours = palette();
  ctx.save();
  ctx.beginPath();
  ctx.rect(chart.bbox.left, top, width, height);
  ctx.clip();
  ctx.strokeStyle = colours.dim;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([2, 4]);
  const y = chart.valToPos(threshold, "y", true);
  line(ctx, chart.bbox.left, y, chart.bbox.left + width, y);
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  const words = marks.map((mark) => {
    const x = chart.valToPos(mark.t, "x", true);
    ctx.strokeStyle = mark.strong ? colours.accent : colours.dim;
    ctx.setLineDash(mark.strong ? [] : [6, 3]);
    line(ctx, x, top, x, top + height);
    const long = ctx.measureText(mark.text).width;
    const from = x + 4 + long > chart.bbox.left + width ? x - 4 - long : x + 4; // a word at the right edge goes to the left of its line
    return { text: mark.text, from, to: from + long + 8 * devicePixelRatio };
  });
  ctx.textAlign = "left";
  lanesOf(words).forEach((lane, place) => {
    if (lane >= MOST_LANES) return;
    const { text, from, to } = words[place];
    ctx.fillStyle = colours.page; // no line goes through a word
    ctx.fillRect(from, top + (1 + 14 * lane) * devicePixelRatio, to - from - 8 * devicePixelRatio, 14 * devicePixelRatio);
    ctx.fillStyle = colours.text;
    ctx.fillText(text, from, top + (12 + 14 * lane) * devicePixelRatio);
  });
  ctx.restore();
}

// The row, 0 at the top, of each stretch {from, to}, so that none covers another one.
export function lanesOf(stretches) {
  const lanes = new Array(stretches.length);
  const ends = []; // of each row
  const order = [...stretches.keys()].sort((one, other) => stretches[one].from - stretches[other].from);
  for (const place of order) {
    const { from, to } = stretches[place];
    const free = ends.findIndex((end) => end <= from);
    lanes[place] = free < 0 ? ends.length : free;
    ends[lanes[place]] = to;
  }
  return lanes;
}

function drawDots(chart, dots) {
  chart.ctx.fillStyle = palette().accent;
  for (const dot of dots) {
    chart.ctx.beginPath();
    chart.ctx.arc(chart.valToPos(dot.t, "x", true), chart.valToPos(dot.score, "y", true), 2.5 * devicePixelRatio, 0, 2 * Math.PI);
    chart.ctx.fill();
  }
}

function line(ctx, x, y, toX, toY) {
  ctx.beginPath();
  ctx.moveTo(x, y);
  ctx.lineTo(toX, toY);
  ctx.stroke();
}

// A signal's last values against what is usual. values: oldest first, null where not measured. usual: null where unknown.
export function drawSignal(canvas, values, usual, { width, height, most }) {
  const ratio = Math.min(2, devicePixelRatio || 1);
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const colours = palette();
  const known = values.filter((value) => value !== null);
  const top = most ?? Math.max(1e-6, usual ?? 0, ...known) * 1.15;
  const y = (value) => height - 2 - (Math.min(top, value) / top) * (height - 4);
  const x = (place) => (values.length < 2 ? width / 2 : 1 + (place / (values.length - 1)) * (width - 2));
  if (usual !== null) {
    context.strokeStyle = colours.dim;
    context.setLineDash([2, 3]);
    line(context, 0, y(usual), width, y(usual));
    context.setLineDash([]);
  }
  context.strokeStyle = colours.text;
  context.lineWidth = 1.5;
  context.beginPath();
  let drawing = false;
  values.forEach((value, place) => {
    if (value === null) drawing = false;
    else if (drawing) context.lineTo(x(place), y(value));
    else {
      context.moveTo(x(place), y(value));
      drawing = true;
    }
  });
  context.stroke();
  if (known.length === 1) {
    context.fillStyle = colours.text;
    context.fillRect(x(values.indexOf(known[0])) - 2, y(known[0]) - 2, 4, 4);
  }
}
