"use strict";
// The alarms of this server, as they come: a list from v2/alarms, then its feed with resume.
// Texts of the server go into textContent alone.

const SHOWN = 500; // newest alarms that the page asks for
const SILENT = 40000; // milliseconds without a sign of life
const $ = (id) => document.getElementById(id);
const alarms = new Map(); // by id, as the server tells them
const cards = new Map(); // by id, their elements
const dirty = new Set(); // ids to ask for anew
let lastEvent = 0;
let floods = new Map(); // by line
let drifts = new Map(); // by stream, model and version
let wait = 1000;
let lost = null; // since when there is no connection
let locked = false; // whether nothing is answered without another key

// --- asking --------------------------------------------------------------------------------

class Refused extends Error {}

async function ask(path, options = {}) {
  const headers = { accept: "application/json", ...options.headers };
  const key = sessionStorage.getItem("glassline-key");
  if (key) headers.authorization = `Bearer ${key}`;
  const answer = await fetch(path, { ...options, headers, cache: "no-store" });
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  if (answer.status === 401) locked = true;
  if (answer.status === 401 || answer.status === 403) wantKey(said.error || "");
  throw new Refused(said.error || `the server answers ${answer.status}.`);
}

const told = async (path, options) => (await ask(path, options)).json();

function send(path, said) {
  const headers = { "content-type": "application/json" };
  return told(path, { method: "POST", headers, body: JSON.stringify(said) });
}

function wantKey(why) {
  $("key").hidden = false;
  $("without").hidden = !sessionStorage.getItem("glassline-key");
  $("why").textContent = why;
  if (document.activeElement === document.body) $("token").focus();
}

function useKey(key) {
  if (key) sessionStorage.setItem("glassline-key", key);
  else sessionStorage.removeItem("glassline-key");
  $("token").value = "";
  $("key").hidden = true;
  locked = false;
  wake();
}

$("key").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey($("token").value.trim());
});
$("without").addEventListener("click", () => useKey(""));

// --- following -----------------------------------------------------------------------------

let wake = () => {};
const pause = (ms) =>
  new Promise((done) => {
    const timer = setTimeout(done, ms);
    wake = () => {
      clearTimeout(timer);
      done();
    };
  });

async function follow() {
  for (;;) {
    try {
      await refresh();
      await listen();
    } catch (error) {
      lost ??= new Date();
      say("lost", `not connected since ${clock(lost)}: what is shown may be old`);
    }
    // A key that is asked for comes when a person has it; everything else is tried again.
    await pause(locked ? 3600e3 : wait);
    wait = Math.min(2 * wait, 10000);
  }
}

async function refresh() {
  const said = await told(`v2/alarms?limit=${SHOWN}`);
  lastEvent = said.last_event_id;
  alarms.clear();
  for (const one of said.alarms) alarms.set(one.alarm, one);
  floods = new Map(said.floods.map((one) => [one.line, one]));
  drifts = new Map(said.drifts.map((one) => [one.alarm, one]));
  draw();
}

async function listen() {
  const headers = { accept: "text/event-stream", "last-event-id": String(lastEvent) };
  const stop = new AbortController();
  // The server gives a sign of life every 15 seconds: silence is a lost connection.
  let silence = setTimeout(() => stop.abort(), SILENT);
  try {
    const answer = await ask("v2/alarms", { headers, signal: stop.signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    say("live", "live");
    lost = null;
    wait = 1000;
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Error("the feed has ended");
      clearTimeout(silence);
      silence = setTimeout(() => stop.abort(), SILENT);
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      blocks.forEach(take);
    }
  } finally {
    clearTimeout(silence);
  }
}

function take(block) {
  const fields = Object.fromEntries(
    block.split("\n").map((line) => [line.split(": ", 1)[0], line.slice(line.indexOf(": ") + 2)])
  );
  if (!fields.id) return;
  lastEvent = Number(fields.id);
  const event = JSON.parse(fields.data);
  if (event.change.startsWith("flood")) {
    if (event.change === "flood-begun") floods.set(event.line, event);
    else floods.delete(event.line);
  } else if (event.change.startsWith("drift")) {
    if (event.change === "drift-begun") drifts.set(event.alarm, event);
    else drifts.delete(event.alarm);
  } else {
    look(event.alarm);
    if (event.change === "raised") {
      forget();
      $("new").textContent = `New alarm: ${event.stream}`;
      setTimeout(look, 3000, event.alarm); // its explanation is asked for by then
    }
    return;
  }
  drawNotices();
}

// A tab that is open for months holds no more than one that was opened now.
function forget() {
  const over = [...alarms.values()].filter((one) => rank(one) === 3).sort((a, b) => (a.raised < b.raised ? -1 : 1));
  for (const one of over.slice(0, Math.max(0, alarms.size - SHOWN))) alarms.delete(one.alarm);
}

let looking = false;
async function look(id) {
  dirty.add(id);
  if (looking) return;
  looking = true;
  await new Promise((done) => setTimeout(done, 50)); // events come in bunches
  while (dirty.size) {
    const some = [...dirty].slice(0, 8);
    some.forEach((one) => dirty.delete(one));
    const found = some.map((one) => told(`v2/alarms/${encodeURIComponent(one)}`));
    for (const one of await Promise.allSettled(found))
      if (one.status === "fulfilled") alarms.set(one.value.alarm, one.value);
    draw();
  }
  looking = false;
}

// --- drawing -------------------------------------------------------------------------------

const STATES = [
  ["new", "▲ In alarm", "nobody has acknowledged it"],
  ["seen", "△ In alarm", "acknowledged"],
  ["over", "◇ Over", "not acknowledged"],
  ["done", "✓ Over", "acknowledged"],
];

const rank = (one) => (one.active ? 0 : 2) + (one.acknowledged ? 1 : 0);
const open = (one) => rank(one) < 3 && !(one.shelved && !one.active);
const clock = (date) => date.toLocaleTimeString([], { hour12: false });

function when(text) {
  const date = new Date(text);
  const today = date.toDateString() === new Date().toDateString();
  return today ? clock(date) : `${date.toLocaleDateString()} ${clock(date)}`;
}

function say(how, text) {
  $("link").className = how;
  $("link").textContent = text;
  document.querySelector("#notices").className = how;
}

function draw() {
  const all = [...alarms.values()];
  const shown = all
    .filter((one) => $("show").value === "all" || open(one))
    .sort((a, b) => rank(a) - rank(b) || (a.raised < b.raised ? 1 : -1));
  const focused = document.activeElement;
  const list = $("alarms");
  const wanted = new Set(shown.map((one) => one.alarm));
  for (const [id, card] of cards)
    if (!wanted.has(id) && !card.contains(focused)) {
      card.remove();
      cards.delete(id);
    }
  shown.forEach((one, at) => {
    if (!cards.has(one.alarm)) cards.set(one.alarm, newCard(one.alarm));
    const card = cards.get(one.alarm);
    fill(card, one);
    if (list.children[at] !== card) list.insertBefore(card, list.children[at] || null);
  });
  // A card that was taken out of the list while somebody is in it keeps its place until they leave.
  for (const [id, card] of cards) if (!wanted.has(id) && alarms.has(id)) fill(card, alarms.get(id));
  if (focused && focused !== document.activeElement && focused.isConnected) focused.focus();
  const fresh = all.filter((one) => rank(one) === 0).length;
  const active = all.filter((one) => one.active).length;
  $("counts").textContent = `${active} in alarm, ${fresh} of them not acknowledged`;
  document.title = fresh ? `(${fresh}) Alarms` : "Alarms";
  $("none").hidden = shown.length > 0;
  drawNotices();
}

function drawNotices() {
  const notices = [];
  for (const flood of floods.values()) {
    const text = `Flood of alarms on line ${flood.line} since ${when(flood.time)}: more than 10 in 10 minutes.`;
    notices.push(notice("flood", text));
  }
  for (const drift of drifts.values()) {
    const names = (drift.signals || []).map((one) => one.signal).join(", ");
    const text = `${drift.stream} has drifted (${names}), told at ${when(drift.time)}. Advice: ${drift.advice}.`;
    const one = notice("drift", text);
    const button = document.createElement("button");
    button.textContent = "Drift page";
    const path = `v2/models/${drift.model}/versions/${drift.version}/streams/${drift.stream}/drift`;
    button.addEventListener("click", () => page(path, one));
    one.append(button);
    notices.push(one);
  }
  const texts = (nodes) => [...nodes].map((one) => one.textContent).join("\n");
  if (texts($("notices").children) !== texts(notices)) $("notices").replaceChildren(...notices);
}

function notice(kind, text) {
  const one = document.createElement("p");
  one.className = `notice ${kind}`;
  one.append(document.createElement("span"));
  one.firstChild.textContent = text;
  return one;
}

function newCard(id) {
  const card = $("card").content.firstElementChild.cloneNode(true);
  card.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) act(card, id, button.dataset).catch((error) => answer(card, error.message));
  });
  return card;
}

function fill(card, one) {
  const [kind, state, of] = STATES[rank(one)];
  const put = (where, text) => (card.querySelector(where).textContent = text);
  card.className = kind;
  put(".state", `${state}, ${of}`);
  put(".when", `since ${when(one.raised)}${one.cleared ? ` to ${when(one.cleared)}` : ""}`);
  card.querySelector(".when").title = `${one.raised} UTC`;
  put(".name", one.stream);
  const named = (one.contributors || []).map((c) => `${c.sensor} ${Math.round(100 * c.share)} %`);
  put(".sensors", named.length ? `most of it: ${named.join(", ")}` : "");
  const tags = [
    one.shelved && "shelved", one.judged && `called ${one.judged}`, one.confirmed && "confirmed",
  ];
  card.querySelector(".tags").replaceChildren(
    ...tags.filter(Boolean).map((text) => Object.assign(document.createElement("span"), { textContent: text }))
  );
  const allowed = {
    acknowledge: !one.acknowledged, confirm: one.acknowledged && !one.confirmed,
    shelve: !one.shelved, unshelve: one.shelved, reset: one.active,
  };
  for (const button of card.querySelectorAll("[data-act]")) {
    // What somebody stands on is not taken from under them.
    button.hidden = !allowed[button.dataset.act] && button !== document.activeElement;
    button.setAttribute("aria-label", `${button.textContent}: ${one.stream}`);
  }
  for (const button of card.querySelectorAll("[data-verdict]")) {
    const chosen = button.dataset.verdict === one.judged;
    button.setAttribute("aria-pressed", String(chosen));
    button.setAttribute("aria-label", `${button.textContent}: ${one.stream}`);
    button.title = chosen ? "the last word" : "say whether there was something";
  }
  card.querySelector("[data-show]").setAttribute("aria-label", `Why? Explanation: ${one.stream}`);
  put(".facts", `${one.alarm} · score ${one.score?.toPrecision(4)}, p-value ${one.p_value?.toPrecision(2)}, level ${one.alpha?.toPrecision(2)}`);
  card.querySelector(".changes").replaceChildren(
    ...one.changes.map((c) => {
      const words = [`${when(c.time)} ${c.change}`, c.by && `by ${c.by}`, c.comment && `: ${c.comment}`];
      return Object.assign(document.createElement("li"), { textContent: words.filter(Boolean).join(" ") });
    })
  );
}

function answer(card, text, good = false) {
  const said = card.querySelector(".said");
  said.textContent = text;
  said.classList.toggle("good", good);
}

// --- acting --------------------------------------------------------------------------------

async function act(card, id, chosen) {
  answer(card, "");
  const path = `v2/alarms/${encodeURIComponent(id)}`;
  if (chosen.show) return explain(card, id);
  const by = $("by").value.trim();
  if (!by) {
    $("by").focus();
    throw new Error("Say who you are first, at the top: what you do is recorded with your name.");
  }
  const comment = card.querySelector(".comment input");
  const said = { by, ...(comment.value.trim() && { comment: comment.value.trim() }) };
  if (chosen.verdict) {
    const done = await send(`${path}/feedback`, { ...said, verdict: chosen.verdict });
    answer(card, `Called ${chosen.verdict}. Calibration: ${done.calibration}. Budget: ${done.budget}.`, true);
  } else {
    const minutes = chosen.act === "shelve" && card.querySelector(".more select").value;
    await send(`${path}/${chosen.act}`, { ...said, ...(minutes && { minutes: Number(minutes) }) });
  }
  comment.value = "";
  await look(id);
}

async function explain(card, id) {
  const one = await told(`v2/alarms/${encodeURIComponent(id)}`);
  if (!one.job) throw new Error(`There is no explanation: ${one.unexplained || "not asked for yet; try again in a moment"}.`);
  for (let tries = 0; tries < 120; tries++) {
    const job = await told(`v2/jobs/${one.job}`);
    if (job.explanation_id) return page(`v2/explanations/${job.explanation_id}`, card.querySelector(".said"));
    if (job.error) throw new Error(job.error.message);
    const { samples_done: done, samples } = job.progress;
    answer(card, `The explanation is being made: ${done ?? 0}${samples ? ` of ${samples}` : ""} samples.`, true);
    await new Promise((go) => setTimeout(go, 1000));
  }
}

// A page that wants the key is fetched with it, and opened from here.
async function page(path, where) {
  try {
    const body = await (await ask(path, { headers: { accept: "text/html" } })).blob();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(body);
    link.target = "_blank";
    link.textContent = "Open the page";
    where.querySelectorAll("a").forEach((old) => old.remove());
    if (where.classList.contains("said")) where.textContent = "";
    where.append(" ", link);
    link.click();
  } catch (error) {
    where.append(` ${error.message}`);
  }
}

$("by").value = localStorage.getItem("glassline-by") || "";
$("by").addEventListener("change", () => localStorage.setItem("glassline-by", $("by").value));
$("show").addEventListener("change", draw);
$("alarms").addEventListener("focusout", () => setTimeout(draw));
follow();
