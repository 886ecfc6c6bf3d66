// Times as people read them. Every time says whether it is UTC (a "Z" behind it) or local (the offset in its tooltip).

let local = false;
let skew = 0; // seconds that the server's clock is ahead of this browser's

export const isLocal = () => local;
export function setLocal(value) { local = value; }

// Follows the server's clock: `at` is the server's time in seconds when it sent a frame. The smallest delay is the truest, so the largest
// difference counts; a jump of over a minute (a browser that slept, a clock that was set) starts it again.
let known = false;
export function followClock(at) {
  const difference = at - Date.now() / 1000;
  if (!known || difference > skew || Math.abs(difference - skew) > 60) skew = difference;
  known = true;
}

// Before the first frame: the server's time to the second, as each of its answers has it, so that what is asked for meanwhile is about now
// where this browser's clock is wrong.
export function guessClock(date) {
  const at = Date.parse(date) / 1000;
  if (!known && Number.isFinite(at)) skew = at - Date.now() / 1000;
}

// The server's time now, seconds since 1970.
export const now = () => Date.now() / 1000 + skew;

// Seconds since 1970 of an ISO 8601 time or of a number; null of anything else.
export function seconds(time) {
  if (typeof time === "number" && Number.isFinite(time)) return time;
  const parsed = typeof time === "string" ? Date.parse(time) / 1000 : NaN;
  return Number.isFinite(parsed) ? parsed : null;
}

// The time that an address names, seconds since 1970, as the API takes it: ISO 8601, UTC without an offset, or seconds or milliseconds since
// then, in the years 1970 to 2199. Null where it cannot be read.
export function readTime(text) {
  const number = /^\d{9,}(\.\d*)?$/.test(text) ? Number(text) : NaN;
  const written = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(/[T ][\d:.]*$/.test(text) ? `${text}Z` : text) / 1000 : NaN;
  const at = Number.isFinite(number) ? number / (number > 2e10 ? 1000 : 1) : written;
  return at >= 0 && at < LATEST ? at : null;
}

const LATEST = Date.UTC(2200, 0) / 1000;

// Seconds since 1970 as ISO 8601 with milliseconds, as the API takes it.
export const iso = (at) => new Date(Math.round(at * 1000)).toISOString();

const two = (number) => String(number).padStart(2, "0");

// "14:01:12Z" or, in local time, "16:01:12"; with the day in front if it is another one than today.
export function clock(time) {
  const at = seconds(time);
  if (at === null) return "–";
  const date = new Date(at * 1000);
  const [hours, minutes, rest] = local
    ? [date.getHours(), date.getMinutes(), date.getSeconds()]
    : [date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()];
  const text = `${two(hours)}:${two(minutes)}:${two(rest)}${local ? "" : "Z"}`;
  return day(date) === today() ? text : `${day(date)} ${text}`;
}

// The clock of a time axis, which has whole minutes: "14:00Z", with month and day in front if it is another day than today.
export function tick(time) {
  const [rest, at] = clock(time).split(" ").reverse();
  const short = rest.replace(/:00(Z?)$/, "$1");
  return at ? `${at.slice(5)} ${short}` : short;
}

function day(date) {
  return local
    ? `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
    : date.toISOString().slice(0, 10);
}

// The day that it is now, in the zone that is shown.
export const today = () => day(new Date(now() * 1000));

// Both clocks, for tooltips: "2026-01-31 14:01:12Z, here 16:01:12 (UTC+2)".
export function bothClocks(time) {
  const at = seconds(time);
  if (at === null) return "";
  const date = new Date(at * 1000);
  const offset = -date.getTimezoneOffset();
  const [hours, minutes] = [Math.floor(Math.abs(offset) / 60), Math.abs(offset) % 60];
  const here = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${date.toISOString().slice(0, 19).replace("T", " ")}Z, here ${here} (UTC${offset < 0 ? "−" : "+"}${hours}${minutes ? `:${two(minutes)}` : ""})`;
}

// What is said of a stream in maintenance that ends then, or null: "" where it is in none.
export const inMaintenance = (end) => (end === null ? "" : `maintenance until ${tick(end)}`);

// A length of time: "0:47", "12:05", "3:20 h", "2 d 4 h".
export function length(duration) {
  if (duration === null || !Number.isFinite(duration)) return "–";
  const whole = Math.max(0, Math.floor(duration));
  if (whole < 3600) return `${Math.floor(whole / 60)}:${two(whole % 60)}`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)} h`;
  return `${Math.floor(whole / 86400)} d ${Math.floor(whole / 3600) % 24} h`;
}

// The time that has passed since then.
export function since(time) {
  const at = seconds(time);
  return at === null ? "–" : length(now() - at);
}
