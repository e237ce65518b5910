"""Which weights learn: all of them, the upper layers, or a low-rank adapter."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from gnomon.core.errors import ModelError
from gnomon.core.lazy import peft
from gnomon.models.config_limits import require_memory
from gnomon.models.library_patches import mark_merged, quiet_peft, share_adapter
from gnomon.models.settings import Trainable

if TYPE_CHECKING:
    from peft import PeftModel

import json

from safetensors.torch import load_file
from transformers.utils import cached_file


def make_trainable(network: Any, trainable: Trainable) -> PeftModel | None:
    """Freeze `network` but for what `trainable` names; returns the adapter, if there is one.

    The adapter's modules are put inside `network`, which goes on working as before.
    """
    depth = _depth(network)
    learning = depth if trainable.layers is None else trainable.layers
    if learning > depth:
        raise ModelError(
            f"{learning} layers should learn, but the model has {depth}; set layers to at most {depth}."
        )
    if trainable.adapter == "lora" and learning:
        network.requires_grad_(False)
        names = _linear_names(network, learning)
        _check_rank(network, names, trainable.rank)
        _check_shared(network, names, learning)
        with quiet_peft():
            config = peft.LoraConfig(
                r=trainable.rank,
                lora_alpha=trainable.alpha,
                lora_dropout=0.0,
                bias="none",
                target_modules=names,
                fan_in_fan_out=any(isinstance(m, Conv1D) for m in network.modules()),
            )
            adapter: PeftModel = peft.get_peft_model(network, config)
        _share_adapters(adapter)
        return adapter
    everything = trains_all(network, trainable)
    network.requires_grad_(everything)
    if not everything:
        for layer in decoder_layers(network.base_model)[depth - learning :]:
            layer.requires_grad_(True)
    return None


def _check_shared(network: Any, names: Collection[str], learning: int) -> None:
    """Refuse to adapt weights that layers below those that learn hold too: saved, these would change as well."""
    modules = dict(network.named_modules())
    chosen = {modules[name] for name in names}
    weights = {module.weight for module in chosen}
    if any(m not in chosen and getattr(m, "weight", None) in weights for m in modules.values()):
        raise ModelError(
            f"the upper {learning} layers of the model hold weights of lower ones; set layers to null, so that "
            "all of them learn."
        )


def _share_adapters(adapter: PeftModel) -> None:
    """Give layers that hold one weight one adapter, so that the merged weight is one too."""
    first: dict[nn.Parameter, Any] = {}
    for layer in adapted_layers(adapter):
        share_adapter(layer, first.setdefault(layer.get_base_layer().weight, layer))


def merge_into_network(adapter: PeftModel) -> Any:
    """The network with the products of `make_trainable`'s adapter added, once to each weight, and no adapter."""
    done: set[nn.Parameter] = set()
    for layer in adapted_layers(adapter):
        weight = layer.get_base_layer().weight
        if weight in done:
            mark_merged(layer)  # by the layer that shares it
        done.add(weight)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="All adapters are already merged")
        return adapter.merge_and_unload()


def separate_shared_weights(adapter: PeftModel) -> None:
    """Give each layer that an adapter stands beside a weight of its own, where others hold the same one.

    With tied embeddings, or blocks that are shared between layers, a product merged into one layer would reach
    the others too, and several would add up in all of them.
    """
    holders: dict[nn.Parameter, set[nn.Module]] = {}
    for module in adapter.modules():
        for weight in module.parameters(recurse=False):
            holders.setdefault(weight, set()).add(module)
    for layer in adapted_layers(adapter):
        base = layer.get_base_layer()
        if len(holders[base.weight]) > 1:
            holders[base.weight].discard(base)
            base.weight = nn.Parameter(base.weight.detach().clone(), requires_grad=base.weight.requires_grad)


def _depth(network: Any) -> int:
    """How many decoder layers it has; of a model that reads pictures too, the part that reads text."""
    return int(network.config.get_text_config().num_hidden_layers)


def trains_all(network: Any, trainable: Trainable) -> bool:
    """Whether every weight learns, the embeddings among them."""
    return trainable.adapter == "none" and trainable.layers in (None, _depth(network))


@contextmanager
def merged(model: Any) -> Iterator[None]:
    """Compute with the adapter's product added to the weights beside it, and the adapter switched off.

    Not in a lower precision than float32, where that sum would be rounded otherwise than when training.
    Afterwards every weight is the very tensor it was: nothing is subtracted.
    """
    tuned = adapted_layers(model.adapter) if model.adapter is not None else []
    in_reference_mode = any(layer.disable_adapters for layer in tuned)
    if not tuned or in_reference_mode or model.compute.dtype != torch.float32:
        yield
        return
    with torch.no_grad():
        sums = dict(_with_adapter(layer) for layer in tuned)
    with replaced(sums), model.adapter.disable_adapter():
        yield


def adapted_layers(adapter: PeftModel) -> list[Any]:
    """The layers that an adapter stands beside."""
    return [m for m in adapter.modules() if isinstance(m, peft.tuners.lora.LoraLayer)]


def _with_adapter(layer: Any) -> tuple[nn.Parameter, Tensor]:
    """A layer's own weight, and what it is with the adapter's product added."""
    weight: nn.Parameter = layer.get_base_layer().weight
    return weight, sum((layer.get_delta_weight(name) for name in layer.active_adapters), weight.data)


@contextmanager
def replaced(weights: Mapping[nn.Parameter, Tensor]) -> Iterator[None]:
    """Let parameters hold other tensors for a while."""
    before = {weight: weight.data for weight in weights}
    try:
        for weight, other in weights.items():
            weight.data = other
        yield
    finally:
        for weight, tensor in before.items():
            weight.data = tensor


def _check_rank(network: Any, names: Collection[str], rank: int) -> None:
    """Refuse an adapter that fits no memory: its weights, their gradients and two moments."""
    chosen = set(names)
    widths = sum(sum(m.weight.shape) for name, m in network.named_modules() if name in chosen)
    require_memory(4 * 4 * rank * widths, f"an adapter of rank {rank}; lower rank")


def decoder_layers(trunk: nn.Module) -> nn.ModuleList:
    """The stack of decoder layers: the longest list of modules in the trunk, nearest to its surface."""
    level = list(trunk.children())
    while level:
        stacks = [m for m in level if isinstance(m, nn.ModuleList)]
        if stacks:
            return max(stacks, key=len)
        level = [child for module in level for child in module.children()]
    raise ModelError(
        f"no stack of layers found in {type(trunk).__name__}; use adapter: none, layers: null and no "
        "gradient_checkpointing."
    )


def _linear_names(network: Any, learning: int) -> list[str]:
    """The full names of the linear maps in the upper `learning` layers."""
    upper = decoder_layers(network.base_model)[-learning:]
    wanted = {id(m) for layer in upper for m in layer.modules() if isinstance(m, nn.Linear | Conv1D)}
    return [name for name, module in network.named_modules() if id(module) in wanted]


CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # of a network's own names inside peft's wrapper


def adapter_base(source: str) -> str | None:
    """The name of the model that the adapter in a folder or on the hub stands on; `None` for a whole model."""
    file = cached_file(source, CONFIG_FILE, _raise_exceptions_for_missing_entries=False)
    if file is None:
        return None
    with open(file, encoding="utf-8") as text:
        base = json.load(text).get("base_model_name_or_path")
    if not base:
        raise ModelError(
            f"{file} does not say base_model_name_or_path; add the model that the adapter stands on."
        )
    return str(base)


def merge_adapter(network: Any, source: str, *, partly: bool) -> set[str]:
    """Add an adapter to the weights of `network`, in place; returns the names of weights that it brought whole.

    Args:
        network: the model that the adapter stands on.
        source: the adapter's folder, or its name on the hub.
        partly: whether the network may lack some of what was adapted, as a reward model lacks a vocabulary.

    Raises:
        ModelError: the adapter does not fit the network, or is of a kind that cannot be merged.
    """
    with quiet_peft():
        config = peft.PeftConfig.from_pretrained(source)
    if config.is_prompt_learning:
        raise ModelError(
            f"adapter '{source}' is of the kind {config.peft_type.value}, which cannot be merged; use LoRA."
        )
    weights = load_file(cached_file(source, WEIGHTS_FILE))
    brought = _grow_embeddings(network, weights, source)
    with quiet_peft():
        wrapped = peft.PeftModel(network, config)
    adapted = set(peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False))
    try:
        peft.set_peft_model_state_dict(wrapped, weights)
        fits = adapted <= set(weights) and (partly or set(weights) - brought <= adapted)
    except RuntimeError:  # shapes differ
        fits = False
    if not fits:
        raise ModelError(
            f"adapter '{source}' does not fit the model that it stands on; name the right one in it."
        )
    separate_shared_weights(wrapped)
    with quiet_peft():
        wrapped.merge_and_unload()
    network.requires_grad_(False)
    return {key.removeprefix(PREFIX) for key in weights if key.removeprefix(PREFIX) in network.state_dict()}


def _grow_embeddings(network: Any, weights: Mapping[str, Tensor], source: str) -> set[str]:
    """Keys of the embeddings that an adapter brings whole; `network` gets as many rows as they have.

    peft writes them beside the adapter where tokens were added, because the base model lacks their rows.

    Raises:
        ModelError: the adapter adds tokens, and lacks their rows of the input or of the output.
    """
    layers = [network.get_input_embeddings(), network.get_output_embeddings()]
    names = {name: module for name, module in network.named_modules() if any(module is one for one in layers)}
    parts = ("", ".base_layer", ".modules_to_save", ".original_module")
    brought = {
        name: {f"{PREFIX}{name}{part}.weight" for part in parts} & set(weights) for name in names
    }  # by layer
    keys = set().union(*brought.values())
    rows = max((len(weights[key]) for key in keys), default=0)
    if (added := rows - len(layers[0].weight)) > 0:
        held = [names[name].weight for name, keys in brought.items() if keys]
        if lacking := [n for n, m in names.items() if not any(m.weight is weight for weight in held)]:
            raise ModelError(
                f"adapter '{source}' adds {added} tokens, but holds no rows of {lacking[0]} for them; merge it "
                "where it was trained (merge_and_unload), and name the merged folder."
            )
        network.resize_token_embeddings(rows, mean_resizing=False)
    return keys
