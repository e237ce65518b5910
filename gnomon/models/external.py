"""A user's own models, given by path or hub name: their kind, whether they exist, their digest."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnomon.core.errors import ModelError
from gnomon.core.storage.digests import digest_file, digest_of
from gnomon.models.catalog import CATALOG
from gnomon.models.settings import FROZEN, VALUE_HEAD, Trainable

if TYPE_CHECKING:  # slow to import, and not needed to name or check models
    from gnomon.models.engine.device import Compute
    from gnomon.models.roles import Policy, RewardModel

READ = {".json", ".safetensors", ".gguf", ".jinja", ".model", ".txt"}  # files that a loaded model depends on
MARKS = ("config.json", "adapter_config.json")  # a folder with one of them is a model
SMALL = 16 << 20  # bytes; larger files are known by size and time of change


def is_external_model(name: str) -> bool:
    """Return whether a name that is no stage is a model: in the catalog, on disk, or like a path or hub name."""
    return name in CATALOG or "/" in name or "\\" in name or Path(name).suffix != "" or Path(name).exists()


def model_path(name: str) -> str:
    """Return the name to load a model by: for a stage's folder that of the `model` in it."""
    folder = Path(name).expanduser()
    if any((folder / mark).exists() for mark in MARKS) or not (folder / "model" / "config.json").exists():
        return name
    return str(folder / "model")


def check_external_model(name: str, expected: str = "policy or reward") -> None:
    """Refuse a name that is certainly no model of the expected kind, without loading or fetching anything.

    A hub name is checked when the model is loaded.
    """
    name = model_path(name)
    path = Path(name).expanduser()
    if name in CATALOG:
        return
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelError(f"no file {path}; give an existing GGUF file.")
    elif (
        os.path.exists(path)
        or os.path.isfile(path.parent)
        or path.is_absolute()
        or name.startswith((".", "~"))
        or name.count("/") > 1
    ):
        if not path.is_dir():
            raise ModelError(
                f"no model folder at {name}; give an existing one, a hub name or {', '.join(CATALOG)}."
            )
        if not any((path / mark).is_file() for mark in MARKS):
            raise ModelError(f"{name} holds no config.json; give a folder written by save_pretrained.")
        require_kind(name, expected)


def kind_of(name: str) -> str:
    """Return `policy`, `reward` or `critic`, by a model's configuration; "" if it does not show."""
    path = Path(name).expanduser()
    if name in CATALOG or path.suffix == ".gguf":
        return "policy"
    if path.is_dir():
        task = _read(path / "adapter_config.json").get("task_type")
        configuration = _read(path / "config.json")
        if configuration.get(VALUE_HEAD):
            return "critic"
        if "reward_head" in configuration:  # a head that transformers does not know, saved beside the trunk
            return "reward"
        architectures = configuration.get("architectures")
    else:
        task, architectures = None, _architectures(name)
    first = str(architectures[0]) if isinstance(architectures, list) and architectures else ""
    if task == "SEQ_CLS" or first.endswith("ForSequenceClassification"):
        return "reward"
    return "policy" if task or first else ""


def _read(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty if it cannot be read, which loading reports."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _architectures(name: str) -> Any:
    """Return the architectures in the configuration of a model on the hub, which must be available."""
    from transformers import AutoConfig

    from gnomon.models.resolve import resolve

    source = resolve(name)
    try:
        return AutoConfig.from_pretrained(source, trust_remote_code=False).architectures
    except (OSError, ValueError):
        return None  # loading reports the problem


def require_kind(name: str, expected: str) -> None:
    """Refuse a reward model in place of a language model, and the other way round.

    transformers would load either as the other: with tied embeddings a reward model has all weights of a language
    model, and the missing head of a language model would be filled with random numbers.
    """
    kind = kind_of(name)
    if kind and kind not in expected.split(" or "):
        kinds = {"policy": "a language model", "reward": "a reward model", "critic": "a critic"}
        allowed = " or ".join(kinds[one] for one in expected.split(" or "))
        raise ModelError(f"{name} holds {kinds[kind]}, but {allowed} is needed; give another model.")


def open_policy(
    name: str, compute: Compute, trainable: Trainable = FROZEN, *, chat_template: str | None = None
) -> Policy:
    """Load a language model by any name that a user may give.

    Args:
        name: of the catalog, of the hub, or a path.
        compute: device and precision.
        trainable: weights that learn; by default none.
        chat_template: as in `load_tokenizer`.
    """
    from gnomon.models.loading import load_policy

    name = model_path(name)
    require_kind(name, "policy")
    return load_policy(name, compute, trainable, chat_template=chat_template)


def open_reward_model(
    name: str, compute: Compute, *, seed: int = 0, chat_template: str | None = None
) -> RewardModel:
    """Load a trained reward model by any name that a user may give.

    Args:
        name: of the hub, or a path.
        compute: device and precision.
        seed: unused for a model that has a head.
        chat_template: as in `load_tokenizer`.
    """
    from gnomon.models.loading import load_reward_model

    name = model_path(name)
    require_kind(name, "reward")
    return load_reward_model(name, compute, seed=seed, chat_template=chat_template, trained=True)


def digest_model(name: str, written: str | None = None) -> str:
    """Compute the digest of a user's model for a stage's key: its name, and the state of its files on this disk.

    `written` is the name as written in the recipe, if that differs.

    Files up to 16 MiB (configuration, tokenizer) count by content. Weights count by size and modification time,
    as for make and rsync: reading gigabytes at each start would take as long as loading them, and an error of
    this rule makes a stage run again, never be skipped.
    """
    path = Path(model_path(name)).expanduser()
    here = [] if name in CATALOG else [path] if path.is_file() else path.iterdir() if path.is_dir() else []
    state = {f.name: _state(f) for f in here if f.is_file() and f.suffix in READ}
    return digest_of({"name": name if written is None else written, "files": state})


def _state(file: Path) -> str:
    facts = file.stat()
    return digest_file(file) if facts.st_size <= SMALL else f"{facts.st_size} bytes at {facts.st_mtime_ns}"
