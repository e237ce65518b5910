"""Snapshots of the model after some steps, as folders that load like a finished stage's model."""

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
    """Saves the model every few steps and removes the oldest snapshots.

    Args:
        model: that is trained.
        folder: for the snapshots, and `kept.json`, a record of their digests: only unchanged folders are removed.
        every: steps between snapshots.
        limit: number of snapshots to keep; `None` keeps all.
    """

    def __init__(self, model: Model, folder: Path, every: int, limit: int | None = None):
        self.model, self.folder, self.every, self.limit = model, folder, every, limit

    def after_step(self, step: int) -> None:
        """Save the model if a snapshot is due; a resumed run writes the same folders again."""
        if step % self.every:
            return
        name = f"{step:08d}"
        with self.model.to_save() as twin:
            save_model(twin, self.folder / name, steps=step)
        digests = {**self._recorded(), name: digest_entry(self.folder / name)}
        write_sealed_json(self.folder / RECORD, {"models": digests})
        if self.limit is not None:
            own = sorted(unchanged(self.folder, digests, digests.keys()))
            old = own[: -self.limit]
            remove_entries(self.folder, old)
            left = {step: digest for step, digest in digests.items() if step not in old}
            write_sealed_json(self.folder / RECORD, {"models": left})

    def _recorded(self) -> Mapping[str, Any]:
        """Digests of the saved folders by name."""
        models = (read_record(self.folder / RECORD) or {}).get("models")
        return {name: d for name, d in models.items() if STEP.fullmatch(name)} if isinstance(models, dict) else {}


def make_snapshot_keeper(model: Model, folder: Path, settings: LoopSettings) -> SnapshotKeeper | None:
    """A `SnapshotKeeper` for a stage.

    Args:
        model: that is trained.
        folder: of the stage.
        settings: of the loop.

    Returns:
        The keeper, or `None` without `models_every`.
    """
    if settings.models_every is None:
        return None
    return SnapshotKeeper(model, folder / FOLDER, settings.models_every, settings.models_kept)
