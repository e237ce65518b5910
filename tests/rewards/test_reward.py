"""Learned rewards and function rewards behind one protocol."""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import pytest
import torch
from function_reward import FunctionReward
from tiny import prompts_of, render_completion, tiny_reward_model

from gnomon.core.types import Completion, Prompt
from gnomon.rewards.reward import LearnedReward

PROMPTS = prompts_of("review a film", "review a very good film")
TEXTS = ["good", "a very good film", "", "一部好电影", "good film " * 9]


def test_a_row_beyond_the_context_fails_alone(chat_tokenizer: Any) -> None:
    model = tiny_reward_model(chat_tokenizer)
    prompts, completions = prompts_and_texts()
    before = LearnedReward(model, "judge").score(prompts, completions).values
    long = Completion("long", "a film " * 2_000)
    scores = LearnedReward(model, "judge").score([prompts[0], *prompts], [long, *completions])
    assert bool(scores.values[0].isnan())
    assert scores.values[1:].tolist() == pytest.approx(before.tolist(), abs=1e-5)
    [(row, reason)] = scores.failures
    assert row == 0
    assert re.search(r"has \d{4,} tokens, more than the reward model's context of \d+", reason)


NO_NOTES = (
    "{% for m in messages %}{% if 'note' in m.content %}{{ raise_exception('no notes, please') }}{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.mark.parametrize("refused", ["completion", "prompt"])
def test_a_row_that_the_chat_template_refuses_fails_alone(refused: str, chat_tokenizer: Any) -> None:
    """Two rows are refused for the same reason, which names no row, so it is counted as one reason."""
    model = tiny_reward_model(copy.deepcopy(chat_tokenizer))
    prompts, completions = prompts_and_texts()
    before = LearnedReward(model, "judge").score(prompts, completions).values
    model.tokenizer.chat_template = NO_NOTES
    if refused == "completion":
        completions[1], completions[3] = Completion("n", "a note"), Completion("m", "another note")
    else:
        prompts[1], prompts[3] = prompts_of("a note", "another note")
    scores = LearnedReward(model, "judge").score(prompts, completions)
    assert scores.values.isnan().tolist() == [False, True, False, True, False]
    assert scores.values[[0, 2, 4]].tolist() == pytest.approx(before[[0, 2, 4]].tolist(), abs=1e-5)
    assert [row for row, _ in scores.failures] == [1, 3]
    (reason,) = {reason for _, reason in scores.failures}
    assert reason.startswith("the chat template")
    assert "no notes, please" in reason
    assert not bool(scores.abstained.any())


def prompts_and_texts() -> tuple[list[Prompt], list[Completion]]:
    completions = [Completion(f"c{i}", text) for i, text in enumerate(TEXTS)]
    return [PROMPTS[i % 2] for i in range(len(TEXTS))], completions


def test_a_learned_score_does_not_depend_on_the_batch(chat_tokenizer: Any) -> None:
    model = tiny_reward_model(chat_tokenizer)
    prompts, completions = prompts_and_texts()
    alone = [
        LearnedReward(model, "judge").score([p], [c]).values.item()
        for p, c in zip(prompts, completions, strict=True)
    ]
    assert max(alone) - min(alone) > 0.1
    for budget in (1, 60, 4096):
        scores = LearnedReward(model, "judge", budget=budget).score(prompts, completions)
        assert scores.values.tolist() == pytest.approx(alone, abs=1e-5)
        assert torch.equal(scores.parts["judge"], scores.values)
    backwards = LearnedReward(model, "judge").score(prompts[::-1], completions[::-1]).values
    assert backwards.tolist() == pytest.approx(alone[::-1], abs=1e-5)


def test_a_learned_score_is_centered(chat_tokenizer: Any) -> None:
    model = tiny_reward_model(chat_tokenizer)
    before = LearnedReward(model, "judge").score(*prompts_and_texts()).values
    model.center(2.0)
    torch.testing.assert_close(LearnedReward(model, "judge").score(*prompts_and_texts()).values, before - 2.0)


def test_sampled_ids_are_scored_as_they_are(chat_tokenizer: Any) -> None:
    """With the policy's own ids a text has the same score as without; with other ids, the ids are scored."""
    model = tiny_reward_model(chat_tokenizer)
    ids = tuple(render_completion(chat_tokenizer, "good", ""))
    texts = [
        Completion("a", "good"),
        Completion("b", "good", token_ids=ids),
        Completion("c", "good", token_ids=(9, 8)),
    ]
    reward = LearnedReward(model, "judge", sampled_by=chat_tokenizer)
    written, same, other = reward.score([PROMPTS[0]] * 3, texts).values.tolist()
    assert same == pytest.approx(written, abs=1e-5)
    assert abs(other - written) > 1e-3


def test_completions_of_another_vocabulary_are_tokenized_again(
    chat_tokenizer: Any, bare_tokenizer: Any, words: Any
) -> None:
    """An id beyond the judge's vocabulary would be an error, one within it another token."""
    model = tiny_reward_model(words)
    texts = [Completion(str(ids), "a b", token_ids=ids) for ids in (None, (280, 3), (3,))]
    for sampled_by in (chat_tokenizer, bare_tokenizer):
        scores = LearnedReward(model, "judge", sampled_by=sampled_by).score([PROMPTS[0]] * 3, texts).values
        assert scores.tolist() == pytest.approx([scores[0].item()] * 3, abs=1e-5)


def test_one_failing_row_does_not_fail_the_others() -> None:
    def length(prompt: Prompt, text: str) -> float:
        if not text:
            raise ValueError("empty")
        return float(len(text))

    scores = FunctionReward(length, "length").score(*prompts_and_texts())
    assert math.isnan(scores.values[2])
    assert [scores.values[i].item() for i in (0, 1, 3, 4)] == [4, 16, 5, 90]
    assert list(scores.failures) == [(2, "ValueError: empty")]


def test_scoring_reports_progress(chat_tokenizer: Any) -> None:
    prompts, completions = prompts_and_texts()
    for reward in (
        LearnedReward(tiny_reward_model(chat_tokenizer), "judge", budget=1),
        FunctionReward(lambda prompt, text: len(text), "length"),
    ):
        reports: list[int] = []
        reward.report = reports.append
        reward.score(prompts, completions)
        assert reports == [1, 2, 3, 4, 5]
