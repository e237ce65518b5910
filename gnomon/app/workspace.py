"""What stages find of each other in a run folder: models, data parts, and a key that says what made them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gnomon.app.recipe import BASE, Recipe, Stage, references, sources
from gnomon.core.errors import DataError
from gnomon.core.progress import StopSignal
from gnomon.core.run_folder import digest_of, environment, read_json, write_json
from gnomon.data.records import Record, read_records
from gnomon.data.sources import digest_source, locate
from gnomon.models.precision import Compute

T = TypeVar("T")


@dataclass
class Workspace:
    """A run folder with the recipe being run.

    Attributes:
        keys: what each finished stage was made of; a stage with the same key is not run again.
        digests: of the user's own files.
    """

    folder: Path
    recipe: Recipe
    compute: Compute
    stop: StopSignal
    keys: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def stage_folder(self, name: str) -> Path:
        """Where a stage keeps its files."""
        return self.folder / name

    def model(self, name: str) -> str:
        """What loads the model that a recipe calls `name`."""
        return self.recipe.model.name if name == BASE else str(self.stage_folder(name) / "model")

    def data_path(self, source: str) -> Path:
        """The file behind `<stage>/<part>` or a path."""
        stage, _, part = source.partition("/")
        if part and stage in {s.name for s in self.recipe.stages}:
            path = self.stage_folder(stage) / f"{part}.jsonl"
            if path.parent.exists() and not path.exists():
                parts = ", ".join(sorted(p.stem for p in path.parent.glob("*.jsonl")))
                raise DataError(f"stage '{stage}' has no part '{part}'; it has {parts}.")
            return path
        path = Path(source).expanduser()
        if not locate(path)[0].exists():
            raise DataError(f"no data at {source}; give <stage>/<part> or the path of a file or folder of data.")
        return path

    def records(self, kind: type[Record], source: str) -> list[Record]:
        """The records of a source."""
        return read_records(kind, self.data_path(source))

    def key(self, stage: Stage) -> str:
        """A digest of everything that a stage's result depends on."""
        recipe = self.recipe
        made_of: dict[str, Any] = {
            "stage": stage.model_dump(),
            "seed": recipe.seed,
            "model": recipe.model.model_dump() | self._template_key(),
            "gnomon": environment(recipe.seed, {})["gnomon"],
            "models": {name: self.keys.get(name, name) for _, name in references(stage)},
            "data": {source: self._source_key(source) for source in sources(stage)},
        }
        return digest_of(made_of)

    def _template_key(self) -> dict[str, str]:
        """The content of a chat template of the user's own, which may change under the same path."""
        template = self.recipe.model.chat_template
        own = template not in (None, "plain")
        return {"chat_template": digest_source(Path(str(template)).expanduser())} if own else {}

    def _source_key(self, source: str) -> str:
        stage, _, part = source.partition("/")
        if part and stage in self.keys:
            return self.keys[stage]
        self.digests[source] = digest_source(self.data_path(source))
        return self.digests[source]

    def begin(self, stage: Stage) -> bool:
        """Prepare a stage's folder; false when it is finished already.

        The folder of a run with other settings is kept under a number, not overwritten.
        """
        folder, key = self.stage_folder(stage.name), self.key(stage)
        self.keys[stage.name] = key
        marker = folder / "stage.json"
        if folder.exists() and (not marker.exists() or read_json(marker).get("key") != key):
            number = next(n for n in range(1, 10_000) if not folder.with_name(f"{stage.name}.{n}").exists())
            os.replace(folder, folder.with_name(f"{stage.name}.{number}"))
        write_json(marker, {"key": key, "stage": stage.model_dump()})
        return not (folder / "result.json").exists()
