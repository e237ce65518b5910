"""Evaluate a reward model on held-out texts, with classical baselines and a single rater for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.lazy import special
from gnomon.core.progress import console
from gnomon.core.types import Completion, Prompt, RatedText
from gnomon.evaluation.results import CalibrationResult, Predictor, RewardModelEvaluation
from gnomon.evaluation.reward_models import agreement_with_people, calibration
from gnomon.models.reward_ensemble import RewardPanel
from gnomon.models.roles import RewardModel
from gnomon.rewards.encoder_reward import reward_of_model
from gnomon.rewards.named.vader import VaderJudge
from gnomon.rewards.reward import watched_scores
from gnomon.stages.workspace import Workspace
from gnomon.stats.calibration import Calibration
from gnomon.stats.human_ceiling import human_ceiling, random_pairs
from gnomon.stats.win_rates import win_probabilities

PAIRS = 4_000
BINS = 10


def evaluate_reward_model(
    model: RewardModel | RewardPanel, name: str, feedback: str, work: Workspace
) -> RewardModelEvaluation:
    """Measure agreement with people's ratings on held-out texts.

    The TF-IDF ridge baseline is fitted on the reward model's own training texts.

    Args:
        model: the trained reward model.
        name: of its stage.
        feedback: name of the stage whose parts it was trained on.
        work: the run.
    """
    held_out = work.records(RatedText, f"{feedback}/held_out")
    training = work.records(RatedText, f"{feedback}/training")
    prompts = work.records(Prompt, f"{feedback}/prompts")
    reward = reward_of_model(model, name)
    with watched_scores(reward, f"{name}: held-out texts", len(held_out)):
        learned = reward.score(
            [item.prompt or prompts[index % len(prompts)] for index, item in enumerate(held_out)],
            [Completion(item.id, item.text) for item in held_out],
        )
    scored = learned.values.isfinite().numpy()
    if not scored.any():
        reason = learned.failures[0][1] if learned.failures else "no score is a finite number"
        raise DataError(f"stage '{name}': no text of {feedback}/held_out has a score: {reason}.")
    if not scored.all():
        console.print(f"  {int((~scored).sum())} held-out texts have no score and are left out")
    held_out = [item for item, has_score in zip(held_out, scored, strict=True) if has_score]
    texts = [item.text for item in held_out]
    scores = learned.values.numpy().astype(np.float64)[scored]
    from gnomon.rewards.tfidf_ridge import TfidfRidge  # scikit-learn takes a second to import

    ridge = TfidfRidge.fit([item.text for item in training], [item.mean for item in training])
    judges: list[tuple[str, str, NDArray[np.float64]]] = [
        (name, "model", scores),
        ("tfidf-ridge", "baseline", ridge.score_texts(texts)),
        ("vader", "baseline", VaderJudge().score_texts(texts)),
    ]
    rows = [_row(n, kind, s, held_out, work.recipe.seed) for n, kind, s in judges]
    ceiling = human_ceiling(held_out, PAIRS, work.recipe.seed)
    person = Predictor(
        name="one person",
        kind="human",
        **_interval("pearson", "pearson", ceiling.correlation),
        **_interval("pair_accuracy", "pair", ceiling.pair_agreement),
    )
    for row in [*rows, person]:
        r, pairs = ("undefined" if x is None else f"{x:.3f}" for x in (row.pearson, row.pair_accuracy))
        console.print(f"  {row.name:12} r {r}   pairs {pairs}")
    return RewardModelEvaluation(
        items=len(held_out),
        pairs=PAIRS,
        rows=[*rows, person],
        calibration=_calibration(scores, model.calibration, held_out, work.recipe.seed),
        scatter=[(float(s), item.mean) for s, item in zip(scores, held_out, strict=True)],
    )


def _row(name: str, kind: str, scores: NDArray[np.float64], items: Sequence[RatedText], seed: int) -> Predictor:
    agreement = agreement_with_people(scores, items, PAIRS, seed)
    keys = {"pearson": "pearson", "spearman": "spearman", "pair_accuracy": "pair"}
    figures: dict[str, float | None] = {}
    for key, short in keys.items():
        figures.update(_interval(key, short, agreement[key]))
    return Predictor(name=name, kind=kind, **figures)


def _interval(key: str, short: str, estimate: Any) -> dict[str, float | None]:
    return {key: estimate.value, f"{short}_low": estimate.low, f"{short}_high": estimate.high}


def _calibration(
    scores: NDArray[np.float64], fitted: Calibration | None, items: Sequence[RatedText], seed: int
) -> CalibrationResult:
    """Whether σ(Δ score), or the model's calibrated probability, is the share of people who prefer the first."""
    first, second = random_pairs(len(items), PAIRS, np.random.default_rng(seed))
    margins = scores[first] - scores[second]
    predicted = special.expit(margins) if fitted is None else fitted.probability(margins)
    observed = [
        win_probabilities([items[a].ratings, items[b].ratings])[0, 1] for a, b in zip(first, second, strict=True)
    ]
    return calibration(predicted, observed, BINS)
