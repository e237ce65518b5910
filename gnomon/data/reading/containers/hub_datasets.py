"""Data sets on the Hugging Face hub, streamed. Nothing is executed: `datasets` loads files of data only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError
from gnomon.data.reading.containers.arrow_rows import BATCH, RowGroup, first_line, numbered_rows
from gnomon.data.reading.containers.dataset_folders import split_name
from gnomon.data.reading.rows import ScannedRow

HUB_TIMEOUT = 10.0  # seconds for the hub's reply on whether it has a data set
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def is_hub_name(name: str) -> bool:
    """Return whether a name is `owner/name` and its owner is no folder here."""
    return _NAME.fullmatch(name) is not None and not os.path.exists(Path(name).parent)


def network_errors() -> tuple[type[Exception], ...]:
    """Exceptions of a connection that fails. The hub's HTTP library depends on its version."""
    from huggingface_hub.errors import HfHubHTTPError

    base: type[Exception] = HfHubHTTPError.__mro__[1]
    return (OSError, base)


@cache
def hub_revision(name: str) -> str:
    """Return the newest commit of a data set, so that one run reads one state of it.

    Raises:
        DataError: the hub has no such data set, or cannot be reached.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    refusal = f"there is no file or folder {name} here"
    try:
        if constants.is_offline_mode():
            raise DataError(
                f"{refusal}, and HF_HUB_OFFLINE keeps from looking on the hub; give an existing path."
            )
        return str(HfApi().dataset_info(name, timeout=HUB_TIMEOUT).sha)
    except GatedRepoError:
        raise DataError(
            f"the hub gives {name} only to those who accepted its terms; accept them and set HF_TOKEN."
        ) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise DataError(
            f"{refusal}, and the hub has no such data set; give an existing path, or HF_TOKEN if it is private."
        ) from None
    except network_errors() as error:
        raise DataError(
            f"{refusal}, and the hub cannot be reached ({type(error).__name__}); give an existing path, or "
            "download the data set where there is a network."
        ) from None


def scan_hub_dataset(name: str, split: str | None) -> Iterator[ScannedRow]:
    """Yield the rows of a data set on the hub, as they are downloaded.

    Args:
        name: `owner/name`.
        split: a split, or `subset/split` of a data set with several subsets.

    Raises:
        DataError: it cannot be read, or the split is not one of it.
    """
    revision = hub_revision(name)
    try:
        dataset = _open(name, split, revision)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{name}: not readable as a data set of the hub ({first_line(error)}); download its files."
        ) from None
    yield from numbered_rows([RowGroup(None, lambda: _batches(dataset, name))], name, 0)


@cache
def _open(name: str, split: str | None, revision: str) -> Any:
    """Open one split as a stream."""
    import datasets

    subset, mark, rest = (split or "").rpartition("/")
    subsets = datasets.get_dataset_config_names(name, revision=revision)
    if not mark and len(subsets) > 1:
        example = f"{split}/train" if split in subsets else f"{subsets[0]}/{split or 'train'}"
        raise DataError(f"it has the subsets {', '.join(subsets)}; name one, as in {name}#{example}.")
    if mark and subset not in subsets:
        raise DataError(f"it has no subset '{subset}'; it has {', '.join(subsets)}.")
    chosen = subset if mark else subsets[0]
    names = datasets.get_dataset_split_names(name, chosen, revision=revision)
    wanted = split_name(names, rest or None, f"{name}#{subset}/" if mark else f"{name}#")
    return datasets.load_dataset(name, chosen, split=wanted, revision=revision, streaming=True)


def _batches(dataset: Any, name: str) -> Iterator[Any]:
    try:
        for table in dataset.with_format("arrow").iter(batch_size=BATCH):
            yield from table.to_batches()
    except network_errors() as error:
        raise DataError(
            f"{name}: the download broke off ({first_line(error)}); run the same command again."
        ) from None
