// A card for each completion, of the page's own template. The texts are HTML that the server made from an allow-list.

import { at, texts } from "./kept.js";

export const answerName = (place) => texts.answer.replace("{n}", place + 1);

export function make(tag, attributes = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...inside);
  return made;
}

export function cardsOf(task, into) {
  const cards = task.completions.map(({ html }, place) => {
    const card = at("card").content.firstElementChild.cloneNode(true);
    card.setAttribute("aria-label", answerName(place));
    card.querySelector("h2").textContent = answerName(place);
    card.querySelector(".text").innerHTML = html;
    return card;
  });
  into.replaceChildren(...cards);
  return cards;
}
