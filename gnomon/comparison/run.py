"""Compare algorithms: the same data, models and budget for all, several seeds, one report.

`<out>/seed-<n>/shared` holds the run of the shared stages, `<out>/seed-<n>/<algorithm>` that of the varied stage
with its evaluation. All are ordinary run folders, which resume and have reports of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gnomon.comparison.design import ComparisonPlan, plan_comparison
from gnomon.comparison.subprocess_runs import ForwardedStop, run_in_subprocess
from gnomon.comparison.variants import AlgorithmBudget, needs_of
from gnomon.core.boundary import input_errors
from gnomon.core.errors import RunError, translate_disk_full
from gnomon.core.progress import console
from gnomon.core.storage.environment import environment
from gnomon.core.storage.folder_lock import FolderLock
from gnomon.core.storage.leftovers import remove_leftovers
from gnomon.core.storage.ownership import entries, listed
from gnomon.core.storage.result_model import IntervalEstimate
from gnomon.core.storage.sealed_files import adopt_file, check_sealed, is_comparison, write_sealed_json
from gnomon.pipeline.preflight import check_inputs, find_models
from gnomon.pipeline.recipe import build_recipe
from gnomon.reporting.comparison_report import write_comparison
from gnomon.reporting.run_reader import RecordedStage, read_run
from gnomon.stages.common.results import ComparisonResult, TrainResult

FILES = ("compare.html", "compare.json")
CURVE_POINTS = 300  # of a training curve, in compare.json


def compare(
    recipe: Path,
    names: Sequence[str],
    *,
    seeds: int,
    budget: AlgorithmBudget,
    out: Path | None = None,
    overrides: Sequence[str] = (),
) -> Path:
    """Run the unfinished runs of a comparison, and write its report; returns the report's path.

    A run that fails is reported with its error, and the comparison continues.

    Args:
        recipe: recipe with the varied stage, the stages before it, and an evaluation.
        names: names of the algorithms.
        seeds: number of seeds, from the recipe's `seed` on.
        budget: budget of each algorithm's training.
        out: output folder; by default beside the recipe's run folder.
        overrides: as for `gnomon run`; one that starts with an algorithm's name is for that algorithm's stage.

    Raises:
        GnomonError: a mistake of the user; `Interrupted` after Ctrl-C; `BusyError` where another comparison runs
            in the folder.
    """
    plan = plan_comparison(recipe, names, budget, overrides)
    folder = out or Path(f"{plan.recipe.run}-compare")
    numbers = [plan.recipe.seed + n for n in range(seeds)]
    record = _ComparisonRecord(plan, folder, numbers)
    check_shared(plan, folder)
    check_folder(folder)
    with (
        translate_disk_full(folder),
        input_errors(),
        FolderLock(folder, "folder") as lock,
        ForwardedStop().listening() as stop,
    ):
        assert isinstance(stop, ForwardedStop)
        stop.checks.append(lock.check)
        remove_leftovers(folder)
        for seed in numbers:
            shared = folder / f"seed-{seed}" / "shared"
            if plan.shared:
                console.print(f"[bold]seed {seed}[/bold] shared stages")
                outcome = run_in_subprocess(plan.shared_content(shared, seed), stop)
                if outcome.error:
                    raise RunError(f"the shared stages failed with seed {seed}: {outcome.error}")
            for name in plan.rows:
                console.print(f"[bold]seed {seed}[/bold] {name}")
                run_folder = folder / f"seed-{seed}" / name
                outcome = run_in_subprocess(plan.variant_content(name, run_folder, shared, seed), stop)
                if outcome.error:
                    console.print(f"  [red]failed:[/red] {name}", end=" ")
                    console.print(outcome.error, markup=False, soft_wrap=True)
                stop.check()
                record.add(name, seed, run_folder, shared, outcome.error)
                report = record.write()
    console.print("[bold]done[/bold]; open", end=" ")
    console.print(str(report), markup=False, soft_wrap=True)
    return report


def check_shared(plan: ComparisonPlan, folder: Path) -> None:
    """Refuse a comparison whose shared stages lack a model or data, before anything is written.

    Raises:
        GnomonError: an input is missing or wrong.
    """
    if plan.shared:
        recipe = build_recipe(plan.shared_content(folder / "shared", plan.recipe.seed), plan.where)
        check_inputs(recipe)
        if not is_comparison(folder):
            find_models(recipe)


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything but a comparison.

    Raises:
        RunError: the folder holds other files, or a file that would be replaced was changed.
    """
    check_entries(folder, FILES, lambda name: bool(re.fullmatch(r"seed-\d+", name)))


def check_entries(folder: Path, files: Sequence[str], is_part: Callable[[str], bool]) -> None:
    """Refuse a folder that holds anything but the files of a comparison.

    Args:
        folder: folder of the comparison; it need not exist.
        files: names of files that the comparison writes and replaces, the page first and its record last.
        is_part: whether a name is that of a folder made by a comparison.

    Raises:
        RunError: the folder holds other files, or a file that would be replaced was changed.
    """
    others = [name for name in entries(folder) if name not in files and not is_part(name)]
    if others:
        raise RunError(
            f"the folder {folder} holds {listed(others)}, which no comparison wrote; give --out a folder that is "
            "empty or does not exist."
        )
    if is_comparison(folder):
        for name in files:
            adopt_file(folder / name)
    for name in files:
        check_sealed(folder / name)


class _ComparisonRecord:
    """Results of the runs, as written to `compare.json`."""

    def __init__(self, plan: ComparisonPlan, folder: Path, seeds: Sequence[int]):
        self.plan = plan
        self.folder = folder
        self.seeds = list(seeds)
        self.runs: list[dict[str, Any]] = []
        self.references: dict[int, dict[str, Any]] = {}
        self.involved: set[str] = set()  # judges that took part in a training, according to the runs
        self.environment = environment(plan.recipe.seed, {})

    def add(self, name: str, seed: int, folder: Path, shared: Path, error: str) -> None:
        """Add a finished run.

        Args:
            name: name of the algorithm.
            seed: seed of the run.
            folder: folder of the run.
            shared: run folder of the shared stages.
            error: message of a failed run, else "".
        """
        row: dict[str, Any] = {"algorithm": name, "seed": seed, "folder": folder.as_posix(), "error": error}
        if not error:
            stages = {stage.name: stage for stage in read_run(folder).stages}
            trained, evaluated = stages[self.plan.stage], stages[self.plan.evaluation["name"]]
            names = {(shared / str(r["name"])).as_posix(): str(r["name"]) for r in self.plan.shared}
            row |= _training(trained)
            row |= _measured(evaluated.result, self.plan.stage, names)
            assert isinstance(evaluated.result, ComparisonResult)
            self.involved |= {names.get(j.name, j.name) for j in evaluated.result.judges if not j.independent}
            self.references.setdefault(
                seed, {"seed": seed, **_measured(evaluated.result, _reference(evaluated), names)}
            )
        self.runs.append(row)

    def write(self) -> Path:
        """Write `compare.json` and the report."""
        plan = self.plan
        judges = [
            {"name": judge, "independent": plan.independent(judge) and judge not in self.involved}
            for judge in plan.evaluation["judges"]
        ]
        write_sealed_json(
            self.folder / FILES[-1],
            {
                "recipe": plan.where,
                "name": self.folder.name,
                "model": plan.recipe.model.name,
                "stage": plan.stage,
                "reference": plan.evaluation["reference"],
                "shared": [row["name"] for row in plan.shared],
                "algorithms": list(plan.rows),
                "seeds": self.seeds,
                "budget": {"seconds": plan.budget.seconds, "tokens": plan.budget.tokens},
                "judges": judges,
                "needs": [needs_of(row) for row in plan.rows.values()],
                "settings": {
                    name: yaml.safe_dump(row, allow_unicode=True, sort_keys=False)
                    for name, row in plan.rows.items()
                },
                "runs": self.runs,
                "references": list(self.references.values()),
                "environment": self.environment,
            },
        )
        return write_comparison(self.folder, language=plan.recipe.language)


def _reference(evaluated: RecordedStage) -> str:
    assert isinstance(evaluated.result, ComparisonResult)
    return evaluated.result.reference


def _training(stage: RecordedStage) -> dict[str, Any]:
    """Figures of the training, and its curve of score over KL."""
    result, metrics = stage.result, stage.metrics
    assert isinstance(result, TrainResult)
    clock = [value for _, value in metrics.get("time", [])]
    score = dict(metrics.get("score_mean", []))
    course = [(kl, score[step]) for step, kl in metrics.get("kl", []) if step in score]
    every = -(-len(course) // CURVE_POINTS) or 1
    tokens, norms = metrics.get("tokens_seen", []), metrics.get("grad_norm", [])
    return {
        # A resumed stage knows only the time since its last start; its metrics have the total.
        "seconds": max([result.seconds or 0.0, *clock[-1:]]),
        "steps": result.steps,
        "tokens": tokens[-1][1] if tokens else None,
        "memory": result.peak_memory_gb,
        "device_memory": result.peak_device_memory_gb,
        "grad_norm": max((value for _, value in norms), default=None),
        "course": course[::every],
    }


def _measured(result: object, model: str, names: Mapping[str, str]) -> dict[str, Any]:
    """The evaluation's figures of one model, with judges by their names in the recipe."""
    assert isinstance(result, ComparisonResult)
    row = next(row for row in result.table if row.model == model)
    wins = {w.judge: w for w in result.win_rates if w.model == model and w.against == result.reference}
    return {
        "scores": {names.get(judge, judge): score.mean for judge, score in row.scores.items()},
        "win_rates": {
            names.get(judge, judge): IntervalEstimate(w.rate, w.low, w.high)._asdict()
            for judge, w in wins.items()
        },
        **{key: getattr(row, key) for key in ("kl", "perplexity", "distinct_2", "length_mean")},
    }
