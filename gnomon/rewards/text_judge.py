"""Judges that read a text alone, without the prompt it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class TextJudge(Protocol):
    """Anything that gives texts a score; higher is better, the scale is the judge's own."""

    @property
    def name(self) -> str:
        """What reports call this judge."""
        ...

    def score_texts(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Scores of the texts, [N]."""
        ...
