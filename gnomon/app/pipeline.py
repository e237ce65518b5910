"""Run a recipe: its stages in order, each once, with a report at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.markup import escape

from gnomon.app.preflight import check_inputs, load_functions
from gnomon.app.recipe import EvaluateStage, FeedbackStage, Recipe, Stage, TrainStage
from gnomon.app.stage_evaluate import run_evaluate
from gnomon.app.stage_feedback import run_feedback
from gnomon.app.stage_train import run_train
from gnomon.app.workspace import Workspace
from gnomon.core.errors import RunError, full_disk_said
from gnomon.core.progress import StopSignal, console
from gnomon.core.run_folder import environment, read_json, write_atomically, write_json
from gnomon.evaluation.report import write_report
from gnomon.models.precision import find_compute
from gnomon.rewards.user_function import RewardFunction
from gnomon.training.checkpoints import remove_checkpoints

RUNNERS: dict[type, Callable[[Any, Workspace], dict[str, Any]]] = {
    FeedbackStage: run_feedback,
    TrainStage: run_train,
    EvaluateStage: run_evaluate,
}


def run_recipe(recipe: Recipe, functions: Mapping[str, RewardFunction] | None = None) -> Path:
    """Run every stage that is not finished, and write the report; returns its path.

    Args:
        recipe: what to do.
        functions: rewards that are functions of the calling program, by what the recipe calls them.

    Raises:
        GnomonError: the user can mend it; `DiskFullError` where a disk is full, `Interrupted` after Ctrl-C.
    """
    folder = Path(recipe.run)
    with full_disk_said(folder), StopSignal().listening() as stop:
        compute = find_compute(recipe.model.device, recipe.model.precision)
        console.print(
            f"[bold]gnomon[/bold] {escape(str(folder))} on {compute}, {torch.get_num_threads()} threads"
        )
        started = time.monotonic()
        check_inputs(recipe)
        work = Workspace(folder, recipe, compute, stop, functions=load_functions(recipe, functions or {}))
        setting = environment(recipe.seed, {})
        try:
            write_atomically(folder / "config.yaml", _as_yaml(recipe))
            write_json(folder / "environment.json", {**setting, "data": work.data_digests()})
        except OSError as error:
            raise RunError(
                f"the run folder {folder} cannot be written ({error.strerror}); set run to another."
            ) from None
        for number, stage in enumerate(recipe.stages, start=1):
            _run_stage(stage, work, f"{number}/{len(recipe.stages)}")
            write_json(folder / "environment.json", {**setting, "data": work.data_digests()})
        report = write_report(folder, language=recipe.language)
        minutes = (time.monotonic() - started) / 60
        console.print(f"[bold]done[/bold] in {minutes:.1f} minutes; open {escape(str(report))}")
        return report


def _run_stage(stage: Stage, work: Workspace, place: str) -> None:
    """Do a stage that is not finished. Its checkpoints go only when its result is on disk."""
    folder = work.stage_folder(stage.name)
    if work.begin(stage):
        console.print(f"[bold]{place} {stage.name}[/bold]")
        found = RUNNERS[type(stage)](stage, work)
        write_json(folder / "result.json", found)
        console.print(f"  {found['seconds']:.0f} s")
    else:
        seconds = read_json(folder / "result.json")["seconds"]
        console.print(f"[bold]{place} {stage.name}[/bold] finished before ({seconds:.0f} s)")
    remove_checkpoints(folder / "checkpoints")


def _as_yaml(recipe: Recipe) -> str:
    content = recipe.model_dump(mode="json")
    content["stages"] = [stage.model_dump(mode="json", exclude_none=True) for stage in recipe.stages]
    for row, stage in zip(content["stages"], recipe.stages, strict=True):
        if isinstance(stage, TrainStage):
            row["training"] = stage.loop.model_dump(mode="json")
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
