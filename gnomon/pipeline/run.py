"""Run a recipe: its stages in order, each once, then the report."""

from __future__ import annotations

import inspect
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.markup import escape

from gnomon.algorithms.registry import find_algorithm
from gnomon.core.boundary import input_errors
from gnomon.core.errors import GnomonError, Interrupted, RunError, translate_disk_full, translate_interrupt
from gnomon.core.extensions import describe_error, exits_as_errors
from gnomon.core.progress import StopSignal, console
from gnomon.core.redaction import redact_values
from gnomon.core.storage.environment import environment
from gnomon.core.storage.files import read_json, write_json
from gnomon.core.storage.run_claim import RunClaim
from gnomon.core.storage.sealed_files import is_run, write_sealed
from gnomon.models.engine.device import Compute, find_compute
from gnomon.pipeline.preflight import check_inputs, find_models, inputs_of, load_functions
from gnomon.pipeline.recipe import Recipe
from gnomon.reporting.run_report import write_report
from gnomon.rewards.python_reward import RewardFunction
from gnomon.stages.common.model_cards import update_cards
from gnomon.stages.contract import Result, Stage
from gnomon.stages.workspace import Workspace
from gnomon.training.runtime.checkpoints import remove_checkpoints
from gnomon.training.runtime.distributed import Processes


def run_recipe(
    recipe: Recipe,
    functions: Mapping[str, RewardFunction] | None = None,
    input_files: Mapping[str, bytes] | None = None,
) -> Path:
    """Run every unfinished stage and write the report; returns its path.

    Args:
        recipe: recipe to run.
        functions: rewards that are functions of the calling program, by their names in the recipe.
        input_files: name → content of data files that are written into the run folder first.

    Raises:
        GnomonError: the user's input is invalid; `DiskFullError` if a disk is full, `Interrupted` after Ctrl-C.
    """
    folder = Path(recipe.run)
    with translate_disk_full(folder), input_errors(), translate_interrupt(), StopSignal().listening() as stop:
        compute = find_compute(recipe.model.device, recipe.model.precision)
        processes = Processes(cpu=compute.device.type == "cpu")
        stop.waits = processes.count > 1  # otherwise one could exit while the others wait for it
        with processes.watching(), _claimed(recipe, input_files or {}, processes, stop) as claim:
            return _run(recipe, functions or {}, compute, processes, stop, claim)


@contextmanager
def _claimed(
    recipe: Recipe, input_files: Mapping[str, bytes], processes: Processes, stop: StopSignal
) -> Iterator[RunClaim | None]:
    """Context manager: the first process claims the run folder for all processes; the others get `None`.

    Invalid input undoes what this start has written, except finished work.

    Raises:
        RunError: the folder holds files of no run, or was moved or removed meanwhile.
        BusyError: another run uses the folder.
    """
    if not processes.main:
        processes.barrier()
        yield None
        return
    with RunClaim(Path(recipe.run), [s.name for s in recipe.stages], inputs_of(recipe)) as claim:
        stop.checks.append(claim.lock.check)
        try:
            for name, content in input_files.items():
                claim.write_input(name, content)
            processes.barrier()
            with input_errors():  # translated inside the claim, so that its errors undo the claim too
                yield claim
        except Interrupted:
            raise
        except GnomonError:
            claim.lock.check()  # a folder that was moved or removed is the cause, and is reported instead
            claim.undo()
            raise
        except Exception:
            claim.lock.check()  # likewise
            raise


def _run(
    recipe: Recipe,
    functions: Mapping[str, RewardFunction],
    compute: Compute,
    processes: Processes,
    stop: StopSignal,
    claim: RunClaim | None,
) -> Path:
    folder = Path(recipe.run)
    console.quiet = not processes.main
    several = f", {processes.count} processes" if processes.count > 1 else ""
    console.print(
        f"[bold]gnomon[/bold] {escape(str(folder))} on {compute}, {torch.get_num_threads()} threads{several}"
    )
    started = time.monotonic()
    check_inputs(recipe)
    if claim and not is_run(folder):  # a resumed run has already resolved its models
        find_models(recipe)
    loaded_functions = load_functions(recipe, functions)
    work = Workspace(folder, recipe, compute, stop, functions=loaded_functions, processes=processes, claim=claim)
    run_environment = environment(recipe.seed, {})
    try:
        work.note_environment(run_environment)
        if claim:
            write_sealed(claim.back_up("config.yaml"), _as_yaml(recipe))
    except OSError as error:
        raise RunError(
            f"the run folder {folder} cannot be written ({error.strerror}); set run to another."
        ) from None
    for number, stage in enumerate(recipe.stages, start=1):
        _run_stage(stage, work, f"{number}/{len(recipe.stages)}")
        work.note_environment(run_environment)
    if not processes.main:
        return folder / "report.html"
    update_cards(work)
    report = write_report(folder, language=recipe.language)
    minutes = (time.monotonic() - started) / 60
    nothing_learned = [stage.name for stage in recipe.stages if _read_result(stage, work).remark]
    names = " and ".join(nothing_learned)
    warning = f", [yellow]but {names} learned nothing[/yellow]" if nothing_learned else ""
    console.print(
        f"[bold]done[/bold] in {minutes:.1f} minutes{warning}; open {escape(str(report))}", soft_wrap=True
    )
    return report


def _run_stage(stage: Stage, work: Workspace, position: str) -> None:
    """Run a stage unless it is finished; its checkpoints are removed only after its result is on disk."""
    folder, processes = work.stage_folder(stage.name), work.processes
    if not work.prepare_stage(stage):
        seconds = _read_result(stage, work).seconds or 0
        console.print(f"[bold]{position} {stage.name}[/bold] finished before ({seconds:.0f} s)")
    else:
        console.print(f"[bold]{position} {stage.name}[/bold]")
        if processes.main or stage.parallel:
            started = time.monotonic()
            result = _run_and_check(stage, work)
            seconds = time.monotonic() - started if result.seconds is None else result.seconds
            work.stop.check()
            if processes.main:
                write_json(folder / "result.json", _result_json(stage, result, seconds))
            console.print(f"  {seconds:.0f} s")
            if result.remark:
                console.print(f"  [yellow]nothing was learned[/yellow]: {escape(result.remark)}", soft_wrap=True)
    if processes.main:
        remove_checkpoints(folder / "checkpoints")
    processes.barrier()
    work.stop.waits = processes.count > 1
    if work.claim:
        work.claim.end_stage()
    if any(processes.all_gather(bool(work.stop))) and stage is not work.recipe.stages[-1]:
        raise Interrupted(f"stopped after stage '{stage.name}'; run the same command again to go on.")


def _run_and_check(stage: Stage, work: Workspace) -> Result:
    """Run a stage and return its result; third-party code may raise anything, and its result is checked.

    Raises:
        RunError: a third-party stage or algorithm raised an exception, or a stage returned another type than its
            `result_type`.
    """
    outside = stage.code_from_outside()
    if not outside:
        return stage.run(work)
    try:
        result: object = exits_as_errors(stage.run)(work)
    except GnomonError:
        raise
    except Exception as error:  # code from outside may raise anything
        line = _line_of(error, stage)
        if line is None:
            raise
        raise RunError(f"stage '{stage.name}': {line} raised {describe_error(error)}; fix it.") from error
    if not isinstance(result, stage.result_type):
        problem = f"returned {type(result).__name__}, not its result_type {stage.result_type.__name__}"
        raise RunError(f"stage '{stage.name}': {type(stage).__name__}.run {problem}; fix it.")
    return result


def _line_of(error: BaseException, stage: Stage) -> str | None:
    """Return the innermost line of an exception in a third-party file of the stage; `None` without one."""
    classes: list[type] = [type(stage)] if stage.from_outside else []
    classes += [find_algorithm(one.algorithm) for one in stage.trainings() if one.algorithm_from_outside()]
    files = {Path(path).resolve() for one in classes if (path := inspect.getsourcefile(one))}
    errors = [error, *([error.__cause__] if error.__cause__ else [])]
    frames = [frame for one in errors for frame in traceback.extract_tb(one.__traceback__)]
    lines = [f"{Path(f.filename).name}, line {f.lineno}," for f in frames if Path(f.filename).resolve() in files]
    return lines[-1] if lines else None


def _result_json(stage: Stage, result: Result, seconds: float) -> dict[str, Any]:
    """Return the content of `result.json`, with the stage's section of the report if its kind has no template.

    Args:
        stage: the stage.
        result: its result.
        seconds: duration of the stage.
    """
    if not stage.from_outside and result.view != Result.view:
        return result.content()
    head = {"kind": result.kind or type(stage).__name__, "seconds": seconds}
    report = {"report": result.section().content()} if result.view == Result.view else {}
    return head | result.content() | report


def _read_result(stage: Stage, work: Workspace) -> Result:
    """Read the result of a finished stage from its `result.json`."""
    return stage.result_type.model_validate(read_json(work.stage_folder(stage.name) / "result.json"))


def _as_yaml(recipe: Recipe) -> str:
    """Return the recipe with all defaults as YAML, with paths as written and secrets redacted."""
    content = recipe.model_dump(mode="json")
    stage_rows = [({"kind": stage.kind_name} if stage.kind_name else {}) | stage.row() for stage in recipe.stages]
    content["stages"] = stage_rows
    if not recipe.has_paths_in_recipe_folder:
        del content["home"]
    return yaml.safe_dump(redact_values(recipe.as_written(content)), allow_unicode=True, sort_keys=False)
