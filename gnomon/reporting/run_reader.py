"""Read a run folder for its report, defensively; nothing outside the folder is read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from gnomon.core.errors import RunError
from gnomon.core.storage.result_model import finite
from gnomon.core.storage.sealed_files import without_seal
from gnomon.core.yaml_text import YAML_VALUE_ERRORS, load_yaml
from gnomon.reporting.run_environment import Environment
from gnomon.stages.contract import RecordedResult, Result
from gnomon.stages.registry import result_types

Language = Literal["en", "zh"]
Status = Literal["finished", "unfinished", "unreadable"]


@dataclass(frozen=True)
class RecordedStage:
    """One stage or phase of a run, with its result and metrics."""

    name: str
    status: Status
    result: Result | None = None
    metrics: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # name → (step, value)
    phases: tuple[RecordedStage, ...] = ()  # of a hybrid stage; the phases have the metrics

    @property
    def label(self) -> str:
        """The key of the stage's name in the translations, or its algorithm; "" if unknown."""
        return self.result.label if self.result else ""


@dataclass(frozen=True)
class Run:
    """The content of a run folder."""

    name: str
    model: str
    seed: str
    config: str
    environment: Environment
    stages: tuple[RecordedStage, ...]
    language: Language = "en"

    @property
    def gaps(self) -> list[RecordedStage]:
        """The stages that the report leaves out."""
        return [stage for stage in self.stages if stage.result is None]


def read_run(folder: Path) -> Run:
    """Read a run folder; missing or damaged parts are left out."""
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder; give the folder of a run, the one that holds config.yaml.")
    config_text = without_seal(_read(folder / "config.yaml"))
    config = _parse_config(config_text)
    environment = _parse_json(_read(folder / "environment.json"))
    model = config.get("model", "")
    return Run(
        name=Path(str(config.get("run") or folder.resolve().name)).name,
        model=str(model.get("name", "") if isinstance(model, dict) else model),
        seed=str(config.get("seed", environment.get("seed", ""))),
        config=config_text,
        environment=_environment(environment),
        stages=tuple(_read_stage(folder, name) for name in _stage_names(folder, config)),
        language="zh" if config.get("language") == "zh" else "en",
    )


def _stage_names(folder: Path, config: dict[str, Any]) -> list[str]:
    """Return the stages in recipe order; without a recipe, every folder with a result."""
    stages = config.get("stages")
    rows = stages if isinstance(stages, list) else []
    names = [str(row["name"]) for row in rows if isinstance(row, dict) and row.get("name")]
    return names or sorted(path.parent.name for path in folder.glob("*/result.json"))


def _read_stage(folder: Path, name: str) -> RecordedStage:
    if Path(name).name != name or name == "..":  # a name must not lead out of the run
        return RecordedStage(name, "unreadable")
    if not (folder / name / "result.json").is_file():
        return RecordedStage(name, "unfinished")
    content = _parse_json(_read(folder / name / "result.json"))
    kind = result_types().get(str(content.get("kind")), Result)
    if kind.view == Result.view:  # without a template, the file's sections are shown
        kind = RecordedResult
    if kind is RecordedResult and not isinstance(content.get("report"), dict):
        return RecordedStage(name, "unreadable")
    try:
        result = kind.model_validate(content)
    except ValidationError:
        return RecordedStage(name, "unreadable")
    metrics = _read_metrics(folder / name / "metrics.jsonl")
    return RecordedStage(name, "finished", result, metrics, _read_phases(folder, name, content.get("phases")))


def _read_phases(folder: Path, name: str, content: Any) -> tuple[RecordedStage, ...]:
    """Read a hybrid stage's phases in order, named by their folders in the run."""
    inside = (
        [phase for phase in content if Path(phase).name == phase != ".."] if isinstance(content, dict) else []
    )
    return tuple(
        RecordedStage(
            f"{name}/{phase}", "finished", metrics=_read_metrics(folder / name / phase / "metrics.jsonl")
        )
        for phase in inside
    )


def _read_metrics(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Read each metric's values over the steps; a line truncated by a kill is skipped."""
    metrics: dict[str, list[tuple[float, float]]] = {}
    for row in map(_parse_json, _read(path).split("\n")):  # a text may contain Unicode line separators
        step = finite(row.get("step"))
        if step is None:
            continue
        for name, raw in row.items():
            value = finite(raw)
            if value is not None:
                metrics.setdefault(name, []).append((step, value))
    return metrics


def _environment(content: dict[str, Any]) -> Environment:
    try:
        return Environment.model_validate(content)
    except ValidationError:
        return Environment()


def _read(path: Path) -> str:
    """Return the text of a file; "" if it does not exist."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _parse_json(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _parse_config(text: str) -> dict[str, Any]:
    try:
        content = load_yaml(text)
    except (yaml.YAMLError, *YAML_VALUE_ERRORS):
        return {}
    return content if isinstance(content, dict) else {}
