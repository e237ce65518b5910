"""Models from a catalogue name, a folder, a GGUF file or a Hugging Face name; and back to a plain folder.

Weights are read from safetensors only, and no code from a model folder is run.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from gnomon.core.errors import DataError, ModelError
from gnomon.data.packages import cache_folder
from gnomon.data.rendering import PLAIN_TEMPLATE, turn_end
from gnomon.models.adapters import Trainable, make_trainable
from gnomon.models.catalogue import CATALOGUE, convert_gguf, installed_model
from gnomon.models.policy import Critic, Model, Policy, RewardModel
from gnomon.models.precision import Compute

FROZEN = Trainable(adapter="none", layers=0)


def resolve(name: str) -> str:
    """What `from_pretrained` understands: a catalogue model's or GGUF file's folder, a folder, or a hub name."""
    if name in CATALOGUE:
        return str(installed_model(name))
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        return str(_converted(path))
    if path.is_dir():
        if not (path / "config.json").exists():
            raise ModelError(f"{name} holds no config.json; give a folder written by save_pretrained.")
        return str(path)
    if path.is_absolute() or name.startswith("."):
        raise ModelError(
            f"no model folder at {name}; give an existing one, a hub name or {', '.join(CATALOGUE)}."
        )
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


def load_tokenizer(name: str, chat_template: str | None = None) -> Any:
    """The tokenizer of a model, with a chat template that is saved with it.

    Args:
        name: of the model.
        chat_template: `plain` (turns as `Human: …` and `Assistant: …`), the path of a Jinja file, or `None` for
            the tokenizer's own; one that has none is refused.
    """
    with _loading(name):
        tokenizer = AutoTokenizer.from_pretrained(resolve(name), trust_remote_code=False)
    if chat_template is not None:
        set_template(tokenizer, chat_template)
    if tokenizer.chat_template is None:
        raise ModelError(
            f"the tokenizer of model '{name}' has no chat template; set chat_template of the model to plain, or "
            "to the path of a Jinja file."
        )
    return tokenizer


def set_template(tokenizer: Any, chat_template: str) -> None:
    """Give a tokenizer the chat template `plain`, or that of a Jinja file, which must render an answer."""
    try:
        plain = chat_template == "plain"
        tokenizer.chat_template = PLAIN_TEMPLATE if plain else Path(chat_template).expanduser().read_text("utf-8")
        turn_end(tokenizer)
    except (OSError, UnicodeDecodeError, DataError) as error:
        problem = str(error).rstrip(".")
        raise ModelError(
            f"chat_template '{chat_template}' cannot be used ({problem}); give plain, or a Jinja file in UTF-8."
        ) from None


def load_policy(
    name: str, compute: Compute, trainable: Trainable = FROZEN, *, chat_template: str | None = None
) -> Policy:
    """A causal language model with `trainable` weights."""
    network, _ = _pretrained(AutoModelForCausalLM, name)
    tokenizer = load_tokenizer(name, chat_template)
    return Policy(network, tokenizer, compute, make_trainable(network, trainable))


def load_reward_model(
    name: str,
    compute: Compute,
    trainable: Trainable = FROZEN,
    *,
    seed: int,
    depth: int | None = None,
    chat_template: str | None = None,
) -> RewardModel:
    """A reward model: one saved as such, with its own head, or a language model with a new scalar head.

    A new head starts at N(0, 1/(d+1)) (Ziegler et al. 2019). `depth` keeps only that many of the lower layers.
    """
    network, _ = _scalar_network(name, seed=seed, depth=depth)
    adapter = make_trainable(network, trainable)
    network.score.requires_grad_(trainable != FROZEN)
    return RewardModel(network, load_tokenizer(name, chat_template), compute, adapter)


def load_critic(
    name: str, compute: Compute, trainable: Trainable, *, seed: int, chat_template: str | None = None
) -> Critic:
    """A critic on the trunk of a reward model or a language model, with a head of zeros.

    A reward model's own head is a bad start: it was only ever read at the end of a turn, and what it says in the
    middle explains less than nothing of the return. Its trunk is a good one.
    """
    network, _ = _scalar_network(name, seed=seed, depth=None)
    torch.nn.init.zeros_(network.score.weight)
    network.config.score_offset = 0.0
    adapter = make_trainable(network, trainable)
    network.score.requires_grad_(True)  # a critic's head learns even where nothing else does
    return Critic(network, load_tokenizer(name, chat_template), compute, adapter)


def _scalar_network(name: str, *, seed: int, depth: int | None) -> tuple[Any, bool]:
    """A network with a scalar head, and whether that head is new."""
    changes: dict[str, Any] = {"num_labels": 1}
    if depth is not None:
        changes["num_hidden_layers"] = depth
    network, missing = _pretrained(AutoModelForSequenceClassification, name, {"score.weight"}, **changes)
    if missing:
        width = network.score.weight.shape[1]
        generator = torch.Generator().manual_seed(seed)
        torch.nn.init.normal_(network.score.weight, std=1 / math.sqrt(width + 1), generator=generator)
    return network, bool(missing)


def _pretrained(kind: Any, name: str, new: Set[str] = frozenset(), **changes: Any) -> tuple[Any, set[str]]:
    """A network and which of the weights in `new` its folder lacks; one that lacks others is refused.

    transformers would fill those with random numbers and only warn.
    """
    with _loading(name):
        network, facts = kind.from_pretrained(
            resolve(name),
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # listed in `facts`, and refused below by name
            **changes,
        )
    missing, misshapen = set(facts["missing_keys"]), [key for key, *_ in facts["mismatched_keys"]]
    for keys, problem in ((missing - new, "lacks"), (misshapen, "has another shape of")):
        if keys:
            first, more = min(keys), f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise ModelError(
                f"model '{name}' {problem} the weight {first}{more}; "
                "give a folder whose config.json fits its weights."
            )
    return network, missing


def save_model(model: Model, folder: Path) -> None:
    """Write a plain `save_pretrained` folder (weights, configuration, tokenizer), all of it or nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    network = model.plain_network()
    if isinstance(model, RewardModel):
        _mark_end(network, model.tokenizer)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        network.save_pretrained(Path(work) / "model")
        model.tokenizer.save_pretrained(Path(work) / "model")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(Path(work) / "model", folder)


def _mark_end(network: Any, tokenizer: Any) -> None:
    """Make transformers score where Gnomon does.

    Its classifier reads the last token that is not padding, which with pad = eos is the token *before* the end.
    Any other id as padding makes it read the end itself.
    """
    end = tokenizer.eos_token_id
    unused = tokenizer.unk_token_id if tokenizer.unk_token_id not in (None, end) else 0 if end != 0 else 1
    if network.config.pad_token_id in (None, end):
        network.config.pad_token_id = unused
    if network.config.get_text_config().__dict__.get("score_offset") is None:
        network.config.score_offset = 0.0


@contextlib.contextmanager
def _loading(name: str) -> Iterator[None]:
    """Quiet progress bars, and one sentence for what a user can mend."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError, SafetensorError, struct.error) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")
        raise ModelError(
            f"model '{name}' could not be loaded ({first}); check the name or the folder."
        ) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
