"""Records whose completion a judge scores too low, or below the rejected one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from gnomon.core.progress import SHORT_SECONDS, progress
from gnomon.core.ranges import Finite
from gnomon.core.types import Demonstration, Label, Preference, Ranking
from gnomon.data.quality.contract import Candidates, Decision, FileFilter, Part
from gnomon.data.records import completions_of

BATCH = 512


class Judge(FileFilter):
    """Finds records by the scores of a judge; without one it finds nothing.

    Any reward is a judge: a reward model, `vader`, a function in a file. One of harm scores harmful texts low.

    Attributes:
        judge: name of the reward.
        min_score: lowest score of a completion; of a preference or a ranking that of the best one.
        min_gap: smallest lead of the chosen completion's score over the rejected one's; 0 finds preferences with
            which the judge disagrees.
    """

    name: ClassVar[str] = "judge"
    part: ClassVar[Part] = "harmless"
    kinds: ClassVar[tuple[type, ...]] = (Preference, Ranking, Label, Demonstration)
    turn: ClassVar[int] = 60
    judge: str = ""
    min_score: Finite | None = None
    min_gap: Finite | None = None

    @property
    def idle(self) -> bool:
        """Without a judge."""
        return not self.judge

    def needs(self) -> tuple[str, ...]:
        """The judge."""
        return ("score",)

    def decide(self, candidates: Candidates) -> Decision:
        """Score the completions of the remaining records."""
        score = candidates.tools.score
        assert score is not None, "checked by needs()"
        rows = np.flatnonzero(candidates.remaining)
        reasons: dict[int, str] = {}
        failures = 0
        total, count = 0.0, 0
        with progress("scoring", len(rows), after=SHORT_SECONDS) as bar:
            for start in range(0, len(rows), BATCH):
                records = [candidates.record(int(row)) for row in rows[start : start + BATCH]]
                several = [completions_of(record)[:2] for record in records]
                prompts = [r.prompt for r, some in zip(records, several, strict=True) for _ in some]
                scores = iter(score(prompts, [one for some in several for one in some]))
                for row, some in zip(rows[start : start + BATCH], several, strict=True):
                    own = [next(scores) for _ in some]
                    if not all(map(math.isfinite, own)):
                        failures += 1
                        continue
                    total, count = total + own[0], count + 1
                    if reason := self._reason(own):
                        reasons[int(row)] = reason
                bar.at(min(start + BATCH, len(rows)))
        return Decision(reasons, figures={"mean_score": total / count if count else None, "not_scored": failures})

    def _reason(self, scores: Sequence[float]) -> str:
        if self.min_score is not None and scores[0] < self.min_score:
            return f"{self.judge} scores it {scores[0]:.3g}, below {self.min_score:g}"
        if self.min_gap is not None and len(scores) > 1 and scores[0] - scores[1] < self.min_gap:
            return f"{self.judge} scores chosen {scores[0]:.3g} and rejected {scores[1]:.3g}"
        return ""
