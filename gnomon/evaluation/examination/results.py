"""The result of an examination, as written to JSON and shown on the page and in reports."""

from __future__ import annotations

from pydantic import Field

from gnomon.core.storage.result_model import Interval, Number, ResultModel, Words
from gnomon.evaluation.results import CalibrationBin


class Accuracy(ResultModel):
    """The share of pairs in the order that people prefer; equal scores count half.

    Attributes:
        value: the share; None without pairs.
        low: lower end of the 95% interval from resampled prompts.
        high: upper end.
        pairs: number of pairs that count.
        equal: those of them with equal scores.
        excluded: pairs without a score, which do not count.
    """

    value: Number = None
    low: Number = None
    high: Number = None
    pairs: Number = None
    equal: Number = None
    excluded: Number = None


class CategoryAccuracy(ResultModel):
    """The accuracy on one category; `few` flags one with too few pairs to conclude anything."""

    name: Words = ""
    few: bool = False
    accuracy: Accuracy = Accuracy()


class ScorerAccuracy(ResultModel):
    """The accuracies of a reward or a baseline, overall and by category."""

    name: Words = ""
    kind: Words = ""
    overall: Accuracy = Accuracy()
    categories: list[CategoryAccuracy] = Field(default_factory=list)


class AccuracyDifference(ResultModel):
    """The accuracy of one reward minus that of another on the same pairs, with interval and p-value."""

    model: Words = ""
    against: Words = ""
    value: Number = None
    low: Number = None
    high: Number = None
    p: Number = None
    pairs: Number = None


class PersonComparison(ResultModel):
    """One person and the rewards against the same targets: what the other people chose.

    Attributes:
        pairs: number of pairs with votes of two people or more.
        person: agreement of one person with the majority of the others, mean over persons.
        models: agreement of each reward with the same majorities.
    """

    pairs: Number = None
    person: Accuracy = Accuracy()
    models: dict[str, Accuracy] = Field(default_factory=dict)


class FailedText(ResultModel):
    """A text that a reward could not score, and why."""

    where: Words = ""
    reason: Words = ""


class RankFigures(ResultModel):
    """Agreement of scores with the order of texts in rankings and ratings.

    Attributes:
        lists: rankings and groups of rated texts with two texts or more, all scored.
        undefined: those of them in which scores or people's values do not vary.
        excluded: those with a text that has no score.
        tau: Kendall's τ-b of a list, mean over lists.
        spearman: Spearman's ρ of a list, mean over lists.
        tau_pooled: τ-b over the pairs of all lists together, within lists.
        spearman_all: ρ over all rated texts; None for rankings, whose ranks cannot be compared between prompts.
    """

    lists: Number = None
    undefined: Number = None
    excluded: Number = None
    tau: Interval = Interval()
    spearman: Interval = Interval()
    tau_pooled: Number = None
    spearman_all: Number = None


class ProbabilityFigures(ResultModel):
    """Whether p = σ(difference of two scores), or a calibrated p, is the share of people who prefer the first.

    Attributes:
        pairs: number of pairs; each enters in both orders.
        calibration: method of the calibration that the reward model was saved with; "" for σ.
        one_outcome: `right` or `wrong` if all decided pairs are; calibration is then undefined.
        ece: expected calibration error with bins of equal width.
        ece_equal_mass: the same with bins of equally many pairs.
        nll: mean negative log-likelihood in nats.
        brier: mean squared error of the probability.
        bins: of equal width.
        bins_equal_mass: of equally many pairs.
    """

    pairs: Number = None
    calibration: Words = ""
    one_outcome: Words = ""
    ece: Number = None
    ece_equal_mass: Number = None
    nll: Number = None
    brier: Number = None
    bins: list[CalibrationBin] = Field(default_factory=list)
    bins_equal_mass: list[CalibrationBin] = Field(default_factory=list)


class ScoreSummary(ResultModel):
    """The distribution of the scores of preferred or of other texts, pair by pair."""

    mean: Number = None
    sd: Number = None
    q05: Number = None
    q25: Number = None
    q50: Number = None
    q75: Number = None
    q95: Number = None


class ScoreDistributions(ResultModel):
    """The scores of the texts that people prefer and of the others.

    Attributes:
        preferred: summary of the preferred texts.
        other: summary of the other texts.
        margin: summary of the differences.
        edges: of the histograms' bins, one more than bins; scores beyond count in the last ones.
        preferred_counts: histogram of the preferred texts.
        other_counts: histogram of the others.
    """

    preferred: ScoreSummary = ScoreSummary()
    other: ScoreSummary = ScoreSummary()
    margin: ScoreSummary = ScoreSummary()
    edges: list[Number] = Field(default_factory=list)
    preferred_counts: list[Number] = Field(default_factory=list)
    other_counts: list[Number] = Field(default_factory=list)


class LengthFigures(ResultModel):
    """How far scores follow length.

    Attributes:
        unit: `characters`, or `tokens` of the reward model.
        texts: number of texts with a score.
        pearson: correlation of score and length over texts.
        spearman: of their ranks.
        prefers_longer: share of the pairs of unequal lengths whose longer text scores higher; equal scores half.
        people_prefer_longer: the same share of people's choices.
        shorter: accuracy where people prefer the shorter text.
        longer: accuracy where people prefer the longer text.
    """

    unit: Words = ""
    texts: Number = None
    pearson: Number = None
    spearman: Number = None
    prefers_longer: Number = None
    people_prefer_longer: Number = None
    shorter: Accuracy = Accuracy()
    longer: Accuracy = Accuracy()


class OrderFigures(ResultModel):
    """Whether a score depends on which texts are scored together, and in which order.

    Attributes:
        texts: number of texts that were scored again: each alone, and all in reverse order.
        difference: largest difference to the first score, relative to 1 + |score|.
        tolerance: up to which rounding explains it.
    """

    texts: Number = None
    difference: Number = None
    tolerance: Number = None

    @property
    def stable(self) -> bool | None:
        """Whether the difference is within the tolerance."""
        if self.difference is None or self.tolerance is None:
            return None
        return self.difference <= self.tolerance


class PromptFigures(ResultModel):
    """Whether a preferred text scores higher under its own prompt than under another row's.

    Attributes:
        own: share of texts that score strictly higher; equal scores are counted and are not higher.
    """

    own: Accuracy = Accuracy()


class Robustness(ResultModel):
    """What a change that does not change an answer's worth does to scores and verdicts.

    Attributes:
        change: name of the change.
        pairs: number of pairs with four scores and a text that the change alters.
        unchanged: pairs of which it alters no text.
        flips: share of pairs with another verdict when both texts are changed.
        flips_low: lower end of its 95% interval.
        flips_high: upper end.
        shift: mean change of the score, in standard deviations of the unchanged scores.
        overtakes: of the pairs in the right order, the share in which the other text, changed, passes the
            unchanged preferred one.
        ordered: number of pairs in the right order.
    """

    change: Words = ""
    pairs: Number = None
    unchanged: Number = None
    flips: Number = None
    flips_low: Number = None
    flips_high: Number = None
    shift: Number = None
    overtakes: Number = None
    ordered: Number = None


class BenchmarkFigures(ResultModel):
    """The published figures of a benchmark; "" is the whole.

    Attributes:
        name: of the benchmark.
        rows: number of rows that count.
        excluded: rows with an answer without a score.
        figures: by name.
    """

    name: Words = ""
    rows: Number = None
    excluded: Number = None
    figures: dict[str, Number] = Field(default_factory=dict)


class ModelExamination(ResultModel):
    """Every figure of one reward that concerns it alone.

    Attributes:
        name: of the reward.
        scored: number of the data's texts with a score.
        failed: those without one, by position and reason.
        failed_changed: number of changed texts, and of texts under other prompts, without a score.
        ranks: None without rankings and ratings.
        prompts: None where there is no other prompt, or none is tried.
        benchmarks: those whose rows are in the data.
    """

    name: Words = ""
    scored: Number = None
    failed: list[FailedText] = Field(default_factory=list)
    failed_changed: Number = None
    ranks: RankFigures | None = None
    probabilities: ProbabilityFigures = ProbabilityFigures()
    distributions: ScoreDistributions = ScoreDistributions()
    lengths: list[LengthFigures] = Field(default_factory=list)
    order: OrderFigures = OrderFigures()
    prompts: PromptFigures | None = None
    robustness: list[Robustness] = Field(default_factory=list)
    benchmarks: list[BenchmarkFigures] = Field(default_factory=list)


class RewardExamination(ResultModel):
    """The examination of rewards on held-out judgements.

    Attributes:
        files: the data.
        texts: number of different texts with their prompts.
        prompts: number of different prompts, or of texts without one.
        pairs: number of pairs.
        decided: those of which people prefer one text.
        lists: number of rankings and groups of rated texts.
        without_prompt: number of rated texts without a prompt.
        category: the column of the categories; "" without any.
        seed: of everything random.
        accuracy: of the rewards and of the baselines always-longer and always-shorter.
        person: one person on the same pairs, where single votes are known.
        differences: of each two rewards.
        models: the other figures of each reward.
        failed_conditions: a sentence for each condition that a reward met.
    """

    files: list[Words] = Field(default_factory=list)
    texts: Number = None
    prompts: Number = None
    pairs: Number = None
    decided: Number = None
    lists: Number = None
    without_prompt: Number = None
    category: Words = ""
    seed: Number = None
    accuracy: list[ScorerAccuracy] = Field(default_factory=list)
    person: PersonComparison | None = None
    differences: list[AccuracyDifference] = Field(default_factory=list)
    models: list[ModelExamination] = Field(default_factory=list)
    failed_conditions: list[Words] = Field(default_factory=list)
