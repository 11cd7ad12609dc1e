// The rack: filters at once, and takes over the rows that changed.

import { ask, keepLooking, parse, parseRows } from "./live.js";

const table = document.getElementById("rack");
const form = document.getElementById("filters");
const shown = document.getElementById("shown");
const none = document.getElementById("none");
const news = document.getElementById("news");
const url = new URL(location.href);

/** What a row says of its machine, in small letters; read once for each row. */
const told = new WeakMap();

function read(row) {
  let facts = told.get(row);
  if (!facts) {
    const roles = row.querySelector(".c-roles").textContent;
    facts = { text: row.textContent.toLowerCase(), roles: roles.split(", ") };
    told.set(row, facts);
  }
  return facts;
}

function wanted() {
  return {
    state: form.elements.state.value,
    role: form.elements.role.value,
    words: form.elements.q.value.toLowerCase().split(/\s+/).filter(Boolean),
  };
}

function keeps(filter, row) {
  if (filter.state && row.dataset.state !== filter.state) return false;
  const facts = read(row);
  if (filter.role && !facts.roles.includes(filter.role)) return false;
  return filter.words.every((word) => facts.text.includes(word));
}

function show() {
  const filter = wanted();
  let count = 0;
  for (const row of table.tBodies[0].rows) {
    const keep = keeps(filter, row);
    if (row.hidden === keep) row.hidden = !keep;
    count += keep;
  }
  if (shown.textContent !== String(count)) shown.textContent = String(count);
  none.hidden = count > 0;
  for (const chip of document.querySelectorAll(".chip")) {
    if (chip.dataset.filter === filter.state) chip.setAttribute("aria-current", "true");
    else chip.removeAttribute("aria-current");
  }
}

/** The address says what is filtered, so that it can be kept or sent to somebody. */
function remember() {
  for (const name of ["state", "role", "q"]) {
    const value = form.elements[name].value;
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  }
  history.replaceState(null, "", url);
}

form.addEventListener("input", () => { show(); remember(); });
form.addEventListener("submit", (event) => { event.preventDefault(); show(); remember(); });
document.addEventListener("click", (event) => {
  const chip = event.target.closest?.(".chip");
  if (!chip || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  form.elements.state.value = chip.dataset.filter;
  show();
  remember();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest?.("input, select, textarea")) return;
  event.preventDefault();
  form.elements.q.focus();
});

function replaceRow(fresh) {
  const old = document.getElementById(fresh.id);
  if (!old) return "";
  const focused = old.contains(document.activeElement);
  const row = document.importNode(fresh, true);
  const moved = old.dataset.state !== row.dataset.state;
  old.replaceWith(row);
  if (focused) row.querySelector("a").focus();
  if (moved) row.classList.add("changed");
  return moved ? `${row.querySelector(".host").textContent}: ${row.dataset.label}` : "";
}

function replaceSummary(html) {
  const old = document.getElementById("summary");
  const active = document.activeElement;
  const chip = old.contains(active) ? active.dataset.filter : undefined;
  const fresh = document.importNode(parse(html).getElementById("summary"), true);
  old.replaceWith(fresh);
  if (chip !== undefined) fresh.querySelector(`[data-filter="${chip}"]`)?.focus();
}

function takeWarnings(html) {
  const old = document.getElementById("warnings");
  const fresh = parse(html).getElementById("warnings");
  // The element itself stays: a live region that is replaced is not read out.
  old.replaceChildren(...[...fresh.childNodes].map((node) => document.importNode(node, true)));
  old.dataset.warned = fresh.dataset.warned;
}

async function readAnew() {
  const reply = await ask(url, "text/html");
  if (!reply) return;
  const fresh = parse(await reply.text());
  const other = fresh.getElementById("rack");
  table.tBodies[0].replaceWith(document.importNode(other.tBodies[0], true));
  table.dataset.version = other.dataset.version;
  document.getElementById("of").textContent = fresh.getElementById("of").textContent;
  replaceSummary(fresh.getElementById("summary").outerHTML);
  show();
}

keepLooking(async () => {
  const live = new URL(table.dataset.url, location.href);
  live.search = url.search;
  live.searchParams.set("version", table.dataset.version);
  live.searchParams.set("warned", document.getElementById("warnings").dataset.warned);
  const reply = await ask(live);
  if (!reply) return;
  const change = await reply.json();
  if (change.warnings) takeWarnings(change.warnings);
  if (change.anew) {
    await readAnew();
    return;
  }
  table.dataset.version = change.version;
  if (!change.rows) return;
  const moved = parseRows(change.rows).map(replaceRow).filter(Boolean);
  replaceSummary(change.summary);
  show();
  if (moved.length) news.textContent = moved.length > 3 ? `${moved.length} machines changed` : moved.join(", ");
});

show();
