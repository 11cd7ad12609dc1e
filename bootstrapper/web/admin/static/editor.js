// The description's editor: line numbers, and its problems while it is typed.

const form = document.getElementById("editor-form");
const text = document.getElementById("text");
const gutter = document.getElementById("gutter");
const verdict = document.getElementById("verdict");
const save = document.getElementById("save");
const saveHint = document.getElementById("save-hint");
const plan = document.getElementById("plan");
const DELAY_MS = 400;
const HINT_CHANGED = "Changed since: look once more at what it changes.";

const problems = document.getElementById("problems");
const advice = document.getElementById("advice");
const adviceList = document.getElementById("advice-list");
const adviceCount = document.getElementById("advice-count");

let bad = new Set();
const reviewed = save.disabled ? null : text.value;

function numberLines() {
  const count = text.value.split("\n").length;
  while (gutter.children.length > count) gutter.lastChild.remove();
  const more = document.createDocumentFragment();
  for (let number = gutter.children.length + 1; number <= count; number += 1) {
    const line = document.createElement("span");
    line.textContent = String(number);
    more.append(line);
  }
  gutter.append(more);
  follow();
}

function follow() {
  gutter.scrollTop = text.scrollTop;
}

function mark(lines) {
  for (const number of bad) gutter.children[number - 1]?.classList.remove("bad");
  bad = new Set(lines);
  for (const number of bad) gutter.children[number - 1]?.classList.add("bad");
}

/** Puts the cursor on a line and the line into sight. */
function goTo(number) {
  const lines = text.value.split("\n");
  const start = lines.slice(0, number - 1).reduce((sum, line) => sum + line.length + 1, 0);
  text.focus();
  text.setSelectionRange(start, start + (lines[number - 1] ?? "").length);
  const height = text.scrollHeight / Math.max(lines.length, 1);
  text.scrollTop = Math.max(0, (number - 1) * height - text.clientHeight / 2);
  follow();
}

/** Text as nodes; what stands in backticks as code (pages.mark_code does the same). */
function coded(text) {
  const parts = text.split("`");
  if (parts.length % 2 === 0) return [text];
  return parts.map((part, number) => {
    if (number % 2 === 0) return part;
    const code = document.createElement("code");
    code.textContent = part;
    return code;
  });
}

function item(problem, kind = "line") {
  const entry = document.createElement("li");
  if (problem.line) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = kind;
    button.dataset.line = String(problem.line);
    button.textContent = `line ${problem.line}`;
    entry.append(button);
  }
  if (problem.path) {
    const path = document.createElement("code");
    path.textContent = problem.path;
    entry.append(path, ": ");
  }
  entry.append(...coded(problem.message));
  if (problem.hint) {
    const hint = document.createElement("span");
    hint.className = "hint";
    hint.append(...coded(problem.hint));
    entry.append(hint);
  }
  return entry;
}

const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

function show(found) {
  const pieces = found.advice.length;
  verdict.textContent = found.ok
    ? `No problems${pieces ? `, ${count(pieces, "piece")} of advice` : ""}`
    : count(found.problems.length, "problem");
  problems.replaceChildren(...found.problems.map((each) => item(each)));
  adviceList.replaceChildren(...found.advice.map((each) => item(each, "line mild")));
  adviceCount.textContent = String(pieces);
  advice.hidden = pieces === 0;
  mark(found.problems.map((problem) => problem.line).filter(Boolean));
}

let asked = 0;
let checking = false;

async function check() {
  if (checking) return;
  checking = true;
  const number = asked;
  try {
    const reply = await fetch(form.dataset.check, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRF-Token": document.body.dataset.csrf },
      body: JSON.stringify({ text: text.value }),
    });
    if (reply.status === 401) verdict.textContent = "Not checked, you are logged out: log in in another tab";
    else if (!reply.ok) verdict.textContent = "Not checked: the server refused";
    else if (number === asked) show(await reply.json());
  } catch {
    verdict.textContent = "Not checked: no connection";
  } finally {
    checking = false;
    // A large file takes seconds: what was typed meanwhile is looked at next.
    if (number !== asked) check();
  }
}

let timer = 0;
text.addEventListener("input", () => {
  asked += 1;
  numberLines();
  const same = text.value === reviewed;
  save.disabled = !same;
  if (plan) plan.classList.toggle("stale", !same);
  saveHint.textContent = same ? "" : reviewed === null ? "Saved only after a look at what it changes." : HINT_CHANGED;
  clearTimeout(timer);
  timer = setTimeout(check, DELAY_MS);
});
text.addEventListener("scroll", follow);

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button.line");
  if (button) goTo(Number(button.dataset.line));
});

let leaving = false;

/** Nothing typed is lost by a session that has ended: the form goes only where it is taken, with today's token. */
async function send(button) {
  let reply;
  try {
    reply = await fetch("/description", { headers: { Accept: "text/html" }, cache: "no-store" });
  } catch {
    verdict.textContent = "Not sent: no connection";
    return;
  }
  const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
  const token = fresh.body.dataset.csrf;
  if (!token) {
    verdict.textContent = "Not sent, you are logged out: log in in another tab, then try again here";
    return;
  }
  form.elements.csrf.value = token;
  document.body.dataset.csrf = token;
  leaving = true;
  form.requestSubmit(button);
}

form.addEventListener("submit", (event) => {
  if (leaving) return;
  event.preventDefault();
  send(event.submitter);
});
window.addEventListener("beforeunload", (event) => {
  if (!leaving && text.value !== text.defaultValue) event.preventDefault();
});

numberLines();
mark([...document.querySelectorAll("#problems .line")].map((button) => Number(button.dataset.line)));
if (Number(text.dataset.line)) goTo(Number(text.dataset.line));
if (plan) {
  document.getElementById("plan-title").focus({ preventScroll: true });
  // The plan is what is to be read now, with the button that saves above it.
  save.closest(".row").scrollIntoView({ block: "start" });
} else check();
