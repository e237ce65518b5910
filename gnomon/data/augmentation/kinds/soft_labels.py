"""Labels between those of people and those of a reward model that learned from them (Reed et al. 2015)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar

from gnomon.core.ranges import Range
from gnomon.core.types import Preference
from gnomon.data.augmentation.contract import Augmentation, AugmentationTools, Augmented


class SoftLabels(Augmentation):
    """Replaces the share of raters p by `(1 − λ)·p + λ·σ(Δ)`, Δ the reward model's difference of scores.

    A label that contradicts all similar ones loses some of its strength ("soft bootstrapping", Reed et al. 2015,
    eq. 6). If the other side becomes the more likely one, the sides change places.

    Attributes:
        share: λ, the share of the reward model.
    """

    name: ClassVar[str] = "soft_labels"
    replaces: ClassVar[bool] = True
    share: Annotated[float, Range("people's labels keep a part", gt=0, lt=1)] = 0.3

    def augment(self, preferences: Sequence[Preference], tools: AugmentationTools, seed: int) -> Augmented:
        """Mix the labels with the reward model's probabilities.

        Args:
            preferences: that people judged.
            tools: with `score`.
            seed: not used.
        """
        prompts = [one.prompt for one in preferences]
        both = [*(one.chosen for one in preferences), *(one.rejected for one in preferences)]
        scores = tools.score([*prompts, *prompts], both)
        made, unscored = [], 0
        for own, chosen, rejected in zip(
            preferences, scores[: len(prompts)], scores[len(prompts) :], strict=True
        ):
            if not math.isfinite(chosen - rejected):
                made.append(own)
                unscored += 1
                continue
            probability = 0.5 * (1 + math.tanh((chosen - rejected) / 2))  # σ, without overflow
            made.append(self._mixed(own, probability))
        return Augmented(made, {"without a score": unscored} if unscored else {})

    def _mixed(self, own: Preference, probability: float) -> Preference:
        mixed = (1 - self.share) * own.probability + self.share * probability
        weight = own.weight * self.weight
        if mixed >= 0.5:
            return replace(own, probability=mixed, weight=weight)
        return replace(
            own,
            chosen=own.rejected,
            rejected=own.chosen,
            probability=1 - mixed,
            margin=-own.margin,
            weight=weight,
        )
