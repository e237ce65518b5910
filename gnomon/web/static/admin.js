// The administrators' and reviewers' pages: forms that are sent as JSON, links for new people, live progress.

import { inWords, post, Refused, send, uuid } from "./posting.js";

const at = (id) => document.getElementById(id);
const texts = JSON.parse(document.querySelector("main").dataset.texts);
const BEAT = 5_000;

const why = (error) => (error instanceof Refused && inWords(error.message, texts.refusals)) || texts.failed;

// --- Forms -----------------------------------------------------------------------------------------------------------

const VALUES = {
  yes: (field) => field.checked,
  whole: (field) => (field.value === "" ? null : Number(field.value)),
  number: (field) => (field.value === "" ? null : Number(field.value)),
  lines: (field) => field.value.split("\n").map((line) => line.trim()).filter(Boolean),
  nothing: () => null,
};

function content(form) {
  const found = {};
  for (const field of form.querySelectorAll("input[name]:not([type=radio]), textarea[name], select[name]")) {
    const path = field.name.split("."), last = path.pop();
    const inside = path.reduce((outer, name) => (outer[name] ??= {}), found);
    inside[last] = (VALUES[field.dataset.type] ?? ((one) => one.value))(field);
  }
  return found;
}

function answerOf(form) { // places are those of the completions as this page shows them
  const choice = form.querySelector("input[name=choice]:checked");
  if (choice) return { choice: choice.value };
  const ranks = [...form.querySelectorAll("[data-rank]")];
  if (ranks.length) return { order: ranks.sort((a, b) => a.value - b.value).map((field) => Number(field.dataset.rank)) };
  const scores = [];
  for (const field of form.querySelectorAll("[data-score]")) (scores[field.dataset.score] ??= {})[field.dataset.criterion] = Number(field.value);
  return { scores };
}

function sayIn(form, text, warn) {
  const place = form.querySelector("output") ?? at("said");
  place.textContent = text;
  place.classList.toggle("warn", warn);
}

for (const form of document.querySelectorAll("form[data-send]")) {
  const id = uuid(); // of what this form decides, so that sending it twice adds nothing
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.submitter, body = content(form);
    if (button?.dataset.confirm && !confirm(button.dataset.confirm)) return;
    if (button?.name) body[button.name] = button.value;
    if ("id" in form.dataset) body.id = id;
    if ("answer" in form.dataset) body.answer = answerOf(form);
    const ranks = [...form.querySelectorAll("[data-rank]")].map((field) => field.value);
    if (new Set(ranks).size < ranks.length) { sayIn(form, texts.ranks, true); return; }
    try {
      await post(form.dataset.send, body);
      if (form.dataset.then === "reload") location.reload();
      else if (form.dataset.then === "say") sayIn(form, texts.saved, false);
      else location.assign(form.dataset.then);
    } catch (error) { sayIn(form, why(error), true); }
  });
}

at("export")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = at("export"), button = form.querySelector("button");
  button.disabled = true; // two clicks would be two exports
  try {
    const answer = await send("/api/admin/export");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = form.dataset.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    sayIn(form, "", false);
  } catch (error) { sayIn(form, why(error), true); }
  button.disabled = false;
});

at("find")?.addEventListener("submit", (event) => { event.preventDefault(); location.assign(`/review/${Number(at("number").value)}`); });

// --- Links for new people --------------------------------------------------------------------------------------------

function showLink(name, path) {
  const link = location.origin + path, said = document.createElement("p"), made = document.createElement("code"), copy = document.createElement("button");
  said.textContent = texts.link_of.replace("{name}", name);
  made.textContent = link;
  copy.type = "button";
  copy.textContent = texts.copy;
  copy.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(link); copy.textContent = texts.copied; } catch { getSelection().selectAllChildren(made); } // no https
  });
  at("link").replaceChildren(said, made, " ", copy);
  at("link").scrollIntoView({ block: "nearest" });
}

for (const button of document.querySelectorAll("[data-link]")) button.addEventListener("click", async () => {
  if (button.dataset.confirm && !confirm(button.dataset.confirm)) return;
  try { showLink(button.dataset.name, (await post("/api/admin/link", { id: button.dataset.link })).link); } catch (error) { sayIn(document.body, why(error), true); }
});

at("invite")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const found = await post("/api/admin/invite", { name: at("name").value, role: at("role").value });
    showLink(at("name").value, found.link);
    at("name").value = "";
  } catch { at("link").textContent = at("invite").dataset.failed; }
});

// --- Live progress ---------------------------------------------------------------------------------------------------

if (at("live")) setInterval(async () => {
  if (document.hidden) return;
  const answer = await fetch("/api/admin/progress").catch(() => null);
  if (!answer?.ok) return;
  const now = await answer.json(), bar = at("live").querySelector("progress");
  for (const place of at("live").querySelectorAll("[data-figure]")) place.textContent = now[place.dataset.figure];
  bar.max = now.open + now.done + now.disputed + now.closed || 1;
  bar.value = now.done;
}, BEAT);
