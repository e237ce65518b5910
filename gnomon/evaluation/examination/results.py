"""The result of an examination, as written to JSON and shown on the page and in reports."""

from __future__ import annotations

from pydantic import Field

from gnomon.core.storage.result_model import Number, ResultModel, Words


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


class ModelExamination(ResultModel):
    """Every figure of one reward that concerns it alone.

    Attributes:
        name: of the reward.
        scored: number of texts with a score.
        failed: texts without one, by position and reason.
    """

    name: Words = ""
    scored: Number = None
    failed: list[FailedText] = Field(default_factory=list)


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
