// Requests to the server's API. Every refusal becomes an ApiError whose message a person can act on.
import { part, wallPath } from "./address.js";
import { guessClock } from "./time.js";

const ROOT = wallPath("/api/v1");
const LONGEST = 60_000; // ms: a connection that was lost on its way, as with a VPN, would be waited for without end

export class ApiError extends Error {
  constructor(status, message, wait = null) {
    super(message);
    this.status = status;
    this.wait = wait; // seconds after which it may be tried again
  }
}

// A signal that ends a request with all of its answer: when the caller's does, or once it has lasted too long.
function ending(signal) {
  const stop = new AbortController();
  setTimeout(() => stop.abort(), LONGEST);
  if (signal?.aborted) stop.abort();
  signal?.addEventListener("abort", () => stop.abort(), { once: true });
  return stop.signal;
}

// method, path below /api/v1, body as JSON, headers. Returns the answer, whose content nobody has read yet.
async function ask(method, path, body = undefined, { signal, headers = {} } = {}) {
  let answer;
  try {
    answer = await fetch(ROOT + path, {
      method,
      signal: ending(signal),
      credentials: "same-origin",
      headers: { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "The server does not answer.");
  }
  guessClock(answer.headers.get("Date"));
  if (answer.ok) return answer;
  const content = await answer.json().catch(() => null);
  const wait = Number(answer.headers.get("Retry-After"));
  const text = content?.detail || content?.title || content?.error || answer.statusText || `status ${answer.status}`;
  throw new ApiError(answer.status, String(text), Number.isFinite(wait) && wait > 0 ? wait : null);
}

// The same, but returns the answer's JSON, null for an empty one.
export async function call(method, path, body = undefined, options = {}) {
  const answer = await ask(method, path, body, options);
  if (answer.status === 204) return null;
  try {
    return await answer.json();
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(answer.status, "The server's answer cannot be read.");
  }
}

export const read = (path, query, options) => call("GET", query ? `${path}?${new URLSearchParams(query)}` : path, undefined, options);

// For `catch`: an answer without content where the server knows no such thing. Other errors stay errors.
export const orNothing = (empty) => (error) => {
  if (error.status === 404) return empty;
  throw error;
};

// All items of a list, page after page. query.limit: of a page, where the list gives less than a thousand.
export async function readAll(path, query, options) {
  const items = [];
  let cursor = null;
  do {
    const page = await read(path, { limit: "1000", ...query, ...(cursor ? { cursor } : {}) }, options);
    items.push(...page.items);
    cursor = page.next;
  } while (cursor);
  return items;
}

// A list as CSV, page after page. query: pairs of names and values.
export async function readCsv(path, query, options) {
  let text = "";
  let next = `${path}?${new URLSearchParams([...query, ["limit", "1000"], ["format", "csv"]])}`;
  while (next) {
    const answer = await ask("GET", next, undefined, options);
    const page = await answer.text();
    text += text ? page.slice(page.indexOf("\n") + 1) : page; // each page begins with the line of the columns' names
    next = /^<\/api\/v1([^>]*)>; rel="next"$/.exec(answer.headers.get("Link") ?? "")?.[1];
  }
  return text;
}

export const stream = (id, rest = "") => `/streams/${part(id)}${rest}`;
export const segment = (id, segmentId, rest = "") => stream(id, `/segments/${part(segmentId)}${rest}`);

// The address of a stream's latest picture.
export const picture = (id) => `${ROOT}${stream(id, "/picture.jpg")}`;
