"""The results of trainings and of comparisons of models, which several kinds of stages and the report share."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from gnomon.core.storage.result_model import IntervalEstimate, Number, ResultModel, Words
from gnomon.evaluation.results import Check, ModelRow, RewardModelEvaluation, WinRate
from gnomon.evaluation.score_fits import CalibrationReport
from gnomon.models.cards.facts import Figure
from gnomon.stages.contract import Result
from gnomon.training.outcome import Outcome, why_nothing_learned

DEPENDENT = "the judge took part in the training, or may have"


class ParameterCounts(ResultModel):
    """How many parameters a model has, and how many of them are trained."""

    total: Number = None
    trainable: Number = None


class Failure(ResultModel):
    """A reason why a reward failed, and the number of completions."""

    reason: Words = ""
    count: Number = None


class LoopResult(ResultModel):
    """The result of a training loop: of a stage, or of a phase of a hybrid stage.

    Attributes:
        final: metrics of the last step.
        steps: recorded.
        learning: whether anything was learned.
        examples: that an offline loop trained on.
        rejected: rows of its data that were not.
        reward_failures: of an online loop.
    """

    final: dict[str, Number] = Field(default_factory=dict)
    steps: Number = None
    learning: Outcome = Outcome()
    examples: Number = None
    rejected: Number = None
    reward_failures: list[Failure] = Field(default_factory=list)


class TrainResult(Result):
    """The result of any training stage.

    Attributes:
        algorithm: or those of a hybrid stage's phases.
        model: that training started from.
        phases: of a hybrid stage, by name.
        evaluation: of a reward model.
        members: of an ensemble of reward models.
        calibration: of a reward model's probabilities on prompts that nothing was fitted on.
    """

    view: ClassVar[str] = "train"
    kind: Words = "train"
    parameters: ParameterCounts = ParameterCounts()
    processes: Number = None
    device: Words = ""
    dtype: Words = ""
    algorithm: Words = ""
    model: Words = ""
    phases: dict[str, LoopResult] = Field(default_factory=dict)
    final: dict[str, Number] = Field(default_factory=dict)
    steps: Number = None
    learning: Outcome = Outcome()
    examples: Number = None
    rejected: Number = None
    reward_failures: list[Failure] = Field(default_factory=list)
    evaluation: RewardModelEvaluation | None = None
    members: Number = None
    calibration: CalibrationReport | None = None
    peak_memory_gb: Number = None
    peak_device_memory_gb: Number = None

    @property
    def label(self) -> str:
        """The algorithm."""
        return self.algorithm

    @property
    def nothing_learned(self) -> str:
        """Why nothing was learned, a key of `training.outcome.REASONS`, or ""."""
        return self.learning.nothing

    @property
    def remark(self) -> str:
        """Why nothing was learned, for the console."""
        return why_nothing_learned(self.learning)

    def figures_of(self, model: str, stage: str) -> list[Figure]:
        """A reward model's agreement with people on held-out texts, and that of one person for comparison.

        Args:
            model: name of the stage that made the model.
            stage: name of this stage.
        """
        rows = self.evaluation.rows if self.evaluation is not None and model == stage else []
        figures = []
        for row in (row for row in rows if row.kind in ("model", "human")):
            own = row.kind == "model"
            about = () if own else (("of", row.name),)
            note = "on held-out texts" if own else "for comparison: one person against the others"
            pairs, r = row.estimate("pair_accuracy", "pair_low", "pair_high"), row.estimate("pearson")
            figures += figure("pair accuracy", pairs, stage, about=about, note=note, own=own)
            figures += figure("correlation with people", r, stage, about=about, note=note, own=own)
        return figures


class DependenceResult(ResultModel):
    """Why a judge declared independent is not: `reward`, `derived`, `weights` or `rows`."""

    reason: Words = ""
    count: Number = None
    of: Number = None


class JudgeResult(ResultModel):
    """A judge of the evaluation; an independent one took no part in the training."""

    name: Words = ""
    independent: bool = False
    dependence: DependenceResult | None = None


class ScoredText(ResultModel):
    """One completion with each judge's score."""

    model: Words = ""
    prompt: Words = ""
    text: Words = ""
    finished: bool | None = None
    scores: dict[str, Number] = Field(default_factory=dict)


class Sample(ResultModel):
    """One prompt with each model's completion."""

    prompt: Words = ""
    completions: list[ScoredText] = Field(default_factory=list)


class BestOfResult(ResultModel):
    """KL of best-of-n to the model itself, in nats."""

    model: Words = ""
    candidate: Words = ""
    kl_bound: Number = None
    kl_estimate: Number = None


class ComparisonResult(Result):
    """The result of a stage that compares models, on which the report's verdict rests.

    Attributes:
        trained_prompts: number of prompts that the candidate was trained on.
    """

    view: ClassVar[str] = "evaluate"
    kind: Words = "evaluate"
    models: list[Words] = Field(default_factory=list)
    reference: Words = ""
    candidate: Words = ""
    judges: list[JudgeResult] = Field(default_factory=list)
    prompts: Number = None
    trained_prompts: Number = None
    completions_per_prompt: Number = None
    table: list[ModelRow] = Field(default_factory=list)
    win_rates: list[WinRate] = Field(default_factory=list)
    checks: list[Check] = Field(default_factory=list)
    samples: list[Sample] = Field(default_factory=list)
    worst: list[ScoredText] = Field(default_factory=list)
    best_of: BestOfResult | None = None

    @property
    def label(self) -> str:
        """A key of the report's translations."""
        return "evaluation"

    def figures_of(self, model: str, stage: str) -> list[Figure]:
        """Win rates in which a model takes part, its mean scores, and its KL to the reference.

        Args:
            model: name of the stage that made the model.
            stage: name of this stage.
        """
        notes = {judge.name: "" if judge.independent else DEPENDENT for judge in self.judges}
        figures = []
        for rate in (rate for rate in self.win_rates if model in (rate.model, rate.against)):
            own = rate.model == model
            other = ("against", rate.against) if own else ("over this model of", rate.model)
            about, note = (other, ("by", rate.judge)), notes.get(rate.judge, "")
            values = rate.estimate("rate", "low", "high")
            figures += figure("win rate", values, stage, about=about, note=note, own=own)
        for row in (row for row in self.table if row.model == model):
            for judge, score in row.scores.items():
                values, note = score.estimate("mean", "low", "high"), notes.get(judge, "")
                figures += figure("mean score", values, stage, about=(("by", judge),), note=note)
            kl = row.estimate("kl")
            figures += figure("KL", kl, stage, about=(("to", self.reference),), note="nats a completion")
        return figures


def figure(
    name: str,
    values: IntervalEstimate,
    stage: str,
    *,
    about: tuple[tuple[str, str], ...] = (),
    note: str = "",
    own: bool = True,
) -> list[Figure]:
    """A figure of a model's card, or none where it has no value.

    Args:
        name: what was measured.
        values: with the interval.
        stage: that measured it.
        about: what it was compared with, and by which judge.
        note: how to read it.
        own: whether it is a figure of the model itself.
    """
    if values.value is None:
        return []
    return [Figure(name, values.value, values.low, values.high, stage, about, note, own)]
