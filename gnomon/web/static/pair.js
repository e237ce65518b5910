// Which of two is better: a button and a key for each choice.

import { at, texts } from "./kept.js";

const KEYS = { 1: "first", ArrowLeft: "first", 2: "second", ArrowRight: "second", 0: "tie", b: "bad" };
const buttons = () => document.querySelectorAll(".choice");

export function pair(changed) {
  let choice = null;

  function set(made) {
    choice = made;
    for (const button of buttons()) {
      button.classList.toggle("chosen", button.dataset.choice === choice);
      button.setAttribute("aria-pressed", String(button.dataset.choice === choice));
    }
  }
  function choose(made) {
    set(made);
    changed(made);
  }
  for (const button of buttons()) button.addEventListener("click", () => choose(button.dataset.choice));

  return {
    show(task, said) {
      ["first", "second"].forEach((side, place) => { at(side).querySelector(".text").innerHTML = task.completions[place].html; });
      set(Object.values(KEYS).includes(said.choice) ? said.choice : null);
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
