"""How far best-of-n sampling moves a policy: KL(best of n || policy) for one prompt, in nats.

The expression that is often quoted, log n - (n - 1)/n, is the KL where no text is ever drawn twice and no two
have one reward. Otherwise it is an upper bound: a policy with two answers of a half each never gets further than
log 2, however large n is (A. Beirami et al., "Theoretical guarantees on the best-of-n alignment policy", 2024).
What policies write after a short prompt is often the same, so a plot of reward against this bound shows best-of-n
as further from its start than it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from gnomon.core.errors import ConfigError, DataError


def kl_bound(n: int) -> float:
    """The upper bound log n - (n - 1)/n, which holds whatever ranks the texts.

    Raises:
        ConfigError: n is below 1.
    """
    if n < 1:
        raise ConfigError(f"the best of {n} is the best of nothing; draw 1 or more.")
    return math.log(n) - (n - 1) / n


def kl_estimate(n: int, best_logprobs: ArrayLike) -> float | None:
    """Beirami et al.'s estimate of the KL, which sees that likely texts are drawn more than once.

    Each winner y is taken for the best text there is, with e = policy(y), among texts of which no other repeats:
    (1 - e)^n (log n + (n - 1) log(1 - e) - (n - 1)/n) + (1 - (1 - e)^n) log((1 - (1 - e)^n) / e), averaged over
    winners. Exact where that is so; otherwise near the KL, without a guarantee on either side. Never above the
    bound, to which it rises as e falls to 0.

    Args:
        n: of how many draws each winner is the best.
        best_logprobs: log-probability of each winner under the policy that drew it, in nats, [winners].

    Returns:
        The estimate for the policy from which the winners came; None without winners.

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
    # n draws without y; where e is 1, or n draws hardly miss it, this is 0 and so is its term.
    without = np.exp(n * missed)
    others = np.zeros(logprobs.shape)
    some = without > 0
    others[some] = without[some] * (bound + (n - 1) * missed[some])
    top = -np.expm1(n * missed)
    found = np.zeros(logprobs.shape)
    some = top > 0
    found[some] = top[some] * (np.log(top[some]) - logprobs[some])
    return float((others + found).mean())


def best_rows(prompts: Sequence[str], scores: Sequence[float | None], n: int) -> list[int]:
    """The rows of the best of every n completions of a prompt, in order; fewer than n at its end are left out.

    Args:
        prompts: of each row, by id.
        scores: of each row; one that is `None` or NaN loses against any other. Ties go to the first.
        n: of how many the best is taken.
    """
    by_prompt: dict[str, list[int]] = {}
    for row, prompt in enumerate(prompts):
        by_prompt.setdefault(prompt, []).append(row)

    def worth(row: int) -> float:
        score = scores[row]
        return -math.inf if score is None or math.isnan(score) else score

    return [
        max(rows[start : start + n], key=worth)
        for rows in by_prompt.values()
        for start in range(0, len(rows) - n + 1, n)
    ]
