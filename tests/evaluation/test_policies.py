"""Comparison of policies, against numbers by hand and models with known outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny import naive_logprobs, prompts_of, tiny_policy

from gnomon.core.experience import FinishReason, Rollout
from gnomon.core.types import Completion, Demonstration, Message, Prompt
from gnomon.data.batching import token_groups
from gnomon.data.encoding import encode_demonstrations
from gnomon.evaluation.policies import (
    PolicySamples,
    best_of_kl,
    best_of_n,
    checks,
    judge_checks,
    kl_to_reference,
    perplexity,
    sample_all,
    summarize_policy,
    win_rate,
)
from gnomon.evaluation.results import Check, ModelRow, Predictor, WinRate
from gnomon.rollouts.sampling_params import Sampling

A, B = (Prompt(name, (Message("user", name),)) for name in "AB")


def rollout(
    prompt: Prompt, text: str = "so", ids: Sequence[int] = (1, 2), reason: FinishReason = "end"
) -> Rollout:
    completion = Completion(f"{prompt.id}/{text}", text, token_ids=tuple(ids))
    return Rollout(prompt, (5, 6), completion, tuple(-1.0 for _ in ids), reason)


def samples(name: str, scores: dict[Prompt, list[float]], judge: str = "judge") -> PolicySamples:
    """Scores of each prompt's completions."""
    rollouts = [rollout(prompt, f"{name} {value}") for prompt, values in scores.items() for value in values]
    flat = np.array([value for values in scores.values() for value in values])
    return PolicySamples(name, rollouts, {judge: flat}, None, 10.0)


def demonstrations(*texts: str) -> list[Demonstration]:
    return [
        Demonstration(p, Completion(str(i), t))
        for i, (p, t) in enumerate(zip(prompts_of(*texts), texts, strict=True))
    ]


def test_win_rate_by_hand() -> None:
    """A: 3 beats 1, 2 and ties 3; 2 beats 1, ties 2, loses to 3: 3 wins, 2 ties, 1 loss: (3 + 2/2) / 6 = 2/3.

    B: 0 loses to 1 twice: 0. Prompts count alike, though A has six comparisons and B two: (2/3 + 0) / 2 = 1/3.
    """
    candidate = samples("mine", {A: [3.0, 2.0], B: [0.0]})
    other = samples("theirs", {A: [1.0, 2.0, 3.0], B: [1.0, 1.0]})
    row = win_rate(candidate, other, "judge", seed=0)
    assert (row.wins, row.ties, row.losses) == (3, 2, 3)
    assert row.rate == pytest.approx(1 / 3)
    assert (row.model, row.against, row.judge) == ("mine", "theirs", "judge")
    assert None not in (row.low, row.high)
    assert 0 <= (row.low or 0) <= 1 / 3 <= (row.high or 0) <= 2 / 3 + 1e-12
    reverse = win_rate(other, candidate, "judge", seed=0)
    assert reverse.rate == pytest.approx(2 / 3)
    assert (reverse.wins, reverse.losses) == (3, 3)


def test_equal_policies_tie_and_better_ones_win() -> None:
    same = win_rate(samples("a", {A: [1.0], B: [2.0]}), samples("b", {A: [1.0], B: [2.0]}), "judge", seed=0)
    assert (same.rate, same.low, same.high, same.ties) == (0.5, 0.5, 0.5, 2)
    better = win_rate(samples("a", {A: [1.0], B: [2.0]}), samples("b", {A: [0.0], B: [1.0]}), "judge", seed=0)
    assert (better.rate, better.low, better.high) == (1.0, 1.0, 1.0)


def test_completions_are_compared_within_their_prompt_only() -> None:
    """Prompt B is easy for both; across prompts the candidate would win, within them it loses."""
    row = win_rate(samples("a", {A: [0.0], B: [10.0]}), samples("b", {A: [1.0], B: [11.0]}), "judge", seed=0)
    assert row.rate == 0


def test_the_interval_is_over_prompts_not_over_completions() -> None:
    """Many completions of two prompts with opposite results do not narrow the interval."""
    row = win_rate(
        samples("a", {A: [1.0] * 50, B: [0.0] * 50}), samples("b", {A: [0.0] * 50, B: [1.0] * 50}), "judge", 0
    )
    assert (row.rate, row.low, row.high) == (0.5, 0.0, 1.0)


def test_how_far_best_of_n_moves_a_policy() -> None:
    """The bound for any judge is log 4 − 3/4. An unlikely text reaches it; the KL of a certain one is 0."""
    plain = samples("mine", {A: [3.0, 2.0]})
    sampling = Sampling(completions=4)
    far = replace(plain, rollouts=[replace(one, logprobs=(-40.0,)) for one in plain.rollouts])
    still = replace(plain, rollouts=[replace(one, logprobs=(0.0,)) for one in plain.rollouts])
    bound = math.log(4) - 3 / 4
    assert best_of_kl(far, 4, sampling) == {"kl_bound": bound, "kl_estimate": pytest.approx(bound)}
    assert best_of_kl(still, 4, sampling)["kl_estimate"] == 0.0
    cut = replace(plain, rollouts=[replace(one, finish_reason="length") for one in still.rollouts])
    assert best_of_kl(cut, 4, sampling)["kl_estimate"] is None, (
        "of a text that was cut off nobody knows the whole"
    )
    assert best_of_kl(far, 4, Sampling(top_k=5))["kl_estimate"] is None, "another distribution than the policy's"


def row(model: str, perplexity: float | None = 10.0, distinct: float = 0.5) -> ModelRow:
    return ModelRow(model=model, perplexity=perplexity, distinct_2=distinct)


def win(low: float | None, judge: str = "vader", model: str = "new", against: str = "old") -> WinRate:
    return WinRate(model=model, against=against, judge=judge, rate=0.6, low=low)


def passed(results: list[Check]) -> dict[str, bool | None]:
    return {check.name: check.passed for check in results}


@pytest.mark.parametrize(("low", "clear"), [(0.51, True), (0.5, False), (0.4, False), (None, False)])
def test_a_win_needs_an_interval_above_one_half(low: float | None, clear: bool) -> None:
    results = checks(row("new"), row("old"), [win(low)], ["vader"])
    assert passed(results) == {"win_rate": clear, "perplexity": True, "distinct_2": True}
    assert results[0] == Check(name="win_rate", judge="vader", value=0.6, low=low, threshold=0.5, passed=clear)


@pytest.mark.parametrize(("rise", "fine"), [(0.9, True), (1.149, True), (1.151, False), (2.0, False)])
def test_perplexity_may_rise_by_a_seventh(rise: float, fine: bool) -> None:
    assert passed(checks(row("new", perplexity=10 * rise), row("old"), [], [])) == {
        "perplexity": fine,
        "distinct_2": True,
    }


def test_unmeasured_figures_are_not_checked() -> None:
    unknown = row("new", perplexity=None)
    assert passed(checks(unknown, row("old"), [], [])) == {"distinct_2": True}
    assert passed(checks(row("new"), row("old", distinct=0.0), [], [])) == {"perplexity": True}
    assert passed(checks(row("new"), row("old", distinct=math.nan), [], [])) == {"perplexity": True}
    assert passed(checks(row("new", distinct=math.nan), row("old"), [], []))["distinct_2"] is False


@pytest.mark.parametrize(("share", "fine"), [(1.2, True), (0.801, True), (0.799, False), (math.nan, False)])
def test_variety_may_fall_by_a_fifth(share: float, fine: bool) -> None:
    assert passed(checks(row("new", distinct=0.5 * share), row("old"), [], []))["distinct_2"] is fine


def test_only_independent_judges_of_this_pair_count() -> None:
    wins = [win(0.1, judge="judge"), win(0.1, against="base"), win(0.1, model="other"), win(0.6)]
    results = checks(row("new"), row("old"), wins, ["vader"])
    assert passed(results)["win_rate"]
    assert len(results) == 3


def test_the_summary_of_a_policy_by_hand() -> None:
    rollouts = [
        rollout(A, "good film", [1, 2]),
        rollout(A, "good film", [1, 2, 3, 4], reason="length"),
        rollout(B, "很好", [1, 2, 3]),
    ]
    scores = {"judge": np.array([1.0, 3.0, 5.0])}
    row = summarize_policy(PolicySamples("mine", rollouts, scores, np.array([0.5, 1.5, 3.0]), 12.5), seed=0)
    # The mean is over prompts: A has (1 + 3) / 2 = 2, B has 5, together 3.5; KL 1 and 3, together 2.
    assert row.scores["judge"].mean == pytest.approx(3.5)
    assert (row.scores["judge"].low, row.scores["judge"].high) == (2.0, 5.0)
    assert (row.kl, row.kl_low, row.kl_high) == (2.0, 1.0, 3.0)
    assert row.model == "mine"
    assert row.perplexity == 12.5
    assert row.length_mean == 3
    assert row.unfinished_share == pytest.approx(1 / 3)
    # good, film, good, film, 很, 好: four of six; (good film) twice, (很 好): two of three.
    assert row.distinct_1 == pytest.approx(4 / 6)
    assert row.distinct_2 == pytest.approx(2 / 3)


def test_the_reference_has_no_kl() -> None:
    row = summarize_policy(samples("sft", {A: [1.0, 2.0]}), seed=0)
    assert (row.kl, row.kl_low, row.kl_high) == (None, None, None)


def test_perplexity_of_a_uniform_model_is_its_vocabulary(chat_tokenizer: Any) -> None:
    policy = tiny_policy(chat_tokenizer)
    torch.nn.init.zeros_(policy.network.lm_head.weight)
    value = perplexity(policy, demonstrations("good", "a much longer one, with words", "电影"))
    assert value == pytest.approx(len(chat_tokenizer), rel=1e-5)


def test_perplexity_of_weights_that_diverged_is_a_number(chat_tokenizer: Any) -> None:
    """Negative log-likelihoods beyond the largest exponent of a double."""
    policy = tiny_policy(chat_tokenizer)
    with torch.no_grad():
        policy.network.get_output_embeddings().weight.mul_(1e6)
    assert perplexity(policy, demonstrations("hello")) == pytest.approx(math.exp(700))


def test_perplexity_is_over_tokens_with_the_end_and_without_the_prompt(
    chat_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon.evaluation.policies.MICRO_BATCH_TOKENS", 40)  # several micro-batches
    policy, texts = tiny_policy(chat_tokenizer), demonstrations("so", "a much longer one", "电影")
    examples, _ = encode_demonstrations(texts, chat_tokenizer, 1000)
    assert all(e.completions[0][-1] == chat_tokenizer.eos_token_id for e in examples)
    with torch.no_grad():
        rows = naive_logprobs(policy.network, token_groups(examples))
    expected = math.exp(-float(torch.cat(rows).mean()))
    assert perplexity(policy, texts) == pytest.approx(expected, rel=1e-5)


def test_perplexity_leaves_out_texts_longer_than_the_context(
    chat_tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tiny_policy(chat_tokenizer)
    short, long = demonstrations("so"), demonstrations("so", "so much " * 200)
    alone = perplexity(policy, short)
    policy.network.config.max_position_embeddings = 64
    assert perplexity(policy, long) == pytest.approx(alone)
    message = capsys.readouterr().err
    assert "without 1 of 2 texts; the first is demonstration 2 ('1'): " in message
    assert "tokens, more than the 64 that" in message or "more than 64 tokens hold" in message
    assert perplexity(policy, long[1:]) is None


def test_perplexity_gives_the_reason_why_the_chat_template_refuses_a_text(
    chat_tokenizer: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tiny_policy(chat_tokenizer)
    monkeypatch.setattr(policy.tokenizer, "chat_template", "{{ raise_exception('no such role') }}")
    assert perplexity(policy, demonstrations("so")) is None
    message = capsys.readouterr().err
    assert "without 1 of 1 texts" in message
    assert "no such role" in message


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_a_model_has_no_kl_to_itself(chat_tokenizer: Any, temperature: float) -> None:
    policy = tiny_policy(chat_tokenizer)
    sampling = Sampling(completions=2, max_tokens=5, temperature=temperature)
    rollouts = sample_all(policy, prompts_of("a", "a longer one"), sampling, 1, lambda _: None)
    assert len(rollouts) == 4
    np.testing.assert_allclose(kl_to_reference(rollouts, policy, temperature), np.zeros(4), atol=1e-4)


@pytest.mark.parametrize("budget", [40, 2048])  # several micro-batches, or one in another order
def test_kl_is_the_sum_of_log_ratios_in_the_order_of_the_rollouts(
    chat_tokenizer: Any, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    monkeypatch.setattr("gnomon.evaluation.policies.MICRO_BATCH_TOKENS", budget)
    policy, reference = tiny_policy(chat_tokenizer), tiny_policy(chat_tokenizer, seed=1)
    sampling = Sampling(completions=3, max_tokens=6)
    rollouts = sample_all(policy, prompts_of("a", "a longer one", "b"), sampling, 1, lambda _: None)
    kl = kl_to_reference(rollouts, reference, 1.0)
    for one, value in zip(rollouts, kl, strict=True):
        ids = torch.tensor([*one.prompt_ids, *one.token_ids])
        with torch.no_grad():
            reference_logprobs = reference.network(ids[None]).logits[0].log_softmax(-1)
        reference_logprobs = reference_logprobs[len(one.prompt_ids) - 1 : -1].gather(
            1, ids[len(one.prompt_ids) :, None]
        )
        assert value == pytest.approx(sum(one.logprobs) - float(reference_logprobs.sum()), abs=1e-3)
    assert kl.mean() > 1  # the two differ


def test_best_of_n_takes_the_best_of_each_n_in_turn() -> None:
    """Of 1, 3 | 2, 0 under A and 5, 4 | 7 (left over) under B with n = 2."""
    best = best_of_n(samples("x", {A: [1.0, 3.0, 2.0, 0.0], B: [5.0, 4.0, 7.0]}), 2, "judge")
    assert best.name == "x, best of 2"
    assert best.scores["judge"].tolist() == [3.0, 2.0, 5.0]
    assert [r.completion.text for r in best.rollouts] == ["x 3.0", "x 2.0", "x 5.0"]
    assert [r.prompt.id for r in best.rollouts] == ["A", "A", "B"]
    assert (best.kl, best.perplexity) == (None, None)


def test_a_reward_model_must_agree_better_than_every_baseline() -> None:
    def rows(model: float | None, *baselines: float | None) -> list[Predictor]:
        others = [Predictor(kind="baseline", pearson=r) for r in baselines]
        return [Predictor(kind="model", pearson=model), *others, Predictor(kind="human", pearson=0.99)]

    result = judge_checks({"judge": rows(0.77, 0.56, 0.43), "worse": rows(0.5, 0.56, 0.43)})
    assert [(c.judge, c.threshold, c.passed) for c in result] == [
        ("judge", 0.56, True),
        ("worse", 0.56, False),
    ]
    assert judge_checks({"judge": rows(None, 0.5), "other": rows(0.5, None)}) == []
