"""The same answers after a translation to another language and back (Sennrich et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from gnomon.core.types import Preference
from gnomon.data.augmentation.contract import Augmentation, AugmentationTools, Augmented
from gnomon.data.augmentation.rewriting import rewritten


class BackTranslation(Augmentation):
    """Changes words and order, and keeps the meaning as well as the model translates.

    Attributes:
        by: the model that translates: a local one, or `http://host/v1#model`.
        language: of the texts.
        through: the language between.
    """

    name: ClassVar[str] = "back_translation"
    by: str
    language: str = "English"
    through: str = "French"

    def augment(self, preferences: Sequence[Preference], tools: AugmentationTools, seed: int) -> Augmented:
        """Translate both sides there and back.

        Args:
            preferences: that people judged.
            tools: with `write`.
            seed: not used; the generator has its own.
        """
        requests = [
            f"Translate the following text to {language}. Write only the translation."
            for language in (self.through, self.language)
        ]
        return rewritten(preferences, requests, tools.write, self.by, weight=self.weight)

    def generators(self) -> tuple[str, ...]:
        """The model that translates."""
        return (self.by,)
