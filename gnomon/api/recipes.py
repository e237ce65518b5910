"""Recipes and runs, as typed calls: what the command line does for Python programs, `import gnomon`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gnomon.core.errors import ConfigError, RunError

if TYPE_CHECKING:  # heavy, so imported by the calls that use it: the command line starts through here
    from gnomon.pipeline.recipe import Recipe
    from gnomon.pipeline.resource_plan import ResourcePlan
    from gnomon.reporting.run_reader import Language

Name = str | os.PathLike[str]


def load_recipe(path: Name, *overrides: str) -> Recipe:
    """A recipe in YAML, checked; overrides as on the command line: `"aligned.training.steps=40"`.

    Raises:
        ConfigError: the recipe or an override is wrong.
    """
    from gnomon.pipeline.recipe import load_recipe as read_recipe

    return read_recipe(Path(path), overrides)


def run(recipe: Recipe | Name, *overrides: str) -> Path:
    """Run a recipe, or go on with it, and write its report; returns the report's path.

    Raises:
        GnomonError: something the user can mend.
    """
    from gnomon.pipeline.recipe import Recipe
    from gnomon.pipeline.run import run_recipe

    if isinstance(recipe, Recipe):
        if overrides:
            raise ConfigError("overrides need a recipe's path; give them to load_recipe.")
        return run_recipe(recipe)
    return run_recipe(load_recipe(recipe, *overrides))


def plan(recipe: Name, *overrides: str) -> ResourcePlan:
    """What a recipe will take in memory and time, stage by stage, from trials on a few tokens.

    Raises:
        GnomonError: something the user can mend: all that a run would find before it trains.
    """
    from gnomon.pipeline.resource_plan import plan_recipe

    return plan_recipe(load_recipe(recipe, *overrides))


def check(recipe: Name, *overrides: str) -> Recipe:
    """A recipe that can run: checked as by `load_recipe`, and the files and models it names are there.

    Raises:
        GnomonError: something the user can mend.
    """
    from gnomon.pipeline.preflight import check_inputs, load_functions

    found = load_recipe(recipe, *overrides)
    check_inputs(found)
    load_functions(found, {})
    return found


def report(folder: Name, *, language: Language | None = None) -> Path:
    """Write a run's report again, finished or not; returns its path.

    Args:
        folder: of a run.
        language: `en` or `zh`, in which it opens; what the run's recipe says where nothing is said.

    Raises:
        RunError: there is no run.
    """
    from gnomon.reporting.run_report import write_report

    path = Path(folder)
    if path.is_dir() and not (path / "config.yaml").is_file():
        raise RunError(f"{path} holds no config.yaml; give the folder of a run, the one that gnomon run wrote.")
    return write_report(path, language=language)


def compare(
    recipe: Name,
    algorithms: Sequence[str],
    *overrides: str,
    seeds: int = 3,
    seconds: float | None = None,
    tokens: int | None = None,
    data: Mapping[str, Sequence[str]] | None = None,
    out: Name | None = None,
) -> Path:
    """Compare algorithms on the same data, with the same budget and several seeds; returns the report's path.

    Args:
        recipe: whose evaluation has the stage to vary as its candidate.
        algorithms: those to compare, such as `["dpo", "ppo"]`.
        overrides: as for `run`; `"dpo.settings.beta=0.05"` is for that algorithm alone.
        seeds: how many, from the recipe's seed on.
        seconds: training time that each may use; its own steps where no budget is given.
        tokens: training tokens that each may use.
        data: data sets by name, each with the overrides that make the recipe one of it: all are compared, and the
            report has each and all together.
        out: where everything goes, `compare.json` too; the recipe's run folder with `-compare` behind it.

    Raises:
        GnomonError: something the user can mend.
    """
    from gnomon.compare.run import compare as run_comparison
    from gnomon.compare.variants import AlgorithmBudget

    budget = AlgorithmBudget(seconds=seconds, tokens=tokens)
    folder = None if out is None else Path(out)
    if data:
        from gnomon.compare.data_sets import compare_sets

        return compare_sets(
            Path(recipe), list(algorithms), data, seeds=seeds, budget=budget, out=folder, overrides=overrides
        )
    return run_comparison(
        Path(recipe), list(algorithms), seeds=seeds, budget=budget, out=folder, overrides=list(overrides)
    )
