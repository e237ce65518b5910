"""An ensemble of reward models as a reward: combined scores, and how far the members disagree about each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gnomon.core.errors import ConfigError
from gnomon.core.lazy import torch
from gnomon.core.types import Completion, Prompt
from gnomon.losses.ensembles import score_std
from gnomon.rewards.reward import LearnedReward, Report, Reward, Scores, no_report

if TYPE_CHECKING:
    from torch import Tensor

    from gnomon.models.roles import RewardModel
    from gnomon.models.settings import Combination
    from gnomon.stats.calibration import Calibration

Failures = list[tuple[int, str]]
SourceScores = Callable[[Reward], "tuple[Tensor, Sequence[tuple[int, str]]]"]


class EnsembleReward:
    """Several reward models as one reward.

    Members on one trunk are computed in one pass of it; separate models one after the other, each with its own
    tokenizer. A row for which any member has no score is a failure, with that member's reason.

    Attributes:
        name: of the reward.
        sources: the models: one `LearnedReward` with several members, or rewards with one each.
        members: names of the members, in the order of their scores.
        combination: rule by which the members' scores become one.
        calibration: map from differences of combined scores to probabilities.
        zeros_and_scales: what is subtracted from each member's scores, and what then divides them; or empty.
    """

    def __init__(
        self,
        name: str,
        sources: Sequence[Reward],
        members: Sequence[str],
        combination: Combination,
        calibration: Calibration | None = None,
        zeros_and_scales: tuple[Sequence[float], Sequence[float]] = ((), ()),
    ):
        if problem := combination.misfit(len(members)):
            raise ConfigError(f"reward '{name}': combine has {problem}.")
        self.name = name
        self.sources = list(sources)
        self.members = list(members)
        self.combination = combination
        self.calibration = calibration
        self.zeros_and_scales = zeros_and_scales
        self._report: Report = no_report

    @property
    def report(self) -> Report:
        """Called with the number of scored rows; of several models with their mean, rounded down."""
        return self._report

    @report.setter
    def report(self, report: Report) -> None:
        self._report = report
        count = len(self.sources)
        for number, source in enumerate(self.sources):
            watched: Any = source
            watched.report = lambda rows, at=number: report((at * self._rows + rows) // count)

    _rows = 0

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """Combined scores, with the standard deviation over members of each row."""
        return self.combined(*self.member_scores(prompts, completions))

    def combined(self, members: Tensor, failures: Failures) -> Scores:
        """Combine the scores of members `[E, N]`; the failures are those of their rows."""
        from gnomon.models.reward_ensemble import combine_scores

        values = combine_scores(members, self.combination)
        uncertainty = score_std(members)
        return Scores(values, {self.name: values}, failures, uncertainties={self.name: uncertainty})

    def member_scores(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion]
    ) -> tuple[Tensor, Failures]:
        """Each member's scores, `[E, N]`, NaN in all of a row that is a failure; row and reason of failures."""
        return self.scores_of_sources(lambda source: _scores_of(source, prompts, completions), len(completions))

    def scores_of_sources(self, score: SourceScores, count: int) -> tuple[Tensor, Failures]:
        """Collect the members' scores, `[E, N]`, on their common scale, with the failures.

        Args:
            score: scores all rows by the members of one source, `[E, N]`, with the failures.
            count: N, the number of rows.
        """
        self._rows = count
        scores, reasons = [], dict[int, str]()
        names = iter(self.members)
        for source in self.sources:
            own, failures = score(source)
            own_names = [next(names) for _ in range(len(own))]
            scores.append(own)
            for row, reason in failures:
                reasons.setdefault(
                    row, reason if len(self.sources) == 1 else f"member '{own_names[0]}': {reason}"
                )
            for member, row in (~own.isfinite()).nonzero().tolist():
                reasons.setdefault(row, f"member '{own_names[member]}': its score is not a finite number")
        members = torch.cat(scores)
        zeros, scales = (torch.tensor(list(values)) for values in self.zeros_and_scales)
        members = members - zeros[:, None] if len(zeros) else members
        members = members / scales[:, None] if len(scales) else members
        members[:, list(reasons)] = torch.nan
        return members, sorted(reasons.items())


def _scores_of(
    source: Reward, prompts: Sequence[Prompt], completions: Sequence[Completion]
) -> tuple[Tensor, Sequence[tuple[int, str]]]:
    """The scores of a source's members, `[E, N]`, and its failures."""
    if isinstance(source, LearnedReward):
        return source.member_scores(prompts, completions)
    scores = source.score(prompts, completions)
    return scores.values[None], scores.failures


def models_of(reward: Reward) -> list[RewardModel]:
    """The networks behind a reward that is a model or an ensemble; none behind any other."""
    if isinstance(reward, EnsembleReward):
        return [model for source in reward.sources for model in models_of(source)]
    return [reward.model] if isinstance(reward, LearnedReward) else []
