// One card per completion, from the page's template. The texts are HTML that the server rendered from an allow-list.

import { at, texts } from "./storage.js";

export const answerName = (index) => texts.answer.replace("{n}", index + 1);

export function make(tag, attributes = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...inside);
  return element;
}

export function cardsOf(task, into) {
  const cards = task.completions.map(({ html }, index) => {
    const card = at("card").content.firstElementChild.cloneNode(true);
    card.setAttribute("aria-label", answerName(index));
    card.querySelector("h2").textContent = answerName(index);
    card.querySelector(".text").innerHTML = html;
    return card;
  });
  into.replaceChildren(...cards);
  return cards;
}
