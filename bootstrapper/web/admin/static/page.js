// Pages whose parts are marked data-live: one machine, the unknown machines.

import { ask, keepLooking, parse, takeOver } from "./live.js";

const url = new URL(location.href);
url.searchParams.delete("said");
if (url.href !== location.href) history.replaceState(null, "", url);
url.searchParams.set("live", "1");

keepLooking(async () => {
  const reply = await ask(url, "text/html");
  if (reply) takeOver(parse(await reply.text()));
});
