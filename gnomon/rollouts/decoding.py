"""Fast decoders: one token per step in every row of completions.

`SlotDecoder` keeps rows of any length side by side; they leave, and others take their slots. `PaddedDecoder` is
for models whose own cache has other layers than full attention (sliding windows, recurrent states), or whose
attention cannot be replaced: its rows enter together. `gnomon.rollouts.plain_decoders` has decoders for models
that fit neither, and `gnomon.rollouts.choice` chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from itertools import takewhile
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import Cache, DynamicCache

from gnomon.models.engine.forward import autocast
from gnomon.models.roles import Policy
from gnomon.rollouts.decode_attention import one_token
from gnomon.rollouts.kv_cache import SlotCache

Ids = tuple[int, ...]


class Decoder(Protocol):
    """Decoder of rows that have read a prompt and part of a completion.

    Attributes:
        joins: whether rows may enter while others are being decoded.
    """

    joins: bool

    def enter(self, prompts: Sequence[Ids]) -> Tensor:
        """Add rows for `prompts` after the present ones; returns their next states, `[B, d]`."""

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Read one more token in every row; returns the states that predict the next, `[B, d]`."""

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Drop all other rows; returns the former number of each remaining row, in the new order."""


class SlotDecoder:
    """Rows in the slots of a `SlotCache`.

    A prompt is read and held once for its completions, which may enter one after another; the tokens that the
    prompts of a batch share at their start (a chat template's system turn) are read once for all of them.
    """

    joins = True

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.cache = SlotCache(policy.compute.dtype)
        self._index: dict[Ids, int] = {}  # of the prompts that were read last
        self._states = torch.empty(0)  # that predict their first tokens, [P, d]

    def enter(self, prompts: Sequence[Ids]) -> Tensor:
        """Add rows for `prompts` after the present ones; returns their next states, `[B, d]`."""
        known = list(takewhile(self._index.__contains__, prompts))
        states = [self._enter(known)] if known else []
        if fresh := prompts[len(known) :]:
            self._read(list(dict.fromkeys(fresh)))
            states.append(self._enter(fresh))
        return torch.cat(states)

    def _enter(self, prompts: Sequence[Ids]) -> Tensor:
        indices = [self._index[prompt] for prompt in prompts]
        self.cache.enter(indices)
        return self._states[indices]

    def _read(self, prompts: Sequence[Ids]) -> None:
        """Read prompts padded on the right, so that none of their tokens attends to the padding."""
        lengths = [len(prompt) for prompt in prompts]
        ids = torch.tensor([[*p, *[0] * (max(lengths) - len(p))] for p in prompts], device=self.policy.device)
        common = shared_start(prompts) if len(prompts) > 1 else 0
        cache = DynamicCache(config=self.policy.network.config)
        if common:
            run_trunk(self.policy, ids[:1, :common], cache)
            cache.batch_repeat_interleave(len(prompts))
        hidden = run_trunk(self.policy, ids[:, common:], cache)
        self.cache.read([(layer.keys, layer.values) for layer in cache.layers], lengths)
        self._index = {prompt: i for i, prompt in enumerate(prompts)}
        self._states = hidden[range(len(prompts)), [length - common - 1 for length in lengths]]

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Read one more token in every row; returns the states that predict the next, `[B, d]`."""
        positions = self.cache.open(self.policy.device)
        ids = torch.tensor(tokens, device=self.policy.device)[:, None]
        with one_token(self.policy, self.cache):
            mask = (
                self.cache.sharing.mask
            )  # keeps transformers from creating one; our attention reads the cache's
            return run_trunk(self.policy, ids, self.cache, attention_mask=mask, position_ids=positions)[:, 0]

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Drop all other rows; returns the former number of each remaining row, in the new order."""
        return self.cache.keep(rows)


class PaddedDecoder:
    """Rows in the cache that transformers makes for the model, prompts padded on the left."""

    joins = False

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.cache_argument = cache_argument(policy.trunk) or "past_key_values"

    def enter(self, prompts: Sequence[Ids]) -> Tensor:
        """Replace all rows by rows for `prompts`; returns their next states, `[B, d]`."""
        device, unique = self.policy.device, list(dict.fromkeys(prompts))
        width = max(map(len, unique))
        ids = torch.tensor([[*[0] * (width - len(p)), *p] for p in unique], device=device)
        mask = torch.tensor([[*[0] * (width - len(p)), *[1] * len(p)] for p in unique], device=device)
        self.cache = DynamicCache(config=self.policy.network.config)
        hidden = self._run(ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0))
        source = torch.tensor([unique.index(prompt) for prompt in prompts], device=device)
        self.cache.reorder_cache(source)  # every kind of layer has it, unlike `batch_select_indices`
        self.mask = mask[source]
        return hidden[source]

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Read one more token in every row; returns the states that predict the next, `[B, d]`."""
        ids = torch.tensor(tokens, device=self.policy.device)[:, None]
        if self.cache_argument == "cache_params":
            return self._run(
                ids
            )  # a recurrent state has no padding, and a mask of the whole text does not fit it
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=1)
        return self._run(ids, attention_mask=self.mask, position_ids=self.mask.sum(1, keepdim=True) - 1)

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Drop all other rows; returns the former number of each remaining row, in the new order."""
        index = torch.tensor(rows, dtype=torch.long, device=self.policy.device)
        self.cache.reorder_cache(index)
        self.mask = self.mask[index]
        return list(rows)

    def _run(self, ids: Tensor, **layout: Tensor) -> Tensor:
        """Compute the states of the last column of `ids` `[B, T]`, `[B, d]`."""
        return run_trunk(self.policy, ids, self.cache, self.cache_argument, **layout)[:, -1]


def shared_start(prompts: Sequence[Ids]) -> int:
    """Count the ids that all prompts share at their start, excluding the last id of each."""
    columns = zip(*(prompt[:-1] for prompt in prompts), strict=False)
    return sum(1 for _ in takewhile(lambda ids: len(set(ids)) == 1, columns))


def run_trunk(
    policy: Policy, ids: Tensor, cache: Cache, cache_argument: str = "past_key_values", **layout: Tensor
) -> Tensor:
    """Compute hidden states of `ids` after the tokens in `cache`, and add them to the cache.

    Args:
        policy: the policy.
        ids: `[B, T]`.
        cache: of the earlier tokens.
        cache_argument: name of the trunk's parameter for the cache.
        layout: mask and positions, if the trunk needs them.

    Returns:
        `[B, T, d]`.
    """
    with autocast(policy.device, policy.compute.dtype):
        states: Tensor = policy.trunk(
            input_ids=ids, use_cache=True, **{cache_argument: cache}, **layout
        ).last_hidden_state
    return states


def cache_argument(trunk: Any) -> str | None:
    """Return the name of the trunk's parameter for its cache; `None` for a trunk without one.

    State-space models name it `cache_params` or `state`, and ignore one under the usual name.
    """
    parameters = signature(trunk.forward).parameters
    return next((name for name in ("past_key_values", "cache_params", "state") if name in parameters), None)
