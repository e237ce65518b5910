"""Stage results as a report reads them from a run folder: defensively.

Every field is optional and unknown keys are ignored, so that a report can be made for an unfinished run, or one
of an older or newer version. A number that is missing, NaN or not a number is None.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict


def finite(value: object) -> float | None:
    """The value if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _words(value: object) -> str:
    return "" if value is None else str(value)


def _pairs_of_numbers(value: object) -> list[tuple[float, float]]:
    """The rows of a scatter that are two finite numbers."""
    pairs = []
    for row in value if isinstance(value, list) else []:
        x, y = map(finite, row) if isinstance(row, list) and len(row) == 2 else (None, None)
        if x is not None and y is not None:
            pairs.append((x, y))
    return pairs


Number = Annotated[float | None, BeforeValidator(finite)]
Words = Annotated[str, BeforeValidator(_words)]
Points = Annotated[list[tuple[float, float]], BeforeValidator(_pairs_of_numbers)]


class IntervalEstimate(NamedTuple):
    """A value with its interval."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


class ResultModel(BaseModel):
    """Base of all results: unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    def estimate(self, name: str, low: str = "", high: str = "") -> IntervalEstimate:
        """The field `name` with its interval.

        Args:
            name: of the value's field.
            low: of the lower bound's field; by default `name_low`.
            high: of the upper bound's field; by default `name_high`.
        """
        keys = (name, low or f"{name}_low", high or f"{name}_high")
        return IntervalEstimate(*(getattr(self, key, None) for key in keys))


class Spread(ResultModel):
    """Raters per item."""

    least: Number = None
    mean: Number = None
    most: Number = None


class Interval(ResultModel):
    """A mean or an agreement, with its interval."""

    level: Words = ""
    value: Number = None
    mean: Number = None
    low: Number = None
    high: Number = None


class CeilingResult(ResultModel):
    """How well one person predicts the others: the best that a reward model can reach."""

    one_rater_against_rest_r: Number = None
    pair_agreement: Number = None
    pair_low: Number = None
    pair_high: Number = None
    tie_share: Number = None


class Feedback(ResultModel):
    """The result of a feedback stage."""

    seconds: Number = None
    items: Number = None
    ratings: Number = None
    raters_per_item: Spread = Spread()
    krippendorff_alpha: Interval = Interval()
    human_ceiling: CeilingResult = CeilingResult()
    split: dict[str, Number] = {}
    preferences: Number = None
    demonstrations: Number = None
    rejected: Number = None


class Predictor(ResultModel):
    """A row of a reward model's evaluation: the model, a baseline, or one person."""

    name: Words = ""
    kind: Words = ""
    pearson: Number = None
    pearson_low: Number = None
    pearson_high: Number = None
    spearman: Number = None
    spearman_low: Number = None
    spearman_high: Number = None
    pair_accuracy: Number = None
    pair_low: Number = None
    pair_high: Number = None


class CalibrationBin(ResultModel):
    """Pairs with similar predicted probability, and the observed share."""

    predicted: Number = None
    observed: Number = None
    count: Number = None


class CalibrationResult(ResultModel):
    """Calibration of predicted probabilities."""

    ece: Number = None
    bins: list[CalibrationBin] = []


class RewardModelEvaluation(ResultModel):
    """A reward model's agreement with people on held-out texts."""

    items: Number = None
    pairs: Number = None
    rows: list[Predictor] = []
    calibration: CalibrationResult = CalibrationResult()
    scatter: Points = []


class ParameterCounts(ResultModel):
    """How many parameters a model has, and how many of them are trained."""

    total: Number = None
    trainable: Number = None


class Learning(ResultModel):
    """Learning summary of a training stage: steps without signal, and why nothing was learned."""

    steps: Number = None
    cut_off: Number = None
    without_variance: Number = None
    nothing: Words = ""


class Failure(ResultModel):
    """A reason why a reward failed, and the number of completions."""

    reason: Words = ""
    count: Number = None


class Training(ResultModel):
    """The result of any training stage."""

    algorithm: Words = ""
    model: Words = ""
    seconds: Number = None
    steps: Number = None
    parameters: ParameterCounts = ParameterCounts()
    device: Words = ""
    dtype: Words = ""
    peak_memory_gb: Number = None
    peak_device_memory_gb: Number = None
    final: dict[str, Number] = {}
    learning: Learning = Learning()
    reward_failures: list[Failure] = []
    evaluation: RewardModelEvaluation | None = None


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


class ModelRow(ResultModel):
    """One model's row of the evaluation table."""

    model: Words = ""
    scores: dict[str, Interval] = {}
    kl: Number = None
    kl_low: Number = None
    kl_high: Number = None
    perplexity: Number = None
    distinct_1: Number = None
    distinct_2: Number = None
    self_bleu: Number = None
    length_mean: Number = None
    unfinished_share: Number = None


class WinRate(ResultModel):
    """How often one model's completions beat another's, ties counted half."""

    model: Words = ""
    against: Words = ""
    judge: Words = ""
    wins: Number = None
    ties: Number = None
    losses: Number = None
    rate: Number = None
    low: Number = None
    high: Number = None


class Check(ResultModel):
    """A check that the candidate must pass to be called better."""

    name: Words = ""
    judge: Words = ""
    value: Number = None
    low: Number = None
    threshold: Number = None
    passed: bool | None = None


class ScoredText(ResultModel):
    """One completion with each judge's score."""

    prompt: Words = ""
    model: Words = ""
    text: Words = ""
    scores: dict[str, Number] = {}


class Sample(ResultModel):
    """One prompt with each model's completion."""

    prompt: Words = ""
    completions: list[ScoredText] = []


class BestOfResult(ResultModel):
    """KL of best-of-n to the model itself, in nats."""

    model: Words = ""
    candidate: Words = ""
    kl_bound: Number = None
    kl_estimate: Number = None


class Evaluation(ResultModel):
    """The result of the stage that compares models."""

    seconds: Number = None
    models: list[Words] = []
    reference: Words = ""
    candidate: Words = ""
    judges: list[JudgeResult] = []
    prompts: Number = None
    completions_per_prompt: Number = None
    table: list[ModelRow] = []
    win_rates: list[WinRate] = []
    checks: list[Check] = []
    samples: list[Sample] = []
    worst: list[ScoredText] = []
    best_of: BestOfResult | None = None


class SourceJudgements(ResultModel):
    """Provenance of data exported from a feedback store: its judgements, and a copy of their manifest."""

    project: Words = ""
    digest: Words = ""
    judgements: Number = None
    annotators: Number = None
    unchanged: bool = True
    manifest: Words = ""

    @property
    def link(self) -> str:
        """The path of the manifest relative to the report; "" for any other path."""
        return self.manifest if re.fullmatch(r"manifests/[0-9a-f]+\.json", self.manifest) else ""


class Environment(ResultModel):
    """Machine, versions and data of the run."""

    gnomon: Words = ""
    python: Words = ""
    torch: Words = ""
    transformers: Words = ""
    platform: Words = ""
    processor: Words = ""
    cores: Words = ""
    seed: Words = ""
    commit: Words = ""
    started: Words = ""
    command: Words = ""
    data: dict[str, Words] = {}
    judgements: dict[str, SourceJudgements] = {}


Result = Feedback | Training | Evaluation
