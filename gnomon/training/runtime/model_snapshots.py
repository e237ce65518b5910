"""Models of single steps, kept as folders that load as a finished stage's model does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnomon.core.storage.ownership import digest_entry, read_record, remove_entries, unchanged
from gnomon.core.storage.sealed_files import write_sealed_json
from gnomon.models.loading import save_model
from gnomon.models.roles import Model
from gnomon.training.settings import LoopSettings

FOLDER, RECORD = "models", "kept.json"
STEP = re.compile(r"\d{8,}")  # the name of a step's folder


class SnapshotKeeper:
    """Saves the model after every so many steps, and removes the oldest of what it saved.

    Args:
        model: that learns.
        folder: for the steps' folders, and `kept.json`, a record of their digests: only a folder that nobody
            changed is removed.
        every: steps.
        kept: how many folders stay; `None` keeps all.
    """

    def __init__(self, model: Model, folder: Path, every: int, kept: int | None = None):
        self.model, self.folder, self.every, self.kept = model, folder, every, kept

    def after_step(self, step: int) -> None:
        """Save the model if its turn has come. A resumed run comes to the same folders again, which then stay."""
        if step % self.every:
            return
        name = f"{step:08d}"
        with self.model.to_save() as twin:
            save_model(twin, self.folder / name)
        digests = {**self._recorded(), name: digest_entry(self.folder / name)}
        write_sealed_json(self.folder / RECORD, {"models": digests})
        if self.kept is not None:
            own = sorted(unchanged(self.folder, digests, digests.keys()))
            old = own[: -self.kept]
            remove_entries(self.folder, old)
            left = {step: digest for step, digest in digests.items() if step not in old}
            write_sealed_json(self.folder / RECORD, {"models": left})

    def _recorded(self) -> Mapping[str, Any]:
        """Digests of the folders that were saved, by their names."""
        found = (read_record(self.folder / RECORD) or {}).get("models")
        return {name: d for name, d in found.items() if STEP.fullmatch(name)} if isinstance(found, dict) else {}


def make_snapshot_keeper(model: Model, folder: Path, settings: LoopSettings) -> SnapshotKeeper | None:
    """What keeps models of a stage with these settings; `None` where none are to be kept."""
    if settings.models_every is None:
        return None
    return SnapshotKeeper(model, folder / FOLDER, settings.models_every, settings.models_kept)
