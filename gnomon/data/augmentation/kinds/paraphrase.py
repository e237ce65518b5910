"""The same answers in other words, by a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from gnomon.core.types import Preference
from gnomon.data.augmentation.contract import Augmentation, AugmentationTools, Augmented
from gnomon.data.augmentation.rewriting import rewritten

REQUEST = (
    "Write the following text in other words and in the same language. Keep its meaning, its tone, its length "
    "and also its errors. Write only the new text."
)


class Paraphrase(Augmentation):
    """Teaches that wording alone does not count.

    Attributes:
        by: the model that writes: a local one, or `http://host/v1#model`.
        request: the instruction, which stands before the text.
    """

    name: ClassVar[str] = "paraphrase"
    by: str
    request: str = REQUEST

    def augment(self, preferences: Sequence[Preference], tools: AugmentationTools, seed: int) -> Augmented:
        """Rewrite both sides.

        Args:
            preferences: that people judged.
            tools: with `write`.
            seed: not used; the generator has its own.
        """
        return rewritten(preferences, [self.request], tools.write, self.by, weight=self.weight)

    def generators(self) -> tuple[str, ...]:
        """The model that writes."""
        return (self.by,)
