// A completion edited into a better one. Its text comes only when it is asked for, and only into a text field.

import { answerName } from "./cards.js";
import { asking, at, texts, who } from "./kept.js";
import { post } from "./posting.js";

export function rewriting(changed) {
  let place = null, original = null;
  const field = at("rewritten");

  function open(found, text) {
    place = found;
    at("rewrite").hidden = place === null;
    at("rewrite-of").textContent = place === null ? "" : texts.rewrite_of.replace("{answer}", answerName(place));
    field.value = text;
  }
  const edited = () => place !== null && field.value.trim() !== "" && field.value !== original;
  field.addEventListener("input", changed);
  at("rewrite-drop").addEventListener("click", (event) => {
    event.currentTarget.blur(); // a hidden button keeps the focus for a moment, and would take the next Enter
    open(null, "");
    changed();
  });

  return {
    show(said) {
      original = null;
      open(said?.place ?? null, said?.text ?? "");
    },
    async begin(item, best, stillAsked) { // what was edited already is never written over
      if (edited()) { field.focus(); return; }
      const { texts: written } = await post("/api/text", { who, item });
      if (!stillAsked()) return;
      original = written[best];
      open(best, original);
      field.focus();
      changed();
    },
    soFar: () => (edited() ? { rewrite: { place, text: field.value } } : {}),
    missing: () => (edited() && [...field.value].length > asking.longest ? texts.rewrite_too_long.replace("{n}", asking.longest) : ""),
  };
}
