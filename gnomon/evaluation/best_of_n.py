"""KL of best-of-n sampling: KL(best of n || policy) for one prompt, in nats.

The commonly used expression log n - (n - 1)/n is exact only if no text is drawn twice and no two texts have the
same reward. Otherwise it is an upper bound: a policy with two equally likely answers never exceeds log 2, however
large n is (A. Beirami et al., "Theoretical guarantees on the best-of-n alignment policy", 2024). Policies often
repeat themselves after a short prompt, so a plot of reward against this bound overstates how far best-of-n moves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from gnomon.core.errors import ConfigError, DataError


def kl_bound(n: int) -> float:
    """Compute the upper bound log n - (n - 1)/n, valid for any judge.

    Raises:
        ConfigError: n is below 1.
    """
    if n < 1:
        raise ConfigError(f"best of {n} needs at least one completion; set n to 1 or more.")
    return math.log(n) - (n - 1) / n


def kl_estimate(n: int, best_logprobs: ArrayLike) -> float | None:
    """Compute Beirami et al.'s estimate of the KL, which accounts for likely texts being drawn more than once.

    Each winner y is assumed to be the best of all texts, with e = policy(y), and no other text to repeat:
    (1 - e)^n (log n + (n - 1) log(1 - e) - (n - 1)/n) + (1 - (1 - e)^n) log((1 - (1 - e)^n) / e), averaged over
    winners. Exact under these assumptions; otherwise an approximation without guarantee. Never above the bound,
    which it approaches as e falls to 0.

    Args:
        n: number of completions from which each winner is chosen.
        best_logprobs: log-probability of each winner under the sampling policy, in nats, `[winners]`.

    Returns:
        The estimate for the sampling policy; None without winners.

    Raises:
        ConfigError: n is below 1.
        DataError: a log-probability is above 0 or not a number.
    """
    bound = kl_bound(n)
    logprobs = np.asarray(best_logprobs, dtype=np.float64)
    if not (logprobs <= 0).all():  # also false for nan
        raise DataError("a log-probability is above 0 or not a number; give those of whole texts, in nats.")
    if not logprobs.size:
        return None
    missed = np.full(logprobs.shape, -math.inf)  # log(1 - e)
    below = logprobs < 0
    missed[below] = np.log(-np.expm1(logprobs[below]))
    # Probability of n draws without y: 0, as is its term, if e is 1 or so close that n draws hardly miss y.
    without = np.exp(n * missed)
    others = np.zeros(logprobs.shape)
    some = without > 0
    others[some] = without[some] * (bound + (n - 1) * missed[some])
    top = -np.expm1(n * missed)
    winners = np.zeros(logprobs.shape)
    some = top > 0
    winners[some] = top[some] * (np.log(top[some]) - logprobs[some])
    return float((others + winners).mean())


def best_rows(prompts: Sequence[str], scores: Sequence[float | None], n: int) -> list[int]:
    """Return the row of the best of every n completions of a prompt, in order; an incomplete last n is dropped.

    Args:
        prompts: prompt id of each row.
        scores: score of each row; `None` and NaN rank below any other. Ties go to the first.
        n: number of completions from which each winner is chosen.
    """
    by_prompt: dict[str, list[int]] = {}
    for row, prompt in enumerate(prompts):
        by_prompt.setdefault(prompt, []).append(row)

    def rank_value(row: int) -> float:
        score = scores[row]
        return -math.inf if score is None or math.isnan(score) else score

    return [
        max(rows[start : start + n], key=rank_value)
        for rows in by_prompt.values()
        for start in range(0, len(rows) - n + 1, n)
    ]
