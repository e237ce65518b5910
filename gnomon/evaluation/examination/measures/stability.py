"""Whether a score depends on the texts that are scored beside it: batch order and padding."""

from __future__ import annotations

import numpy as np

from gnomon.evaluation.examination.cases import Texts
from gnomon.evaluation.examination.results import OrderFigures
from gnomon.evaluation.examination.scored import TextScores
from gnomon.rewards.reward import Reward, numbers_of

AGAIN = 16  # texts that are scored again
TOLERANCE = 1e-4  # relative to 1 + |score|: what float32 loses by another order of sums


def order_figures(reward: Reward, texts: Texts, scores: TextScores) -> OrderFigures:
    """Score some texts again, each alone and all in reverse order, and compare with their first scores.

    The texts are the shortest, the longest and others between, so that padding would show.

    Args:
        reward: the reward.
        texts: the texts.
        scores: their first scores.
    """
    scored = np.flatnonzero(~np.isnan(scores.values))
    by_length = sorted(scored.tolist(), key=lambda index: len(texts.completions[index].text))
    chosen = [by_length[round(n * (len(by_length) - 1) / (AGAIN - 1))] for n in range(AGAIN)]
    chosen = list(dict.fromkeys(chosen))
    prompts, completions = [texts.prompts[n] for n in chosen], [texts.completions[n] for n in chosen]
    first = scores.at(chosen)
    alone = [numbers_of(reward, [prompt], [one])[0][0] for prompt, one in zip(prompts, completions, strict=True)]
    reverse = numbers_of(reward, prompts[::-1], completions[::-1])[0][::-1]
    gaps = np.abs(np.array([alone, reverse]) - first) / (1 + np.abs(first))  # [2, n]
    # A text that has a score at one time and none at another is as unstable as can be.
    difference = float(np.where(np.isnan(gaps), np.inf, gaps).max())
    return OrderFigures(texts=len(chosen), difference=min(difference, 1e9), tolerance=TOLERANCE)
