// New events, on top, as they happen.

import { ask, keepLooking, parseRows } from "./live.js";

const feed = document.getElementById("feed");
const body = document.getElementById("events");
const none = document.getElementById("no-events");
const KEEP = Number(feed.dataset.keep);

keepLooking(async () => {
  const live = new URL(feed.dataset.url, location.href);
  live.searchParams.set("after", feed.dataset.after);
  live.searchParams.set("machine", feed.dataset.machine);
  live.searchParams.set("level", feed.dataset.level);
  const reply = await ask(live);
  if (!reply) return;
  const { after, rows } = await reply.json();
  feed.dataset.after = after;
  const fresh = parseRows(rows);
  if (!fresh.length) return;
  body.prepend(...fresh.map((row) => document.importNode(row, true)));
  while (body.rows.length > KEEP) body.rows[body.rows.length - 1].remove();
  none.hidden = true;
});
