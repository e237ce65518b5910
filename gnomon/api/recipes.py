"""Python calls for recipes and runs: load, run, plan, check, report, compare."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gnomon.core.errors import ConfigError, RunError

if TYPE_CHECKING:  # heavy modules are imported by the calls that use them, so that the command line starts fast
    from gnomon.pipeline.recipe import Recipe
    from gnomon.pipeline.resource_plan import ResourcePlan
    from gnomon.reporting.run_reader import Language

Name = str | os.PathLike[str]


def load_recipe(path: Name, *overrides: str) -> Recipe:
    """Load and validate a recipe in YAML, or a shipped one by name; overrides as in `"sft.training.epochs=2"`.

    Raises:
        ConfigError: the recipe or an override is wrong.
    """
    from gnomon.pipeline.recipe import load_recipe as read_recipe

    return read_recipe(Path(path), overrides)


def run(recipe: Recipe | Name, *overrides: str) -> Path:
    """Run or resume a recipe, and write its report; returns the report's path.

    Raises:
        GnomonError: a mistake of the user.
    """
    from gnomon.pipeline.recipe import Recipe
    from gnomon.pipeline.run import run_recipe

    if isinstance(recipe, Recipe):
        if overrides:
            raise ConfigError("overrides need a recipe's path; give them to load_recipe.")
        return run_recipe(recipe)
    return run_recipe(load_recipe(recipe, *overrides))


def plan(recipe: Name, *overrides: str) -> ResourcePlan:
    """Estimate a recipe's memory and time, stage by stage, by trials on a few tokens.

    Raises:
        GnomonError: a mistake of the user that a run would report before it trains.
    """
    from gnomon.pipeline.resource_plan import plan_recipe

    return plan_recipe(load_recipe(recipe, *overrides))


def check(recipe: Name, *overrides: str) -> Recipe:
    """Load a recipe, and check that the files and models it names exist.

    Raises:
        GnomonError: a mistake of the user.
    """
    from gnomon.pipeline.preflight import check_inputs, load_functions

    loaded = load_recipe(recipe, *overrides)
    check_inputs(loaded)
    load_functions(loaded, {})
    return loaded


def report(folder: Name, *, language: Language | None = None) -> Path:
    """Write a run's report again, finished or not; returns its path.

    Args:
        folder: folder of a run.
        language: initial language, `en` or `zh`; by default that of the run's recipe.

    Raises:
        RunError: the folder is not a run.
    """
    from gnomon.reporting.run_report import write_report

    path = Path(folder)
    if path.is_dir() and not (path / "config.yaml").is_file():
        raise RunError(f"{path} holds no config.yaml; give the folder of a run, written by gnomon run.")
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
        recipe: its evaluation's candidate is the varied stage.
        algorithms: such as `["dpo", "ppo"]`.
        overrides: as for `run`; `"dpo.settings.beta=0.05"` applies to that algorithm only.
        seeds: number of seeds, from the recipe's seed on.
        seconds: training time of each algorithm; without a budget, each runs its own number of steps.
        tokens: training tokens of each algorithm.
        data: data sets by name, each with the overrides that adapt the recipe to it; the report shows each and
            all together.
        out: output folder, with `compare.json`; by default the run folder's name with `-compare`.

    Raises:
        GnomonError: a mistake of the user.
    """
    from gnomon.comparison.run import compare as run_comparison
    from gnomon.comparison.variants import AlgorithmBudget

    budget = AlgorithmBudget(seconds=seconds, tokens=tokens)
    folder = None if out is None else Path(out)
    if data:
        from gnomon.comparison.data_sets import compare_sets

        return compare_sets(
            Path(recipe), list(algorithms), data, seeds=seeds, budget=budget, out=folder, overrides=overrides
        )
    return run_comparison(
        Path(recipe), list(algorithms), seeds=seeds, budget=budget, out=folder, overrides=list(overrides)
    )
