"""Models of the user's own, named by path: what they are, whether they are there, and a digest of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnomon.core.errors import ModelError
from gnomon.core.storage.digests import digest_file, digest_of
from gnomon.models.catalog import CATALOG
from gnomon.models.settings import FROZEN, VALUE_HEAD, Trainable

if TYPE_CHECKING:  # heavy: what only names or checks models starts without them
    from gnomon.models.engine.device import Compute
    from gnomon.models.roles import Policy, RewardModel

READ = {".json", ".safetensors", ".gguf", ".jinja", ".model", ".txt"}  # files that a loaded model depends on
MARKS = ("config.json", "adapter_config.json")  # a folder with one of them is a model
SMALL = 16 << 20  # bytes; larger files are known by size and time of change


def is_external_model(name: str) -> bool:
    """Whether a name that is no stage is a model: in the catalogue, on disk, or like a path or hub name."""
    return name in CATALOG or "/" in name or "\\" in name or Path(name).suffix != "" or Path(name).exists()


def model_path(name: str) -> str:
    """The name that loads the model: a stage's folder stands for the `model` in it."""
    folder = Path(name).expanduser()
    if any((folder / mark).exists() for mark in MARKS) or not (folder / "model" / "config.json").exists():
        return name
    return str(folder / "model")


def check_external_model(name: str, wanted: str = "policy or reward") -> None:
    """Refuse what is certainly no model, without loading or fetching anything.

    A name of the hub cannot be asked here; it is when it is loaded.
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
        require_kind(name, wanted)


def kind_of(name: str) -> str:
    """`policy`, `reward` or `critic`, by a model's configuration; "" where it says nothing of this."""
    path = Path(name).expanduser()
    if name in CATALOG or path.suffix == ".gguf":
        return "policy"
    if path.is_dir():
        task = _read(path / "adapter_config.json").get("task_type")
        configuration = _read(path / "config.json")
        if configuration.get(VALUE_HEAD):
            return "critic"
        if "reward_head" in configuration:  # a head that transformers does not know stands beside the trunk
            return "reward"
        named = configuration.get("architectures")
    else:
        task, named = None, _architectures(name)
    last = str(named[0]) if isinstance(named, list) and named else ""
    if task == "SEQ_CLS" or last.endswith("ForSequenceClassification"):
        return "reward"
    return "policy" if task or last else ""


def _read(path: Path) -> dict[str, Any]:
    """A JSON file; what cannot be read is empty here, and loading says what is wrong with it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _architectures(name: str) -> Any:
    """What a model of the hub says it is; one that is not to be had is refused before it asks."""
    from transformers import AutoConfig

    from gnomon.models.resolve import resolve

    found = resolve(name)
    try:
        return AutoConfig.from_pretrained(found, trust_remote_code=False).architectures
    except (OSError, ValueError):
        return None  # loading says what is wrong with it


def require_kind(name: str, wanted: str) -> None:
    """Refuse a reward model where a language model is wanted, and the other way round.

    transformers would load either as the other: with tied embeddings a reward model lacks nothing of a language
    model, and what a language model lacks of a reward model would be made up.
    """
    found = kind_of(name)
    if found and found not in wanted.split(" or "):
        kinds = {"policy": "a language model", "reward": "a reward model", "critic": "a critic"}
        asked = " or ".join(kinds[kind] for kind in wanted.split(" or "))
        raise ModelError(f"{name} holds {kinds[found]}, where {asked} is wanted; name another.")


def open_policy(
    name: str, compute: Compute, trainable: Trainable = FROZEN, *, chat_template: str | None = None
) -> Policy:
    """A language model by any name a user may give it."""
    from gnomon.models.loading import load_policy

    name = model_path(name)
    require_kind(name, "policy")
    return load_policy(name, compute, trainable, chat_template=chat_template)


def open_reward_model(
    name: str, compute: Compute, *, seed: int = 0, chat_template: str | None = None
) -> RewardModel:
    """A trained reward model by any name a user may give it."""
    from gnomon.models.loading import load_reward_model

    name = model_path(name)
    require_kind(name, "reward")
    return load_reward_model(name, compute, seed=seed, chat_template=chat_template, trained=True)


def digest_model(name: str, written: str | None = None) -> str:
    """What a stage's key knows of a user's model: its name, and the state of its files where it is on this disk.

    `written` is the name as the recipe has it, where that is another.

    Files up to 16 MiB (configuration, tokenizer) count by content. Weights count by size and time of change, the
    rule of make and rsync: reading gigabytes at each start would take as long as loading them, and where the rule
    errs it has a stage done again, never skipped.
    """
    path = Path(model_path(name)).expanduser()
    here = [] if name in CATALOG else [path] if path.is_file() else path.iterdir() if path.is_dir() else []
    state = {f.name: _state(f) for f in here if f.is_file() and f.suffix in READ}
    return digest_of({"name": name if written is None else written, "files": state})


def _state(file: Path) -> str:
    facts = file.stat()
    return digest_file(file) if facts.st_size <= SMALL else f"{facts.st_size} bytes at {facts.st_mtime_ns}"
