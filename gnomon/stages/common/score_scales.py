"""Scales of ratings and named scores: checked against the settings, measured, and given to a reward model.

The mean and the standard deviation of the training data are saved with the model, so that its scores can be
mapped back to people's scale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.progress import console
from gnomon.core.types import NamedScores, Preference, Ranking
from gnomon.data.encoding import OVERALL, Example
from gnomon.models.roles import RewardModel
from gnomon.models.score_parts.files import add_parts
from gnomon.models.score_parts.heads import ScoreParts
from gnomon.models.score_parts.settings import NamedScore, PartSettings, RatingScale
from gnomon.stages.train_settings import TrainSettings

SHOWN = 10  # names of scores in a message


@runtime_checkable
class HasScores(Protocol):
    """Examples that know their scores without reading tokens."""

    def scores(self) -> list[list[tuple[str, float]]]:
        """Return the name and value of each example's scores."""


def start_scores(
    model: RewardModel,
    settings: TrainSettings,
    examples: Sequence[Example],
    kinds: Sequence[type],
    *,
    main: bool = True,
) -> None:
    """Check the scores in the data, and start the heads of a reward model from them.

    A head that the model had before keeps its scale.

    Args:
        model: with the parts that the algorithm wants.
        settings: of the stage; an algorithm other than reward modelling has no scores.
        examples: of the stage.
        kinds: kinds of records in the data.
        main: whether this process prints.

    Raises:
        ConfigError: the settings name a score that the data do not have, a gate has nothing to learn from, or an
            ensemble on one trunk would learn ratings.
        DataError: a score is outside its scale, or all scores of a name are equal.
    """
    algorithm, stage = settings.built_algorithm, settings.name
    wanted: Mapping[str, NamedScore] = getattr(algorithm, "scores", {})
    values = _values(examples)
    _check_names(wanted, {name: len(own) for name, own in values.items()}, stage)
    bounds = {name: score.bounds for name, score in wanted.items()}
    bounds[OVERALL] = getattr(algorithm, "rating_scale", None)
    for name in (*wanted, *([OVERALL] if OVERALL in values else [])):
        _check_values(name, values[name], bounds[name], stage)
    if OVERALL in values and settings.ensemble is not None and settings.ensemble.kind != "models":
        raise ConfigError(
            f"stage '{stage}': an ensemble of {settings.ensemble.kind} has no scale of ratings; set "
            "ensemble.kind to models, or leave the ratings out."
        )
    gate = getattr(algorithm, "gate", False)
    if gate and not {Preference, Ranking} & set(kinds):
        raise ConfigError(
            f"stage '{stage}': a gate is learned from pairs or rankings, and the data have none; add some, or "
            "remove gate."
        )
    overall = gate or not model.untrained_head or set(kinds) != {NamedScores}
    parts = model.parts
    if parts is not None:
        for name in wanted:
            if name in parts.fresh:
                parts.head(name).start_from(values[name])
    _set_overall(model, values.get(OVERALL), overall)
    if main:
        _report(wanted, values, stage)


def _set_overall(model: RewardModel, ratings: list[float] | None, overall: bool) -> None:
    """Record whether the model has a score of its own, and the scale of the ratings that it learns from."""
    if ratings is None and overall == model.has_score:
        return
    if model.parts is None:
        add_parts(model.network, PartSettings(), "", empty=True)
    parts: ScoreParts | None = model.parts
    assert parts is not None
    scale = parts.settings.rating
    if ratings is not None and scale is None:
        scale = RatingScale(mean=float(np.mean(ratings)), deviation=float(np.std(ratings)))
    parts.settings = parts.settings.model_copy(update={"rating": scale, "overall": overall})


def _values(examples: Sequence[Example]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for scores in _scores(examples):
        for name, value in scores:
            values.setdefault(name, []).append(value)
    return values


def _scores(examples: Sequence[Example]) -> Iterator[list[tuple[str, float]]]:
    if isinstance(examples, HasScores):
        yield from examples.scores()
        return
    for example in examples:
        yield [(score.name, score.value) for score in example.scores]


def _check_names(wanted: Mapping[str, NamedScore], present: Mapping[str, int], stage: str) -> None:
    names = [name for name in present if name != OVERALL]
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    for name in wanted:
        if name not in present:
            have = f"the names are {shown}" if names else "the data have no named scores"
            raise ConfigError(f"stage '{stage}': no row has the score '{name}'; {have}.")
    if names and not wanted:
        raise ConfigError(
            f"stage '{stage}': the data have named scores ({shown}), and none is learned; name them in "
            f"settings.scores, as in scores: {{{names[0]}: {{}}}}."
        )


def _check_values(name: str, values: Sequence[float], bounds: tuple[float, float] | None, stage: str) -> None:
    what = f"'{name}'" if name else "the rating"
    if bounds is not None:
        key = f"settings.scores.{name}.scale" if name else "settings.rating_scale"
        outside = [value for value in values if not bounds[0] <= value <= bounds[1]]
        if outside:
            raise DataError(
                f"stage '{stage}': {what} is outside the scale from {bounds[0]:g} to {bounds[1]:g} in "
                f"{len(outside):,} of {len(values):,} rows, at first {outside[0]:g}; correct the rows, or {key}."
            )
    if min(values) == max(values):
        raise DataError(
            f"stage '{stage}': {what} is {values[0]:g} in all {len(values):,} rows, so there is nothing to "
            "learn; give scores that differ, or leave it out."
        )


def _report(wanted: Mapping[str, NamedScore], values: Mapping[str, list[float]], stage: str) -> None:
    """Print how many completions have each score, and the scores that no head learns."""
    counts = Counter({name: len(own) for name, own in values.items() if name in wanted})
    if counts:
        shown = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        console.print(f"  {stage}: scored completions: {shown}", markup=False, highlight=False, soft_wrap=True)
    unread = [name for name in values if name != OVERALL and name not in wanted]
    if unread:
        console.print(
            f"  {stage}: scores that no head learns: {', '.join(unread)}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
