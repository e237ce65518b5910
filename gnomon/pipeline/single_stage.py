"""Single-stage recipes built in memory, for `gnomon train`, `evaluate` and `data augment`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any

import yaml

from gnomon.algorithms.registry import find_algorithm
from gnomon.core.config import did_you_mean, parse_override, set_path
from gnomon.core.errors import ConfigError
from gnomon.core.extensions import short_name
from gnomon.core.renamed import KEYS
from gnomon.core.yaml_text import YAML_VALUE_ERRORS, load_yaml
from gnomon.data.formats.registry import RowLayout
from gnomon.models.settings import ModelSettings
from gnomon.pipeline.recipe import Recipe, build_recipe
from gnomon.rollouts.sampling_params import Sampling
from gnomon.stages.augment import AugmentStage
from gnomon.stages.evaluate import EvaluateStage
from gnomon.stages.train import TrainStage
from gnomon.stages.train_settings import loop_of

Setting = tuple[list[str], Any]  # a path into the stage or recipe, and its value


def parse_settings(texts: Iterable[str]) -> list[Setting]:
    """Parse `key=value` settings from the command line."""
    return [parse_override(text) for text in texts]


def parse_sources(text: str | None) -> str | dict[str, Any] | None:
    """Parse the data of a command line: a source, or a mapping of several to their weights.

    Raises:
        ConfigError: it starts as a mapping and is none.
    """
    if text is None or not text.startswith("{"):
        return text
    value: Any = None
    with suppress(yaml.YAMLError, *YAML_VALUE_ERRORS):
        value = load_yaml(text)
    if (
        not isinstance(value, dict)
        or not value
        or not all(isinstance(weight, int | float) for weight in value.values())
    ):
        raise ConfigError(f"'{text}' is no mapping of files to weights, as in '{{a.jsonl: 1, b.jsonl: 0.5}}'.")
    return {str(source): weight for source, weight in value.items()}


def layout_settings(
    source: str | Mapping[str, Any] | None, format: str, columns: Mapping[str, Any] | None
) -> list[Setting]:
    """The recipe's settings for the layout of the data.

    Args:
        source: the source, or several, which have the same layout; `None` where no data is read.
        format: name of its format, if given.
        columns: mapping of its columns, if given.

    Raises:
        ConfigError: both are given, or there is no file.
    """
    if not format and columns is None:
        return []
    if source is None:
        raise ConfigError("a format or columns are given, but no data; add the file.")
    RowLayout.of(format, columns)
    sources = [source] if isinstance(source, str) else list(source)
    if format:
        return [(["formats"], dict.fromkeys(sources, format))]
    return [(["columns"], {one: dict(columns or {}) for one in sources})]


def training_recipe(
    algorithm: str, *, model: str, run: str, stage: Mapping[str, Any], settings: Sequence[Setting] = ()
) -> Recipe:
    """Build a recipe that trains one model.

    Args:
        algorithm: its name, or `path/to/file.py:Class`; the last word of it is the stage's name.
        model: that training starts from.
        run: the run folder.
        stage: keys of the stage, such as `data`; those that are `None` are left out.
        settings: any setting by its name (`learning_rate`, `clip_low`, `rank`), or by its path.
    """
    kind = find_algorithm(algorithm)
    homes: list[tuple[list[str], Iterable[str]]] = [
        (["stage"], TrainStage.model_fields),
        (["stage", "training"], loop_of(algorithm).model_fields),
        (["stage", "settings"], [field.name for field in fields(kind)]),
        (["stage", "sampling"], Sampling.model_fields if _is_online(algorithm) else []),
    ]
    row = {"name": short_name(algorithm), "algorithm": algorithm, **stage}
    return _recipe(f"gnomon train {algorithm}", model, run, row, homes, settings)


def evaluation_recipe(
    models: Sequence[str], *, run: str, stage: Mapping[str, Any], settings: Sequence[Setting] = ()
) -> Recipe:
    """Build a recipe that compares models.

    Args:
        models: in display order; the last is the candidate.
        run: the run folder.
        stage: keys of the stage; those that are `None` are left out.
        settings: any setting by its name or path.
    """
    homes: list[tuple[list[str], Iterable[str]]] = [
        (["stage"], EvaluateStage.model_fields),
        (["stage", "sampling"], Sampling.model_fields),
    ]
    row = {"name": "evaluation", "evaluate": list(models), **stage}
    return _recipe("gnomon evaluate", models[0] if models else "", run, row, homes, settings)


def augmentation_recipe(
    *, model: str, run: str, stage: Mapping[str, Any], settings: Sequence[Setting] = ()
) -> Recipe:
    """Build a recipe that augments preferences.

    Args:
        model: that the reward models start from.
        run: the run folder.
        stage: keys of the stage; those that are `None` are left out.
        settings: any setting by its name or path.
    """
    homes: list[tuple[list[str], Iterable[str]]] = [
        (["stage"], AugmentStage.model_fields),
        (["stage", "training"], loop_of("reward_model").model_fields),
        (["stage", "settings"], [field.name for field in fields(find_algorithm("reward_model"))]),
    ]
    row = {"name": "augmented", **stage}
    return _recipe("gnomon data augment", model, run, row, homes, settings)


def _recipe(
    where: str,
    model: str,
    run: str,
    row: Mapping[str, Any],
    homes: Sequence[tuple[list[str], Iterable[str]]],
    settings: Sequence[Setting],
) -> Recipe:
    stage = {key: value for key, value in row.items() if value is not None}
    content: dict[str, Any] = {"run": run, "model": {"name": model}, "stages": [stage]}
    whole = {"stage": stage, "recipe": content}
    everywhere = [*homes, (["recipe", "model"], ModelSettings.model_fields), (["recipe"], Recipe.model_fields)]
    for path, value in settings:
        set_path(whole, [*_home(path[0], everywhere, where), *path], value)
    return build_recipe(content, where)


def _home(key: str, homes: Sequence[tuple[list[str], Iterable[str]]], where: str) -> list[str]:
    """Return the path of the section to which a setting belongs: the first one that has the key."""
    for path, known in homes:
        if key in known and key not in ("name", "stages", "algorithm"):
            return path
    names = {name for _, known in homes for name in known} - {"name", "stages", "algorithm"}
    raise ConfigError(f"{where}: unknown setting '{key}'; {did_you_mean(key, names, KEYS)}")


def _is_online(algorithm: str) -> bool:
    return "steps" in loop_of(algorithm).model_fields
