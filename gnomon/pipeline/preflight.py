"""What a run needs from outside is looked at before its first stage starts, not after hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gnomon.core.errors import ConfigError
from gnomon.core.types import Prompt
from gnomon.data.reading.record_kinds import kind_of_file
from gnomon.data.reading.records import check_records
from gnomon.data.reading.reported_rows import report_unread
from gnomon.models.external import check_outside_model, located
from gnomon.pipeline.recipe import Recipe
from gnomon.rewards.python_reward import RewardFunction, is_function, load_function
from gnomon.stages.references import kinds_of_sources, outside_models, references, scorers, sources
from gnomon.stages.settings import BASE, HybridStage, Stage
from gnomon.stages.workspace import is_part, own_file


def check_inputs(recipe: Recipe) -> None:
    """Refuse a recipe whose models are not there, or whose data files are not there or have rows that are wrong.

    What its stages will make is not looked at. Keys of the files that are not read are reported.
    """
    check_outside_model(recipe.model.name)
    for name, wanted in outside_models(recipe.stages):
        check_outside_model(name, wanted)
    asked = dict.fromkeys(pair for stage in recipe.stages for pair in kinds_of_sources(stage))
    read_by_functions = prompts_of_functions(recipe.stages)
    for source, kinds in asked:
        if is_part(source, recipe):
            continue
        path = own_file(source)
        kind = kinds[0] if len(kinds) == 1 else kind_of_file(path, kinds)
        keys = check_records(kind, path)
        if kind is not Prompt or source not in read_by_functions:
            report_unread(path, kind, keys)


def find_models(recipe: Recipe) -> None:
    """Find every model that a recipe names and none of its stages makes, before anything is written.

    Names of the hub are asked there, and models of packages are fetched, as loading them would.

    Raises:
        ModelError: one is not to be had, or its configuration cannot be one.
    """
    from gnomon.models.config_limits import check_config
    from gnomon.models.resolve import resolve

    names = [name for name, _ in outside_models(recipe.stages)]
    if any(name == BASE for stage in recipe.stages for _, name in references(stage)):
        names.append(recipe.model.name)
    for name in names:
        check_config(Path(resolve(located(name))), name)


def prompts_of_functions(stages: Sequence[Stage]) -> set[str]:
    """The sources of prompts whose completions a function scores: it may read any of their columns."""
    parts = [part for stage in stages for part in (stage.phases if isinstance(stage, HybridStage) else [stage])]
    return {
        source
        for part in parts
        if any(is_function(spec) or spec.startswith("python:") for spec in scorers(part))
        for source, kinds in kinds_of_sources(part)
        if Prompt in kinds
    }


def inputs_of(recipe: Recipe) -> list[Path]:
    """The files and folders of the user's own that a recipe names, whether they are there or not."""
    names = [source for stage in recipe.stages for source in sources(stage) if not is_part(source, recipe)]
    names += [spec.rpartition(":")[0] for stage in recipe.stages for spec in scorers(stage) if is_function(spec)]
    names += [recipe.model.name, *(name for name, _ in outside_models(recipe.stages))]
    files = [str(path) for path in (recipe.model.chat_template, recipe.file) if path]
    return [Path(name).expanduser() for name in (*names, *files)]


def load_functions(recipe: Recipe, given: Mapping[str, RewardFunction]) -> dict[str, RewardFunction]:
    """The functions that rewards and judges name, of the calling program or of a file, which is run here.

    Raises:
        ConfigError: one cannot be had.
    """
    found = dict(given)
    for stage in recipe.stages:
        for spec in scorers(stage):
            if spec.startswith("python:") and spec not in given:
                raise ConfigError(
                    f"stage '{stage.name}': reward '{spec}' was a function of a program and is in no file; "
                    "put it in one and name it as path/to/file.py:function."
                )
            if is_function(spec) and spec not in found:
                found[spec] = load_function(spec)
    return found
