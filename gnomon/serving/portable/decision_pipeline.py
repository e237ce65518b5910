"""A pipeline of transformers that decides between completions by the scores of a reward model.

It is loaded with `pipeline("decision", model=FOLDER, trust_remote_code=True)`, without Gnomon. The model is an
`AutoModelForSequenceClassification`; `config.decision` says how its texts are written, and `score_calibration`
how differences of scores become probabilities.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import Pipeline

from .decision_questions import TypedQuestion, answer_of, choice_probabilities, parse_questions


class RewardDecisionPipeline(Pipeline):  # type: ignore[misc]  # transformers has no types
    """Decides between completions of a prompt, or answers typed questions, with probabilities.

    Inputs are `{"prompt": …, "choices": [text, …]}`, where a prompt is a text or a list of messages, or, as for
    transformers' own `decision` pipeline, `{"state": …, "questions": {name: {"type": …, …}}}`.
    """

    _load_tokenizer = True
    _load_image_processor = False
    _load_feature_extractor = False
    _load_processor = False

    def _sanitize_parameters(self, **parameters: Any) -> tuple[dict[str, Any], ...]:
        if parameters:
            raise ValueError(f"this pipeline has no parameter {min(parameters)}.")
        return {}, {}, {}

    def preprocess(self, request: Any) -> dict[str, Any]:
        """Tokenize every completion of a request, each to one sequence."""
        if not isinstance(request, dict) or not ({"prompt", "choices"} <= set(request) or "questions" in request):
            raise ValueError('give {"prompt": …, "choices": [text, …]} or {"state": …, "questions": {…}}.')
        prompts: list[tuple[Any, Any]]
        if "questions" in request:
            if request.get("assets"):
                raise ValueError("this model reads text, and no assets; leave them out.")
            questions = parse_questions(request.get("state"), request["questions"])
            prompts = [(question.prompt, question.choices) for question in questions.values()]
        else:
            questions = {}
            choices = request["choices"]
            if not isinstance(choices, list) or len(set(map(str, choices))) < max(2, len(choices)):
                raise ValueError("choices must be a list of at least two different texts.")
            prompts = [(request["prompt"], choices)]
        encoded = [[self._encoded(prompt, choice) for choice in choices] for prompt, choices in prompts]
        return {"encoded": encoded, "questions": questions, "choices": [list(choices) for _, choices in prompts]}

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, Any]:
        """Compute the score of every completion; one at a time, so that none is padded."""
        settings, offset = self.model.config.decision, getattr(self.model.config, "score_offset", None) or 0.0
        scores = [
            [float(self.model(**inputs).logits[0, settings["head"]].float()) - offset for inputs in group]
            for group in model_inputs["encoded"]
        ]
        return {"scores": scores, "questions": model_inputs["questions"], "choices": model_inputs["choices"]}

    def postprocess(self, model_outputs: dict[str, Any]) -> dict[str, Any]:
        """Return the decision, or the answers by the names of their questions."""
        calibration = getattr(self.model.config, "score_calibration", None)
        results = [choice_probabilities(scores, calibration) for scores in model_outputs["scores"]]
        questions: dict[str, TypedQuestion] = model_outputs["questions"]
        if questions:
            return {
                name: answer_of(question, result.values)
                for (name, question), result in zip(questions.items(), results, strict=True)
            }
        (scores,), (choices,), (result,) = model_outputs["scores"], model_outputs["choices"], results
        best = max(range(len(scores)), key=lambda index: scores[index])
        return {
            "label": choices[best],
            "choice": best,
            "probability": result.values[best],
            "probabilities": dict(zip(choices, result.values, strict=True)),
            "scores": scores,
            "calibrated": result.calibrated,
        }

    def _encoded(self, prompt: Any, choice: Any) -> dict[str, torch.Tensor]:
        """Tokenize a completion of a prompt as the reward model was trained to read it."""
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        texts = [turn["content"] for turn in turns] + [choice]
        special = {*self.tokenizer.all_special_tokens, self.model.config.decision.get("end")} - {None, ""}
        for text in texts:
            if not isinstance(text, str) or not text.strip():
                raise ValueError("prompts and choices must be texts that are not empty.")
            if held := next((token for token in special if token in text), None):
                raise ValueError(f"a text holds the control token {held}; remove it.")
        if self.model.config.decision["form"] == "pair":
            if len(turns) != 1 or turns[0]["role"] != "user":
                raise ValueError("this model reads one user's message and one text as its answer.")
            inputs = dict(self.tokenizer(turns[0]["content"], choice, return_tensors="pt"))
        else:
            inputs = {"input_ids": torch.tensor([self._conversation(turns, choice)])}
        length, context = inputs["input_ids"].shape[1], self.model.config.decision["context"]
        if context is not None and length > context:
            raise ValueError(f"a choice and its prompt have {length} tokens, more than the context of {context}.")
        return inputs

    def _conversation(self, turns: list[dict[str, Any]], choice: str) -> list[int]:
        settings = self.model.config.decision
        whole = self._rendered([*turns, {"role": "assistant", "content": choice}], answer=False)
        if settings["form"] == "conversation":
            return self._ids(whole)
        opening = self._rendered(turns, answer=True)
        if not whole.startswith(opening):
            raise ValueError("the chat template does not write the answer after its own generation prompt.")
        answer, ended, _ = whole[len(opening) :].partition(settings["end"])
        if not ended:
            answer = answer[: answer.rindex(choice) + len(choice)] if choice in answer else answer.rstrip()
        end = self.tokenizer.convert_tokens_to_ids(settings["end"])
        return [*self._ids(opening), *self._ids(answer.removeprefix(settings["prefix"])), end]

    def _rendered(self, turns: list[dict[str, Any]], *, answer: bool) -> str:
        text = self.tokenizer.apply_chat_template(turns, add_generation_prompt=answer, tokenize=False)
        return str(text)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []
