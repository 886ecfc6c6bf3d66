// Saved views: what is shown, by a name, kept in this browser. A view is an address of this page, so its link opens it in any other.
import { make, printable, setText } from "./dom.js";
import { openDialog } from "./dialogs.js";

const PLACE = "fvq-views";
const MOST = 50;
const LONGEST_NAME = 60;
const LONGEST_PATH = 2000;

const isView = (view) => typeof view?.name === "string" && view.name.trim() && view.name.length <= LONGEST_NAME
  && typeof view.path === "string" && /^\/(?![/\\])/.test(view.path) && view.path.length <= LONGEST_PATH;

// The views that a store holds, [{name, path}] by name. Something else that is in its place is no view.
export function readViews(store) {
  let views = [];
  try {
    views = JSON.parse(store.getItem(PLACE)) ?? [];
  } catch { /* not ours, or a browser that keeps nothing */ }
  const named = Array.isArray(views) ? views.filter(isView).slice(0, MOST) : [];
  return named.map(({ name, path }) => ({ name, path })).sort((one, other) => one.name.localeCompare(other.name));
}

// Keeps a view, in place of one with the same name. Returns why not; "" where it is kept.
export function saveView(store, name, path) {
  const view = { name: name.trim(), path };
  if (!isView(view)) return `A view has a name of 1 to ${LONGEST_NAME} characters.`;
  const others = readViews(store).filter((one) => one.name !== view.name);
  if (others.length >= MOST) return `There are ${MOST} views already: remove one first.`;
  return write(store, [...others, view]);
}

export const removeView = (store, name) => write(store, readViews(store).filter((one) => one.name !== name));

function write(store, views) {
  try {
    store.setItem(PLACE, JSON.stringify(views));
    return "";
  } catch {
    return "This browser keeps nothing here: copy the link instead.";
  }
}

function ownStore() {
  try {
    return localStorage;
  } catch {
    return null; // forbidden here: nothing is read, and saving says so
  }
}

// Lists the saved views, and saves what is shown now.
export function viewsDialog(app) {
  const store = ownStore();
  const path = location.pathname + location.search;
  const list = make("ul", { class: "saved-views" });
  const error = make("p", { class: "error", role: "alert" });
  const name = make("input", { type: "text", maxlength: String(LONGEST_NAME), required: true, autocomplete: "off", placeholder: "night shift, premium only" });
  const form = make("form", { method: "dialog" }, make("label", {}, "Name for what is shown now", name), make("p", { class: "dim" }, printable(path)), error,
    make("div", { class: "actions" }, make("button", { type: "submit" }, "Save"), make("button", { type: "button", onClick: () => copy(path) }, "Copy its link"),
      make("button", { type: "button", onClick: () => dialog.close() }, "Close")));

  const copy = (of) => app.copy(location.origin + of);

  function draw() {
    const views = readViews(store);
    list.replaceChildren(...views.map((view) => make("li", {},
      make("a", { href: view.path, onClick: () => dialog.close() }, printable(view.name)), " ",
      make("button", { type: "button", "aria-label": `copy the link of ${printable(view.name)}`, onClick: () => copy(view.path) }, "copy link"), " ",
      make("button", { type: "button", "aria-label": `remove ${printable(view.name)}`, onClick: () => { setText(error, removeView(store, view.name)); draw(); name.focus(); } }, "remove"))));
    list.hidden = !views.length;
    none.hidden = views.length > 0;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const problem = saveView(store, name.value, path);
    setText(error, problem);
    if (problem) return;
    name.value = "";
    draw();
  });
  const none = make("p", { class: "dim" }, "No view is saved yet. A view keeps filters, order, mosaic and time; it stays in this browser.");
  const dialog = openDialog("Saved views", none, list, form);
  draw();
  (list.querySelector("a") ?? name).focus();
}
