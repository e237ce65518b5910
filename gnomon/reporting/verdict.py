"""The verdict of a report: whether the candidate is better than the reference, and according to which judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gnomon.evaluation.results import Check, WinRate
from gnomon.stages.common.results import ComparisonResult

Finding = Literal["better", "worse", "unclear"]
Outcome = Literal["better", "failed_check", "own_judge", "disputed", "unclear", "worse", "none"]


@dataclass(frozen=True)
class JudgeVerdict:
    """One judge's comparison of the candidate with the reference."""

    win_rate: WinRate
    independent: bool

    @property
    def finding(self) -> Finding:
        """Better or worse only if the whole interval lies on one side of one half."""
        if self.win_rate.low is not None and self.win_rate.low > 0.5:
            return "better"
        if self.win_rate.high is not None and self.win_rate.high < 0.5:
            return "worse"
        return "unclear"


@dataclass(frozen=True)
class Verdict:
    """The outcome, with the verdicts of single judges that it rests on and the checks that failed."""

    outcome: Outcome
    judge_verdicts: tuple[JudgeVerdict, ...] = ()
    failed: tuple[Check, ...] = ()
    idle: tuple[tuple[str, str], ...] = ()  # training stages that learned nothing, with the reason

    @property
    def unproven(self) -> bool:
        """Whether there are verdicts of judges, but none of an independent one."""
        return bool(self.judge_verdicts) and not any(verdict.independent for verdict in self.judge_verdicts)


def judge_run(evaluation: ComparisonResult | None, idle: Sequence[tuple[str, str]] = ()) -> Verdict:
    """Decide from the last finished evaluation.

    Only judges that took no part in the training count as evidence: a policy can learn to please the judge that
    rewards it without getting better. All independent judges must agree, every check must pass, and every
    training stage must have learned something.

    Args:
        evaluation: the last one of the run.
        idle: training stages that learned nothing, with the reason.
    """
    if evaluation is None:
        return Verdict("none", idle=tuple(idle))
    independent = {judge.name for judge in evaluation.judges if judge.independent}
    judge_verdicts = tuple(
        JudgeVerdict(row, row.judge in independent)
        for row in evaluation.win_rates
        if (row.model, row.against) == (evaluation.candidate, evaluation.reference) and row.rate is not None
    )
    failed = tuple(check for check in evaluation.checks if check.passed is False)
    return Verdict(_outcome(judge_verdicts, bool(failed or idle)), judge_verdicts, failed, tuple(idle))


def _outcome(judge_verdicts: tuple[JudgeVerdict, ...], failed: bool) -> Outcome:
    independent = [verdict for verdict in judge_verdicts if verdict.independent]
    findings = {verdict.finding for verdict in independent or judge_verdicts}
    if not findings:
        return "none"
    if findings == {"better"}:
        return "own_judge" if not independent else "failed_check" if failed else "better"
    if "better" in findings:
        return "disputed"
    return "worse" if "worse" in findings else "unclear"
