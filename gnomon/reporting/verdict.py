"""Did it get better, and by whose judgement? The rule by which a report decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gnomon.reporting.results import Check, Evaluation, WinRate

Finding = Literal["better", "worse", "unclear"]
Outcome = Literal["better", "failed_check", "own_judge", "disputed", "unclear", "worse", "none"]


@dataclass(frozen=True)
class Opinion:
    """What one judge finds when it holds the candidate against the reference."""

    win_rate: WinRate
    independent: bool

    @property
    def finding(self) -> Finding:
        """Better or worse only where the whole interval lies on one side of one half."""
        if self.win_rate.low is not None and self.win_rate.low > 0.5:
            return "better"
        if self.win_rate.high is not None and self.win_rate.high < 0.5:
            return "worse"
        return "unclear"


@dataclass(frozen=True)
class Verdict:
    """The outcome, with the opinions that it rests on and the checks that failed."""

    outcome: Outcome
    opinions: tuple[Opinion, ...] = ()
    failed: tuple[Check, ...] = ()
    idle: tuple[tuple[str, str], ...] = ()  # training stages that learned nothing, and why

    @property
    def unproven(self) -> bool:
        """Whether there are opinions, but none by an independent judge."""
        return bool(self.opinions) and not any(opinion.independent for opinion in self.opinions)


def judge_run(evaluation: Evaluation | None, idle: Sequence[tuple[str, str]] = ()) -> Verdict:
    """Decide from the last finished evaluation.

    Only judges that took no part in the training can prove anything: a policy can learn to please the judge
    that rewards it without getting better. All independent judges must agree, and every check must pass; that
    every training stage learned something is one of them.

    Args:
        evaluation: the last one of the run.
        idle: training stages that learned nothing, with the reason.
    """
    if evaluation is None:
        return Verdict("none", idle=tuple(idle))
    independent = {judge.name for judge in evaluation.judges if judge.independent}
    opinions = tuple(
        Opinion(row, row.judge in independent)
        for row in evaluation.win_rates
        if (row.model, row.against) == (evaluation.candidate, evaluation.reference) and row.rate is not None
    )
    failed = tuple(check for check in evaluation.checks if check.passed is False)
    return Verdict(_outcome(opinions, bool(failed or idle)), opinions, failed, tuple(idle))


def _outcome(opinions: tuple[Opinion, ...], failed: bool) -> Outcome:
    independent = [opinion for opinion in opinions if opinion.independent]
    findings = {opinion.finding for opinion in independent or opinions}
    if not findings:
        return "none"
    if findings == {"better"}:
        return "own_judge" if not independent else "failed_check" if failed else "better"
    if "better" in findings:
        return "disputed"
    return "worse" if "worse" in findings else "unclear"
