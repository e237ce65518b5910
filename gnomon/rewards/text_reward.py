"""Judges that read a text alone, without the prompt it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gnomon.core.types import Completion, Prompt
from gnomon.rewards.reward import Numbers, PlainReward


class TextJudge(Protocol):
    """A judge that scores texts; higher is better, the scale is the judge's own."""

    @property
    def name(self) -> str:
        """Its name in reports."""
        ...

    def score_texts(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Scores of the texts, [N]."""
        ...


class TextReward(PlainReward):
    """A judge of texts as a reward that ignores the prompt."""

    def __init__(self, judge: TextJudge):
        self.judge = judge
        self.name = judge.name

    def numbers(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Numbers:
        """The judge's scores of the completions' texts."""
        return self.judge.score_texts([c.text for c in completions]).tolist(), []
