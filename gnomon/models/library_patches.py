"""Patches of other libraries' objects, each with the versions it was tried on.

A patch replaces a method, a class, a submodule or a private field that the library reads. Documented settings (a
configuration's fields, a tokenizer's special tokens, a parameter's data) are set where they are needed.
`tests/models/test_library_patches.py` has a test for each patch, which fails if the library changes the behavior
that the patch relies on, and one that refuses patches in other files.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import nn

Patch = TypeVar("Patch", bound=Callable[..., Any])

PATCHES: dict[str, tuple[str, ...]] = {}
"""Versions that each function of this module was tried on, as lines of `constraints.txt`."""


def tried_on(*versions: str) -> Callable[[Patch], Patch]:
    """Decorator: record in `PATCHES` the library versions that a patch was tried on."""

    def record(patch: Patch) -> Patch:
        PATCHES[patch.__name__] = versions
        return patch

    return record


@tried_on("torch==2.13.0", "transformers==5.23.0")
@contextlib.contextmanager
def replace_forward(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Context manager: calling a module runs the function given for it in place of its class's `forward`.

    `nn.Module.__call__` looks `forward` up on the instance first. Afterwards an instance's own former `forward`
    is restored.
    """
    own = {module: module.__dict__.get("forward") for module in forwards}
    try:
        for module, forward in forwards.items():
            module.forward = forward
        yield
    finally:
        for module, before in own.items():
            module.__dict__.pop("forward", None)
            if before is not None:
                module.forward = before


def has_own_forward(module: nn.Module) -> bool:
    """Return whether this instance has a `forward` of its own, from `replace_forward` or another library."""
    return "forward" in module.__dict__


@tried_on("torch==2.13.0", "transformers==5.23.0")
def change_class(module: nn.Module, subclass: type[nn.Module]) -> None:
    """Make a module an instance of a subclass of its class; parameters, buffers and hooks do not change.

    A module's state is in its `__dict__`, whatever its class.
    """
    module.__class__ = subclass


@tried_on("transformers==5.23.0")
def set_attention(config: Any, name: str) -> None:
    """Make the layers of a model call another registered attention function, from their next call on.

    Layers read the field in each call. The library's own `set_attn_implementation` walks over all modules,
    which takes longer than a pass over one token.
    """
    config._attn_implementation = name


@tried_on("transformers==5.23.0")
@contextlib.contextmanager
def use_attention(config: Any, name: str) -> Iterator[None]:
    """Context manager: the layers of a model call another registered attention function."""
    before = config._attn_implementation
    set_attention(config, name)
    try:
        yield
    finally:
        set_attention(config, before)


@tried_on("torch==2.13.0", "transformers==5.23.0")
def train_padding_embedding(network: Any) -> None:
    """Train the embedding of the padding token like any other.

    `nn.Embedding` gives the row at `padding_idx` no gradient.
    """
    network.get_input_embeddings().padding_idx = None


@tried_on("transformers==5.23.0")
def set_score_head(network: Any, head: nn.Module) -> None:
    """Replace the head of a sequence classifier, which its `forward` calls by the name `score`."""
    network.score = head


@tried_on("transformers==5.23.0")
def set_trunk(network: Any, trunk: nn.Module) -> None:
    """Replace the network below a head, which transformers finds under the name in `base_model_prefix`."""
    setattr(network, network.base_model_prefix, trunk)


@tried_on("transformers==5.23.0")
@contextlib.contextmanager
def use_config(network: Any, config: Any) -> Iterator[None]:
    """Context manager: a network has another configuration, which `save_pretrained` writes beside its weights."""
    before = network.config
    network.config = config
    try:
        yield
    finally:
        network.config = before


@tried_on("transformers==5.23.0")
@contextlib.contextmanager
def restore_configs(configs: Iterable[Any]) -> Iterator[None]:
    """Context manager: restore the content of configurations afterwards, in the same objects.

    All of it is in their `__dict__`.
    """
    before = [(config, dict(vars(config))) for config in configs]
    try:
        yield
    finally:
        for config, content in before:
            vars(config).clear()
            vars(config).update(content)


@tried_on("transformers==5.23.0")
def save_as_generation_config(settings: Any) -> None:
    """Mark generation settings as a model's own, not as derived from its configuration.

    `save_pretrained` writes the mark, and a version that loads the folder may replace settings marked as derived.
    """
    settings._from_model_config = False


@tried_on("transformers==5.23.0")
def save_padding_side(tokenizer: Any, side: str) -> None:
    """Set the padding side of a tokenizer and of its files.

    `save_pretrained` writes only fields that were arguments of the tokenizer's constructor.
    """
    tokenizer.padding_side = tokenizer.init_kwargs["padding_side"] = side


@tried_on("peft==0.21.2")
def share_adapter(layer: Any, other: Any) -> None:
    """Make a LoRA layer use the matrices of another."""
    layer.lora_A, layer.lora_B = other.lora_A, other.lora_B


@tried_on("peft==0.21.2")
def mark_merged(layer: Any) -> None:
    """Mark a LoRA layer's active adapters as merged, so that `merge` does not add them to its weight."""
    layer.merged_adapters.extend(layer.active_adapters)


@tried_on("peft==0.21.2")
@contextlib.contextmanager
def replace_adapter_dropout(layers: Sequence[Any], module_for: Callable[[int, str], nn.Module]) -> Iterator[None]:
    """Context manager: each LoRA layer calls another module in place of its dropout, even in evaluation mode.

    Args:
        layers: peft's LoRA layers.
        module_for: returns the module for a layer's position in `layers` and the adapter's name.
    """
    before = [dict(layer.lora_dropout.items()) for layer in layers]
    try:
        for number, layer in enumerate(layers):
            for name in layer.lora_dropout:
                layer.lora_dropout[name] = module_for(number, name)
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.lora_dropout.update(own)


@tried_on("transformers==5.23.0")
@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Context manager: no progress bars and no warnings from transformers; restores its settings."""
    from transformers import modeling_gguf_pytorch_utils as gguf_reading
    from transformers.utils import logging as transformers_logging

    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    # Its GGUF reader calls tqdm itself, without the switch of the rest of the library.
    gguf_bar = gguf_reading.tqdm
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    gguf_reading.tqdm = _no_bar
    try:
        yield
    finally:
        gguf_reading.tqdm = gguf_bar
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


@tried_on("peft==0.21.2", "transformers==5.23.0", "bitsandbytes==0.50.2")
@contextlib.contextmanager
def quiet_peft() -> Iterator[None]:
    """Context manager: suppress warnings that peft causes by reading a deprecated property of transformers.

    Its advice on tied embeddings is suppressed too: Gnomon unties them itself if an adapter needs it. Unless
    bitsandbytes is imported already, it is hidden from peft, which would import it if it is installed; that takes
    longer than importing peft, and only models in 4 or 8 bits need it.
    """
    hidden = "bitsandbytes" not in sys.modules
    if hidden:
        sys.modules["bitsandbytes"] = None  # type: ignore[assignment]  # as documented: an import then fails
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, message="`is_gradient_checkpointing`")
            warnings.filterwarnings("ignore", message="Model (with|has) `tie_word_embeddings=True`")
            warnings.filterwarnings("ignore", message="Input and output embeddings are no longer tied")
            yield
    finally:
        if hidden:
            del sys.modules["bitsandbytes"]


def _no_bar(rows: Iterable[Any], **_: Any) -> Iterable[Any]:
    return rows
