// The administrators' and reviewers' pages: forms sent as JSON, personal links, live progress.

import { translateReason, post, Refused, send, uuid } from "./posting.js";

const at = (id) => document.getElementById(id);
const texts = JSON.parse(document.querySelector("main").dataset.texts);
const BEAT = 5_000;

const reasonOf = (error) => (error instanceof Refused && translateReason(error.message, texts.refusals)) || texts.failed;

// --- Forms -----------------------------------------------------------------------------------------------------------

const VALUES = {
  yes: (field) => field.checked,
  whole: (field) => (field.value === "" ? null : Number(field.value)),
  number: (field) => (field.value === "" ? null : Number(field.value)),
  lines: (field) => field.value.split("\n").map((line) => line.trim()).filter(Boolean),
  nothing: () => null,
};

function content(form) {
  const body = {};
  for (const field of form.querySelectorAll("input[name]:not([type=radio]), textarea[name], select[name]")) {
    const path = field.name.split("."), last = path.pop();
    const inside = path.reduce((outer, name) => (outer[name] ??= {}), body);
    inside[last] = (VALUES[field.dataset.type] ?? ((one) => one.value))(field);
  }
  return body;
}

function answerOf(form) { // indices of completions in the order of this page
  const choice = form.querySelector("input[name=choice]:checked");
  if (choice) return { choice: choice.value };
  const written = form.querySelector("[data-written]");
  if (written) return form.querySelector("[data-rejected]").checked ? { rejected: true } : { text: written.value };
  const ranks = [...form.querySelectorAll("[data-rank]")];
  if (ranks.length) return { order: ranks.sort((a, b) => a.value - b.value).map((field) => Number(field.dataset.rank)) };
  const scores = [];
  for (const field of form.querySelectorAll("[data-score]")) (scores[field.dataset.score] ??= {})[field.dataset.criterion] = Number(field.value);
  return { scores };
}

function showMessage(form, text, warn) {
  const output = form.querySelector("output") ?? at("announcement");
  output.textContent = text;
  output.classList.toggle("warn", warn);
}

for (const form of document.querySelectorAll("form[data-send]")) {
  const id = uuid(); // of this form's decision, so that sending it twice adds nothing
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.submitter, body = content(form);
    if (button?.dataset.confirm && !confirm(button.dataset.confirm)) return;
    if (button?.name) body[button.name] = button.value;
    if ("id" in form.dataset) body.id = id;
    if ("answer" in form.dataset) body.answer = answerOf(form);
    const ranks = [...form.querySelectorAll("[data-rank]")].map((field) => field.value);
    if (new Set(ranks).size < ranks.length) { showMessage(form, texts.ranks, true); return; }
    try {
      await post(form.dataset.send, body);
      if (form.dataset.then === "reload") location.reload();
      else if (form.dataset.then === "saved") showMessage(form, texts.saved, false);
      else location.assign(form.dataset.then);
    } catch (error) { showMessage(form, reasonOf(error), true); }
  });
}

at("export")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = at("export"), button = form.querySelector("button");
  button.disabled = true; // two clicks would make two exports
  try {
    const response = await send("/api/admin/export");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = form.dataset.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    showMessage(form, "", false);
  } catch (error) { showMessage(form, reasonOf(error), true); }
  button.disabled = false;
});

at("find")?.addEventListener("submit", (event) => { event.preventDefault(); location.assign(`/review/${Number(at("number").value)}`); });

// --- Personal links --------------------------------------------------------------------------------------------------

function showLink(name, path) {
  const link = location.origin + path, label = document.createElement("p"), address = document.createElement("code"), copy = document.createElement("button");
  label.textContent = texts.link_of.replace("{name}", name);
  address.textContent = link;
  copy.type = "button";
  copy.textContent = texts.copy;
  copy.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(link); copy.textContent = texts.copied; } catch { getSelection().selectAllChildren(address); } // without https
  });
  at("link").replaceChildren(label, address, " ", copy);
  at("link").scrollIntoView({ block: "nearest" });
}

for (const button of document.querySelectorAll("[data-link]")) button.addEventListener("click", async () => {
  if (button.dataset.confirm && !confirm(button.dataset.confirm)) return;
  try { showLink(button.dataset.name, (await post("/api/admin/link", { id: button.dataset.link })).link); } catch (error) { showMessage(document.body, reasonOf(error), true); }
});

at("invite")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const response = await post("/api/admin/invite", { name: at("name").value, role: at("role").value });
    showLink(at("name").value, response.link);
    at("name").value = "";
  } catch { at("link").textContent = at("invite").dataset.failed; }
});

// --- Live progress ---------------------------------------------------------------------------------------------------

if (at("live")) setInterval(async () => {
  if (document.hidden) return;
  const response = await fetch("/api/admin/progress").catch(() => null);
  if (!response?.ok) return;
  const progress = await response.json(), bar = at("live").querySelector("progress");
  for (const output of at("live").querySelectorAll("[data-figure]")) output.textContent = progress[output.dataset.figure];
  bar.max = progress.open + progress.done + progress.disputed + progress.closed || 1;
  bar.value = progress.done;
}, BEAT);

// --- Ready -----------------------------------------------------------------------------------------------------------

// Until here a click would send a form as the browser does by itself, to no address that takes it.
for (const waiting of document.querySelectorAll("[inert]")) waiting.inert = false;
