// A completion edited into a better one. Its text is requested only when the user edits it, and shown in a text field.

import { answerName } from "./cards.js";
import { question, at, texts, who } from "./storage.js";
import { post } from "./posting.js";

export function rewriting(changed) {
  let index = null, original = null;
  const field = at("rewritten");

  function open(newIndex, text) {
    index = newIndex;
    at("rewrite").hidden = index === null;
    at("rewrite-of").textContent = index === null ? "" : texts.rewrite_of.replace("{answer}", answerName(index));
    field.value = text;
  }
  const edited = () => index !== null && field.value.trim() !== "" && field.value !== original;
  field.addEventListener("input", changed);
  at("rewrite-drop").addEventListener("click", (event) => {
    event.currentTarget.blur(); // a hidden button keeps the focus for a moment and would receive the next Enter
    open(null, "");
    changed();
  });

  return {
    show(previous) {
      original = null;
      open(previous?.place ?? null, previous?.text ?? "");
    },
    async begin(item, best, isCurrent) { // never overwrites an edited version
      if (edited()) { field.focus(); return; }
      const { texts: written } = await post("/api/text", { who, item });
      if (!isCurrent()) return;
      original = written[best];
      open(best, original);
      field.focus();
      changed();
    },
    soFar: () => (edited() ? { rewrite: { place: index, text: field.value } } : {}),
    missing: () => (edited() && [...field.value].length > question.longest ? texts.rewrite_too_long.replace("{n}", question.longest) : ""),
  };
}
