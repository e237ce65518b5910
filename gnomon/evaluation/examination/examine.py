"""Examine rewards on cases: every figure from one pass of each reward over the texts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gnomon.core.errors import ConfigError
from gnomon.evaluation.examination.cases import Cases
from gnomon.evaluation.examination.measures.accuracy import PairAccuracy
from gnomon.evaluation.examination.measures.benchmark_scores import benchmark_figures
from gnomon.evaluation.examination.measures.lengths import length_figures
from gnomon.evaluation.examination.measures.probabilities import probability_figures, score_distributions
from gnomon.evaluation.examination.measures.ranks import rank_figures
from gnomon.evaluation.examination.measures.robustness import Perturbed, perturb, prompt_figures, robustness
from gnomon.evaluation.examination.measures.stability import order_figures
from gnomon.evaluation.examination.results import (
    FailedText,
    LengthFigures,
    ModelExamination,
    RewardExamination,
)
from gnomon.evaluation.examination.scored import (
    FloatArray,
    TextScores,
    saved_calibration,
    score_texts,
    text_lengths,
    token_counts,
)
from gnomon.evaluation.examination.settings import ExaminationSettings
from gnomon.rewards.reward import Reward

LONGER, SHORTER = "always longer", "always shorter"

Candidate = tuple[str, Callable[[], Reward]]  # a name, and a function that loads the reward


def examine(cases: Cases, candidates: Sequence[Candidate], settings: ExaminationSettings) -> RewardExamination:
    """Examine rewards one after the other, so that one model is in memory at a time.

    Args:
        cases: the data.
        candidates: the rewards.
        settings: of the examination.

    Raises:
        ConfigError: two rewards have one name.
        RunError: a reward failed on every text.
    """
    names = [name for name, _ in candidates]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"'{twice}' is given twice; remove one of them.")
    pairs = PairAccuracy(cases, settings.seed, settings.resamples)
    own = len(cases.texts)
    perturbed = perturb(cases, settings.perturbed, settings.seed)
    values: dict[str, FloatArray] = {}
    models = []
    for name, load in candidates:
        reward = load()
        scores = score_texts(reward, name, cases.texts)
        values[name] = scores.values
        models.append(_model(name, reward, scores, _Data(cases, pairs, perturbed, settings, own)))
        del reward  # before the next one is loaded
    right = {name: pairs.right(scores) for name, scores in values.items()}
    length = text_lengths(cases.texts)
    return RewardExamination(
        files=cases.files,
        texts=own,
        prompts=len({cluster for pair in cases.pairs for cluster in pair.clusters}),
        pairs=len(cases.pairs),
        decided=len(pairs.pairs),
        lists=sum(len(one.texts) > 1 for one in cases.lists),
        without_prompt=cases.without_prompt,
        category=cases.category,
        seed=settings.seed,
        accuracy=[
            *(pairs.of(name, "model", one) for name, one in right.items()),
            pairs.of(LONGER, "baseline", pairs.right(length)),
            pairs.of(SHORTER, "baseline", pairs.right(-length)),
        ],
        person=pairs.person(values),
        differences=[
            pairs.difference((one, other), (right[one], right[other]))
            for one, other in itertools.combinations(names, 2)
        ],
        models=models,
    )


@dataclass(frozen=True)
class _Data:
    """What the figures of every reward are computed from."""

    cases: Cases
    pairs: PairAccuracy
    perturbed: Perturbed
    settings: ExaminationSettings
    own: int  # number of texts before changed ones were added


def _model(name: str, reward: Reward, scores: TextScores, data: _Data) -> ModelExamination:
    """Compute the figures of one reward."""
    cases, settings, values = data.cases, data.settings, scores.values
    seed, resamples = settings.seed, settings.resamples
    failed = [
        FailedText(where=cases.texts.prompts[index].where, reason=reason)
        for index, reason in scores.reasons.items()
        if index < data.own
    ]
    return ModelExamination(
        name=name,
        scored=data.own - len(failed),
        failed=failed,
        failed_changed=len(scores.reasons) - len(failed),
        ranks=rank_figures(cases.lists, values, seed, resamples),
        probabilities=probability_figures(cases.pairs, values, settings.bins, saved_calibration(reward)),
        distributions=score_distributions(data.pairs.pairs, values),
        lengths=_lengths(reward, values, data),
        order=order_figures(reward, cases.texts, scores),
        prompts=prompt_figures(data.perturbed, values, seed, resamples),
        robustness=robustness(data.perturbed, values, seed, resamples),
        benchmarks=benchmark_figures(cases, values),
    )


def _lengths(reward: Reward, values: FloatArray, data: _Data) -> list[LengthFigures]:
    """Compute the figures of length in characters, and in the tokens of a reward model."""
    right = data.pairs.right(values)
    used = sorted({text for pair in data.pairs.pairs for text in (pair.first, pair.second)})
    lengths = {"characters": text_lengths(data.cases.texts)}
    if (counts := token_counts(reward, data.cases.texts, used)) is not None:
        lengths["tokens"] = np.full(len(values), np.nan)
        lengths["tokens"][used] = counts
    return [
        length_figures(data.pairs.pairs, values, some, unit, lambda members: data.pairs.on(right, members))
        for unit, some in lengths.items()
    ]
