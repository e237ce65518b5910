"""Penalties, restrictions and draws, against hand-derived numbers and exact frequencies."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from gnomon.rollouts.sampling_params import Sampling
from gnomon.rollouts.token_sampling import (
    draw,
    forbid,
    invert,
    penalize,
    repeated,
    repetition_penalty,
    restrict,
    uniforms,
)

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
    result = restrict(LOGITS, top_k=top_k, top_p=top_p).softmax(-1)[0].tolist()
    assert result == pytest.approx(expected, abs=1e-6)


def test_each_row_has_its_own_nucleus() -> None:
    logits = torch.cat([LOGITS, LOGITS.flip(1)])
    allowed = restrict(logits, top_k=0, top_p=0.7).isfinite()
    assert allowed.tolist() == [[False, True, False, True], [True, False, True, False]]


def test_a_draw_reports_the_renormalized_temperature_adjusted_logprob() -> None:
    """Temperature ½ squares: 0.25 and 0.09 of 0.34 are left of the two likeliest."""
    sampling = Sampling(temperature=0.5, top_k=2)
    many: Tensor = LOGITS.expand(4000, 4)
    token, logprob = draw(many, sampling, torch.tensor(uniforms(4000, "draw")))
    assert set(token.tolist()) == {1, 3}
    assert logprob[token == 1][0].item() == pytest.approx(math.log(0.25 / 0.34), abs=1e-6)
    assert logprob[token == 3][0].item() == pytest.approx(math.log(0.09 / 0.34), abs=1e-6)
    assert (token == 1).float().mean().item() == pytest.approx(0.25 / 0.34, abs=0.03)  # 4 sigma


def test_a_nucleus_of_many_tokens_is_that_of_a_full_sort() -> None:
    """Of 3000 tokens that are nearly alike about 2700 hold 0.9; in the second row two do."""
    logits = torch.randn(2, 3000, generator=torch.Generator().manual_seed(0)) * 0.1
    logits[1, [7, 2000]] = 20.0
    allowed = restrict(logits, top_k=0, top_p=0.9).isfinite()
    for row, mask in zip(logits.double().softmax(-1), allowed, strict=True):
        assert row[mask].min() >= row[~mask].max()
        assert row[mask].sum() >= 0.9 - 1e-6
        assert row[mask].sum() - row[mask].min() < 0.9 + 1e-6
    assert allowed.sum(1).tolist()[1] == 2 < 2500 < allowed.sum(1).tolist()[0]
    assert torch.equal(restrict(logits[1:], top_k=0, top_p=0.9).isfinite(), allowed[1:])  # found among a few


def test_top_k_keeps_exactly_k_where_tokens_tie() -> None:
    tied = torch.tensor([[1.0, 2.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    allowed = restrict(tied, top_k=2, top_p=1.0).isfinite()
    assert allowed.sum(1).tolist() == [2, 2]
    assert allowed[0, 1]


def test_temperature_0_takes_the_likeliest_and_reports_its_plain_logprob() -> None:
    token, logprob = draw(LOGITS, Sampling(temperature=0, top_p=0.1), torch.tensor([0.99]))
    assert token.tolist() == [1]
    assert logprob.item() == pytest.approx(math.log(0.5), abs=1e-6)


@pytest.mark.parametrize("vocab", [7, 64, 200])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.6},
        {"top_k": 3},
        {"top_p": 0.8},
        {"temperature": 1.5, "top_k": 5, "top_p": 0.9},
        {"repetition_penalty": 1.7},
        {"no_repeat_ngram": 2},
        {"min_tokens": 3},
    ],
    ids=str,
)
def test_frequencies_are_the_exact_probabilities(settings: dict[str, float], vocab: int) -> None:
    """χ² over 20,000 draws at a fixed seed, and the log-probabilities, against a plain float64 softmax."""
    count = 20_000
    logits = torch.randn(vocab, generator=torch.Generator().manual_seed(vocab)) * 1.5
    sampling, prompt, drawn, ends = Sampling(**settings), [2, 4, 3], [1, 2], [0]
    changed = penalize(logits[None], [prompt], [drawn], ends, sampling)
    exact = restrict(changed.double() / sampling.temperature, top_k=sampling.top_k, top_p=sampling.top_p)
    exact = exact[0].softmax(-1)
    assert settings in ({}, {"temperature": 0.6}) or not torch.allclose(exact, logits.double().softmax(-1))
    token, logprob = draw(
        changed.expand(count, -1), sampling, torch.tensor(uniforms(count, vocab, str(settings)))
    )
    torch.testing.assert_close(logprob.double(), exact.log()[token], atol=1e-5, rtol=0)
    often = torch.bincount(token, minlength=vocab).double()
    assert often[exact == 0].sum() == 0
    # Rare tokens are counted together: χ² wants five or more of each.
    rare = exact * count < 5
    groups = [torch.cat([x[~rare], x[rare].sum()[None]]) for x in (often, exact * count)]
    counts, expected = (x[groups[1] > 1e-9].numpy() for x in groups)
    assert chisquare(counts, expected).pvalue > 0.001


def test_the_search_equals_a_plain_cumulative_sum() -> None:
    """Every border of 130 tokens, some of no weight, from just below and just above."""
    weights = torch.rand(130, generator=torch.Generator().manual_seed(3))
    weights[[0, 5, 63, 64, 65, 128, 129]] = 0.0
    cumulative = weights.double().cumsum(0) / weights.double().sum()
    targets = torch.cat([torch.zeros(1).double(), cumulative - 1e-6, cumulative + 1e-6, torch.ones(1).double()])
    targets = targets.clamp(0, 1 - 1e-12)
    expected = torch.searchsorted(cumulative, targets, right=True)
    assert torch.equal(invert(weights.expand(len(targets), -1), targets), expected)
    assert invert(weights[None], torch.ones(1).double()).item() == 127  # never one that weighs nothing


def test_a_stream_depends_on_its_key_alone() -> None:
    assert uniforms(5, 0, "p1", 2) == uniforms(9, 0, "p1", 2)[:5]
    streams = {tuple(uniforms(3, *key)) for key in [(0, "p1", 2), (1, "p1", 2), (0, "p1", 3), (0, "p", 12)]}
    assert len(streams) == 4
    assert uniforms(1, 0, "p1", 2) == [0.34080553388299484]  # in any process, on any machine


def test_the_repetition_penalty_by_hand() -> None:
    """Positive logits are divided by 2, negative ones multiplied; each once, however often a token was seen."""
    logits = torch.tensor([[3.0, -1.0, 2.0, 0.5], [3.0, -1.0, 2.0, 0.5]])
    result = repetition_penalty(logits, [{0, 1}, set()], 2.0)
    assert result.tolist() == [[1.5, -2.0, 2.0, 0.5], [3.0, -1.0, 2.0, 0.5]]
    settings = Sampling(repetition_penalty=2)
    assert penalize(logits[:1], [[0, 0]], [[1, 3]], [3], settings).tolist() == [[1.5, -2.0, 2.0, 0.5]]


@pytest.mark.parametrize(
    ("ids", "n", "expected"),
    [
        ([5, 6, 7, 5, 6], 3, {7}),  # 5 6 was followed by 7
        ([5, 6, 7, 5, 6, 8, 5, 6], 3, {7, 8}),
        ([5, 6, 7, 5, 6], 2, {7}),
        ([5, 5], 2, {5}),
        ([5, 6, 7], 1, {5, 6, 7}),
        ([5, 6], 3, set()),
        ([5], 4, set()),
    ],
)
def test_repeated_ngrams_by_hand(ids: list[int], n: int, expected: set[int]) -> None:
    assert repeated(ids, n) == expected


def test_ngrams_run_over_the_border_of_prompt_and_completion_and_never_forbid_the_end() -> None:
    logits, settings = torch.zeros(1, 5), Sampling(no_repeat_ngram=2)
    result = penalize(logits, [[1, 2, 3, 2, 0]], [[1, 2]], [0], settings)
    assert result.isfinite()[0].tolist() == [True, True, True, False, True]  # 2 3 is known, and so is 2 0, an end
    result = penalize(logits, [[4, 1]], [[4]], [0], settings)
    assert result.isfinite()[0].tolist() == [True, False, True, True, True]


def test_a_rule_that_would_forbid_all_tokens_is_lifted() -> None:
    settings = Sampling(no_repeat_ngram=1, min_tokens=9)
    result = penalize(torch.zeros(2, 3), [[1, 2], [1]], [[], []], [0], settings)
    assert result.isfinite().tolist() == [[False, True, True], [False, False, True]]


def test_no_end_before_min_tokens() -> None:
    result = penalize(torch.zeros(2, 4), [[1], [1]], [[1], [1, 1]], [0, 3], Sampling(min_tokens=2))
    assert result.isfinite().tolist() == [[False, True, True, False], [True] * 4]


def test_an_empty_list_forbids_no_token() -> None:
    assert torch.equal(forbid(LOGITS, [()]), LOGITS)
