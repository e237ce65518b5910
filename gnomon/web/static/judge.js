// The page where people judge: which item is shown, what is answered, and how it goes on its way.

import { make } from "./cards.js";
import { IDLE, quietFor, restart, seconds } from "./clock.js";
import { markDifference } from "./difference.js";
import { asking, at, draftOf, dropDraft, forgetRefused, keepAnswer, keepDraft, keepGuidelinesRead, guidelinesRead, mayPass, outbox, refused, sendAll, texts, who } from "./kept.js";
import { inWords, post, Refused, uuid } from "./posting.js";
import { pair } from "./pair.js";
import { ranking } from "./ranking.js";
import { rewriting } from "./rewrite.js";
import { scaleOf, scores } from "./scores.js";

const BEAT = 60_000, RETRY = [1_000, 3_000, 10_000, 30_000];
// Half as long or half as long again: pages that lost the server together do not come back together.
const soon = (tries) => RETRY[Math.min(tries, RETRY.length - 1)] * (0.5 + Math.random());
const AT_ONCE = asking.task === "pair" && !asking.confidence && !asking.rewrite; // a choice is all that is asked

let task = null, corrects = null, done = 0, failures = 0, sending = false;
let turn = 0; // counts what was asked to be shown; an answer to an older question changes nothing

const answer = { pair, ranking, rating: scores, likert: scores }[asking.task]((made) => { if (made && AT_ONCE) submit(); else keep(); });
const rewrite = asking.rewrite ? rewriting(keep) : null;
const sure = asking.confidence ? scaleOf(texts.sure, "", texts.sure_steps.map((shown, step) => [step / 4, shown, ""]), null, keep) : null;
if (sure) {
  at("sure").append(sure.group);
  sure.group.querySelector("legend").append(" ", make("kbd", {}, "Shift 1 … 5"));
}

// --- Saying ----------------------------------------------------------------------------------------------------------

function say(text = "", warn = false) {
  const waiting = outbox().length, lost = refused(), parts = [texts.done.replace("{n}", done)];
  if (waiting) parts.push(texts.sending.replace("{n}", waiting));
  if (lost.length) parts.push(texts.refused.replace("{n}", lost.length).replace("{why}", inWords(lost.at(-1).why, texts.refusals)));
  if (text) parts.push(text);
  at("status").textContent = parts.join(" · ");
  at("status").classList.toggle("warn", warn || lost.length > 0);
  at("seen").hidden = !lost.length;
}

function trouble(error) {
  if (error instanceof Refused && error.status === 401) say(texts.session, true);
  else if (error instanceof Refused && error.status < 500) say(inWords(error.message, texts.refusals), true);
  else say(texts.offline, true);
}

// --- Showing ---------------------------------------------------------------------------------------------------------

function show(found, said) { // said: the earlier answer that is corrected, or what was answered so far
  task = found;
  at("work").hidden = !task;
  at("nothing").hidden = Boolean(task);
  if (task) at("paused").hidden = true;
  if (!task) return;
  at("prompt").replaceChildren(...task.prompt.map((turn) => {
    const row = document.createElement("div"), who = document.createElement("div"), said = document.createElement("div");
    row.className = "turn"; who.className = "who"; said.className = "said";
    who.textContent = texts.roles[turn.role];
    said.innerHTML = turn.html; // markdown that the server rendered from an allow-list; the policy runs no script in it
    row.append(who, said);
    return row;
  }));
  answer.show(task, said.answer ?? {});
  rewrite?.show(said.answer?.rewrite);
  if (sure) sure.value = said.confidence ?? null;
  at("reason").value = said.reason ?? "";
  at("compare").hidden = task.completions.length !== 2;
  at("compare").setAttribute("aria-pressed", "false");
  at("differ").textContent = at("missing").textContent = "";
  at("correcting").hidden = at("leave").hidden = !corrects;
  at("skip").hidden = at("undo").hidden = Boolean(corrects);
  at("said").textContent = corrects ? texts.correcting : ""; // for who does not see the line above the item
  reachCode();
  length();
  restart();
  scrollTo(0, 0);
}

function reachCode() { // lines that are longer than their card are scrolled by keys too
  for (const code of document.querySelectorAll("#work pre")) if (code.scrollWidth > code.clientWidth) code.tabIndex = 0;
}

async function next() {
  const mine = ++turn;
  try {
    const found = await post("/api/task", { who });
    if (mine !== turn) return;
    done = found.done;
    corrects = null;
    show(found.task, (found.task && (draftOf(found.task.item) ?? found.task.draft)) || {});
    at("paused").hidden = !found.paused || Boolean(task);
    at("nothing").hidden ||= found.paused;
    say();
  } catch (error) {
    if (mine !== turn) return;
    trouble(error);
    if (mayPass(error)) setTimeout(() => { if (mine === turn) next(); }, soon(2));
  }
}

function compare() {
  if (!task || task.completions.length !== 2) return;
  const sides = [...document.querySelectorAll("#answers .text")], on = at("compare").getAttribute("aria-pressed") !== "true";
  sides.forEach((side, place) => { side.innerHTML = task.completions[place].html; });
  at("compare").setAttribute("aria-pressed", String(on));
  const words = on ? markDifference(...sides) : 0;
  reachCode();
  at("differ").textContent = !on ? "" : words === null ? texts.too_long : texts.differ.replace("{n}", words);
}

// --- Answering -------------------------------------------------------------------------------------------------------

const soFar = () => ({ answer: { ...answer.soFar(), ...rewrite?.soFar() }, reason: at("reason").value, confidence: sure?.value ?? null });

function keep() { // what is being corrected stands as it is until it is answered again
  length();
  at("missing").textContent = "";
  if (!task || corrects) return;
  try { keepDraft(task.item, soFar()); } catch { say(texts.blocked, true); }
}

function missing() {
  const unsure = sure && sure.value === null, left = answer.missing() || rewrite?.missing() || (unsure ? texts.sure_missing : "");
  if (unsure && left === texts.sure_missing) sure.focus();
  return left;
}

function submit() {
  if (!task) return;
  const left = missing();
  at("missing").textContent = left;
  if (left) return;
  try { keepAnswer({ id: uuid(), who, item: task.item, ...soFar(), corrects, seconds: seconds() }); } catch { say(texts.blocked, true); return; }
  task = null;
  document.activeElement?.blur();
  send();
}

async function send() {
  if (sending) return;
  sending = true;
  try {
    await sendAll();
    failures = 0;
    sending = false;
    if (!task) await next();
  } catch (error) {
    sending = false;
    trouble(error);
    setTimeout(send, soon(failures++));
  }
}

async function skip() {
  if (!task) return;
  if (corrects) { say(texts.cannot_skip); return; }
  const mine = ++turn, before = task;
  task = null; // no key judges what is about to leave the screen
  try {
    await post("/api/skip", { who, item: before.item, reason: at("reason").value });
    dropDraft(before.item);
    if (mine === turn) await next();
  } catch (error) {
    if (mine === turn) task = before;
    trouble(error);
  }
}

async function undo() {
  if (corrects) { leave(); return; }
  if (outbox().length) return; // what is on its way must arrive before it can be corrected
  const mine = ++turn, before = task;
  task = null; // no key judges what is about to leave the screen
  try {
    const last = await post("/api/last", { who });
    if (mine !== turn) return;
    if (!last.task) { task = before; say(texts.nothing_to_undo); return; }
    corrects = last.corrects;
    show(last.task, last);
    say();
  } catch (error) {
    if (mine === turn) task = before;
    trouble(error);
  }
}

function leave() { // what was to be corrected stays as it was
  if (!task || !corrects) return;
  task = null;
  document.activeElement?.blur();
  next();
}

async function edit() {
  if (!task || !rewrite) return;
  const best = answer.best(), asked = task;
  if (best === null) { at("missing").textContent = answer.missing(); return; }
  try { await rewrite.begin(asked.item, best, () => task === asked); } catch (error) { trouble(error); }
}

// --- Panels, keys, beats ---------------------------------------------------------------------------------------------

function unfold(name, open) {
  at(name).hidden = !open;
  at(`${name}-button`).setAttribute("aria-expanded", String(open));
}

function toggle(name) {
  const open = at(name).hidden;
  unfold(name, open);
  if (open) at(name).focus();
  else if (name === "guidelines") keepGuidelinesRead();
}

function length() {
  const written = [...at("reason").value.trim()].length;
  if (asking.shortest) at("reason-hint").textContent = texts.reason_hint.replace("{n}", written).replace("{least}", asking.shortest);
  if (asking.shortest) at("reason-hint").classList.toggle("met", written >= asking.shortest);
}

const KEYS = { s: skip, u: undo, g: () => toggle("guidelines"), "?": () => toggle("help"), d: compare, e: edit };
addEventListener("keydown", (event) => {
  if (event.ctrlKey && event.key === "Enter" && !event.repeat) { event.preventDefault(); submit(); return; }
  if (event.target instanceof HTMLTextAreaElement) { if (event.key === "Escape") event.target.blur(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const step = /^Digit([1-5])$/.exec(event.code)?.[1];
  if (Object.hasOwn(KEYS, event.key)) KEYS[event.key]();
  else if (event.key === "Enter" && !event.target.closest?.("button, a")) submit();
  else if (sure && step && !/^\d$/.test(event.key)) { sure.value = (step - 1) / 4; keep(); } // Shift and a digit
  else if (event.key.startsWith("Arrow") && (event.target.type === "radio" || event.target.closest?.("pre"))) return; // theirs
  else if (!task || !answer.key(event)) return;
  event.preventDefault();
});
at("submit").addEventListener("click", submit);
at("skip").addEventListener("click", skip);
at("undo").addEventListener("click", undo);
at("leave").addEventListener("click", leave);
at("compare").addEventListener("click", compare);
at("edit")?.addEventListener("click", edit);
at("undo-last").addEventListener("click", undo);
at("again").addEventListener("click", next);
at("seen").addEventListener("click", () => { forgetRefused(); say(); });
at("guidelines-button").addEventListener("click", () => toggle("guidelines"));
at("guidelines-close").addEventListener("click", (event) => { event.currentTarget.blur(); toggle("guidelines"); });
at("help-button").addEventListener("click", () => toggle("help"));
at("reason").addEventListener("input", keep);
addEventListener("online", () => send());

async function beat(more = {}) {
  if (!task || corrects) return;
  try { await post("/api/heartbeat", { who, item: task.item, ...soFar() }, more); } catch (error) { if (!more.keepalive) trouble(error); }
}
setInterval(() => { seconds(); if (quietFor() < 10 * IDLE) beat(); }, BEAT); // nobody is there: the lease may run out
addEventListener("visibilitychange", () => { if (document.visibilityState === "hidden") beat({ keepalive: true }); });

unfold("guidelines", !guidelinesRead());
say();
send();
