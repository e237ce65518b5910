// Questions before the first item: each shows the right answer and its explanation, the last one the result.

import { post, uuid } from "./posting.js";
import { at, texts, who } from "./storage.js";

const fill = (text, values) => Object.entries(values).reduce((filled, [name, value]) => filled.replace(`{${name}}`, value), text);

export function qualification(answer, next, showError) {
  let pending = null; // the answer that the server has not confirmed; it keeps its id when it is sent again

  function lock(on) { // while the explanation is shown, the answer cannot change
    at("answers").inert = at("more").inert = on;
    at("feedback").hidden = !on;
    at("finish").hidden = on;
  }

  function showFeedback(task, { correct, answer: right, words, explanation, result }) {
    answer.show(task, right);
    at("feedback-title").textContent = correct ? texts.is_right : texts.is_wrong;
    at("right-answer").textContent = fill(texts.right_answer, { answer: words });
    at("explanation").innerHTML = explanation; // markdown that the server rendered from an allow-list
    at("explanation").hidden = !explanation;
    const verdict = result && (result.passed ? texts.passed : result.attempts_left ? texts.try_again : texts.failed);
    at("result").textContent = result ? fill(verdict, { n: result.correct, of: result.questions, needed: result.required, left: result.attempts_left }) : "";
    lock(true);
    at("continue").focus();
  }

  at("continue").addEventListener("click", () => { at("continue").blur(); next(); });

  return {
    show(task) {
      const question = task?.question;
      lock(false);
      pending = null;
      at("work").classList.toggle("question", Boolean(question));
      at("question-of").hidden = !question;
      if (question) at("question-of").textContent = fill(texts.question_of, { n: question.number, of: question.questions, attempt: question.attempt, attempts: question.attempts });
    },
    async send(task, chosen, done) {
      if (pending?.sending) return;
      if (JSON.stringify(pending?.answer) !== JSON.stringify(chosen)) pending = { id: uuid(), answer: chosen };
      pending.sending = true;
      try {
        const feedback = await post("/api/qualify", { who, id: pending.id, item: task.item, answer: chosen });
        done();
        showFeedback(task, feedback);
      } catch (error) {
        pending.sending = false;
        showError(error);
      }
    },
  };
}
