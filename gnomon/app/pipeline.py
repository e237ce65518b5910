"""Run a recipe: its stages in order, each once, with a report at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.markup import escape

from gnomon.app.recipe import EvaluateStage, FeedbackStage, Recipe, Stage, TrainStage
from gnomon.app.stage_evaluate import run_evaluate
from gnomon.app.stage_feedback import run_feedback
from gnomon.app.stage_train import run_train
from gnomon.app.workspace import Workspace
from gnomon.core.errors import RunError
from gnomon.core.progress import StopSignal, console
from gnomon.core.run_folder import digest_file, environment, read_json, write_atomically, write_json
from gnomon.evaluation.report import write_report
from gnomon.models.precision import find_compute

RUNNERS: dict[type, Callable[[Any, Workspace], dict[str, Any]]] = {
    FeedbackStage: run_feedback,
    TrainStage: run_train,
    EvaluateStage: run_evaluate,
}


def run_recipe(recipe: Recipe) -> Path:
    """Run every stage that is not finished, and write the report; returns its path."""
    folder = Path(recipe.run)
    compute = find_compute(recipe.model.device, recipe.model.precision)
    console.print(f"[bold]gnomon[/bold] {escape(str(folder))} on {compute}, {torch.get_num_threads()} threads")
    try:
        write_atomically(folder / "config.yaml", _as_yaml(recipe))
    except OSError as error:
        raise RunError(
            f"the run folder {folder} cannot be written ({error.strerror}); set run to another."
        ) from None
    started = time.monotonic()
    with StopSignal().listening() as stop:
        work = Workspace(folder, recipe, compute, stop)
        for number, stage in enumerate(recipe.stages, start=1):
            _run_stage(stage, work, f"{number}/{len(recipe.stages)}")
    report = write_report(folder, language=recipe.language)
    minutes = (time.monotonic() - started) / 60
    console.print(f"[bold]done[/bold] in {minutes:.1f} minutes; open {escape(str(report))}")
    return report


def _run_stage(stage: Stage, work: Workspace, place: str) -> None:
    result = work.stage_folder(stage.name) / "result.json"
    if not work.begin(stage):
        console.print(f"[bold]{place} {stage.name}[/bold] finished before ({read_json(result)['seconds']:.0f} s)")
        return
    console.print(f"[bold]{place} {stage.name}[/bold]")
    found = RUNNERS[type(stage)](stage, work)
    write_json(result, found)
    data = {
        str(path.relative_to(work.folder)): digest_file(path)
        for folder in sorted(work.keys)
        for path in sorted(work.stage_folder(folder).glob("*.jsonl"))
        if path.name != "metrics.jsonl"
    }
    write_json(work.folder / "environment.json", environment(work.recipe.seed, {**work.digests, **data}))
    console.print(f"  {found['seconds']:.0f} s")


def _as_yaml(recipe: Recipe) -> str:
    content = recipe.model_dump(mode="json")
    content["stages"] = [stage.model_dump(mode="json", exclude_none=True) for stage in recipe.stages]
    for row, stage in zip(content["stages"], recipe.stages, strict=True):
        if isinstance(stage, TrainStage):
            row["training"] = stage.loop.model_dump(mode="json")
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
