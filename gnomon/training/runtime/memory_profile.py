"""Memory and time of a micro-batch, measured on a small one: for `memory_gb` and for a run's plan.

A trial pass measures what depends on the architecture: saved activations grow with the tokens; temporary
gradients of a matrix and logits of a vocabulary chunk do not.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import ConfigError
from gnomon.core.types import Prompt
from gnomon.data.encoding import Example
from gnomon.data.example_columns import columns_of
from gnomon.data.templates.rendering import render_prompt
from gnomon.models.engine.lm_head import CHUNK
from gnomon.models.engine.sequence_layout import branched_layout
from gnomon.models.roles import Model, RewardModel
from gnomon.rollouts.sampling_params import Sampling
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.settings import OptimizerKind

TRIAL = 512  # tokens
WARM = 32  # tokens of the warm-up pass
# Bytes of AdamW's two moments relative to the gradient's: the same each, or one byte per weight and a scale per
# 256.
MOMENTS: dict[OptimizerKind, float] = {"adamw": 2.0, "adamw_8bit": 2 * (1 + 4 / 256) / 4}
SMALLEST = 64  # minimum tokens of a micro-batch
MOST = 16384  # tokens of a micro-batch beyond which throughput does not grow
FOR_FROZEN_STATES = 0.2  # maximum share of free memory for the activation cache


@dataclass(frozen=True)
class Footprint:
    """Memory of a training stage in bytes, and throughput.

    Attributes:
        weights: of all models, each storage once.
        gradients: of trainable weights.
        moments: of the optimizer.
        fixed: temporary memory of a pass, independent of its tokens.
        per_token: activation memory per token of a training pass.
        tokens_per_second: throughput of a training pass.
    """

    weights: int
    gradients: int
    moments: int
    fixed: float
    per_token: float
    tokens_per_second: float

    def activations(self, tokens: int) -> float:
        """Bytes of activations and temporaries for a micro-batch of `tokens`."""
        return self.fixed + self.per_token * tokens


@dataclass(frozen=True)
class Shape:
    """Typical lengths in tokens: a prompt, a completion, and how many completions share a prompt."""

    prompt: int
    completion: int
    together: int = 1


def shape_of(examples: Sequence[Example]) -> Shape:
    """Median lengths of stored examples."""
    columns = columns_of(examples)
    return Shape(
        prompt=int(median(columns.prompt_lengths.tolist())),
        completion=int(median(columns.completion_lengths.tolist())),
        together=int(median(columns.completion_counts.tolist())),
    )


def footprint(models: TrainedModels, shape: Shape, optimizer: OptimizerKind = "adamw") -> Footprint:
    """Measure a training pass of the models on random tokens; weights stay unchanged.

    Args:
        models: that are trained.
        shape: typical lengths.
        optimizer: determines the moments' bytes.
    """
    loaded = [models.trained, *([models.critic_model] if models.critic_model else [])]
    device = models.trained.device
    learning = [p for model in loaded for p in model.trainable().values()]
    groups = random_groups(TRIAL, shape, models.trained)
    try:
        _pass(models, random_groups(WARM, shape, models.trained))  # allocates gradients
        known = [*_tensors(loaded), *(p.grad for p in learning if p.grad is not None)]
        with _Saved(known) as saved:
            started = time.monotonic()
            peak = peak_bytes(partial(_pass, models, groups), known, device)
            seconds = time.monotonic() - started
    finally:
        for parameter in learning:
            parameter.grad = None
    # Temporary gradients and vocabulary chunks have the same size in any micro-batch.
    temporary = min(max(peak - saved.bytes, 0), _constant(models, learning, groups))
    growing = peak - temporary
    gradients = sum(p.nbytes for p in learning)
    return Footprint(
        weights=weight_bytes(loaded),
        gradients=gradients,
        moments=int(MOMENTS[optimizer] * gradients),
        fixed=float(temporary),
        per_token=growing / groups.cost,
        tokens_per_second=groups.cost / seconds,
    )


def _constant(models: TrainedModels, learning: Sequence[Tensor], groups: TokenGroups) -> int:
    """Bytes of temporaries independent of the tokens: matrix gradients, logits, attention scores."""
    matrix = max((p.nbytes for p in learning), default=0)
    vocabulary = int(models.trained.network.get_input_embeddings().weight.shape[0])
    scores = 0
    if models.trained.layout_in_use == "branched":
        config: Any = models.trained.network.config.get_text_config()
        pairs = max(piece.pairs for piece in branched_layout(groups).pieces)
        scores = (
            3 * pairs * int(getattr(config, "num_attention_heads", 0)) * 4
        )  # weights, their gradients, one of them cast
    # With gradient checkpointing most temporaries are recomputed activations, which grow with the tokens.
    return scores if models.trained.recomputes else scores + 3 * matrix + 2 * CHUNK * vocabulary * 4


class _Saved:
    """Bytes of tensors that autograd saves for backward, each storage once, without those of `known` tensors."""

    def __init__(self, known: Sequence[Tensor]):
        self._known = {t.untyped_storage().data_ptr() for t in known}
        self._sizes: dict[int, int] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def __enter__(self) -> _Saved:
        self._hooks.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.__exit__()

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._known:
            self._sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    @property
    def bytes(self) -> int:
        """Bytes saved so far; a storage at a reused address counts once."""
        return sum(self._sizes.values())


def weight_bytes(models: Sequence[Model]) -> int:
    """Bytes of the models' weights, each storage once."""
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in _tensors(models)}.values())


def _tensors(models: Iterable[Model]) -> Iterator[Tensor]:
    for model in models:
        yield from model.network.parameters()
        yield from model.network.buffers()


def random_groups(tokens: int, shape: Shape, model: Model) -> TokenGroups:
    """Groups of random token ids without common prefixes.

    Args:
        tokens: total length, about.
        shape: lengths of prompts and completions.
        model: whose vocabulary is used.
    """
    draw = torch.Generator().manual_seed(0)
    vocabulary = int(model.network.get_input_embeddings().weight.shape[0])
    prompt = min(max(shape.prompt, 1), tokens - 1)
    completion = min(max(shape.completion, 1), tokens - prompt)
    together = min(shape.together, (tokens - prompt) // completion)
    count = tokens // (prompt + together * completion)

    def ids(length: int) -> list[int]:
        return torch.randint(0, vocabulary, (length,), generator=draw).tolist()

    return TokenGroups.build(
        [ids(prompt) for _ in range(count)],
        [ids(completion) for _ in range(count * together)],
        [g for g in range(count) for _ in range(together)],
    )


def _pass(models: TrainedModels, groups: TokenGroups) -> None:
    """Forward and backward pass through all trainable models."""
    model = models.trained
    if isinstance(model, RewardModel):
        outputs = model.outputs(groups)
        loss = torch.stack([outputs.score, *outputs.named.values()]).float().sum()
    else:
        loss = models.policy.logprobs(groups).float().sum()
    if models.critic_model:
        loss = loss + models.critic.predict(groups).values.sum()
    loss.backward()  # type: ignore[no-untyped-call]


def peak_bytes(work: Callable[[], None], known: Sequence[Tensor], device: torch.device) -> int:
    """Peak bytes of tensors allocated inside `work`.

    Args:
        work: called once.
        known: existing tensors `[…]`, not counted.
        device: whose memory is measured.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return int(torch.cuda.max_memory_allocated(device) - before)
    live = _LiveBytes(known)
    with live:
        work()
    return live.peak


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts bytes of storages from the operation that returns them until they are freed."""

    def __init__(self, known: Sequence[Tensor]):
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.peak: int = 0
        self._seen: dict[int, Any] = {t.untyped_storage()._cdata: None for t in known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf, leaf.nbytes) if leaf.is_mkldnn else self._count_storage(leaf.untyped_storage())
        return result

    def _count_storage(self, storage: Any) -> None:
        self._count(storage, storage.nbytes(), storage._cdata)

    def _count(self, held: Any, size: int, address: int | None = None) -> None:
        address = id(held) if address is None else address
        if address not in self._seen:
            self._seen[address] = weakref.finalize(held, self._gone, address, size)
            self.now += size
            self.peak = max(self.peak, self.now)

    def _gone(self, address: int, size: int) -> None:
        self._seen.pop(address, None)
        self.now -= size


@dataclass(frozen=True)
class Fit:
    """Choice of micro-batch tokens and gigabytes of activation cache for a memory limit."""

    tokens: int
    states_gb: float


def fit(
    models: TrainedModels, gigabytes: float, shape: Shape, label: str, optimizer: OptimizerKind = "adamw"
) -> Fit:
    """The largest micro-batch for which a loop on `models` stays within `gigabytes`.

    Args:
        models: loaded, before training.
        gigabytes: memory limit.
        shape: typical lengths.
        label: of the stage, for the error.
        optimizer: determines the moments' bytes.

    Raises:
        ConfigError: the models alone exceed the limit.
    """
    held = held_bytes(models.trained.device)
    needs = footprint(models, shape, optimizer)
    left = gigabytes * 1e9 - held - needs.gradients - needs.moments - needs.fixed
    for_states = FOR_FROZEN_STATES * max(left, 0.0)
    tokens = int((left - for_states) / needs.per_token)
    if tokens < SMALLEST:
        needed = held + needs.gradients + needs.moments + needs.activations(TRIAL)
        raise ConfigError(
            f"stage '{label}': training.memory_gb: {gigabytes:g} leaves no room beside the models; give at least "
            f"{needed / 1e9:.1f}, train fewer layers, or set gradient_checkpointing: true."
        )
    return Fit(min(MOST, tokens), for_states / 2**30)


def held_bytes(device: torch.device) -> int:
    """Memory of the process now; on a GPU, of its tensors."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


SHAPE_PROMPTS = 32  # prompts of each pool whose length is measured


def shape_of_round(pools: Sequence[Sequence[Prompt]], tokenizer: Any, sampling: Sampling) -> Shape:
    """Typical lengths of a round, with completions of maximum length.

    Args:
        pools: prompts.
        tokenizer: renders them.
        sampling: of the stage.
    """
    some = [prompt for pool in pools for prompt in pool[:SHAPE_PROMPTS]]
    length = median(len(render_prompt(tokenizer, prompt)) for prompt in some)
    return Shape(int(length), sampling.max_tokens, sampling.completions)
