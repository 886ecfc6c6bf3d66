// The page: one socket, one fleet, one view at a time. What is shown is in the address, so that a link opens it again.
import { changed, isLabel, kept, parse, wallPath } from "./address.js";
import { call, read } from "./api.js";
import { beep } from "./attention.js";
import { get, make, printable, renewTimes, setText, shortened } from "./dom.js";
import { ackDialog, helpDialog, rateDialog, signInDialog } from "./dialogs.js";
import { Fleet } from "./fleet.js";
import { drawAge, drawCount, drawHead, drawPipeline } from "./head.js";
import { Keys } from "./keys.js";
import { Live } from "./live.js";
import { setTheme } from "./palette.js";
import { setLocal, today } from "./time.js";
import { openAlert } from "./alert_view.js";
import { openAlerts } from "./alerts_view.js";
import { openClips } from "./clips_view.js";
import { openFleet } from "./fleet_view.js";
import { openStream } from "./stream_view.js";
import { viewsDialog } from "./views.js";

const OPENERS = { fleet: openFleet, stream: openStream, alerts: openAlerts, alert: openAlert, clips: openClips };
const HEALTH_SECONDS = 30;
const SESSION_SECONDS = 3; // so long nothing is shown while the server has not said what the person may do

const stored = {
  read(name, other) {
    try { return localStorage.getItem(`fvq-${name}`) ?? other; } catch { return other; }
  },
  write(name, value) {
    try { localStorage.setItem(`fvq-${name}`, value); } catch { /* private windows may keep nothing; the page works without */ }
  },
};

const app = {
  fleet: new Fleet(),
  live: null,
  keys: new Keys(),
  memory: {},
  route: parse(location),
  view: null,
  known: false, // a snapshot has come
  seen: null, // the labels that the last one was filtered by
  may: new Set(["read"]), // the scopes of who is signed in
  asked: false, // whether the server has said so
  summary: null,
  shift: null, // the latest change of a model
  starting: "", // why the server has no state yet

  // Opens a path of this page; `replace` leaves no entry in the history.
  go(path, replace = false) {
    write(path, replace);
    show();
  },

  // Opens the view of the address once more.
  reopen: () => show(),

  // Changes names of the query without opening the view anew.
  change(changes, replace = true) {
    const query = changed(app.route.query, changes).toString();
    write(location.pathname + (query && `?${query}`), replace);
    app.route = parse(location);
    linkViews();
  },

  keptQuery: () => kept(app.route.query).toString(),

  toast(text) {
    setText(get("toast"), text);
    clearTimeout(app.toasting);
    app.toasting = setTimeout(() => setText(get("toast"), ""), 6000);
  },

  async copy(link) {
    try {
      await navigator.clipboard.writeText(link);
      app.toast("The link is copied.");
    } catch {
      app.toast(`Copy it from here: ${link}`);
    }
  },

  ack(entries, done = () => {}) {
    if (!app.may.has("ack")) {
      app.toast("Your token may not acknowledge: it lacks the scope ack.");
      return;
    }
    ackDialog(entries, { toast: app.toast, done: () => { done(); app.view.changed?.(); } });
  },

  // rendition: the segment's, "" where it names none; null where any will do.
  rate(streamId, segmentId = null, rendition = null) {
    if (app.may.has("rate")) rateDialog(streamId, segmentId, rendition, { toast: app.toast });
    else app.toast("Your token may not rate: it lacks the scope rate.");
  },

  signIn: () => signInDialog(async () => {
    await readSession();
    app.live.connect(labels());
    show();
  }),

  // What a view shows where a request failed; 401 asks for the token.
  failed(error) {
    if (error.name === "AbortError") return null;
    if (error.status === 401) app.signIn();
    return make("div", { class: "notice", role: "alert" }, make("h2", {}, error.status === 404 ? "Not found" : "This could not be read"),
      make("p", {}, printable(error.message)), make("button", { type: "button", onClick: show }, "Try again"));
  },
};

// Writes the address. An entry of the history that this page has made says so: there is a view of it to go back to.
function write(path, replace) {
  if (replace) history.replaceState(history.state, "", path);
  else history.pushState({ inside: true }, "", path);
}

const labels = () => app.route.query.getAll("label");

// Opens the view that the address names.
function show() {
  app.view?.close?.();
  const before = labels().join();
  app.route = parse(location);
  if (labels().join() !== before) app.live.connect(labels());
  const strange = new URLSearchParams(location.search).getAll("label").filter((label) => !isLabel(label));
  if (strange.length) app.toast(`No label, so left out: ${strange.map((label) => shortened(label, 40)).join(", ")}. A label is a name, a colon and a value.`);
  const { view } = app.route;
  app.keys.view = view;
  document.documentElement.toggleAttribute("data-tv", app.route.query.get("tv") === "1");
  get("heat").hidden = view !== "fleet";
  document.body.dataset.view = view;
  app.view = OPENERS[view](app);
  get("main").replaceChildren(app.view.element);
  linkViews();
  drawFilters();
  app.view.opened?.();
  tick();
}

function linkViews() {
  const query = app.keptQuery();
  for (const link of document.querySelectorAll("nav a")) {
    const current = link.dataset.view === app.route.view || (app.route.view === "alert" && link.dataset.view === "alerts");
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    link.href = new URL(link.getAttribute("href"), location.href).pathname + (query && `?${query}`);
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const address = new URL(link.href);
  if (address.origin !== location.origin || link.hasAttribute("download") || address.pathname.startsWith(wallPath("/api/"))) return;
  event.preventDefault();
  app.go(address.pathname + address.search);
});
addEventListener("popstate", show);
// A link with a token that is opened in this tab changes only what is behind the #: the page is not loaded anew by itself.
addEventListener("hashchange", () => { if (location.hash.includes("token=")) location.reload(); });

// Filters: free text filters here; a label as name:value, confirmed with Enter, filters on the server. Of two values of one name either will do.
function drawFilters() {
  const filter = get("filters");
  const nameOf = (label) => label.slice(0, label.indexOf(":"));
  const sorted = labels().sort((one, other) => (nameOf(one) < nameOf(other) ? -1 : nameOf(one) > nameOf(other) ? 1 : 0));
  const chips = sorted.map((label, place) => make("button", {
    type: "button", class: "label", "aria-label": `remove the filter ${printable(label)}`, onClick: () => setLabels(labels().filter((one) => one !== label)),
  }, `${place && nameOf(sorted[place - 1]) === nameOf(label) ? "or " : ""}${printable(label)} ×`));
  app.fleet.text = (app.route.query.get("q") ?? "").toLowerCase();
  filter.querySelectorAll("button").forEach((chip) => chip.remove());
  filter.prepend(...chips);
  if (document.activeElement !== search) search.value = app.route.query.get("q") ?? "";
}

const search = make("input", { type: "search", id: "search", placeholder: "id, black, or tier:premium", "aria-label": "Filter by id, by what is wrong, or by label (/)" });
get("filters").append(search);
search.addEventListener("input", () => {
  app.change({ q: search.value.trim() || null });
  app.fleet.text = search.value.trim().toLowerCase();
  app.view.release?.(); // an order that is held would hide that the filter has changed
  paintSoon();
});
search.addEventListener("keydown", (event) => {
  const text = search.value.trim();
  if (event.key === "Enter" && /^[^:\s]+:./.test(text)) {
    search.value = "";
    app.change({ q: null });
    setLabels([...labels(), text], listPath());
  } else if (event.key === "Enter" && text && listPath() !== location.pathname) {
    search.blur();
    app.go(wallPath(`/?${app.keptQuery()}`));
  } else if (event.key === "Escape") {
    search.blur();
  }
});

// Where a new filter shows what fits it: one stream or one alert has no list.
const listPath = () => (["stream", "alert"].includes(app.route.view) ? wallPath("/") : location.pathname);

function setLabels(next, path = location.pathname) {
  const query = changed(path === location.pathname ? app.route.query : kept(app.route.query), { label: [...new Set(next)] }).toString();
  app.go(path + (query && `?${query}`));
}

// Frames are painted together, once for each frame of the screen.
let painting = false;
function paintSoon() {
  if (painting) return;
  painting = true;
  requestAnimationFrame(() => {
    painting = false;
    app.view?.draw?.();
    drawHead(app);
  });
}

function onFrame(frame) {
  if (frame.type === "summary") app.summary = frame;
  if (frame.type === "snapshot") app.view?.beforeSnapshot?.();
  const isFresh = (entry, known) => entry.alert.state === "firing" && !entry.ack && !known.has(entry.alert.alert_id);
  let fresh = frame.type === "alert" && isFresh(frame, app.fleet.alerts);
  // Also what has fired while the connection was lost, but not what another filter brings.
  if (frame.type === "snapshot" && app.seen === labels().join()) fresh = frame.alerts.some((entry) => isFresh(entry, app.fleet.alerts));
  app.fleet.apply(frame);
  if (frame.type === "snapshot") {
    app.known = true;
    app.seen = labels().join();
    app.view?.afterSnapshot?.();
  }
  if (fresh && get("sound").checked) beep();
  app.view?.frame?.(frame);
  // A hidden tab is not painted, and its title is all that is seen of it. Its timers come once a minute, its frames as ever.
  if (document.hidden && frame.type === "summary") drawCount(app);
  paintSoon();
}

function onState(state) {
  if (state === "refused") app.signIn();
  if (state === "live" && !app.asked) readSession();
  if (state === "waiting") readHealth(); // a server that answers, but has not read its topics yet, refuses the socket
  tick();
}

let day = "";

// Once a second, and at each change of the connection: clocks, ages, the strip at the foot.
function tick() {
  if (day !== today()) {
    day = today();
    renewTimes();
  }
  drawAge(app);
  drawCount(app);
  drawPipeline(app);
  app.view?.tick?.();
  paintSoon();
}

function choices() {
  const theme = get("theme");
  const zone = get("zone");
  const sound = get("sound");
  theme.value = stored.read("theme", "auto");
  zone.value = stored.read("zone", "utc");
  setTheme(theme.value);
  setLocal(zone.value === "local");
  theme.addEventListener("change", () => { stored.write("theme", theme.value); setTheme(theme.value); });
  zone.addEventListener("change", () => { stored.write("zone", zone.value); setLocal(zone.value === "local"); show(); });
  sound.addEventListener("change", () => { if (sound.checked) beep(); });
  get("views").addEventListener("click", () => viewsDialog(app));
  get("help").addEventListener("click", () => helpDialog(app.keys.list()));
}

function bind() {
  const { keys } = app;
  const view = (name, ...values) => () => app.view[name]?.(...values);
  const lists = ["fleet", "alerts", "clips", "stream"];
  const line = (steps) => () => (app.view.line ?? app.view.move).call(app.view, steps);
  const kept = (path) => () => app.go(wallPath(path) + (app.keptQuery() && `?${app.keptQuery()}`));
  keys.add("j", "next row", view("move", 1), lists);
  keys.add("ArrowDown", "next row", line(1), lists);
  keys.add("k", "row before", view("move", -1), lists);
  keys.add("ArrowUp", "row before", line(-1), lists);
  keys.add("ArrowRight", "next picture of the mosaic", view("across", 1), ["fleet"]);
  keys.add("ArrowLeft", "picture before", view("across", -1), ["fleet"]);
  keys.add("PageDown", "a page down", view("move", 15), ["fleet"]);
  keys.add("PageUp", "a page up", view("move", -15), ["fleet"]);
  keys.add("Home", "first row", view("move", -1e6), ["fleet"]);
  keys.add("End", "last row", view("move", 1e6), ["fleet"]);
  keys.add("Enter", "open the row", view("openActive"), lists);
  keys.add("o", "open the row's alert", view("openAlert"), ["fleet", "stream"]);
  keys.add("Escape", "back; in the fleet: clear the selection, let the order go", back);
  keys.add("/", "filter", () => search.focus());
  keys.add("a", "acknowledge the row or all that are selected", view("ack"), ["fleet", "alerts", "alert", "stream"]);
  keys.add("x", "select the row", view("select", false), ["fleet", "alerts"]);
  keys.add("X", "select up to the row", view("select", true), ["fleet", "alerts"]);
  keys.add("r", "rate the row's clip before you see its score", view("rateActive"), ["fleet", "stream", "clips"]);
  keys.add(".", "show the new order", view("release"), ["fleet"]);
  keys.add("v", "show or hide the streams that are fine", view("toggleAll"), ["fleet"]);
  keys.add(["m", "M"], "the mosaic: streams as pictures", view("toggleMosaic"), ["fleet"]);
  keys.add("s", "another order", view("nextSort"), ["fleet"]);
  keys.add("t", "another range of time", view("nextRange"), ["stream"]);
  keys.add("p", "play both clips in step, or pause", view("playBoth"), ["stream", "alert"]);
  keys.add("w", "saved views", () => viewsDialog(app));
  keys.add("g f", "go to the fleet", kept("/"));
  keys.add("g a", "go to the alerts", kept("/alerts"));
  keys.add("g c", "go to the clips", kept("/clips"));
  keys.add("g s", "go to the row's stream, or the alert's", view("openStream"), ["fleet", "alerts", "alert"]);
  keys.add("?", "these keys", () => helpDialog(keys.list()));
}

function back() {
  if (app.route.view === "fleet") app.view.escape();
  else if (history.state?.inside) history.back();
  else app.go(wallPath(`/${app.keptQuery() && `?${app.keptQuery()}`}`));
}

// A link may bring a token behind the #, which browsers send to no server. It leaves the address bar at once.
async function signInByLink() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  if (token) await call("POST", "/session", { token }).catch((error) => app.toast(error.message));
}

// What the person may do: pictures, acknowledging and rating are scopes of their own.
async function readSession() {
  const before = [...app.may].join();
  try {
    app.may = new Set((await read("/session")).scopes);
    app.asked = true;
  } catch (error) {
    if (error.status === 401) {
      app.may = new Set(["read"]);
      app.asked = true;
      app.signIn();
    }
  }
  for (const scope of ["ack", "rate", "media"]) document.body.classList.toggle(`no-${scope}`, !app.may.has(scope));
  if (app.view && [...app.may].join() !== before) show();
}

async function readHealth() {
  const health = await read("/health").catch(() => null);
  if (health) [app.shift = null] = health.shifts;
  app.starting = health && !health.ready ? health.problem || "The server is still reading the topics." : "";
}

choices();
bind();
app.live = new Live({ onFrame, onState });
await signInByLink();
await Promise.race([readSession(), new Promise((go) => { setTimeout(go, SESSION_SECONDS * 1000); })]);
app.live.connect(labels()); // after all modules are there: a first frame must not arrive before its reader
show();
setInterval(tick, 1000);
readHealth();
setInterval(readHealth, HEALTH_SECONDS * 1000);
