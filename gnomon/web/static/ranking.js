// An order of K completions, best first. Number keys, and the button of each card, append one completion to the order;
// dragging or moving a row makes the whole list the order. An untouched list is no answer.

import { answerName, cardsOf, make } from "./cards.js";
import { at, texts } from "./storage.js";

export function ranking(changed) {
  const list = at("ranks");
  let order = [], placed = 0, rows = [], cards = []; // the first `placed` entries of `order` are ranked

  const complete = () => order.length > 0 && placed === order.length;

  function draw() {
    order.forEach((answer, rank) => {
      const ranked = rank < placed, row = rows[answer], button = cards[answer].querySelector(".place");
      row.classList.toggle("open", !ranked);
      row.querySelector(".rank").textContent = ranked ? rank + 1 : "–";
      row.querySelector(".up").disabled = rank === 0;
      row.querySelector(".down").disabled = rank === order.length - 1;
      button.setAttribute("aria-pressed", String(ranked));
      button.querySelector("span").textContent = ranked ? texts.place.replace("{n}", rank + 1) : placed ? texts.next_best : texts.best;
    });
    at("order").classList.toggle("complete", complete());
    at("order-hint").textContent = complete() ? texts.order_complete : texts.order_hint;
  }
  function arrange() { // reorders the rows; the focused element keeps the focus
    const focused = document.activeElement;
    list.append(...order.map((answer) => rows[answer]));
    if (list.contains(focused)) focused.focus({ preventScroll: true });
    draw();
  }
  function announce(answer) {
    const rank = order.indexOf(answer);
    const text = rank < placed ? texts.moved.replace("{rank}", rank + 1) : texts.taken_out;
    at("announcement").textContent = text.replace("{answer}", answerName(answer)) + (complete() ? ` ${texts.order_complete}` : "");
  }
  function toggleRank(answer) {
    const rank = order.indexOf(answer);
    if (complete() && rank === order.length - 1) { announce(answer); return; } // its rank followed from the others
    if (complete()) placed = 0;
    const wasRanked = rank < placed;
    order.splice(rank, 1);
    if (wasRanked) placed -= 1;
    order.splice(placed, 0, answer);
    if (!wasRanked) placed += 1;
    if (placed === order.length - 1) placed = order.length; // the remaining one is last
    arrange();
    announce(answer);
    changed();
  }
  function move(answer, rank) {
    order.splice(order.indexOf(answer), 1);
    order.splice(rank, 0, answer);
    placed = order.length;
    arrange();
    announce(answer);
    changed();
  }
  function step(answer, by, button) {
    move(answer, order.indexOf(answer) + by);
    if (button.disabled) rows[answer].querySelector(by < 0 ? ".down" : ".up").focus(); // at an end of the list
  }

  // The dragged row keeps its position in the document, or the browser would end the drag: the other rows move past it.
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
      for (const [name, listener] of Object.entries(listeners)) handle.removeEventListener(name, listener);
      row.classList.remove("dragged");
      row.style.transform = "";
      const rank = [...list.children].indexOf(row);
      if (ended.type === "pointerup" && rank !== before) move(answer, rank); else arrange();
    };
    const listeners = { pointermove: follow, pointerup: drop, pointercancel: drop };
    for (const [name, listener] of Object.entries(listeners)) handle.addEventListener(name, listener);
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
    show(task, previous) {
      cards = cardsOf(task, at("cards"));
      const all = cards.map((_, answer) => answer), known = Array.isArray(previous.order) ? previous.order : [];
      const valid = new Set(known).size === known.length && known.every((answer) => all.includes(answer));
      placed = valid ? known.length : 0;
      order = valid ? [...known, ...all.filter((answer) => !known.includes(answer))] : all;
      cards.forEach((card, answer) => {
        const button = make("button", { type: "button", class: "place" }, make("span"), " ", make("kbd", {}, String(answer + 1)));
        button.addEventListener("click", () => toggleRank(answer));
        card.append(button);
      });
      rows = all.map(rowOf);
      list.replaceChildren();
      at("announcement").textContent = "";
      arrange();
    },
    soFar: () => (placed ? { order: order.slice(0, placed) } : {}),
    missing: () => (complete() ? "" : texts.order_missing),
    best: () => (placed ? order[0] : null),
    key(event) {
      const answer = Number(event.key) - 1;
      if (!/^[1-9]$/.test(event.key) || answer >= order.length) return false;
      toggleRank(answer);
      return true;
    },
  };
}
