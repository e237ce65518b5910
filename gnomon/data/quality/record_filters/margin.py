"""Preferences whose margin is too small to learn from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from gnomon.core.ranges import Range
from gnomon.core.types import Preference
from gnomon.data.quality.contract import Action, Part, RecordFilter


class Margin(RecordFilter):
    """Finds preferences with a margin below a bound; without a bound it finds nothing.

    A file without margins reads as margin 0, which any bound above 0 finds.

    Attributes:
        min_margin: smallest margin, on the raters' scale.
    """

    name: ClassVar[str] = "margin"
    part: ClassVar[Part] = "consistent"
    kinds: ClassVar[tuple[type, ...]] = (Preference,)
    default: ClassVar[Action] = "drop"
    min_margin: Annotated[float, Range("it is a distance of ratings", ge=0)] | None = None

    @property
    def idle(self) -> bool:
        """Without a bound."""
        return self.min_margin is None

    def check(self, record: Any, tokenizer: Any) -> Iterator[str]:
        """Compare the margin with the bound."""
        if self.min_margin is not None and record.margin < self.min_margin:
            yield f"margin {record.margin:g} is below {self.min_margin:g}"
