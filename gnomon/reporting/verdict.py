"""The verdict of a report: whether the candidate is better than the reference, and according to which judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gnomon.evaluation.results import Check, WinRate
from gnomon.stages.common.results import ComparisonResult

Finding = Literal["better", "worse", "unclear"]
Outcome = Literal[
    "better", "failed_check", "nothing_learned", "own_judge", "not_unanimous", "unclear", "worse", "none"
]


@dataclass(frozen=True)
class JudgeVerdict:
    """One judge's comparison of the candidate with the reference.

    Attributes:
        win_rate: the candidate's win rate by this judge.
        independent: whether the judge took no part in the training.
    """

    win_rate: WinRate
    independent: bool

    @property
    def finding(self) -> Finding:
        """Return `better` or `worse` if the whole interval is above or below one half, else `unclear`."""
        if self.win_rate.low is not None and self.win_rate.low > 0.5:
            return "better"
        if self.win_rate.high is not None and self.win_rate.high < 0.5:
            return "worse"
        return "unclear"


@dataclass(frozen=True)
class Verdict:
    """The outcome of a run, and the evidence for it.

    Attributes:
        outcome: whether the candidate is better than the reference, or why that cannot be concluded.
        judge_verdicts: each judge's comparison of the candidate with the reference.
        failed_checks: checks of the evaluation that failed.
        nothing_learned: training stages that learned nothing, each with the reason.
    """

    outcome: Outcome
    judge_verdicts: tuple[JudgeVerdict, ...] = ()
    failed_checks: tuple[Check, ...] = ()
    nothing_learned: tuple[tuple[str, str], ...] = ()

    @property
    def no_independent_judge(self) -> bool:
        """Whether there are verdicts of judges, but none of an independent judge."""
        return bool(self.judge_verdicts) and not any(verdict.independent for verdict in self.judge_verdicts)


def judge_run(evaluation: ComparisonResult | None, nothing_learned: Sequence[tuple[str, str]] = ()) -> Verdict:
    """Decide from the last finished evaluation whether the candidate is better than the reference.

    Only judges that took no part in the training count as evidence: a policy can learn to please the judge that
    rewards it without getting better. All independent judges must agree, every check must pass, and every
    training stage must have learned something.

    Args:
        evaluation: result of the run's last finished evaluation; `None` if there is none.
        nothing_learned: names of training stages that learned nothing, each with the reason.
    """
    if evaluation is None:
        return Verdict("none", nothing_learned=tuple(nothing_learned))
    independent = {judge.name for judge in evaluation.judges if judge.independent}
    judge_verdicts = tuple(
        JudgeVerdict(row, row.judge in independent)
        for row in evaluation.win_rates
        if (row.model, row.against) == (evaluation.candidate, evaluation.reference) and row.rate is not None
    )
    failed_checks = tuple(check for check in evaluation.checks if check.passed is False)
    objection: Outcome | None = (
        "failed_check" if failed_checks else "nothing_learned" if nothing_learned else None
    )
    return Verdict(_outcome(judge_verdicts, objection), judge_verdicts, failed_checks, tuple(nothing_learned))


def _outcome(judge_verdicts: tuple[JudgeVerdict, ...], objection: Outcome | None) -> Outcome:
    """Combine the judges' verdicts; `objection` replaces `better`."""
    independent = [verdict for verdict in judge_verdicts if verdict.independent]
    findings = {verdict.finding for verdict in independent or judge_verdicts}
    if not findings:
        return "none"
    if findings == {"better"}:
        return objection or "better" if independent else "own_judge"
    if "better" in findings:
        return "not_unanimous"
    return "worse" if "worse" in findings else "unclear"
