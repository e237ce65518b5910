"""The contract of an augmentation: settings, and new preferences made of those that people judged."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from gnomon.core.config import Settings
from gnomon.core.ranges import Range
from gnomon.core.types import Completion, Preference, Prompt

Weight = Annotated[float, Range("a preference that nobody judged weighs no more than a vote", gt=0, le=1)]
Score = Callable[[Sequence[Prompt], Sequence[Completion]], Sequence[float]]
Write = Callable[[str, Sequence[Prompt]], Sequence[str | None]]


@dataclass(frozen=True)
class AugmentationTools:
    """Models that augmentations use.

    Attributes:
        score: scores completions with a reward model that learned from the judged preferences, in logits of being
            preferred; NaN where there is no score.
        write: the answers of a generator, by its name, to prompts; `None` for one that it did not give or finish.
    """

    score: Score
    write: Write


@dataclass(frozen=True)
class Augmented:
    """Preferences that an augmentation made.

    Attributes:
        preferences: new ones, or with `replaces` the old ones with other labels.
        left_out: reason → number of preferences that could not be made.
    """

    preferences: Sequence[Preference]
    left_out: dict[str, int] = field(default_factory=dict)


class Augmentation(Settings):
    """Base class of augmentations.

    Attributes:
        name: name in settings and reports.
        replaces: whether its preferences take the place of the judged ones, rather than to be added to them.
        weight: factor of the weight of a new preference.
    """

    name: ClassVar[str]
    replaces: ClassVar[bool] = False
    weight: Weight = 1.0

    @abstractmethod
    def augment(self, preferences: Sequence[Preference], tools: AugmentationTools, seed: int) -> Augmented:
        """Make preferences of judged ones.

        Args:
            preferences: that people judged.
            tools: models.
            seed: of everything random.
        """

    def generators(self) -> tuple[str, ...]:
        """The names of the generators that it uses."""
        return ()
