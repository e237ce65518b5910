"""Cards on disk: written with a saved model, and never in the place of one that a user wrote."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from gnomon.core.storage.ownership import digest_entry, put_folder
from gnomon.core.storage.sealed_files import is_sealed, write_sealed
from gnomon.models.cards.base import CARD, BaseInfo


def write_card(folder: Path, text: str, base: BaseInfo) -> None:
    """Write the card of a model into its new folder, with the text of the base model's license.

    Args:
        folder: of the model.
        text: of the card.
        base: the base model.
    """
    write_sealed(folder / CARD, text)
    if base.license_file is not None:
        shutil.copyfile(base.license_file, folder / base.license_file.name)


def put_model(new: Path, folder: Path) -> Path | None:
    """Move a saved model to `folder`; a former model that differs in more than its card is set aside.

    Where only the card differs, the former folder stays, with the new card unless a user wrote or changed the
    former one.

    Returns:
        Where the former model is now; `None` if there was none or it was the same.
    """
    if not _same_model(new, folder):
        return put_folder(new, folder)
    card = folder / CARD
    if not os.path.lexists(card) or (not card.is_symlink() and is_sealed(card)):
        os.replace(new / CARD, card)
    shutil.rmtree(new)
    return None


def _same_model(one: Path, other: Path) -> bool:
    """Return whether two folders hold the same files except for their cards."""
    if other.is_symlink() or not other.is_dir():
        return False
    names, others = ({entry.name for entry in folder.iterdir()} - {CARD} for folder in (one, other))
    if names != others or any(_size(one / name) != _size(other / name) for name in names):
        return False
    return all((own := digest_entry(one / n)) is not None and own == digest_entry(other / n) for n in names)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
