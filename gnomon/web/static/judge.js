// The page where people judge: shows items, collects answers and sends them.

import { make } from "./cards.js";
import { IDLE, sinceInput, restart, seconds } from "./clock.js";
import { markDifference } from "./difference.js";
import { question, at, draftOf, dropDraft, forgetRefused, storeJudgement, storeDraft, markGuidelinesRead, guidelinesRead, isTemporary, outbox, refused, sendAll, texts, who } from "./storage.js";
import { translateReason, post, Refused, uuid } from "./posting.js";
import { pair } from "./pair.js";
import { ranking } from "./ranking.js";
import { qualification } from "./qualification.js";
import { rewriting } from "./rewrite.js";
import { scaleOf, scores } from "./scores.js";
import { writing } from "./written.js";

const BEAT = 60_000, RETRY = [1_000, 3_000, 10_000, 30_000];
// Half to one and a half times the delay, so that pages that lost the server together do not return together.
const retryDelay = (tries) => RETRY[Math.min(tries, RETRY.length - 1)] * (0.5 + Math.random());
const AT_ONCE = question.task === "pair" && !question.confidence && !question.rewrite; // a choice alone is submitted at once

let task = null, corrects = null, done = 0, failures = 0, sending = false;
let turn = 0; // counts requests for an item; the response to an older request is ignored

const answer = { pair, ranking, rating: scores, likert: scores, demonstration: writing }[question.task]((choice) => { if (choice && AT_ONCE) submit(); else saveDraft(); });
const rewrite = question.rewrite ? rewriting(saveDraft) : null;
const sure = question.confidence ? scaleOf(texts.sure, "", texts.sure_steps.map((shown, step) => [step / 4, shown, ""]), null, saveDraft) : null;
if (sure) {
  at("sure").append(sure.group);
  sure.group.querySelector("legend").append(" ", make("kbd", {}, "Shift 1 … 5"));
}

// --- Status ----------------------------------------------------------------------------------------------------------

function showStatus(text = "", warn = false) {
  const waiting = outbox().length, lost = refused(), parts = [texts.done.replace("{n}", done)];
  if (waiting) parts.push(texts.sending.replace("{n}", waiting));
  if (lost.length) parts.push(texts.refused.replace("{n}", lost.length).replace("{why}", translateReason(lost.at(-1).why, texts.refusals)));
  if (text) parts.push(text);
  at("status").textContent = parts.join(" · ");
  at("status").classList.toggle("warn", warn || lost.length > 0);
  at("seen").hidden = !lost.length;
  const lostTexts = lost.map((one) => one.answer?.text).filter(Boolean);
  if (at("lost")) at("lost").hidden = !lostTexts.length;
  if (at("lost")) at("lost-text").value = lostTexts.join("\n\n———\n\n");
}

function showError(error) {
  if (error instanceof Refused && error.status === 401) showStatus(texts.session, true);
  else if (error instanceof Refused && error.status < 500) showStatus(translateReason(error.message, texts.refusals), true);
  else showStatus(texts.offline, true);
}

// --- Items -----------------------------------------------------------------------------------------------------------

function show(shownTask, previous) { // previous: the judgement to correct, or the draft
  task = shownTask;
  at("work").hidden = !task;
  at("nothing").hidden = Boolean(task);
  if (task) at("paused").hidden = true;
  if (task && at("finished")) at("finished").hidden = true;
  at("failed").hidden = true;
  questions.show(task);
  if (!task) return;
  at("prompt").replaceChildren(...task.prompt.map((turn) => {
    const row = document.createElement("div"), who = document.createElement("div"), message = document.createElement("div");
    row.className = "turn"; who.className = "who"; message.className = "message";
    who.textContent = texts.roles[turn.role];
    message.innerHTML = turn.html; // markdown that the server rendered from an allow-list; the CSP blocks all scripts in it
    row.append(who, message);
    return row;
  }));
  answer.show(task, previous.answer ?? {});
  rewrite?.show(previous.answer?.rewrite);
  if (sure) sure.value = previous.confidence ?? null;
  at("reason").value = previous.reason ?? "";
  at("compare").hidden = task.completions.length !== 2;
  at("compare").setAttribute("aria-pressed", "false");
  at("differ").textContent = at("missing").textContent = "";
  at("correcting").hidden = at("leave").hidden = !corrects;
  at("skip").hidden = at("undo").hidden = Boolean(corrects || task.question);
  at("announcement").textContent = corrects ? texts.correcting : ""; // for screen readers
  focusLongCode();
  updateReasonHint();
  restart(previous.seconds); // of a draft, so that the time before a reload counts
  scrollTo(0, 0);
}

function focusLongCode() { // makes code that is wider than its card scrollable by keys
  for (const code of document.querySelectorAll("#work pre")) if (code.scrollWidth > code.clientWidth) code.tabIndex = 0;
}

async function next() {
  const request = ++turn;
  try {
    const response = await post("/api/task", { who });
    if (request !== turn) return;
    done = response.done;
    corrects = null;
    show(response.task, (response.task && (draftOf(response.task.item) ?? response.task.draft)) || {});
    at("paused").hidden = !response.paused || Boolean(task);
    at("nothing").hidden ||= response.paused;
    if (response.failed) at("failed").hidden = !(at("nothing").hidden = true);
    if (response.finish) showFinish(response.finish);
    showStatus();
  } catch (error) {
    if (request !== turn) return;
    showError(error);
    if (isTemporary(error)) setTimeout(() => { if (request === turn) next(); }, retryDelay(2));
  }
}

function showFinish({ code, address }) { // the end for a worker of a crowd platform
  at("nothing").hidden = at("paused").hidden = true;
  at("finished").hidden = false;
  at("code").textContent = code;
  at("back").hidden = !address;
  if (address) at("back").querySelector("a").href = address;
  at("finished").focus();
}

function compare() {
  if (!task || task.completions.length !== 2) return;
  const sides = [...document.querySelectorAll("#answers .text")], on = at("compare").getAttribute("aria-pressed") !== "true";
  sides.forEach((side, index) => { side.innerHTML = task.completions[index].html; });
  at("compare").setAttribute("aria-pressed", String(on));
  const words = on ? markDifference(...sides) : 0;
  focusLongCode();
  at("differ").textContent = !on ? "" : words === null ? texts.too_long : texts.differ.replace("{n}", words);
}

const questions = qualification(answer, next, showError); // before the first item, where the project has some

// --- Answers ---------------------------------------------------------------------------------------------------------

const soFar = () => ({ answer: { ...answer.soFar(), ...rewrite?.soFar() }, reason: at("reason").value, confidence: sure?.value ?? null });

function saveDraft() { // a judgement under correction stays unchanged until it is submitted again
  updateReasonHint();
  at("missing").textContent = "";
  if (!task || corrects || task.question) return;
  try { storeDraft(task.item, { ...soFar(), seconds: seconds() }); } catch { showStatus(texts.blocked, true); }
}

function missing() {
  const unsure = sure && sure.value === null && !task.question, problem = answer.missing() || rewrite?.missing() || (unsure ? texts.sure_missing : "");
  if (unsure && problem === texts.sure_missing) sure.focus();
  return problem;
}

function submit() {
  if (!task) return;
  const problem = missing();
  at("missing").textContent = problem;
  if (problem) return;
  if (task.question) { questions.send(task, answer.soFar(), () => { task = null; }); return; }
  try { storeJudgement({ id: uuid(), who, item: task.item, ...soFar(), corrects, seconds: seconds() }); } catch { showStatus(texts.blocked, true); return; }
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
    showError(error);
    setTimeout(send, retryDelay(failures++));
  }
}

async function skip() {
  if (!task || task.question) return;
  if (corrects) { showStatus(texts.cannot_skip); return; }
  const request = ++turn, before = task;
  task = null; // keys must not judge an item that is about to disappear
  try {
    await post("/api/skip", { who, item: before.item, reason: at("reason").value });
    dropDraft(before.item);
    if (request === turn) await next();
  } catch (error) {
    if (request === turn) task = before;
    showError(error);
  }
}

async function undo() {
  if (task?.question || !at("feedback").hidden) return;
  if (corrects) { leave(); return; }
  if (outbox().length) return; // a judgement must reach the server before it can be corrected
  const request = ++turn, before = task;
  task = null; // keys must not judge an item that is about to disappear
  try {
    const last = await post("/api/last", { who });
    if (request !== turn) return;
    if (!last.task) { task = before; showStatus(texts.nothing_to_undo); return; }
    corrects = last.corrects;
    show(last.task, last);
    showStatus();
  } catch (error) {
    if (request === turn) task = before;
    showError(error);
  }
}

function leave() { // ends a correction without a change
  if (!task || !corrects) return;
  task = null;
  document.activeElement?.blur();
  next();
}

async function edit() {
  if (task) answer.edit?.();
  if (!task || !rewrite || task.question) return;
  const best = answer.best(), edited = task;
  if (best === null) { at("missing").textContent = answer.missing(); return; }
  try { await rewrite.begin(edited.item, best, () => task === edited); } catch (error) { showError(error); }
}

// --- Panels, keys, heartbeat -----------------------------------------------------------------------------------------

function unfold(name, open) {
  at(name).hidden = !open;
  at(`${name}-button`).setAttribute("aria-expanded", String(open));
}

function toggle(name) {
  const open = at(name).hidden;
  unfold(name, open);
  if (open) at(name).focus();
  else if (name === "guidelines") markGuidelinesRead();
}

function updateReasonHint() {
  const written = [...at("reason").value.trim()].length;
  if (question.shortest) at("reason-hint").textContent = texts.reason_hint.replace("{n}", written).replace("{least}", question.shortest);
  if (question.shortest) at("reason-hint").classList.toggle("met", written >= question.shortest);
}

const KEYS = { s: skip, u: undo, g: () => toggle("guidelines"), "?": () => toggle("help"), d: compare, e: edit };
addEventListener("keydown", (event) => {
  if (event.isComposing) return; // keys of an input method
  if (event.ctrlKey && event.key === "Enter" && !event.repeat) { event.preventDefault(); submit(); return; }
  if (event.target instanceof HTMLTextAreaElement) { if (event.key === "Escape") event.target.blur(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const step = /^Digit([1-5])$/.exec(event.code)?.[1];
  if (Object.hasOwn(KEYS, event.key)) KEYS[event.key]();
  else if (event.key === "Enter" && !event.target.closest?.("button, a")) submit();
  else if (sure && step && !/^\d$/.test(event.key)) { sure.value = (step - 1) / 4; saveDraft(); } // Shift and a digit
  else if (event.key.startsWith("Arrow") && (event.target.type === "radio" || event.target.closest?.("pre"))) return; // keys of the element itself
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
at("undo-finished")?.addEventListener("click", undo);
at("again").addEventListener("click", next);
at("seen").addEventListener("click", () => { forgetRefused(); showStatus(); });
at("guidelines-button").addEventListener("click", () => toggle("guidelines"));
at("guidelines-close").addEventListener("click", (event) => { event.currentTarget.blur(); toggle("guidelines"); });
at("help-button").addEventListener("click", () => toggle("help"));
at("reason").addEventListener("input", saveDraft);
addEventListener("online", () => send());

const MAX_DRAFT = 60_000; // characters; the server takes no larger request, and the browser keeps the draft anyway
async function sendHeartbeat(more = {}) {
  if (!task || corrects || task.question) return;
  const draft = { ...soFar(), seconds: seconds() };
  if (JSON.stringify(draft).length > MAX_DRAFT) delete draft.answer;
  try { await post("/api/heartbeat", { who, item: task.item, ...draft }, more); } catch (error) { if (!more.keepalive) showError(error); }
}
setInterval(() => { seconds(); if (sinceInput() < 10 * IDLE) sendHeartbeat(); }, BEAT); // without input, the lease may expire
addEventListener("visibilitychange", () => { if (document.visibilityState === "hidden") sendHeartbeat({ keepalive: true }); });

unfold("guidelines", !guidelinesRead());
showStatus();
send();
