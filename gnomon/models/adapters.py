"""Trainable weights: all of them, the upper layers, or a low-rank adapter."""

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
    """Freeze all of `network` except the weights that `trainable` selects; returns the adapter, if there is one.

    The adapter's modules are inserted into `network`, which works as before.
    """
    depth = _depth(network)
    count = depth if trainable.layers is None else trainable.layers
    if count > depth:
        raise ModelError(
            f"{count} layers should learn, but the model has {depth}; set layers to at most {depth}."
        )
    if trainable.adapter == "lora" and count:
        network.requires_grad_(False)
        names = _linear_names(network, count)
        _check_rank(network, names, trainable.rank)
        _check_shared(network, names, count)
        with quiet_peft():
            config = peft.LoraConfig(
                r=trainable.rank,
                lora_alpha=trainable.alpha,
                lora_dropout=0.0,
                bias="none",
                target_modules=names,
                fan_in_fan_out=any(isinstance(m, Conv1D) for m in network.modules()),
            )
            try:
                adapter: PeftModel = peft.get_peft_model(network, config)
            except ValueError as error:  # peft refuses modules whose weights a kernel reads without calling them
                raise ModelError(
                    f"peft puts no adapter beside this model ({error}); set adapter: none."
                ) from error
        _share_adapters(adapter)
        return adapter
    all_weights = trains_all(network, trainable)
    network.requires_grad_(all_weights)
    if not all_weights:
        for layer in decoder_layers(network.base_model)[depth - count :]:
            layer.requires_grad_(True)
    return None


def _check_shared(network: Any, names: Collection[str], count: int) -> None:
    """Refuse to adapt weights that frozen lower layers share: merged for saving, those would change too."""
    modules = dict(network.named_modules())
    chosen = {modules[name] for name in names}
    weights = {module.weight for module in chosen}
    if any(m not in chosen and getattr(m, "weight", None) in weights for m in modules.values()):
        raise ModelError(
            f"the upper {count} layers of the model share weights with lower ones; set layers to null, so that "
            "all of them learn."
        )


def _share_adapters(adapter: PeftModel) -> None:
    """Give layers that share a weight one adapter, so that they share the merged weight too."""
    first: dict[nn.Parameter, Any] = {}
    for layer in adapted_layers(adapter):
        share_adapter(layer, first.setdefault(layer.get_base_layer().weight, layer))


def merge_into_network(adapter: PeftModel) -> Any:
    """Merge `make_trainable`'s adapter into its network, once for each weight; returns the network without it."""
    done: set[nn.Parameter] = set()
    for layer in adapted_layers(adapter):
        weight = layer.get_base_layer().weight
        if weight in done:
            mark_merged(layer)  # the layer that shares it merges it
        done.add(weight)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="All adapters are already merged")
        return adapter.merge_and_unload()


def separate_shared_weights(adapter: PeftModel) -> None:
    """Give each adapted layer a weight of its own, if others share it.

    With tied embeddings, or blocks that are shared between layers, a product merged into one layer would change
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
    """Return the number of decoder layers; for a multimodal model those of its text part."""
    return int(network.config.get_text_config().num_hidden_layers)


def trains_all(network: Any, trainable: Trainable) -> bool:
    """Return whether every weight learns, including the embeddings."""
    return trainable.adapter == "none" and trainable.layers in (None, _depth(network))


@contextmanager
def merged(model: Any) -> Iterator[None]:
    """Context manager: compute with the adapter's product added to the base weights, and the adapter disabled.

    Does nothing in a lower precision than float32, where that sum would be rounded differently than in training.
    Afterwards every weight is the original tensor: nothing is subtracted.
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
    """Return the layers that have an adapter."""
    return [m for m in adapter.modules() if isinstance(m, peft.tuners.lora.LoraLayer)]


def _with_adapter(layer: Any) -> tuple[nn.Parameter, Tensor]:
    """Return a layer's base weight, and the sum of it and the adapter's product."""
    weight: nn.Parameter = layer.get_base_layer().weight
    return weight, sum((layer.get_delta_weight(name) for name in layer.active_adapters), weight.data)


@contextmanager
def replaced(weights: Mapping[nn.Parameter, Tensor]) -> Iterator[None]:
    """Context manager: replace the tensors of parameters by others of the same shapes `[…]`."""
    before = {weight: weight.data for weight in weights}
    try:
        for weight, other in weights.items():
            weight.data = other
        yield
    finally:
        for weight, tensor in before.items():
            weight.data = tensor


def _check_rank(network: Any, names: Collection[str], rank: int) -> None:
    """Refuse an adapter that does not fit into memory: its weights, their gradients and two moments."""
    chosen = set(names)
    widths = sum(sum(m.weight.shape) for name, m in network.named_modules() if name in chosen)
    require_memory(4 * 4 * rank * widths, f"an adapter of rank {rank}; lower rank")


def decoder_layers(trunk: nn.Module) -> nn.ModuleList:
    """Return the stack of decoder layers: the longest list of modules at the outermost level of the trunk."""
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


def _linear_names(network: Any, count: int) -> list[str]:
    """Return the full names of the linear layers in the upper `count` decoder layers.

    Two layers of a state space (Mamba) mixer are left out: its scan reads the weights of `dt_proj`, and its CUDA
    kernel those of `out_proj`, without calling the layers, so an adapter beside them would have no effect.
    """
    upper = decoder_layers(network.base_model)[-count:]
    linears = {id(m) for layer in upper for m in layer.modules() if isinstance(m, nn.Linear | Conv1D)}
    for mixer in (m for layer in upper for m in layer.modules() if hasattr(m, "A_log")):
        linears -= {id(getattr(mixer, name, None)) for name in ("dt_proj", "out_proj")}
    return [name for name, module in network.named_modules() if id(module) in linears]


CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # prefix of a network's own names inside peft's wrapper


def adapter_base(source: str) -> str | None:
    """Return the name of the base model of an adapter in a folder or on the hub; `None` for a complete model."""
    file = cached_file(source, CONFIG_FILE, _raise_exceptions_for_missing_entries=False)
    if file is None:
        return None
    with open(file, encoding="utf-8") as text:
        base = json.load(text).get("base_model_name_or_path")
    if not base:
        raise ModelError(f"{file} has no base_model_name_or_path; add the model that the adapter was trained on.")
    return str(base)


def merge_adapter(network: Any, source: str, *, partly: bool) -> set[str]:
    """Merge an adapter into the weights of `network`, in place.

    Args:
        network: the adapter's base model.
        source: the adapter's folder, or its name on the hub.
        partly: whether the network may lack some adapted layers, as a reward model lacks a vocabulary head.

    Returns:
        Names of the network's weights that the adapter holds as full matrices.

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
    embedding_keys = _grow_embeddings(network, weights, source)
    with quiet_peft():
        wrapped = peft.PeftModel(network, config)
    adapted = set(peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False))
    try:
        peft.set_peft_model_state_dict(wrapped, weights)
        fits = adapted <= set(weights) and (partly or set(weights) - embedding_keys <= adapted)
    except RuntimeError:  # shapes differ
        fits = False
    if not fits:
        raise ModelError(
            f"adapter '{source}' does not fit its base model; set base_model_name_or_path to the right one."
        )
    separate_shared_weights(wrapped)
    with quiet_peft():
        wrapped.merge_and_unload()
    network.requires_grad_(False)
    return {key.removeprefix(PREFIX) for key in weights if key.removeprefix(PREFIX) in network.state_dict()}


def _grow_embeddings(network: Any, weights: Mapping[str, Tensor], source: str) -> set[str]:
    """Return the keys of embeddings that an adapter holds as full matrices; resizes `network` to their rows.

    peft writes them beside the adapter if tokens were added, because the base model lacks their rows.

    Raises:
        ModelError: the adapter adds tokens, and lacks their rows of the input or of the output.
    """
    layers = [network.get_input_embeddings(), network.get_output_embeddings()]
    names = {name: module for name, module in network.named_modules() if any(module is one for one in layers)}
    parts = ("", ".base_layer", ".modules_to_save", ".original_module")
    by_layer = {name: {f"{PREFIX}{name}{part}.weight" for part in parts} & set(weights) for name in names}
    keys = set().union(*by_layer.values())
    rows = max((len(weights[key]) for key in keys), default=0)
    if (added := rows - len(layers[0].weight)) > 0:
        present = [names[name].weight for name, keys in by_layer.items() if keys]
        if missing := [n for n, m in names.items() if not any(m.weight is weight for weight in present)]:
            raise ModelError(
                f"adapter '{source}' adds {added} tokens, but holds no rows of {missing[0]} for them; merge it "
                "where it was trained (merge_and_unload), and give the merged folder."
            )
        network.resize_token_embeddings(rows, mean_resizing=False)
    return keys
