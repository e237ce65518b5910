"""Examine rewards on cases: every figure from one pass of each reward over the texts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from gnomon.core.errors import ConfigError
from gnomon.evaluation.examination.accuracy import PairAccuracy
from gnomon.evaluation.examination.cases import Cases
from gnomon.evaluation.examination.results import FailedText, ModelExamination, RewardExamination
from gnomon.evaluation.examination.scored import FloatArray, TextScores, score_texts
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
    values: dict[str, FloatArray] = {}
    models = []
    for name, load in candidates:
        scores = score_texts(load(), name, cases.texts)
        values[name] = scores.values
        models.append(_model(name, scores, cases))
    right = {name: pairs.right(scores) for name, scores in values.items()}
    length = np.array([len(one.text) for one in cases.texts.completions], dtype=np.float64)
    return RewardExamination(
        files=cases.files,
        texts=len(cases.texts),
        prompts=len({cluster for pair in cases.pairs for cluster in pair.clusters}),
        pairs=len(cases.pairs),
        decided=len(pairs.pairs),
        lists=len(cases.lists),
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


def _model(name: str, scores: TextScores, cases: Cases) -> ModelExamination:
    """Compute the figures of one reward."""
    failed = [
        FailedText(where=cases.texts.prompts[index].where, reason=reason)
        for index, reason in scores.reasons.items()
    ]
    return ModelExamination(name=name, scored=len(scores.values) - len(failed), failed=failed)
