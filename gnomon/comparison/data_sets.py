"""Compare algorithms on several data sets: one comparison each, and a page of all.

`<out>/<name>` is the comparison on one data set with its own report; `<out>/compare.html` shows all of them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from gnomon.comparison.design import plan_comparison
from gnomon.comparison.run import check_entries, check_folder, check_shared, compare
from gnomon.comparison.variants import AlgorithmBudget
from gnomon.core.errors import ConfigError
from gnomon.core.progress import console
from gnomon.core.storage.sealed_files import is_comparison, write_sealed_json
from gnomon.reporting.comparison_of_data_sets import SETS, write_sets

FILES = ("compare.html", SETS)
NAME = re.compile(r"\w[\w-]*")  # of a folder, in any language


def read_sets(texts: Sequence[str]) -> dict[str, list[str]]:
    """Parse data sets from the command line: `films: sft.data=a.jsonl aligned.prompts=b.jsonl`.

    Raises:
        ConfigError: a data set has no name, the name of another, or no settings.
    """
    result: dict[str, list[str]] = {}
    for text in texts:
        name, colon, rest = text.partition(":")
        try:
            settings = shlex.split(rest)
        except ValueError as error:
            raise ConfigError(f"--data '{text}' cannot be read ({error}); close its quotation marks.") from None
        if not colon or not NAME.fullmatch(name.strip()) or not settings:
            raise ConfigError(
                f"--data '{text}' is no data set; give NAME: key=value, "
                "as in --data 'films: sft.data=films.jsonl'."
            )
        if name.strip() in result:
            raise ConfigError(f"--data names '{name.strip()}' twice; rename one of them.")
        result[name.strip()] = settings
    return result


def compare_sets(
    recipe: Path,
    names: Sequence[str],
    sets: Mapping[str, Sequence[str]],
    *,
    seeds: int,
    budget: AlgorithmBudget,
    out: Path | None = None,
    overrides: Sequence[str] = (),
) -> Path:
    """Compare algorithms on each data set, then on all of them together; returns the report's path.

    Recipe, settings and algorithms are all validated before the first run. The page is written after each data
    set.

    Args:
        recipe: recipe as for `compare`.
        names: names of the algorithms.
        sets: for each data set, the overrides that adapt the recipe to it.
        seeds: number of seeds per data set.
        budget: budget of each algorithm's training per data set.
        out: output folder; by default beside the recipe's run folder.
        overrides: overrides for all data sets; a data set's own overrides take precedence.

    Raises:
        GnomonError: as for `compare`.
    """
    plans = [plan_comparison(recipe, names, budget, [*overrides, *own]) for own in sets.values()]
    folder = out or Path(f"{plans[0].recipe.run}-compare")
    language = plans[0].recipe.language
    check_sets_folder(folder, sets)
    for name, plan in zip(sets, plans, strict=True):
        check_shared(plan, folder / name)
    finished: list[str] = []
    report = folder / "compare.html"
    for name, own in sets.items():
        console.print(f"[bold]data set[/bold] {name}")
        compare(recipe, names, seeds=seeds, budget=budget, out=folder / name, overrides=[*overrides, *own])
        finished.append(name)
        write_sealed_json(
            folder / SETS, {"name": folder.name, "sets": finished, "waiting": list(sets)[len(finished) :]}
        )
        report = write_sets(folder, language=language)
    return report


def check_sets_folder(folder: Path, names: Collection[str]) -> None:
    """Refuse a folder that holds anything but comparisons on data sets, before the first of them runs.

    Args:
        folder: the output folder; it need not exist.
        names: names of the data sets; other folders may exist too if they hold a comparison.

    Raises:
        RunError: the folder holds other files, or a file that would be replaced was changed.
    """
    check_entries(folder, FILES, lambda name: name in names or is_comparison(folder / name))
    for name in names:
        check_folder(folder / name)
