"""Judges that read a text alone, without the prompt it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gnomon.core.lazy import torch
from gnomon.core.types import Completion, Prompt
from gnomon.rewards.reward import Scores


class TextJudge(Protocol):
    """Anything that gives texts a score; higher is better, the scale is the judge's own."""

    @property
    def name(self) -> str:
        """What reports call this judge."""
        ...

    def score_texts(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Scores of the texts, [N]."""
        ...


class TextReward:
    """A judge of texts as a reward: the prompt is not read."""

    def __init__(self, judge: TextJudge):
        self.judge = judge
        self.name = judge.name

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """The judge's scores of the completions' texts, `[N]`."""
        values = torch.from_numpy(self.judge.score_texts([c.text for c in completions])).float()
        return Scores(values, {self.name: values})
