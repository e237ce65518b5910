"""A run folder shared by its stages: their models, data parts and fingerprints."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rich.markup import escape

from gnomon.core.errors import DataError
from gnomon.core.progress import StopSignal, console
from gnomon.core.storage.digests import digest_file, digest_of
from gnomon.core.storage.environment import environment
from gnomon.core.storage.files import read_json, write_json
from gnomon.core.storage.ownership import set_aside
from gnomon.core.storage.run_claim import RunClaim
from gnomon.core.storage.sealed_files import write_sealed_json
from gnomon.data.formats.registry import RowLayout
from gnomon.data.quality.work.work_folder import remove_work
from gnomon.data.reading.sources import check_source, digest_source
from gnomon.data.records import Record, disambiguate_prompt_ids, read_records
from gnomon.feedback.export.provenance import provenance_of
from gnomon.models.external import digest_model, model_path
from gnomon.models.settings import ModelSettings, split_head
from gnomon.monitoring.trackers import Sink, open_sink
from gnomon.rewards.python_reward import RewardFunction, function_digest, is_function
from gnomon.rewards.registry import REWARDS
from gnomon.stages.references import BASE, CRITIC, Inputs, is_part as names_part, maker

if TYPE_CHECKING:  # heavy: a check of a recipe starts without them
    from gnomon.models.engine.device import Compute
    from gnomon.training.runtime.distributed import Processes

T = TypeVar("T")


def _processes() -> Processes:
    from gnomon.training.runtime.distributed import Processes

    return Processes()


class RecipeStage(Protocol):
    """The parts of a stage that its run folder depends on; `stages.contract.Stage` has them."""

    @property
    def name(self) -> str:
        """Of the stage, and of its folder."""

    @property
    def uses_model(self) -> bool:
        """Whether the result depends on the recipe's `model`."""

    def inputs(self) -> Inputs:
        """The models and data that the settings name."""

    def saved_critic(self) -> str | None:
        """The path in a run of the stage's saved critic; `None` without one."""

    def semantic_settings(self) -> dict[str, Any]:
        """The settings with defaults, without those that change no result."""

    @property
    def from_outside(self) -> bool:
        """Whether the kind is not one of Gnomon's own."""

    def code_from_outside(self) -> dict[str, dict[str, str]]:
        """What is recorded of the kind and the algorithms that are not Gnomon's own, by their names."""

    def model_dump(self) -> dict[str, Any]:
        """All settings."""


class StageRecipe(Protocol):
    """The parts of a recipe that stages read, so that stages do not depend on how a recipe is loaded."""

    @property
    def run(self) -> str:
        """The run folder."""

    @property
    def seed(self) -> int:
        """The seed of everything random."""

    @property
    def model(self) -> ModelSettings:
        """The model that stages start from."""

    @property
    def training(self) -> Mapping[str, Any]:
        """Default loop settings of every training stage."""

    @property
    def track(self) -> Sequence[str]:
        """Names of the trackers to which metrics are sent."""

    @property
    def stages(self) -> Sequence[Any]:
        """All stages, in order."""

    def layout_of(self, source: str) -> RowLayout:
        """The layout that the recipe gives for a data file; none for all others."""

    def as_written(self, value: Any) -> Any:
        """A value with each path as written in the recipe."""


@dataclass
class Workspace:
    """A run folder and the recipe that is run in it.

    Attributes:
        folder: of the run.
        recipe: that is run.
        compute: device and precision.
        stop: set by Ctrl-C and SIGTERM.
        processes: of a multi-process run.
        fingerprints: of each stage so far; a finished stage with the same fingerprint is not run again.
        digests: of the user's own files.
        feedback_provenance: the judgements behind files that were exported from a feedback store.
        functions: rewards that are functions of the calling program, by their names in the recipe.
        claim: of this process on the folder; `None` for a dry run and for other processes.
    """

    folder: Path
    recipe: StageRecipe
    compute: Compute
    stop: StopSignal
    processes: Processes = field(default_factory=_processes)
    fingerprints: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    feedback_provenance: dict[str, dict[str, Any]] = field(default_factory=dict)
    functions: Mapping[str, RewardFunction] = field(default_factory=dict)
    claim: RunClaim | None = None

    def stage_folder(self, name: str) -> Path:
        """The folder of a stage's files."""
        return self.folder / name

    def model(self, name: str) -> str:
        """The path or name from which the model `name` of the recipe is loaded."""
        if name == BASE:
            return model_path(self.recipe.model.name)
        stages = {s.name: s for s in self.recipe.stages}
        if (owner := maker(name, stages)) not in stages:
            return model_path(name)
        part = f"{owner}/model" if owner in (name, split_head(name)[0]) else stages[owner].saved_critic()
        return str(self.folder / str(part)) + name.removeprefix(owner).removeprefix(f"/{CRITIC}")

    def data_path(self, source: str) -> Path:
        """The file behind `<stage>/<part>` or a path."""
        stage, _, part = source.partition("/")
        if is_part(source, self.recipe):
            path = self.stage_folder(stage) / f"{part}.jsonl"
            if path.parent.exists() and not path.exists():
                parts = ", ".join(sorted(p.stem for p in path.parent.glob("*.jsonl")))
                raise DataError(f"stage '{stage}' has no part '{part}'; it has {parts}.")
            return path
        return own_file(source)

    def records(self, kind: type[Record], source: str) -> list[Record]:
        """The records of a source."""
        return read_records(kind, self.data_path(source), layout=self.recipe.layout_of(source))

    def load_sources(self, kind: type[Record], sources: Iterable[str]) -> dict[str, list[Record]]:
        """Read the records of each source of a stage; a prompt id means the same prompt in all of them."""
        return disambiguate_prompt_ids({source: self.records(kind, source) for source in sources})

    def fingerprint(self, stage: RecipeStage) -> str:
        """Digest of everything that a stage's result depends on."""
        recipe, named = self.recipe, stage.inputs()
        inputs: dict[str, Any] = {
            "stage": stage.semantic_settings(),
            "seed": recipe.seed,
            "gnomon": environment(recipe.seed, {})["gnomon"],
            "models": {name: self._model_fingerprint(name) for name in named.model_names},
            "data": {source: self._source_fingerprint(source) for source in named.sources},
        }
        layouts = {source: layout for source in named.sources if (layout := recipe.layout_of(source)).given}
        if layouts:
            inputs["layouts"] = {source: [layout.name, layout.columns] for source, layout in layouts.items()}
        if stage.uses_model:
            inputs["model"] = recipe.model.model_dump(exclude={"name"}) | self._template_fingerprint()
        code = [spec for spec in named.scorers if spec in self.functions or is_function(spec)]
        if code:
            inputs["functions"] = {spec: function_digest(spec) for spec in code}
        if offered := [spec for spec in named.scorers if spec not in code and REWARDS.is_outside(spec)]:
            inputs["rewards"] = {spec: REWARDS.digest(spec) for spec in offered}
        if outside := stage.code_from_outside():
            inputs["code"] = {name: facts["digest"] for name, facts in outside.items()}
        return digest_of(recipe.as_written(inputs))

    def _template_fingerprint(self) -> dict[str, str]:
        """Digest of the user's own chat template, whose content may change under the same path."""
        template = self.recipe.model.chat_template
        own = template not in (None, "plain")
        return {"chat_template": digest_source(Path(str(template)).expanduser())} if own else {}

    def _model_fingerprint(self, name: str) -> str:
        if name in self.fingerprints:
            return self.fingerprints[name]
        if (owner := maker(name, self.fingerprints)) != name:
            return f"{name.removeprefix(owner)[1:]} of {self.fingerprints[owner]}"
        path = self.recipe.model.name if name == BASE else name
        return digest_model(path, self.recipe.as_written(path))

    def _source_fingerprint(self, source: str) -> str:
        stage = source.partition("/")[0]
        return self.fingerprints[stage] if is_part(source, self.recipe) else self.digest_source(source)

    def digest_source(self, source: str) -> str:
        """Digest of a user's own data, recorded for `environment.json`."""
        path = self.data_path(source)
        self.digests[source] = digest_source(path)
        if (
            source not in self.feedback_provenance
            and (judged := provenance_of(path, self.digests[source])) is not None
        ):
            self._note_judgements(source, *judged)
        return self.digests[source]

    def _note_judgements(self, source: str, note: dict[str, Any], manifest: Mapping[str, Any]) -> None:
        """Record the provenance of judgements with a copy of their manifest; warn if the file was changed."""
        name = f"manifests/{note['digest'][:12]}.json"
        self.feedback_provenance[source] = {**note, "manifest": name}
        if self.processes.main and not (self.folder / name).exists():
            write_json(self.claim.back_up(name) if self.claim else self.folder / name, manifest)
        if not note["unchanged"]:
            message = f"{source} was changed after it was exported: it is not the file that its manifest names"
            console.print(f"[yellow]warning[/yellow] {escape(message)}", soft_wrap=True)

    def data_digests(self) -> dict[str, str]:
        """Digests of the user's files, and of the data parts of stages so far."""
        parts = {
            str(path.relative_to(self.folder)): digest_file(path)
            for stage in sorted(self.fingerprints)
            for path in sorted(self.stage_folder(stage).glob("*.jsonl"))
            if path.name != "metrics.jsonl"
        }
        return {**self.digests, **parts}

    def prepare_stage(self, stage: RecipeStage) -> bool:
        """Prepare a stage's folder; false if the stage is finished.

        A folder with results of other settings is renamed with a number, not overwritten.
        """
        folder, fingerprint = self.stage_folder(stage.name), self.fingerprint(stage)
        self.fingerprints[stage.name] = fingerprint
        if self.processes.main:
            marker = folder / "stage.json"
            same = marker.exists() and read_json(marker).get("key") == fingerprint
            if not same:
                remove_work(folder)
            begun = os.path.lexists(folder) and (not folder.is_dir() or {*os.listdir(folder)} - {marker.name})
            other = begun and not same
            aside = set_aside(folder) if other else None
            if self.claim:
                self.claim.begin_stage(folder, aside)
            write_json(marker, {"key": fingerprint, "stage": stage.model_dump(), **_record_of_code(stage)})
        return not self.processes.broadcast((folder / "result.json").exists())

    def note_environment(self, setting: Mapping[str, Any]) -> None:
        """Write `environment.json`: what the run depends on besides its recipe."""
        if self.processes.main:
            content = {**setting, "data": self.data_digests(), "judgements": self.feedback_provenance}
            name = "environment.json"
            write_sealed_json(self.claim.back_up(name) if self.claim else self.folder / name, content)

    def open_trackers(self, stage: str, last_step: int) -> Sink | None:
        """Open the trackers of a stage's metrics, or `None`; `last_step` is that of an earlier start."""
        if not (self.processes.main and self.recipe.track):
            return None
        config = {"run": self.recipe.run, "stage": stage}
        return open_sink(self.recipe.track, self.folder, stage, config, last_step=last_step)


def _record_of_code(stage: RecipeStage) -> dict[str, Any]:
    """What `stage.json` holds of code from outside: its digest and inputs, known later without running it."""
    record: dict[str, Any] = {"code": code} if (code := stage.code_from_outside()) else {}
    if stage.from_outside:
        inputs = stage.inputs()
        data = {one.source: [kind.__name__ for kind in one.kinds] for one in inputs.data}
        record["inputs"] = {"models": inputs.model_names, "data": data, "scorers": list(inputs.scorers)}
    return record


def is_part(source: str, recipe: StageRecipe) -> bool:
    """Whether a source is `<stage>/<part>`, and not the user's own file."""
    return names_part(source, {s.name for s in recipe.stages})


def own_file(source: str) -> Path:
    """The user's own file behind a source."""
    path = Path(source).expanduser()
    check_source(path, "give <stage>/<part> or the path of a file or folder of data.")
    return path
