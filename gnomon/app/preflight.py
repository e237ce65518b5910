"""What a run needs from outside is looked at before its first stage starts, not after hours."""

from __future__ import annotations

from collections.abc import Collection

from gnomon.app.outside import check_outside_model
from gnomon.app.recipe import Recipe, outside_models, scorers, sources
from gnomon.app.workspace import is_part, own_file
from gnomon.core.errors import ConfigError
from gnomon.rewards.user_function import is_function, load_function


def check_inputs(recipe: Recipe, given: Collection[str] = ()) -> None:
    """Refuse a recipe whose data files, models or reward functions are not there.

    The reward functions' files are run, so that a mistake in them is found too. What earlier stages will make
    cannot be looked at yet. `given` are functions of the calling program.
    """
    check_outside_model(recipe.model.name)
    for name, wanted in outside_models(recipe).items():
        check_outside_model(name, wanted)
    for stage in recipe.stages:
        for source in sources(stage):
            if not is_part(source, recipe):
                own_file(source)
    check_functions(recipe, given)


def check_functions(recipe: Recipe, given: Collection[str]) -> None:
    """Each reward that is a function can be had."""
    for stage in recipe.stages:
        for spec in scorers(stage):
            if spec.startswith("python:") and spec not in given:
                raise ConfigError(
                    f"stage '{stage.name}': reward '{spec}' was a function of a program and is in no file; "
                    "put it in one and name it as path/to/file.py:function."
                )
            if is_function(spec) and spec not in given:
                load_function(spec)
