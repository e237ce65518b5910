"""Means over pairs whose prompts are resampled, and paired differences, beside plain twins."""

from __future__ import annotations

import numpy as np
import pytest

from gnomon.stats.clustered import ClusterBootstrap
from gnomon.stats.intervals import Estimate, wilson_interval

NAN = float("nan")


def test_the_mean_leaves_pairs_without_a_value_out() -> None:
    bootstrap = ClusterBootstrap([0, 0, 1, 2], [0, 0, 1, 2], 0)
    assert bootstrap.mean([1, 0, NAN, 0]).value == pytest.approx(1 / 3)
    assert bootstrap.mean([NAN] * 4) == Estimate(None, None, None)
    assert bootstrap.mean([1, 0, 1, 0], [3, 1, 0, 1]).value == pytest.approx(3 / 5)


def test_one_prompt_has_no_interval() -> None:
    assert ClusterBootstrap([7, 7], [7, 7], 0).mean([1, 0]) == Estimate(0.5, None, None)


def test_pairs_that_all_agree_have_the_interval_of_their_prompts() -> None:
    """Six pairs of three prompts, all right: resamples do not vary, and six is not the number of observations."""
    estimate = ClusterBootstrap([0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2], 0).mean([1] * 6)
    assert (estimate.low, estimate.high) == wilson_interval(3, 3)


def test_the_interval_is_that_of_prompts_and_not_of_pairs() -> None:
    """20 prompts with 10 equal pairs each: the standard error is that of 20 observations, √(1/4/20) = 0.112."""
    values = np.repeat([0.0, 1.0] * 10, 10)
    clusters = np.repeat(np.arange(20), 10)
    estimate = ClusterBootstrap(clusters, clusters, 0, 4000).mean(values)
    assert estimate.high is not None
    assert estimate.low is not None
    assert (estimate.high - estimate.low) / 2 / 1.96 == pytest.approx(0.112, abs=0.01)


def test_a_pair_of_two_texts_counts_as_often_as_both_are_drawn() -> None:
    """Beside a twin that builds each resample, pair by pair."""
    first, second = [0, 0, 1, 3], [1, 2, 2, 3]
    values = np.array([0.1, 0.7, 0.45, 0.95])
    bootstrap = ClusterBootstrap(first, second, 3, 200)
    rng = np.random.default_rng(3)
    means = []
    for counts in rng.multinomial(4, [0.25] * 4, size=200):
        times = [counts[a] * (1 if a == b else counts[b]) for a, b in zip(first, second, strict=True)]
        if sum(times):
            means.append(sum(t * v for t, v in zip(times, values, strict=True)) / sum(times))
    low, high = np.quantile(means, [0.025, 0.975])
    estimate = bootstrap.mean(values)
    assert estimate.low == pytest.approx(low)
    assert estimate.high == pytest.approx(high)


def test_a_difference_is_paired() -> None:
    """Both judges vary by prompt, but one is right on one prompt more: 1/40, and p is not small."""
    rng = np.random.default_rng(0)
    other = rng.integers(2, size=40).astype(float)
    one = other.copy()
    one[np.flatnonzero(other == 0)[0]] = 1
    clusters = np.arange(40)
    bootstrap = ClusterBootstrap(clusters, clusters, 0)
    result = bootstrap.difference(one, other)
    assert result.value == pytest.approx(1 / 40)
    assert result.low == 0  # in 36% of resamples that prompt is missing
    assert result.high == pytest.approx(3 / 40)
    assert result.p is not None
    assert 0.6 < result.p < 0.85  # 2 · 0.364
    turned = bootstrap.difference(other, one)
    assert turned.low == pytest.approx(-3 / 40)
    assert turned.p == result.p


def test_equal_judges_do_not_differ() -> None:
    values = [1.0, 0.0, 1.0, NAN]
    result = ClusterBootstrap(range(4), range(4), 0).difference(values, values)
    assert (result.value, result.low, result.high, result.p, result.pairs) == (0, 0, 0, 1, 3)


def test_a_clear_difference_has_a_small_p() -> None:
    result = ClusterBootstrap(range(50), range(50), 0, 1000).difference([1.0] * 50, [0.0] * 50)
    assert result.value == 1
    assert result.p == pytest.approx(2 / 1001)
    assert ClusterBootstrap([0], [0], 0).difference([NAN], [1]).value is None
