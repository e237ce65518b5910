"""What a run needs from outside is looked at before its first stage starts, not after hours."""

from __future__ import annotations

from collections.abc import Mapping

from gnomon.app.outside import check_outside_model
from gnomon.app.recipe import Recipe
from gnomon.app.references import outside_models, scorers, sources
from gnomon.app.workspace import is_part, own_file
from gnomon.core.errors import ConfigError
from gnomon.rewards.user_function import RewardFunction, is_function, load_function


def check_inputs(recipe: Recipe) -> None:
    """Refuse a recipe whose data files or models are not there; what its stages will make is not looked at."""
    check_outside_model(recipe.model.name)
    for name, wanted in outside_models(recipe.stages):
        check_outside_model(name, wanted)
    for stage in recipe.stages:
        for source in sources(stage):
            if not is_part(source, recipe):
                own_file(source)


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
