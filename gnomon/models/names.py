"""From the name a user gives to what `from_pretrained` understands, found or refused at once."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from huggingface_hub import HfApi, constants, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from gnomon.core.config import nearest
from gnomon.core.errors import ModelError
from gnomon.data.packages import cache_folder
from gnomon.models.catalogue import CATALOGUE, convert_gguf, installed_model

# HTTPError of the hub's HTTP library; which library that is depends on the hub's version.
NETWORK_ERROR: type[Exception] = HfHubHTTPError.__mro__[1]
HUB_TIMEOUT = 10.0  # seconds that the hub has to say whether it knows a name
MARKS = ("config.json", "adapter_config.json")  # a folder with one of them is a model


def resolve(name: str) -> str:
    """A folder, or the name of a model on the hub or in its cache.

    Raises:
        ModelError: there is no such folder or file, the hub does not know the name, or it cannot be reached.
    """
    if name in CATALOGUE:
        return str(installed_model(name))
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        return str(_converted(path))
    if path.is_dir():
        if not any((path / mark).exists() for mark in MARKS):
            raise ModelError(f"{name} holds no config.json; give a folder written by save_pretrained.")
        return str(path)
    if path.is_absolute() or name.startswith("."):
        raise ModelError(
            f"no model folder at {name}; give an existing one, a hub name or {', '.join(CATALOGUE)}."
        )
    _ask_hub(name)
    return name


def _converted(gguf: Path) -> Path:
    if not gguf.exists():
        raise ModelError(f"no file {gguf}; give an existing GGUF file.")
    facts = gguf.stat()
    target = cache_folder() / "models" / f"{gguf.stem}-{facts.st_size}-{facts.st_mtime_ns}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as work:
            convert_gguf(gguf.resolve(), Path(work) / "model")
            os.replace(Path(work) / "model", target)
    return target


def _ask_hub(name: str) -> None:
    """Refuse a name that neither the hub's cache nor the hub knows, instead of trying for a minute."""
    hint = nearest(name, CATALOGUE).rstrip(".")
    try:
        if any(isinstance(try_to_load_from_cache(name, mark), str) for mark in MARKS):
            return
        if constants.is_offline_mode():
            raise OfflineModeIsEnabled("HF_HUB_OFFLINE is set")
        HfApi().model_info(name, timeout=HUB_TIMEOUT)
    except HFValidationError:
        raise ModelError(f"no model folder or file '{name}', and it is no hub name either; {hint}.") from None
    except GatedRepoError:
        raise ModelError(
            f"the hub gives '{name}' only to those who accepted its terms; accept them there and set HF_TOKEN."
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"no model folder '{name}', and the hub knows no model of that name; {hint}; "
            "a private one needs HF_TOKEN."
        ) from None
    except (OSError, NETWORK_ERROR) as error:
        raise ModelError(
            f"no model folder '{name}', nothing of that name in the hub's cache, and the hub cannot be reached "
            f"({type(error).__name__}); {hint}."
        ) from None
