"""Conclusions from chains: a > b and b > c give a > c, where nobody compared a and c."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from gnomon.core.ranges import Range
from gnomon.core.types import Preference
from gnomon.data.augmentation.contract import Augmentation, AugmentationTools, Augmented
from gnomon.data.pairs.comparisons import comparisons_of
from gnomon.data.pairs.edges import concluded, merged, without_cycles
from gnomon.data.pairs.settings import PairSettings


class Chains(Augmentation):
    """Adds what the votes imply if they are transitive, never against a vote.

    A conclusion has the least probability, margin and weight of its chain, the latter two times `factor` for each
    step after the first. Cycles are broken at their weakest comparison first, for the conclusions alone.

    Attributes:
        factor: of margin and weight for each further step.
    """

    name: ClassVar[str] = "chains"
    factor: Annotated[float, Range("a conclusion is weaker than a vote", gt=0, lt=1)] = 0.5

    def augment(self, preferences: Sequence[Preference], tools: AugmentationTools, seed: int) -> Augmented:
        """Conclude preferences from chains.

        Args:
            preferences: that people judged.
            tools: not used.
            seed: not used.
        """
        made: list[Preference] = []
        cycles = 0
        for group in comparisons_of(preferences, PairSettings()):
            edges, removed = without_cycles(merged(group.edges))
            cycles += len(removed)
            made += [
                Preference(
                    group.prompt,
                    group.completions[edge.better],
                    group.completions[edge.worse],
                    probability=edge.probability,
                    margin=edge.margin,
                    weight=edge.weight * self.weight,
                )
                for edge in concluded(edges, self.factor, removed)
            ]
        return Augmented(made, {"in cycles": cycles} if cycles else {})
