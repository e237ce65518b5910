"""Answers of other prompts, to which any answer to the prompt is preferred (Liu et al. 2024, "RRM")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np

from gnomon.core.ranges import Range
from gnomon.core.types import Completion, Preference
from gnomon.data.augmentation.contract import Augmentation, AugmentationTools, Augmented

TRIES = 20  # draws until a prompt counts as the only one


class OtherPrompts(Augmentation):
    """Teaches that an answer must fit its prompt, whatever else pleases about it.

    A preferred answer of another prompt loses against the chosen answer of this one. Two answers of other prompts
    are a tie.

    Attributes:
        share: of the preferences that get such a pair.
        against: `chosen`: the chosen answer is preferred to the foreign one; `both`: the rejected one is too.
        ties: whether also two foreign answers are added as a tie.
    """

    name: ClassVar[str] = "other_prompts"
    share: Annotated[float, Range("it is a share of the preferences", gt=0, le=1)] = 0.5
    against: Literal["chosen", "both"] = "chosen"
    ties: bool = True

    def augment(self, preferences: Sequence[Preference], tools: AugmentationTools, seed: int) -> Augmented:
        """Pair answers with answers of other prompts.

        Args:
            preferences: that people judged.
            tools: not used.
            seed: of the choice.
        """
        rng = np.random.default_rng(seed)
        rows = sorted(rng.permutation(len(preferences))[: round(self.share * len(preferences))].tolist())
        made: list[Preference] = []
        alone = 0
        for row in rows:
            own = preferences[row]
            foreign = _foreign_answers(own, preferences, rng, 2 if self.ties else 1)
            if not foreign:
                alone += 1
                continue
            answers = (own.chosen, own.rejected) if self.against == "both" else (own.chosen,)
            made += [self._pair(own, better, foreign[0], 1.0) for better in answers]
            if len(foreign) == 2:
                made.append(self._pair(own, foreign[0], foreign[1], 0.5))
        return Augmented(made, {"no other prompt": alone} if alone else {})

    def _pair(self, own: Preference, better: Completion, worse: Completion, probability: float) -> Preference:
        return Preference(
            own.prompt, better, worse, probability=probability, weight=own.weight * self.weight, where=own.where
        )


def _foreign_answers(
    own: Preference, preferences: Sequence[Preference], rng: np.random.Generator, count: int
) -> list[Completion]:
    """Draw the chosen answers of other prompts; fewer than `count` if there are none in `TRIES` draws each."""
    answers: list[Completion] = []
    known = {own.chosen.text, own.rejected.text}
    for _ in range(count * TRIES):
        other = preferences[int(rng.integers(len(preferences)))]
        if other.prompt.context != own.prompt.context and other.chosen.text not in known:
            known.add(other.chosen.text)
            answers.append(replace(other.chosen, token_ids=None))
        if len(answers) == count:
            break
    return answers
