"""A user's own models, given by path or hub name: their kind, whether they exist, their digest."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnomon.core.errors import ModelError
from gnomon.core.storage.digests import digest_file, digest_of
from gnomon.models.catalog import CATALOG
from gnomon.models.settings import FROZEN, VALUE_HEAD, WHOLE_CONVERSATION, Trainable, split_head

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
    """Return the name to load a model by: for a stage's folder that of the `model` in it, with its `#head`."""
    name, head = split_head(name)
    mark = "" if head is None else f"#{head}"
    folder = Path(name).expanduser()
    if any((folder / file).exists() for file in MARKS) or not (folder / "model" / "config.json").exists():
        return name + mark
    return str(folder / "model") + mark


def check_external_model(name: str, expected: str = "policy or reward") -> None:
    """Refuse a name that is certainly no model of the expected kind, without loading or fetching anything.

    A hub name is checked when the model is loaded.
    """
    name, _ = split_head(model_path(name))
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
    name, _ = split_head(name)
    path = Path(name).expanduser()
    if name in CATALOG or path.suffix == ".gguf":
        return "policy"
    if path.is_dir():
        task = _read(path / "adapter_config.json").get("task_type")
        configuration = _read(path / "config.json")
        if configuration.get(VALUE_HEAD):
            return "critic"
        if {"reward_head", "reward_ensemble"} & configuration.keys():  # heads that transformers does not know
            return "reward"
        architectures = configuration.get("architectures")
    else:
        task, architectures = None, _architectures(name)
    first = str(architectures[0]) if isinstance(architectures, list) and architectures else ""
    if task == "SEQ_CLS" or first.endswith("ForSequenceClassification"):
        return "reward"
    return "policy" if task or first else ""


def _own_class(name: str) -> str:
    """Return the class of a model folder that brings its own code, or ""."""
    configuration = _read(Path(split_head(name)[0]).expanduser() / "config.json")
    names = configuration.get("architectures")
    return str(names[0]) if configuration.get("auto_map") and isinstance(names, list) and names else ""


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
        if expected == "reward" and (own := _own_class(name)):
            raise ModelError(
                f"{name} is of the class {own}, whose code is in its own folder, and Gnomon runs none of it; "
                "give a model of a class of transformers that ends with ForSequenceClassification."
            )
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

    One that Gnomon trained has a `score_offset` in its configuration. Without it, and where
    `whole_conversation` is true, the model was trained elsewhere, on whole conversations as the chat template
    writes them, and is scored on these.

    Args:
        name: of the hub, or a path; `model#head` for a model with several heads.
        compute: device and precision.
        seed: unused for a model that has a head.
        chat_template: as in `load_tokenizer`.
    """
    from gnomon.models.loading import load_reward_model

    name = model_path(name)
    require_kind(name, "reward")
    model = load_reward_model(name, compute, seed=seed, chat_template=chat_template, trained=True)
    path, score = split_head(name)
    model.select(score, path)
    model.whole_conversation = _scored_whole(model.network.config)
    return model


def _scored_whole(config: Any) -> bool:
    """Return whether a reward model with this configuration is scored on whole conversations."""
    own = getattr(config, WHOLE_CONVERSATION, None)
    offsets = [getattr(one, "score_offset", None) for one in (config, config.get_text_config())]
    return bool(own) if own is not None else offsets == [None, None]


def digest_model(name: str, written: str | None = None) -> str:
    """Compute the digest of a user's model for a stage's key: its name, and the state of its files on this disk.

    `written` is the name as written in the recipe, if that differs.

    Files up to 16 MiB (configuration, tokenizer) count by content. Weights count by size and modification time,
    as for make and rsync: reading gigabytes at each start would take as long as loading them, and an error of
    this rule makes a stage run again, never be skipped.
    """
    path = Path(split_head(model_path(name))[0]).expanduser()
    here = [] if name in CATALOG else [path] if path.is_file() else path.iterdir() if path.is_dir() else []
    here = [*here, *path.glob("members/*/*")] if path.is_dir() else here
    state = {
        f.relative_to(path).as_posix() if path.is_dir() else f.name: _state(f)
        for f in here
        if f.is_file() and f.suffix in READ
    }
    return digest_of({"name": name if written is None else written, "files": state})


def _state(file: Path) -> str:
    facts = file.stat()
    return digest_file(file) if facts.st_size <= SMALL else f"{facts.st_size} bytes at {facts.st_mtime_ns}"
