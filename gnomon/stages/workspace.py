"""What stages find of each other in a run folder: models, data parts, and a key that says what made them."""

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
from gnomon.data.reading.readers import digest_source, locate
from gnomon.data.reading.records import Record, disambiguate_prompt_ids, read_records
from gnomon.feedback.export.provenance import lineage_of
from gnomon.models.external import digest_model, located
from gnomon.monitoring.trackers import Sink, open_sink
from gnomon.rewards.python_reward import RewardFunction, function_digest, is_function
from gnomon.stages.references import maker, references, saved_critic, scorers, sources
from gnomon.stages.row_paths import is_part as names_part
from gnomon.stages.settings import BASE, CRITIC, FeedbackStage, HybridStage, ModelSettings, Stage, TrainStage
from gnomon.training.settings import NON_SEMANTIC_SETTINGS

if TYPE_CHECKING:  # heavy: a check of a recipe starts without them
    from gnomon.models.engine.device import Compute
    from gnomon.training.runtime.distributed import Processes

T = TypeVar("T")


def _processes() -> Processes:
    from gnomon.training.runtime.distributed import Processes

    return Processes()


class StageRecipe(Protocol):
    """The parts of a recipe that its stages read: stages do not depend on how a recipe is read and checked."""

    @property
    def run(self) -> str:
        """The run folder."""

    @property
    def seed(self) -> int:
        """Of everything that is random."""

    @property
    def model(self) -> ModelSettings:
        """The model that stages start from."""

    @property
    def track(self) -> Sequence[str]:
        """Names of the trackers that get the metrics too."""

    @property
    def stages(self) -> Sequence[Any]:
        """All stages, in order."""

    def as_written(self, value: Any) -> Any:
        """A value with each path as the recipe has it."""


@dataclass
class Workspace:
    """A run folder with the recipe being run.

    Attributes:
        keys: what each finished stage was made of; a stage with the same key is not run again.
        digests: of the user's own files.
        feedback_provenance: of those that were exported from a feedback store, the judgements they rest on.
        functions: rewards that are functions of the calling program, by what the recipe calls them.
        claim: on the folder, of the process that writes into it; a plan has none.
    """

    folder: Path
    recipe: StageRecipe
    compute: Compute
    stop: StopSignal
    processes: Processes = field(default_factory=_processes)
    keys: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    feedback_provenance: dict[str, dict[str, Any]] = field(default_factory=dict)
    functions: Mapping[str, RewardFunction] = field(default_factory=dict)
    claim: RunClaim | None = None

    def stage_folder(self, name: str) -> Path:
        """Where a stage keeps its files."""
        return self.folder / name

    def model(self, name: str) -> str:
        """What loads the model that a recipe calls `name`."""
        if name == BASE:
            return located(self.recipe.model.name)
        stages = {s.name: s for s in self.recipe.stages}
        if (owner := maker(name, stages)) not in stages:
            return located(name)
        part = f"{name}/model" if owner == name else saved_critic(stages[owner])
        return str(self.folder / str(part))

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
        return read_records(kind, self.data_path(source))

    def load_sources(self, kind: type[Record], sources: Iterable[str]) -> dict[str, list[Record]]:
        """The records of each source of a stage; an id stands for one prompt in all of them."""
        return disambiguate_prompt_ids({source: self.records(kind, source) for source in sources})

    def fingerprint(self, stage: Stage) -> str:
        """A digest of everything that a stage's result depends on."""
        recipe = self.recipe
        made_of: dict[str, Any] = {
            "stage": _resolved(stage),
            "seed": recipe.seed,
            "gnomon": environment(recipe.seed, {})["gnomon"],
            "models": {name: self._model_fingerprint(name) for _, name in references(stage)},
            "data": {source: self._source_fingerprint(source) for source in sources(stage)},
        }
        if not isinstance(stage, FeedbackStage):  # people's ratings have nothing to do with a model
            made_of["model"] = recipe.model.model_dump(exclude={"name"}) | self._template_fingerprint()
        code = [spec for spec in scorers(stage) if spec in self.functions or is_function(spec)]
        if code:
            made_of["functions"] = {spec: function_digest(spec) for spec in code}
        return digest_of(recipe.as_written(made_of))

    def _template_fingerprint(self) -> dict[str, str]:
        """The content of a chat template of the user's own, which may change under the same path."""
        template = self.recipe.model.chat_template
        own = template not in (None, "plain")
        return {"chat_template": digest_source(Path(str(template)).expanduser())} if own else {}

    def _model_fingerprint(self, name: str) -> str:
        if name in self.keys:
            return self.keys[name]
        if (owner := maker(name, self.keys)) != name:
            return f"{CRITIC} of {self.keys[owner]}"
        path = self.recipe.model.name if name == BASE else name
        return digest_model(path, self.recipe.as_written(path))

    def _source_fingerprint(self, source: str) -> str:
        stage = source.partition("/")[0]
        return self.keys[stage] if is_part(source, self.recipe) else self.digest_source(source)

    def digest_source(self, source: str) -> str:
        """The digest of a user's own data, kept for `environment.json`."""
        path = self.data_path(source)
        self.digests[source] = digest_source(path)
        if (
            source not in self.feedback_provenance
            and (found := lineage_of(path, self.digests[source])) is not None
        ):
            self._note_judgements(source, *found)
        return self.digests[source]

    def _note_judgements(self, source: str, note: dict[str, Any], manifest: Mapping[str, Any]) -> None:
        """Keep where judgements come from, with a copy of their manifest; say it where they were changed."""
        name = f"manifests/{note['digest'][:12]}.json"
        self.feedback_provenance[source] = {**note, "manifest": name}
        if self.processes.main and not (self.folder / name).exists():
            write_json(self.claim.keep(name) if self.claim else self.folder / name, manifest)
        if not note["unchanged"]:
            said = f"{source} was changed after it was exported: it is not the file that its manifest names"
            console.print(f"[yellow]warning[/yellow] {escape(said)}", soft_wrap=True)

    def data_digests(self) -> dict[str, str]:
        """Digests of the user's files, and of the data parts that stages so far have made."""
        parts = {
            str(path.relative_to(self.folder)): digest_file(path)
            for stage in sorted(self.keys)
            for path in sorted(self.stage_folder(stage).glob("*.jsonl"))
            if path.name != "metrics.jsonl"
        }
        return {**self.digests, **parts}

    def prepare_stage(self, stage: Stage) -> bool:
        """Prepare a stage's folder; false when it is finished already.

        A folder in which something was done with other settings is kept under a number, not overwritten.
        """
        folder, key = self.stage_folder(stage.name), self.fingerprint(stage)
        self.keys[stage.name] = key
        if self.processes.main:
            marker = folder / "stage.json"
            begun = os.path.lexists(folder) and (not folder.is_dir() or {*os.listdir(folder)} - {marker.name})
            other = begun and (not marker.exists() or read_json(marker).get("key") != key)
            aside = set_aside(folder) if other else None
            if self.claim:
                self.claim.begin_stage(folder, aside)
            write_json(marker, {"key": key, "stage": stage.model_dump()})
        return not self.processes.tell((folder / "result.json").exists())

    def note_environment(self, setting: Mapping[str, Any]) -> None:
        """Write what the run depends on besides its recipe."""
        if self.processes.main:
            found = {**setting, "data": self.data_digests(), "judgements": self.feedback_provenance}
            name = "environment.json"
            write_sealed_json(self.claim.keep(name) if self.claim else self.folder / name, found)

    def sinks(self, stage: str, done: int) -> Sink | None:
        """Where a stage's metrics go besides its own file, after `done` steps in an earlier start."""
        if not self.processes.main:
            return None
        config = {"run": self.recipe.run, "stage": stage}
        return open_sink(self.recipe.track, self.folder, stage, config, done=done)


def is_part(source: str, recipe: StageRecipe) -> bool:
    """Whether a source is `<stage>/<part>`, not the user's own file."""
    return names_part(source, {s.name for s in recipe.stages})


def own_file(source: str) -> Path:
    """The user's own file behind a source."""
    path = Path(source).expanduser()
    if not locate(path)[0].exists():
        raise DataError(f"no data at {source}; give <stage>/<part> or the path of a file or folder of data.")
    return path


def _resolved(stage: Stage) -> dict[str, Any]:
    """A stage's settings, defaults written out, without those that change no number."""
    content = stage.model_dump()
    if isinstance(stage, TrainStage):
        content["training"] = stage.loop.model_dump(exclude=set(NON_SEMANTIC_SETTINGS))
    if isinstance(stage, HybridStage):
        content["phases"] = [_resolved(phase) for phase in stage.phases]
    return content
