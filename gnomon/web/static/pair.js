// Which of two is better: a button and a key for each choice.

import { at, texts } from "./storage.js";

const KEYS = { 1: "first", ArrowLeft: "first", 2: "second", ArrowRight: "second", 0: "tie", b: "bad" };
const buttons = () => document.querySelectorAll(".choice");

export function pair(changed) {
  let choice = null;

  function set(selected) {
    choice = selected;
    for (const button of buttons()) {
      button.classList.toggle("chosen", button.dataset.choice === choice);
      button.setAttribute("aria-pressed", String(button.dataset.choice === choice));
    }
  }
  function choose(selected) {
    set(selected);
    changed(selected);
  }
  for (const button of buttons()) button.addEventListener("click", () => choose(button.dataset.choice));

  return {
    show(task, previous) {
      ["first", "second"].forEach((side, index) => { at(side).querySelector(".text").innerHTML = task.completions[index].html; });
      set(Object.values(KEYS).includes(previous.choice) ? previous.choice : null);
    },
    soFar: () => (choice ? { choice } : {}),
    missing: () => (choice ? "" : texts.choose_first),
    best: () => (choice === "second" ? 1 : 0),
    key(event) {
      if (!Object.hasOwn(KEYS, event.key)) return false;
      choose(KEYS[event.key]);
      return true;
    },
  };
}
