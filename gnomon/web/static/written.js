// The answer to a prompt, written in a text field; or somebody's answer that the annotator approves, revises or rejects.

import { question, at, texts } from "./storage.js";
import { differsInScript } from "./scripts.js";

export const tidy = (text) => text.replace(/\r\n?/g, "\n").trimEnd().replace(/^(?:[^\S\n]*\n)+/, ""); // as the server stores it
const lengthOf = (text) => [...tidy(text)].length;
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/u; // the same rule as in feedback/visible_text.py
export const visibleLength = (text) => [...[...text].filter((one) => one === " " || !HIDDEN.test(one)).join("").trim()].length;

export function writing(changed) {
  const field = at("written"), reject = at("rejected");
  let reviews = null, confirmed = null; // confirmed: the text that the annotator was warned about

  function update() {
    const all = lengthOf(field.value), seen = visibleLength(field.value), least = Math.max(question.min_chars, 1);
    const n = all > question.max_chars ? all : seen;
    const hint = least > 1 ? texts.answer_hint : texts.answer_hint_most;
    at("written-hint").textContent = hint.replace("{n}", n).replace("{least}", least).replace("{most}", question.max_chars);
    at("written-hint").classList.toggle("met", seen >= least && all <= question.max_chars);
    field.disabled = reject.checked;
  }
  function promptText() { // the last message, without its code
    const last = at("prompt").querySelector(".turn:last-child .message").cloneNode(true);
    for (const code of last.querySelectorAll("pre, code")) code.remove();
    return last.textContent;
  }
  function lengthProblem() {
    const n = lengthOf(field.value), seen = visibleLength(field.value);
    if (!seen) return texts.write_first;
    if (seen < question.min_chars) return texts.too_short.replace("{n}", seen).replace("{least}", question.min_chars);
    if (n > question.max_chars) return texts.too_long_answer.replace("{n}", n).replace("{most}", question.max_chars);
    return "";
  }
  for (const element of [field, reject]) element.addEventListener("input", () => { update(); changed(); });

  return {
    show(task, previous) {
      reviews = task.reviews;
      const own = (previous.reviews ?? null) === reviews ? previous : {}; // not the draft of another review
      at("reviewed").hidden = at("reject").hidden = reviews === null;
      at("reviewed").querySelector(".text").innerHTML = task.written_html; // markdown that the server rendered from an allow-list
      at("written-label").textContent = at("written-label").dataset[reviews === null ? "write" : "review"];
      field.value = own.text ?? task.written;
      reject.checked = Boolean(own.rejected);
      confirmed = null;
      update();
    },
    soFar() {
      const review = reviews === null ? {} : { reviews };
      if (reject.checked) return { rejected: true, ...review };
      return field.value ? { text: field.value, ...review } : review;
    },
    missing() {
      if (reject.checked && at("reason").value.trim()) return "";
      if (reject.checked) { at("reason").focus(); return texts.reject_reason; }
      const problem = lengthProblem();
      if (problem) { field.focus(); return problem; }
      if (!question.check_language || confirmed === field.value || !differsInScript(field.value, promptText())) return "";
      confirmed = field.value;
      return texts.other_script;
    },
    best: () => null,
    edit: () => field.focus(),
    key: () => false,
  };
}
