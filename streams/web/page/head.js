// The head and the foot of the page: counts, clock, how old the data is, and how the monitor itself is.
import { showCount } from "./attention.js";
import { get, make, printable, setData, setText } from "./dom.js";
import { medians } from "./chart.js";
import { clock, length, now, seconds } from "./time.js";

const OLD = 2.5; // seconds without a frame after which the data is called old: the server sends some each second
const SHIFT_SECONDS = 3600; // so long after a model's change the foot tells how the fleet moved with it

function isOld(app) {
  const age = app.live.age();
  return age === null ? app.live.state !== "connecting" : age > OLD;
}

// The head: counts, clock, and how old the data is.
export function drawHead(app) {
  const { fleet } = app;
  if (app.route.view !== "fleet") fleet.arrange(now());
  const counts = fleet.counts ?? { streams: 0, bad: 0, acked: 0, silent: 0 };
  const parts = app.known ? [`${counts.streams.toLocaleString("en")} ${counts.streams === 1 ? "stream" : "streams"}`, `${counts.bad} bad`, `${counts.acked} acked`, `${counts.silent} down`] : [];
  writeParts(get("counts"), parts);
  setText(get("clock"), clock(now()));
  setText(get("alert-count"), app.known ? String(drawCount(app)) : "");
}

// The count in the tab's title and icon, also while the tab is hidden, where nothing else is painted. Returns it.
export function drawCount(app) {
  const alerts = [...app.fleet.alerts.values()].filter(({ ack }) => !ack).length;
  const place = { stream: app.route.id, alert: "alert", alerts: "alerts", clips: "clips", fleet: "" }[app.route.view];
  showCount(alerts, app.known && isOld(app), place && printable(place));
  return alerts;
}

function writeParts(element, parts) {
  while (element.children.length < parts.length) element.append(make("span"));
  while (element.children.length > parts.length) element.lastElementChild.remove();
  parts.forEach((text, place) => setText(element.children[place], text));
}

export function drawAge(app) {
  const age = app.live.age();
  const old = isOld(app);
  document.body.classList.toggle("old", old && app.known);
  setData(get("age"), "state", old ? "old" : "live");
  const banner = get("banner");
  const [told, wait] = banner.children; // what changes each second is not read aloud
  setText(wait, old ? nextTry(app) : "");
  if (!old) {
    const problem = app.summary?.problem;
    banner.hidden = !problem;
    if (problem) {
      // The server answers, but reads nothing new itself.
      setData(get("age"), "state", "old");
      setText(get("age"), "nothing new");
      setText(told, `What you see is old: the wall reads nothing new. ${printable(problem).replace(/\.?$/, ".")}`);
      return;
    }
    setText(get("age"), app.summary?.lag_p95 === undefined || app.summary.lag_p95 === null ? "live" : `live ${app.summary.lag_p95.toFixed(1)} s`);
    get("age").title = "Seconds from the end of a segment to its score, 95th percentile";
    return;
  }
  setText(get("age"), age === null ? "no data" : `data ${length(age).replace(/^0:0?/, "")}${age < 60 ? " s" : ""} old`);
  const why = whyOld(app);
  banner.hidden = !app.known && app.live.state === "connecting";
  setText(told, app.known ? `What you see is old. ${why}` : why);
}

export function whyOld({ live, starting }) {
  if (live.state === "refused") return live.reason ? `The server refuses: ${printable(live.reason)}.` : "Sign in first.";
  if (live.state !== "waiting") return "Connecting.";
  const reason = printable(starting || live.reason) || "No connection to the server";
  return `${reason.replace(/\.$/, "")}.`;
}

// When the page asks the server again, where it waits for that.
export function nextTry({ live }) {
  return live.state === "waiting" ? ` Next attempt in ${Math.max(0, Math.ceil((live.retryAt - performance.now()) / 1000))} s.` : "";
}

export function drawPipeline(app) {
  const { summary } = app;
  if (!summary) return;
  const share = (value) => (value === null ? "–" : `${(value * 100).toFixed(1)} %`);
  const models = Object.entries(summary.models ?? {}).sort((one, other) => other[1] - one[1]).map(([name]) => printable(name));
  const parts = [`scored ${summary.scored_per_second}/s`, `skipped ${share(summary.skipped_share)}`];
  if (summary.dead_letters_per_minute !== null) parts.push(`dead letters ${summary.dead_letters_per_minute}/min`);
  if (summary.lag_p95 !== null) parts.push(`lag p95 ${summary.lag_p95.toFixed(1)} s`);
  if (summary.stale) parts.push(`${summary.stale} with old scores`);
  if (models.length) parts.push(models[0] + (models.length > 1 ? ` and ${models.length - 1} more` : ""));
  const { shift } = app;
  if (shift && now() - seconds(shift.time) < SHIFT_SECONDS) parts.push(`changed ${clock(shift.time)}${medians(shift)}`);
  setText(get("pipeline"), parts.join("  ·  "));
  get("pipeline").title = parts.join("\n");
}
