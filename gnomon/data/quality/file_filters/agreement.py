"""Records on which people agree too little, and files of ratings that hardly agree at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar

from gnomon.core.errors import DataError
from gnomon.core.ranges import Range
from gnomon.core.types import Preference, RatedText
from gnomon.data.quality.contract import Candidates, Decision, FileFilter, Part, Row
from gnomon.stats.agreement import krippendorff_alpha

SCALE = 2**32  # a share as an integer
ROUNDING = 1e-9


class RaterAgreement(FileFilter):
    """Finds preferences that too few raters share, and refuses ratings whose agreement is close to chance.

    Attributes:
        min_agreement: share of raters that must prefer one side, whichever it is: `probability`, or
            1 − `probability`. A row without `probability` counts as agreed.
        min_alpha: Krippendorff's alpha of a file of ratings, below which the action drop refuses the whole file:
            guidelines are then unclear, and no selection of rows repairs that. `null`: no bound.
    """

    name: ClassVar[str] = "agreement"
    part: ClassVar[Part] = "consistent"
    kinds: ClassVar[tuple[type, ...]] = (Preference, RatedText)
    turn: ClassVar[int] = 0
    min_agreement: Annotated[float, Range("half of the raters always agree", ge=0.5, le=1)] = 0.7
    min_alpha: Annotated[float, Range("alpha is at most 1", ge=-1, le=1)] | None = 0.2

    def features(self, record: Any, row: Row) -> Sequence[int]:
        """The agreement of a preference."""
        if isinstance(record, Preference):
            return (int(max(record.probability, 1 - record.probability) * SCALE),)
        return (0,)

    def check(self, record: Any, tokenizer: Any) -> Iterator[str]:
        """Yield why a single preference is found.

        Args:
            record: a preference; nothing else is found.
            tokenizer: not used.
        """
        if isinstance(record, Preference):
            share = max(record.probability, 1 - record.probability)
            if share < self.min_agreement - ROUNDING:
                yield self._reason(share)

    def _reason(self, share: float) -> str:
        return f"{share:.0%} of raters agree, fewer than {self.min_agreement:.0%}"

    def decide(self, candidates: Candidates) -> Decision:
        """Compare with the bounds.

        Raises:
            DataError: the ratings agree less than `min_alpha`, and the action is to drop.
        """
        if candidates.kind is RatedText:
            return self._alpha(candidates)
        shares = candidates.features[:, 0] / SCALE
        low = (shares < self.min_agreement - ROUNDING) & candidates.remaining
        return Decision(
            {
                int(index): f"{shares[index]:.0%} of raters agree, fewer than {self.min_agreement:.0%}"
                for index in low.nonzero()[0]
            }
        )

    def _alpha(self, candidates: Candidates) -> Decision:
        by_text: dict[str, list[float]] = defaultdict(list)  # ratings in the long form are spread over rows
        for index in candidates.remaining.nonzero()[0]:
            record = candidates.record(int(index))
            by_text[record.id].extend(record.ratings)
        units = [ratings for ratings in by_text.values() if len(ratings) > 1]
        alpha = krippendorff_alpha(units, "interval").value if units else None
        if self.action == "drop" and alpha is not None and self.min_alpha is not None and alpha < self.min_alpha:
            raise DataError(
                f"Krippendorff's alpha of the ratings is {alpha:.2f}, below min_alpha {self.min_alpha:g}: "
                "raters agree little more than by chance; clarify the guidelines and rate again."
            )
        return Decision(figures={"krippendorff_alpha": alpha})
