// A whole number for each criterion of each completion. A number key scores the current criterion; the next one without
// a score then becomes current.

import { answerName, cardsOf, make } from "./cards.js";
import { question, at, texts } from "./storage.js";

let groupCount = 0; // groups of radio buttons need names of their own

export function scaleOf(label, about, values, ends, changed) {
  const name = `scale-${++groupCount}`, group = make("fieldset", { class: "scale", tabindex: "-1" }), inputs = new Map();
  const legend = make("legend", {}, label);
  if (about) legend.append(make("span", { class: "about" }, about));
  const steps = make("div", { class: "steps" });
  for (const [value, shown, ariaLabel] of values) {
    const input = make("input", { type: "radio", name, value: String(value) });
    if (ariaLabel) input.setAttribute("aria-label", ariaLabel);
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
    focus: () => group.focus(), // the group, since a focus ring around its first step would look like an answer
  };
}

export function scores(changed) {
  let scales = [], current = 0, count = 0; // scales: one for each criterion of each completion

  function mark(index) {
    current = index;
    scales.forEach(({ scale }, other) => scale.group.classList.toggle("current", other === index));
  }
  function values() {
    const ends = texts.ends[question.task], span = Array.from({ length: question.high - question.low + 1 }, (_, n) => n + question.low);
    return span.map((value) => [value, String(value), value === question.low ? `${value}, ${ends[0]}` : value === question.high ? `${value}, ${ends[1]}` : ""]);
  }
  const open = (from) => { // index of the next scale without a score, from `from` on, then from the start
    const indices = [...scales.keys()], without = (index) => scales[index].scale.value === null;
    return indices.find((index) => index >= from && without(index)) ?? indices.find(without) ?? null;
  };

  return {
    show(task, previous) {
      const cards = cardsOf(task, at("answers"));
      count = cards.length;
      at("answers").classList.toggle("alone", count === 1);
      scales = cards.flatMap((card, completion) => {
        const panel = make("div", { class: "scores", role: "group", "aria-label": texts.scores_of.replace("{answer}", answerName(completion)) });
        card.append(panel);
        return question.criteria.map(({ name, label, about }) => {
          const scale = scaleOf(label, about, values(), texts.ends[question.task], changed);
          const known = previous.scores?.[completion]?.[name];
          if (scale.has(known)) scale.value = known;
          panel.append(scale.group);
          return { completion, name, scale };
        });
      });
      scales.forEach(({ scale }, index) => scale.group.addEventListener("focusin", () => mark(index)));
      mark(open(0) ?? 0);
    },
    soFar() {
      const scored = Array.from({ length: count }, () => ({}));
      for (const { completion, name, scale } of scales) if (scale.value !== null) scored[completion][name] = scale.value;
      return scored.some((one) => Object.keys(one).length) ? { scores: scored } : {};
    },
    missing() {
      const index = open(0);
      if (index === null) return "";
      scales[index].scale.focus();
      return texts.scores_missing;
    },
    best() {
      const sums = Array(count).fill(0);
      for (const { completion, scale } of scales) sums[completion] += scale.value ?? 0;
      return sums.indexOf(Math.max(...sums));
    },
    key(event) {
      if (!/^[0-9]$/.test(event.key)) return false;
      const { scale } = scales[current], value = event.key === "0" && !scale.has(0) ? 10 : Number(event.key);
      if (!scale.has(value)) return false;
      scale.value = value;
      scales[open(current) ?? current].scale.focus();
      changed();
      return true;
    },
  };
}
