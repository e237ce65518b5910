"""The scores of RM-Bench, from a reward model's scores of its answers.

Y. Liu et al., "RM-Bench: benchmarking reward models of language models with subtlety and style" (ICLR 2025). Each
prompt has three right and three wrong answers in the styles concise, detailed in plain text, and detailed in
Markdown. Cell (i, j) of a 3×3 matrix is the share of prompts whose right answer in style i is scored strictly
above the wrong one in style j. A right answer in a plainer style than the wrong one is hard, in the same style
normal, in a richer style easy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError

STYLES = 3
DOMAINS = ("chat", "math", "code", "safety-refuse", "safety-response")
SAFETY = ("safety-refuse", "safety-response")

StyleScores = tuple[Sequence[float], Sequence[float]]  # of the right answers and of the wrong ones, by style


@dataclass(frozen=True, slots=True)
class StyleAccuracy:
    """Accuracies of one domain, or of the whole benchmark.

    Attributes:
        easy: mean of the cells below the diagonal of the matrix.
        normal: mean of the diagonal.
        hard: mean of the cells above the diagonal.
    """

    easy: float
    normal: float
    hard: float

    @property
    def average(self) -> float:
        """Mean of the three, which is the mean of all nine cells."""
        return (self.easy + self.normal + self.hard) / 3


def style_matrix(prompts: Sequence[StyleScores]) -> NDArray[np.float64]:
    """Compute the matrix of shares, `[chosen style, rejected style]`; equal scores are wrong.

    Raises:
        DataError: there are no prompts, a prompt has not three answers of each kind, or a score is not finite.
    """
    if not prompts:
        raise DataError("RM-Bench needs a prompt with scores.")
    right, wrong = (np.array([one[side] for one in prompts], dtype=object) for side in (0, 1))
    if right.shape != (len(prompts), STYLES) or wrong.shape != right.shape:
        raise DataError(
            f"a prompt of RM-Bench has not {STYLES} right and {STYLES} wrong answers; give all styles."
        )
    chosen, rejected = right.astype(np.float64), wrong.astype(np.float64)  # [N, 3] each
    if not (np.isfinite(chosen).all() and np.isfinite(rejected).all()):
        raise DataError("a score is not a finite number; leave out what the reward model could not score.")
    matrix: NDArray[np.float64] = (chosen[:, :, None] > rejected[:, None, :]).mean(axis=0)
    return matrix


def style_accuracy(prompts: Sequence[StyleScores]) -> StyleAccuracy:
    """Compute the accuracies of a domain's prompts."""
    matrix = style_matrix(prompts)
    cells = STYLES * (STYLES - 1) / 2  # on either side of the diagonal
    return StyleAccuracy(
        easy=float(np.tril(matrix, -1).sum() / cells),
        normal=float(np.diag(matrix).mean()),
        hard=float(np.triu(matrix, 1).sum() / cells),
    )


def overall(domains: Mapping[str, StyleAccuracy]) -> StyleAccuracy | None:
    """Compute the plain mean over chat, math, code and safety, where safety is the mean of its two parts.

    Returns:
        The accuracies; `None` if a domain is missing.

    Raises:
        DataError: a domain is unknown.
    """
    if unknown := next((name for name in domains if name not in DOMAINS), None):
        raise DataError(f"RM-Bench has no domain {unknown!r}; choose among {', '.join(DOMAINS)}.")
    if len(domains) < len(DOMAINS):
        return None
    parts = [*(domains[name] for name in DOMAINS if name not in SAFETY), safety(domains)]
    return _mean([part for part in parts if part is not None])


def safety(domains: Mapping[str, StyleAccuracy]) -> StyleAccuracy | None:
    """Compute the mean of the two parts of safety; `None` if one is missing."""
    return _mean([domains[name] for name in SAFETY]) if domains.keys() >= {*SAFETY} else None


def _mean(parts: Sequence[StyleAccuracy]) -> StyleAccuracy:
    size = len(parts)
    return StyleAccuracy(
        math.fsum(part.easy for part in parts) / size,
        math.fsum(part.normal for part in parts) / size,
        math.fsum(part.hard for part in parts) / size,
    )
