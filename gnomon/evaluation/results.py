"""Results of evaluations, as written to `result.json` and shown in reports."""

from __future__ import annotations

from pydantic import Field

from gnomon.core.storage.result_model import Interval, Number, Points, ResultModel, Words


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
    """Calibration errors, and the non-empty bins, from low to high.

    Attributes:
        ece: expected calibration error: mean over pairs of their bin's |predicted - observed|.
        rms: root mean square of the same; emphasizes bins with large errors.
        worst: largest error of any bin.
        bins: with predicted and observed means and counts.
    """

    ece: Number = None
    rms: Number = None
    worst: Number = None
    bins: list[CalibrationBin] = Field(default_factory=list)


class RewardModelEvaluation(ResultModel):
    """A reward model's agreement with people on held-out texts."""

    items: Number = None
    pairs: Number = None
    rows: list[Predictor] = Field(default_factory=list)
    calibration: CalibrationResult = CalibrationResult()
    scatter: Points = Field(default_factory=list)


class ModelRow(ResultModel):
    """One model's row of the evaluation table."""

    model: Words = ""
    scores: dict[str, Interval] = Field(default_factory=dict)
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
    """Share of comparisons that one model's completions win against another's; ties count half."""

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
