"""A judge without training: VADER's lexicon and rules (Hutto & Gilbert, ICWSM 2014)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer


class VaderJudge:
    """Sentiment of a text, from the valences of its words; English only.

    It adds up words, so a long list of praise deceives it but no person: useful to show that a policy
    overoptimizes, and as a second judge, not as the only reward.
    """

    name = "vader"

    def __init__(self) -> None:
        self._analyzer = SentimentIntensityAnalyzer()

    def score_texts(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """VADER's compound score of each text, in [-1, 1], [N]; 0 for a text without known words."""
        scores = [self._analyzer.polarity_scores(text)["compound"] for text in texts]
        return np.array(scores, dtype=np.float64)
