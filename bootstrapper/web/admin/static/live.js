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

function tick() {
  const now = Date.now() / 1000 + behind;
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

function showLink(lost) {
  if (!light) return;
  const text = lost ? "No connection" : "Live";
  light.hidden = false;
  light.dataset.state = lost ? "lost" : "live";
  if (light.textContent !== text) light.textContent = text;
}

/** The reply to a GET, or null (and the page says so) when the server cannot be reached. */
export async function ask(url, accept = "application/json") {
  try {
    const reply = await fetch(url, { headers: { Accept: accept }, cache: "no-store" });
    if (reply.status === 401 || new URL(reply.url).pathname === "/login") {
      location.assign("/login");
      return null;
    }
    showLink(reply.status >= 500);
    return reply.ok ? reply : null;
  } catch {
    showLink(true);
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
      tick();
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

tick();
setInterval(tick, 10000);
