// An order of K completions, best first. Numbers, and the button of each card, put one answer after the other in its
// place; a row that is dragged or moved makes the whole list the order. An order that nobody touched is no answer.

import { answerName, cardsOf, make } from "./cards.js";
import { at, texts } from "./kept.js";

export function ranking(changed) {
  const list = at("ranks");
  let order = [], placed = 0, rows = [], cards = []; // the first `placed` of `order` have their place

  const complete = () => order.length > 0 && placed === order.length;

  function draw() {
    order.forEach((answer, rank) => {
      const has = rank < placed, row = rows[answer], button = cards[answer].querySelector(".place");
      row.classList.toggle("open", !has);
      row.querySelector(".rank").textContent = has ? rank + 1 : "–";
      row.querySelector(".up").disabled = rank === 0;
      row.querySelector(".down").disabled = rank === order.length - 1;
      button.setAttribute("aria-pressed", String(has));
      button.querySelector("span").textContent = has ? texts.place.replace("{n}", rank + 1) : placed ? texts.next_best : texts.best;
    });
    at("order").classList.toggle("complete", complete());
    at("order-hint").textContent = complete() ? texts.order_complete : texts.order_hint;
  }
  function arrange() { // the rows as they are ordered; whoever holds the focus keeps it
    const focused = document.activeElement;
    list.append(...order.map((answer) => rows[answer]));
    if (list.contains(focused)) focused.focus({ preventScroll: true });
    draw();
  }
  function tell(answer) {
    const rank = order.indexOf(answer);
    const text = rank < placed ? texts.moved.replace("{rank}", rank + 1) : texts.taken_out;
    at("said").textContent = text.replace("{answer}", answerName(answer)) + (complete() ? ` ${texts.order_complete}` : "");
  }
  function place(answer) {
    const rank = order.indexOf(answer);
    if (complete() && rank === order.length - 1) { tell(answer); return; } // it has the place that was left already
    if (complete()) placed = 0;
    const out = rank < placed;
    order.splice(rank, 1);
    if (out) placed -= 1;
    order.splice(placed, 0, answer);
    if (!out) placed += 1;
    if (placed === order.length - 1) placed = order.length; // what is left has the last place
    arrange();
    tell(answer);
    changed();
  }
  function move(answer, rank) {
    order.splice(order.indexOf(answer), 1);
    order.splice(rank, 0, answer);
    placed = order.length;
    arrange();
    tell(answer);
    changed();
  }
  function step(answer, by, button) {
    move(answer, order.indexOf(answer) + by);
    if (button.disabled) rows[answer].querySelector(by < 0 ? ".down" : ".up").focus(); // at an end of the list
  }

  // The row that is dragged stays where it is in the document, or the browser would let go of it: others pass by it.
  function drag(event, row, answer) {
    if (event.button !== 0) return;
    event.preventDefault();
    const handle = event.currentTarget, before = order.indexOf(answer);
    let home = row.offsetTop, from = event.clientY + scrollY;
    handle.setPointerCapture(event.pointerId);
    row.classList.add("dragged");
    const follow = (moved) => {
      const top = home + moved.clientY + scrollY - from, bottom = top + row.offsetHeight;
      const middle = (other) => other.offsetTop + other.offsetHeight / 2;
      while (row.previousElementSibling && top < middle(row.previousElementSibling)) row.after(row.previousElementSibling);
      while (row.nextElementSibling && bottom > middle(row.nextElementSibling)) row.before(row.nextElementSibling);
      from += row.offsetTop - home;
      home = row.offsetTop;
      row.style.transform = `translateY(${moved.clientY + scrollY - from}px)`;
    };
    const drop = (ended) => {
      for (const [name, does] of Object.entries(listening)) handle.removeEventListener(name, does);
      row.classList.remove("dragged");
      row.style.transform = "";
      const rank = [...list.children].indexOf(row);
      if (ended.type === "pointerup" && rank !== before) move(answer, rank); else arrange();
    };
    const listening = { pointermove: follow, pointerup: drop, pointercancel: drop };
    for (const [name, does] of Object.entries(listening)) handle.addEventListener(name, does);
  }
  function rowOf(answer) {
    const name = answerName(answer), excerpt = cards[answer].querySelector(".text").textContent.trim().replace(/\s+/g, " ");
    const handle = make("span", { class: "handle", "aria-hidden": "true", title: texts.drag }, "⠿");
    const up = make("button", { type: "button", class: "up", "aria-label": texts.up.replace("{answer}", name) }, "↑");
    const down = make("button", { type: "button", class: "down", "aria-label": texts.down.replace("{answer}", name) }, "↓");
    const what = make("span", { class: "what" }, make("b", {}, name), make("span", { class: "excerpt" }, [...excerpt].slice(0, 80).join("")));
    const row = make("li", {}, handle, make("span", { class: "rank" }), what, up, down);
    handle.addEventListener("pointerdown", (event) => drag(event, row, answer));
    up.addEventListener("click", () => step(answer, -1, up));
    down.addEventListener("click", () => step(answer, 1, down));
    return row;
  }

  return {
    show(task, said) {
      cards = cardsOf(task, at("cards"));
      const all = cards.map((_, answer) => answer), known = Array.isArray(said.order) ? said.order : [];
      const good = new Set(known).size === known.length && known.every((answer) => all.includes(answer));
      placed = good ? known.length : 0;
      order = good ? [...known, ...all.filter((answer) => !known.includes(answer))] : all;
      cards.forEach((card, answer) => {
        const button = make("button", { type: "button", class: "place" }, make("span"), " ", make("kbd", {}, String(answer + 1)));
        button.addEventListener("click", () => place(answer));
        card.append(button);
      });
      rows = all.map(rowOf);
      list.replaceChildren();
      at("said").textContent = "";
      arrange();
    },
    soFar: () => (placed ? { order: order.slice(0, placed) } : {}),
    missing: () => (complete() ? "" : texts.order_missing),
    best: () => (placed ? order[0] : null),
    key(event) {
      const answer = Number(event.key) - 1;
      if (!/^[1-9]$/.test(event.key) || answer >= order.length) return false;
      place(answer);
      return true;
    },
  };
}
