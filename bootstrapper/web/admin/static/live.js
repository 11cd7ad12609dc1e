// Keeps a page up to date. What the server sends are pieces of pages, escaped by its templates; nothing is put
// together from text here.

const EVERY_MS = 2000;
const WORDS = [[172800, 86400, "days"], [7200, 3600, "h"], [120, 60, "min"], [0, 1, "s"]];

/** How far this computer's clock is behind the server's, in seconds: times are told by the server's. */
const behind = Number(document.body.dataset.now) - Date.now() / 1000;

/** `3 min ago`; the same words as views.tell_ago. */
export function ago(at, now) {
  const seconds = Math.trunc(now - at);
  const size = Math.abs(seconds);
  if (size < 5) return "just now";
  const [, unit, word] = WORDS.find(([least]) => size >= least);
  const text = `${Math.floor(size / unit)} ${word}`;
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

const two = (number) => String(number).padStart(2, "0");
const zone = (date) => new Intl.DateTimeFormat("en", { timeZoneName: "short" }).formatToParts(date)
  .find((part) => part.type === "timeZoneName").value;
const day = (date) => `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
const hour = (date) => `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;

/** `2026-11-21 15:42:12 GMT+9`: the zone of whoever reads it; pages without scripts say UTC. */
export function stamp(at) {
  const date = new Date(at * 1000);
  return `${day(date)} ${hour(date)} ${zone(date)}`;
}

/** The time of day, with the date where it is another one. */
function clock(at) {
  const date = new Date(at * 1000);
  const today = day(new Date(Date.now() + behind * 1000));
  return day(date) === today ? hour(date) : `${day(date)} ${hour(date)}`;
}

function tick() {
  const now = Date.now() / 1000 + behind;
  for (const time of document.querySelectorAll("time:not([data-told])")) {
    time.dataset.told = "";
    time.title = stamp(Number(time.dataset.at ?? time.dataset.clock ?? time.dataset.stamp));
  }
  for (const time of document.querySelectorAll("time[data-clock]")) {
    const text = clock(Number(time.dataset.clock));
    if (time.textContent !== text) time.textContent = text;
  }
  for (const time of document.querySelectorAll("time[data-at]")) {
    const text = ago(Number(time.dataset.at), now);
    if (time.textContent !== text) time.textContent = text;
  }
}

/** HTML of the server's as nodes; scripts in it, should there ever be any, do not run. */
export function parse(html) {
  return new DOMParser().parseFromString(html, "text/html");
}

export function parseRows(rows) {
  return [...parse(`<table><tbody>${rows}</tbody></table>`).querySelectorAll("tr")];
}

const light = document.getElementById("link-state");
const alarm = document.getElementById("lost");
let seen = Date.now() / 1000;
let said = "";

/** `why`: what is the matter, as text and nodes; none: the page is up to date. */
function showLink(why, ...more) {
  if (!light) return;
  const text = why ? "Not live" : "Live";
  light.hidden = false;
  light.dataset.state = why ? "lost" : "live";
  if (light.textContent !== text) light.textContent = text;
  if (!why) seen = Date.now() / 1000;
  if (said === why) return;
  said = why;
  alarm.hidden = !why;
  alarm.replaceChildren(...(why ? [`${why} What is shown is of ${clock(seen + behind)}. `, ...more] : []));
}

/** Where to log in and come back to this page. */
function makeDoor() {
  const door = document.createElement("a");
  door.href = `/login?${new URLSearchParams({ next: location.pathname + location.search })}`;
  door.textContent = "Log in";
  return door;
}

/** The reply to a GET, or null, and the page says so, when there is none or none that is of use. */
export async function ask(url, accept = "application/json") {
  try {
    const reply = await fetch(url, { headers: { Accept: accept }, cache: "no-store" });
    if (reply.status === 401 || new URL(reply.url).pathname === "/login") {
      // Not sent there: what somebody is typing would be lost.
      showLink("You are logged out.", makeDoor());
      return null;
    }
    if (reply.status === 404) showLink("The server does not have this any more.");
    else showLink(reply.ok ? "" : `The server answers with an error (${reply.status}); it is asked again.`);
    return reply.ok ? reply : null;
  } catch {
    showLink("No answer from the server; it is asked again every two seconds.");
    return null;
  }
}

/** Calls `look` every two seconds, never twice at once, and not while nobody sees the page. */
export function keepLooking(look) {
  let busy = false;
  const once = async () => {
    if (busy || document.hidden) return;
    busy = true;
    try {
      await look();
      freshen();
    } finally {
      busy = false;
    }
  };
  setInterval(once, EVERY_MS);
  document.addEventListener("visibilitychange", once);
}

/** Takes over the parts of `fresh` marked data-live whose data-version differs. Where the admin is typing, later. */
export function takeOver(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (!other || other.dataset.version === part.dataset.version) continue;
    if (part.contains(document.activeElement) && document.activeElement.matches("input, textarea")) continue;
    const open = [...part.querySelectorAll("details[id]")].map((each) => [each.id, each.open]);
    const focused = part.contains(document.activeElement) ? describe(document.activeElement) : null;
    // The element itself stays: it may be a live region, which must not be replaced to be read out.
    part.replaceChildren(...[...other.childNodes].map((node) => document.importNode(node, true)));
    Object.assign(part.dataset, other.dataset);
    for (const [id, was] of open) {
      const details = document.getElementById(id);
      if (details) details.open = was;
    }
    if (focused) part.querySelector(focused)?.focus();
  }
}

function describe(element) {
  if (element.id) return `#${CSS.escape(element.id)}`;
  const details = element.closest("details[id]");
  return details ? `#${CSS.escape(details.id)} > summary` : null;
}

/** Buttons that copy the text of the element they name. Hidden where no script runs. */
function offerCopies() {
  if (!navigator.clipboard) return;
  for (const button of document.querySelectorAll("button[data-copy][hidden]")) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("button[data-copy]");
  if (!button) return;
  const words = button.textContent;
  try {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  } catch {
    button.textContent = "The browser does not allow it";
  }
  button.disabled = true;
  setTimeout(() => { button.textContent = words; button.disabled = false; }, 2000);
});

function freshen() {
  tick();
  offerCopies();
}

freshen();
setInterval(tick, 10000);
