// A whole number for each criterion of each completion. A number key scores the criterion that is marked, and the mark
// goes on to the next without a score.

import { answerName, cardsOf, make } from "./cards.js";
import { asking, at, texts } from "./kept.js";

let made = 0; // groups of radio buttons need names of their own

export function scaleOf(label, about, values, ends, changed) {
  const name = `scale-${++made}`, group = make("fieldset", { class: "scale", tabindex: "-1" }), inputs = new Map();
  const legend = make("legend", {}, label);
  if (about) legend.append(make("span", { class: "about" }, about));
  const steps = make("div", { class: "steps" });
  for (const [value, shown, spoken] of values) {
    const input = make("input", { type: "radio", name, value: String(value) });
    if (spoken) input.setAttribute("aria-label", spoken);
    input.addEventListener("change", () => changed());
    inputs.set(value, input);
    steps.append(make("label", {}, input, make("span", {}, shown)));
  }
  group.append(legend, steps);
  if (ends) group.append(make("div", { class: "ends", "aria-hidden": "true" }, make("span", {}, ends[0]), make("span", {}, ends[1])));
  return {
    group,
    get value() { return [...inputs].find(([, input]) => input.checked)?.[0] ?? null; },
    set value(value) { for (const [own, input] of inputs) input.checked = own === value; },
    has: (value) => inputs.has(value),
    focus: () => group.focus(), // the whole of it: a ring around its first step would look like an answer
  };
}

export function scores(changed) {
  let asked = [], current = 0, count = 0; // asked: one scale for each criterion of each completion

  function mark(place) {
    current = place;
    asked.forEach(({ scale }, other) => scale.group.classList.toggle("current", other === place));
  }
  function values() {
    const ends = texts.ends[asking.task], span = Array.from({ length: asking.high - asking.low + 1 }, (_, n) => n + asking.low);
    return span.map((value) => [value, String(value), value === asking.low ? `${value}, ${ends[0]}` : value === asking.high ? `${value}, ${ends[1]}` : ""]);
  }
  const open = (from) => { // the next without a score, from a place on and then from the start
    const places = [...asked.keys()], without = (place) => asked[place].scale.value === null;
    return places.find((place) => place >= from && without(place)) ?? places.find(without) ?? null;
  };

  return {
    show(task, said) {
      const cards = cardsOf(task, at("answers"));
      count = cards.length;
      at("answers").classList.toggle("alone", count === 1);
      asked = cards.flatMap((card, place) => {
        const panel = make("div", { class: "scores", role: "group", "aria-label": texts.scores_of.replace("{answer}", answerName(place)) });
        card.append(panel);
        return asking.criteria.map(({ name, label, about }) => {
          const scale = scaleOf(label, about, values(), texts.ends[asking.task], changed);
          const known = said.scores?.[place]?.[name];
          if (scale.has(known)) scale.value = known;
          panel.append(scale.group);
          return { place, name, scale };
        });
      });
      asked.forEach(({ scale }, place) => scale.group.addEventListener("focusin", () => mark(place)));
      mark(open(0) ?? 0);
    },
    soFar() {
      const found = Array.from({ length: count }, () => ({}));
      for (const { place, name, scale } of asked) if (scale.value !== null) found[place][name] = scale.value;
      return found.some((one) => Object.keys(one).length) ? { scores: found } : {};
    },
    missing() {
      const place = open(0);
      if (place === null) return "";
      asked[place].scale.focus();
      return texts.scores_missing;
    },
    best() {
      const sums = Array(count).fill(0);
      for (const { place, scale } of asked) sums[place] += scale.value ?? 0;
      return sums.indexOf(Math.max(...sums));
    },
    key(event) {
      if (!/^[0-9]$/.test(event.key)) return false;
      const { scale } = asked[current], value = event.key === "0" && !scale.has(0) ? 10 : Number(event.key);
      if (!scale.has(value)) return false;
      scale.value = value;
      asked[open(current) ?? current].scale.focus();
      changed();
      return true;
    },
  };
}
