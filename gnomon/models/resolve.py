"""Resolution of a user's model name to a folder or hub name for `from_pretrained`."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from huggingface_hub import HfApi, constants, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from transformers.utils import cached_file

from gnomon.core.boundary import shown
from gnomon.core.config import did_you_mean
from gnomon.core.errors import ModelError
from gnomon.data.reading.downloads import cache_folder
from gnomon.models.cards.base import CARD, LICENSES, BaseInfo, describe_base
from gnomon.models.catalog import (
    CATALOG,
    convert_gguf,
    gguf_metadata,
    installed_model,
    write_metadata,
    write_once,
)
from gnomon.models.settings import split_head

# HTTPError of the hub's HTTP library; which library that is depends on the hub's version.
NETWORK_ERROR: type[Exception] = HfHubHTTPError.__mro__[1]
HUB_TIMEOUT = 10.0  # seconds for the hub's reply on whether it has a model
MARKS = ("config.json", "adapter_config.json")  # a folder with one of them is a model


def resolve(name: str) -> str:
    """Return a folder, or the name of a model on the hub or in its cache; the head of `model#head` is ignored.

    Raises:
        ModelError: there is no such folder or file, the hub has no such model, or it cannot be reached.
    """
    name, _ = split_head(name)
    if name in CATALOG:
        return str(installed_model(name))
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        return str(_converted(path))
    if os.path.isdir(path):  # false for a text that is too long to be a path
        if not any((path / mark).exists() for mark in MARKS):
            raise ModelError(f"{name} holds no config.json; give a folder written by save_pretrained.")
        return str(path)
    if path.is_absolute() or name.startswith("."):
        raise ModelError(
            f"no model folder at {shown(name)}; give an existing one, a hub name or {', '.join(CATALOG)}."
        )
    return _on_hub(name)


def base_info(name: str) -> BaseInfo:
    """License, languages and hub name of a model, as its own files state them; unknown where it is gone.

    Args:
        name: by which the model was loaded, or "".
    """
    if not name:
        return BaseInfo()
    try:
        source = Path(resolve(name))
    except ModelError:
        return BaseInfo()
    local = name in CATALOG or Path(name).expanduser().exists()
    if source.is_dir():
        return describe_base(source, hub_id=None if local else name)
    quiet = {f"_raise_exceptions_for_{case}": False for case in ("missing_entries", "connection_errors")}
    files = [cached_file(name, file, **quiet) for file in (CARD, *LICENSES)]
    folders = [Path(file).parent for file in files if file is not None]
    return describe_base(folders[0], hub_id=name) if folders else BaseInfo(hub_id=name)


def _converted(gguf: Path) -> Path:
    if not os.path.exists(gguf):
        raise ModelError(f"no file {gguf}; give an existing GGUF file.")
    facts = gguf.stat()
    target = cache_folder() / "models" / f"{gguf.stem}-{facts.st_size}-{facts.st_mtime_ns}"

    def write(folder: Path) -> None:
        convert_gguf(gguf.resolve(), folder)
        write_metadata(folder, gguf_metadata(gguf))

    return write_once(target, write)


@cache
def _on_hub(name: str) -> str:
    """Return the name if the hub has the model, else the folder of its copy in the hub's cache.

    One request with a time limit: transformers alone would request each file, with a minute's wait for each.
    """
    hint = did_you_mean(name, CATALOG)  # ends the sentence
    refusal = f"no model folder '{shown(name)}'"
    try:
        validate_repo_id(name)
        if constants.is_offline_mode():
            raise OfflineModeIsEnabled("HF_HUB_OFFLINE is set")
        HfApi().model_info(name, timeout=HUB_TIMEOUT)
        return name
    except HFValidationError:
        raise ModelError(f"{refusal}, and it is no name for the hub either; {hint}") from None
    except GatedRepoError:
        refusal = f"the hub gives '{name}' only to those who accepted its terms; accept them and set HF_TOKEN."
    except RepositoryNotFoundError:
        refusal += f", and the hub has no such model; if it is private, set HF_TOKEN; {hint}"
    except (OSError, NETWORK_ERROR) as error:
        refusal += f", no copy in the hub's cache, and no way to the hub ({type(error).__name__}); {hint}"
    for mark in MARKS:
        if isinstance(copy := try_to_load_from_cache(name, mark), str):
            return str(Path(copy).parent)
    raise ModelError(refusal)
