"""The scores of an examination's texts by one reward: each text is scored once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import RunError
from gnomon.evaluation.examination.cases import Texts
from gnomon.rewards.reward import Reward, numbers_of, watched_scores
from gnomon.stats.calibration import Calibration

FloatArray = NDArray[np.float64]
NO_NUMBER = "its score is not a finite number"


@dataclass(frozen=True)
class TextScores:
    """The scores of texts by one reward.

    Attributes:
        values: by index of the text; NaN where the reward gave none, [N].
        reasons: why, by index.
    """

    values: FloatArray
    reasons: dict[int, str]

    def at(self, indices: Sequence[int]) -> FloatArray:
        """Return the scores of some texts."""
        return self.values[np.asarray(indices, dtype=np.int64)]


def score_texts(reward: Reward, name: str, texts: Texts) -> TextScores:
    """Score all texts with a progress bar.

    Args:
        reward: the reward.
        name: name for progress and errors.
        texts: the texts.

    Raises:
        RunError: the reward failed on every text.
    """
    with watched_scores(reward, f"{name}: scored", len(texts)):
        numbers, failures = numbers_of(reward, texts.prompts, texts.completions)
    values = np.array([value if math.isfinite(value) else math.nan for value in numbers], dtype=np.float64)
    known = dict(failures)
    reasons = {index: known.get(index, NO_NUMBER) for index in np.flatnonzero(np.isnan(values)).tolist()}
    if len(reasons) == len(texts):
        raise RunError(f"the reward '{name}' failed on every text: {reasons[0]}.")
    return TextScores(values, reasons)


def saved_calibration(reward: Reward) -> Calibration | None:
    """Return the calibration that a reward model or an ensemble was saved with; `None` without one."""
    model: Any = getattr(reward, "model", None)
    own: Calibration | None = getattr(reward, "calibration", None) or getattr(model, "calibration", None)
    return own


def text_lengths(texts: Texts) -> FloatArray:
    """Return the characters of each completion, [N]."""
    return np.array([len(one.text) for one in texts.completions], dtype=np.float64)


def token_counts(reward: Reward, texts: Texts, indices: Sequence[int]) -> FloatArray | None:
    """Count the tokens of completions with a reward model's tokenizer; `None` for rewards without one.

    Args:
        reward: the reward.
        texts: the texts.
        indices: of the texts to count, [n].
    """
    model: Any = getattr(reward, "model", None)
    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is None:
        return None
    words = [texts.completions[index].text for index in indices]
    ids = tokenizer(words, add_special_tokens=False)["input_ids"]
    return np.array([len(one) for one in ids], dtype=np.float64)
