// What is shown, as an address: a link to what one sees opens exactly it. Paths name the view, the query its filters.
//
//   /                         fleet: label=k:v (repeated), q, all=1, sort=id|since, view=mosaic, tv=1
//   /streams/{id}             stream: rendition, range=10m|6h|24h, at
//   /alerts, /alerts/{id}     alerts: state
//   /clips                    worst clips

// Where the page is served: "" at the root of its host, "/fvq" under that path of another site. This file's own address tells it.
const BASE = new URL(".", import.meta.url).pathname.slice(0, -1);

// A path of the wall, as "/alerts", as the browser asks for it.
export const wallPath = (path) => BASE + path;

// A view of its address: {view, id, query}. query is a URLSearchParams. An unknown path is the fleet.
export function parse(location) {
  const query = new URLSearchParams(location.search);
  // What is no label would be refused in every request, so that the page would show nothing at all.
  const labels = query.getAll("label");
  query.delete("label");
  labels.filter(isLabel).forEach((label) => query.append("label", label));
  const parts = location.pathname.slice(BASE.length).split("/").filter(Boolean);
  const id = parts.length === 2 ? decoded(parts[1]) : null;
  if (parts[0] === "streams" && id !== null) return { view: "stream", id, query };
  if (parts[0] === "alerts") return id === null ? { view: "alerts", id: null, query } : { view: "alert", id, query };
  if (parts[0] === "clips") return { view: "clips", id: null, query };
  return { view: "fleet", id: null, query };
}

// Whether a text names a label: a name, a colon, a value.
export const isLabel = (text) => /^[^:]{1,256}:[^]{0,1024}$/.test(text);

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a percent sign that encodes nothing: the id is taken as it stands
  }
}

// An id as one part of a path. The ids "." and ".." cannot be one: browsers resolve them as folders, whichever way they are encoded.
export const part = (id) => encodeURIComponent(id);

export const streamPath = (id, query = "") => wallPath(`/streams/${part(id)}${query && `?${query}`}`);
export const alertPath = (id) => wallPath(`/alerts/${part(id)}`);

// The same query with some names set; null takes a name away.
export function changed(query, changes) {
  const next = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    next.delete(name);
    for (const one of Array.isArray(value) ? value : value === null ? [] : [value]) next.append(name, one);
  }
  return next;
}

// Names that hold in every view: a television stays one, and a filter is kept on the way back.
export function kept(query) {
  const next = new URLSearchParams();
  for (const name of ["label", "q", "all", "sort", "view", "tv"]) for (const value of query.getAll(name)) next.append(name, value);
  return next;
}
