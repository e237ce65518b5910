"""The sampler draws from the model's distribution, and says truly how likely each token was."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from tiny import prompts_of, rows_of, tiny_policy
from torch import Tensor

from gnomon.core.batches import Rollout, TokenGroups
from gnomon.data.rendering import render_prompt
from gnomon.models.adapters import Trainable
from gnomon.models.policy import Policy
from gnomon.rollouts.experience import token_groups_of
from gnomon.rollouts.sampler import NativeSampler, Sampling, draw, restrict

PROMPTS = prompts_of("a", "b a c a b a c", "c c", "a b")


def sample(policy: Policy, *, seed: int = 0, **sampling: Any) -> list[Rollout]:
    return NativeSampler(policy).sample(PROMPTS, Sampling(**sampling), seed=seed)


@pytest.mark.parametrize("batch", [100, 8])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral"])
def test_logprobs_are_those_that_the_trainer_computes(kind: str, batch: int, words: Any) -> None:
    window: dict[str, Any] = {"sliding_window": 6} if kind == "mistral" else {}
    policy = tiny_policy(words, kind=kind, **window)
    rollouts = sample(policy, completions=4, max_tokens=9, temperature=1.7, batch=batch)
    groups = token_groups_of(rollouts)
    assert len({len(r.token_ids) for r in rollouts}) > 1
    assert [len(p) for p in groups.prompts] != [len(groups.prompts[0])] * 4
    with torch.no_grad():
        found = rows_of(policy.logprobs(groups, temperature=1.7), groups)
    for rollout, row in zip(rollouts, found, strict=True):
        torch.testing.assert_close(torch.tensor(rollout.logprobs), row, atol=1e-4, rtol=0)


def test_the_adapter_takes_part(words: Any) -> None:
    policy = tiny_policy(words, Trainable(rank=4))
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.add_(torch.randn_like(parameter))
    rollouts = sample(policy, completions=2, max_tokens=4)
    groups = token_groups_of(rollouts)
    with torch.no_grad():
        found = rows_of(policy.logprobs(groups), groups)
    assert (policy.reference_logprobs(groups) - policy.logprobs(groups)).abs().max() > 0.1
    for rollout, row in zip(rollouts, found, strict=True):
        torch.testing.assert_close(torch.tensor(rollout.logprobs), row, atol=1e-4, rtol=0)


def greedy(policy: Policy, ids: list[int], limit: int) -> list[int]:
    """The likeliest token, again and again, without a cache."""
    end: int = policy.tokenizer.eos_token_id
    found: list[int] = []
    while len(found) < limit and (not found or found[-1] != end):
        with torch.no_grad():
            found.append(int(policy.network(torch.tensor([ids + found])).logits[0, -1].argmax()))
    return found


def test_top_k_1_is_greedy_decoding(words: Any) -> None:
    policy = tiny_policy(words, seed=4)
    rollouts = sample(policy, top_k=1, max_tokens=9)
    expected = [greedy(policy, render_prompt(words, p), 9) for p in PROMPTS]
    assert [list(r.token_ids) for r in rollouts] == expected
    assert [r.logprobs for r in rollouts] == [(0.0,) * len(ids) for ids in expected]


def test_frequencies_are_the_models_probabilities(words: Any) -> None:
    """All 8 + 7·8 completions of at most two tokens are enumerated; χ² over 6,000 draws at a fixed seed."""
    policy, end, count = tiny_policy(words), words.eos_token_id, 6000
    every = [(end,)] + [(a, b) for a, b in itertools.product(range(8), range(8)) if a != end]
    prompt = render_prompt(words, PROMPTS[1])
    with torch.no_grad():
        groups = TokenGroups.build([prompt], every, [0] * len(every))
        exact = policy.logprobs(groups, temperature=1.3).sum(1).exp().double()
    assert exact.sum().item() == pytest.approx(1.0, abs=1e-5)
    sampling = Sampling(completions=count, max_tokens=2, temperature=1.3, batch=count)
    drawn = [r.token_ids for r in NativeSampler(policy).sample([PROMPTS[1]], sampling, seed=1)]
    often = torch.tensor([drawn.count(ids) for ids in every], dtype=torch.float64)
    assert often.sum() == count
    wanted = exact / exact.sum() * count
    assert wanted.min() > 5
    assert chisquare(often.numpy(), wanted.numpy()).pvalue > 0.001


def test_an_end_closes_a_completion_and_nothing_follows(words: Any) -> None:
    rollouts = sample(tiny_policy(words), completions=8, max_tokens=5)
    end = words.eos_token_id
    assert {r.finished for r in rollouts} == {True, False}
    for rollout in rollouts:
        assert len(rollout.logprobs) == len(rollout.token_ids)
        assert end not in rollout.token_ids[:-1]
        assert rollout.finished == (rollout.token_ids[-1] == end)
        assert rollout.finished or len(rollout.token_ids) == 5
        assert "<end>" not in rollout.completion.text


def test_k_completions_for_each_prompt_in_order(words: Any) -> None:
    policy = tiny_policy(words)
    rollouts = NativeSampler(policy).sample(PROMPTS, Sampling(completions=3, batch=6), seed=0, version=7)
    assert [r.prompt.id for r in rollouts] == [p.id for p in PROMPTS for _ in range(3)]
    assert len({r.completion.id for r in rollouts}) == 12
    assert {r.version for r in rollouts} == {7}
    assert all(r.prompt_ids == tuple(render_prompt(words, r.prompt)) for r in rollouts)


def test_the_seed_decides(words: Any) -> None:
    policy = tiny_policy(words)
    first, again, other = ([r.token_ids for r in sample(policy, completions=4, seed=seed)] for seed in (1, 1, 2))
    assert first == again
    assert first != other


LOGITS = torch.tensor([[0.15, 0.5, 0.05, 0.3]]).log()


@pytest.mark.parametrize(
    ("top_k", "top_p", "expected"),
    [
        (0, 1.0, [0.15, 0.5, 0.05, 0.3]),
        (2, 1.0, [0.0, 0.625, 0.0, 0.375]),  # 0.5 and 0.3 of 0.8
        (0, 0.7, [0.0, 0.625, 0.0, 0.375]),  # 0.5 is not enough, 0.5 + 0.3 is
        (0, 0.5, [0.0, 1.0, 0.0, 0.0]),  # 0.5 is just enough
        (0, 0.01, [0.0, 1.0, 0.0, 0.0]),  # never nothing
        (3, 0.9, [0.15 / 0.95, 0.5 / 0.95, 0.0, 0.3 / 0.95]),  # of the three that are left 0.84 is not enough
        (3, 0.8, [0.0, 0.625, 0.0, 0.375]),  # 0.8/0.95 = 0.84 is
        (9, 1.0, [0.15, 0.5, 0.05, 0.3]),
    ],
)
def test_restricted_distributions_by_hand(top_k: int, top_p: float, expected: list[float]) -> None:
    found = restrict(LOGITS, top_k=top_k, top_p=top_p).softmax(-1)[0].tolist()
    assert found == pytest.approx(expected, abs=1e-6)


def test_each_row_has_its_own_nucleus() -> None:
    logits = torch.cat([LOGITS, LOGITS.flip(1)])
    kept = restrict(logits, top_k=0, top_p=0.7).isfinite()
    assert kept.tolist() == [[False, True, False, True], [True, False, True, False]]


def test_a_draw_reports_the_renormalised_temperature_adjusted_logprob() -> None:
    """Temperature ½ squares: 0.25 and 0.09 of 0.34 are left of the two likeliest."""
    sampling = Sampling(temperature=0.5, top_k=2)
    many: Tensor = LOGITS.expand(4000, 4)
    token, logprob = draw(many, sampling, torch.Generator().manual_seed(0))
    assert set(token.tolist()) == {1, 3}
    assert logprob[token == 1][0].item() == pytest.approx(math.log(0.25 / 0.34), abs=1e-6)
    assert logprob[token == 3][0].item() == pytest.approx(math.log(0.09 / 0.34), abs=1e-6)
    assert (token == 1).float().mean().item() == pytest.approx(0.25 / 0.34, abs=0.03)  # 4 sigma
