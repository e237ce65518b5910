"""What a micro-batch costs in memory and time, learned from a small one: for `memory_gb` and for a run's plan.

Only a trial knows an architecture's real needs: what autograd keeps of each layer grows with the tokens; what a
matrix's gradient or a chunk of the vocabulary takes for a moment does not.
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
from gnomon.data.templates.rendering import render_prompt
from gnomon.models.engine.lm_head import CHUNK
from gnomon.models.engine.sequence_layout import branched_layout
from gnomon.models.roles import Model, RewardModel
from gnomon.rollouts.sampling_params import Sampling
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.settings import OptimizerKind

TRIAL = 512  # tokens
WARM = 32  # tokens of the pass before it
# AdamW's two moments, as a share of the gradient's bytes: each as large, or a byte a weight and a scale for 256.
MOMENTS: dict[OptimizerKind, float] = {"adamw": 2.0, "adamw_8bit": 2 * (1 + 4 / 256) / 4}
SMALLEST = 64  # tokens of a micro-batch that is worth a pass
MOST = 16384  # tokens of a micro-batch beyond which none gets faster
FOR_FROZEN_STATES = 0.2  # at most this share of what the models leave


@dataclass(frozen=True)
class Footprint:
    """Bytes that a training stage needs, and the pace of its passes.

    Attributes:
        weights: of all its models, each storage once.
        gradients: of the weights that learn.
        moments: AdamW's two.
        fixed: beside these in any pass, however small.
        per_token: in a pass with a gradient.
        tokens_per_second: of such a pass.
    """

    weights: int
    gradients: int
    moments: int
    fixed: float
    per_token: float
    tokens_per_second: float

    def activations(self, tokens: int) -> float:
        """What a micro-batch of so many tokens takes beside the rest."""
        return self.fixed + self.per_token * tokens


@dataclass(frozen=True)
class Shape:
    """A typical prompt and its completions, in tokens."""

    prompt: int
    completion: int
    together: int = 1


def shape_of(examples: Sequence[Example]) -> Shape:
    """The median of each."""
    return Shape(
        prompt=int(median(len(e.prompt) for e in examples)),
        completion=int(median(len(c) for e in examples for c in e.completions)),
        together=int(median(len(e.completions) for e in examples)),
    )


def footprint(models: TrainedModels, shape: Shape, optimizer: OptimizerKind = "adamw") -> Footprint:
    """Try a pass of the models on made-up tokens; their weights stay as they are."""
    loaded = [models.trained, *([models.critic_model] if models.critic_model else [])]
    device = models.trained.device
    learning = [p for model in loaded for p in model.trainable().values()]
    groups = random_groups(TRIAL, shape, models.trained)
    try:
        _pass(models, random_groups(WARM, shape, models.trained))  # gradients are there from now on
        known = [*_tensors(loaded), *(p.grad for p in learning if p.grad is not None)]
        with _Saved(known) as saved:
            started = time.monotonic()
            peak = peak_bytes(partial(_pass, models, groups), known, device)
            seconds = time.monotonic() - started
    finally:
        for parameter in learning:
            parameter.grad = None
    # Of what passes, a matrix's gradient and a chunk of the vocabulary are as large in any micro-batch.
    passing = min(max(peak - saved.bytes, 0), _constant(models, learning, groups))
    growing = peak - passing
    gradients = sum(p.nbytes for p in learning)
    return Footprint(
        weights=weight_bytes(loaded),
        gradients=gradients,
        moments=int(MOMENTS[optimizer] * gradients),
        fixed=float(passing),
        per_token=growing / groups.cost,
        tokens_per_second=groups.cost / seconds,
    )


def _constant(models: TrainedModels, learning: Sequence[Tensor], groups: TokenGroups) -> int:
    """Bytes that pass through memory whatever the tokens: gradients before they are added up, logits, scores."""
    matrix = max((p.nbytes for p in learning), default=0)
    vocabulary = int(models.trained.network.get_input_embeddings().weight.shape[0])
    scores = 0
    if models.trained.layout_in_use == "branched":
        config: Any = models.trained.network.config.get_text_config()
        asked = max(piece.pairs for piece in branched_layout(groups).pieces)
        scores = (
            3 * asked * int(getattr(config, "num_attention_heads", 0)) * 4
        )  # weights, their gradients, one of them cast
    # Where layers are computed again, most of what passes is what they say, and grows with the tokens.
    return scores if models.trained.recomputes else scores + 3 * matrix + 2 * CHUNK * vocabulary * 4


class _Saved:
    """The bytes of what autograd keeps for the way back, each storage once, those of `known` tensors not."""

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
        """As of now; what is let go of and made again in the same place counts once."""
        return sum(self._sizes.values())


def weight_bytes(models: Sequence[Model]) -> int:
    """Bytes of the models' weights, each storage once."""
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in _tensors(models)}.values())


def _tensors(models: Iterable[Model]) -> Iterator[Tensor]:
    for model in models:
        yield from model.network.parameters()
        yield from model.network.buffers()


def random_groups(tokens: int, shape: Shape, model: Model) -> TokenGroups:
    """Groups of random ids, about `tokens` in all; they have nothing in common at their start."""
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
    """Forward and backward through everything that learns, as any loss has it."""
    model = models.trained
    said = model.scores(groups) if isinstance(model, RewardModel) else models.policy.logprobs(groups)
    loss = said.float().sum()
    if models.critic_model:
        loss = loss + models.critic.predict(groups).values.sum()
    loss.backward()  # type: ignore[no-untyped-call]


def peak_bytes(work: Callable[[], None], known: Sequence[Tensor], device: torch.device) -> int:
    """The most that tensors made inside `work` take at once, those in `known` not counted."""
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
    """Counts the bytes of storages from when an operation returns them to when nobody holds them any more."""

    def __init__(self, known: Sequence[Tensor]):
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.peak: int = 0
        self._seen: dict[int, Any] = {t.untyped_storage()._cdata: None for t in known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, Tensor):
                self._count(leaf, leaf.nbytes) if leaf.is_mkldnn else self._count_storage(leaf.untyped_storage())
        return found

    def _count_storage(self, storage: Any) -> None:
        self._count(storage, storage.nbytes(), storage._cdata)

    def _count(self, held: Any, size: int, place: int | None = None) -> None:
        place = id(held) if place is None else place
        if place not in self._seen:
            self._seen[place] = weakref.finalize(held, self._gone, place, size)
            self.now += size
            self.peak = max(self.peak, self.now)

    def _gone(self, place: int, size: int) -> None:
        self._seen.pop(place, None)
        self.now -= size


@dataclass(frozen=True)
class Fit:
    """What fits into so much memory: tokens of a micro-batch, and gigabytes of frozen layers' states."""

    tokens: int
    states_gb: float


def fit(
    models: TrainedModels, gigabytes: float, shape: Shape, label: str, optimizer: OptimizerKind = "adamw"
) -> Fit:
    """The largest micro-batch for which a loop on `models`, about to begin, stays within `gigabytes`.

    Raises:
        ConfigError: the models alone leave no room.
    """
    held = held_bytes(models.trained.device)
    found = footprint(models, shape, optimizer)
    left = gigabytes * 1e9 - held - found.gradients - found.moments - found.fixed
    for_states = FOR_FROZEN_STATES * max(left, 0.0)
    tokens = int((left - for_states) / found.per_token)
    if tokens < SMALLEST:
        needed = held + found.gradients + found.moments + found.activations(TRIAL)
        raise ConfigError(
            f"stage '{label}': training.memory_gb: {gigabytes:g} leaves no room beside the models; give at least "
            f"{needed / 1e9:.1f}, train fewer layers, or set gradient_checkpointing: true."
        )
    return Fit(min(MOST, tokens), for_states / 2**30)


def held_bytes(device: torch.device) -> int:
    """What the process takes now; on a GPU, its tensors."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


LOOKED_AT = 32  # prompts of each pool, to learn how long they are


def shape_of_round(pools: Sequence[Sequence[Prompt]], tokenizer: Any, sampling: Sampling) -> Shape:
    """What a round's micro-batches are made of, with completions as long as they may be."""
    some = [prompt for pool in pools for prompt in pool[:LOOKED_AT]]
    length = median(len(render_prompt(tokenizer, prompt)) for prompt in some)
    return Shape(int(length), sampling.max_tokens, sampling.completions)
