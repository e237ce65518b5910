"""Which weights learn: all of them, the upper layers, or a low-rank adapter."""

from __future__ import annotations

from typing import Any, Literal

from peft import LoraConfig, PeftModel, get_peft_model
from pydantic import Field
from torch import nn
from transformers.pytorch_utils import Conv1D

from gnomon.core.config import Settings
from gnomon.core.errors import ModelError
from gnomon.models.quiet import quiet_peft


class Trainable(Settings):
    """Which weights of a model learn.

    Attributes:
        adapter: `lora` (Hu et al. 2021) trains two thin matrices beside each linear layer and leaves the model as
            it was; `none` trains the weights themselves.
        rank: width of the adapter.
        alpha: the adapter's output is scaled by alpha / rank.
        layers: how many of the upper layers learn; `None` is all. Layers below need no backward pass.
    """

    adapter: Literal["lora", "none"] = "lora"
    rank: int = Field(default=16, gt=0)
    alpha: float = Field(default=32.0, gt=0)
    layers: int | None = Field(default=None, ge=0)


def make_trainable(network: Any, trainable: Trainable) -> PeftModel | None:
    """Freeze `network` but for what `trainable` names; returns the adapter, if there is one.

    The adapter's modules are put inside `network`, which goes on working as before.
    """
    depth = int(network.config.num_hidden_layers)
    learning = depth if trainable.layers is None else trainable.layers
    if learning > depth:
        raise ModelError(
            f"{learning} layers should learn, but the model has {depth}; set layers to at most {depth}."
        )
    if trainable.adapter == "lora" and learning:
        network.requires_grad_(False)
        config = LoraConfig(
            r=trainable.rank,
            lora_alpha=trainable.alpha,
            lora_dropout=0.0,
            bias="none",
            target_modules=_linear_names(network, learning),
            fan_in_fan_out=any(isinstance(m, Conv1D) for m in network.modules()),
        )
        with quiet_peft():
            return get_peft_model(network, config)
    everything = trainable.adapter == "none" and learning == depth
    network.requires_grad_(everything)
    if not everything:
        for layer in decoder_layers(network.base_model)[depth - learning :]:
            layer.requires_grad_(True)
    return None


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
