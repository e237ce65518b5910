"""Fast decoders: each call decodes one token in every row of a batch of completions.

`SlotDecoder` has continuous batching: rows of any length are in one batch, and when some leave, others take their
slots. `PaddedDecoder` is for models whose own cache has other layers than full attention (sliding windows,
recurrent states), or whose attention cannot be replaced: its rows enter together.
`gnomon.rollouts.plain_decoders` has decoders for models that fit neither, and `gnomon.rollouts.choice` chooses.
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
from gnomon.rollouts.decode_attention import decoding_with
from gnomon.rollouts.kv_cache import SlotCache

TokenIds = tuple[int, ...]


class Decoder(Protocol):
    """Decodes a batch of rows, each a prompt and the completion so far.

    Attributes:
        continuous_batching: whether rows may enter while others are being decoded.
    """

    continuous_batching: bool

    def enter(self, prompts: Sequence[TokenIds]) -> Tensor:
        """Add rows for `prompts` after the current ones; returns the states that predict the next, `[B, d]`."""

    def decode(self, tokens: Sequence[int]) -> Tensor:
        """Append a token to every row; returns the states that predict the next, `[B, d]`."""

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Drop all other rows; returns the former index of each remaining row, in the new order."""


class SlotDecoder:
    """Rows in the slots of a `SlotCache`.

    A prompt is prefilled and stored once for its completions, which may enter one after another; the prefix that
    the prompts of a batch share (a chat template's system turn) is prefilled once for all of them.
    """

    continuous_batching = True

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.cache = SlotCache(policy.compute.dtype)
        self._index: dict[TokenIds, int] = {}  # of the prompts that were prefilled last
        self._states = torch.empty(0)  # that predict the first tokens after them, [P, d]

    def enter(self, prompts: Sequence[TokenIds]) -> Tensor:
        """Add rows for `prompts` after the current ones; returns the states that predict the next, `[B, d]`."""
        prefilled = list(takewhile(self._index.__contains__, prompts))
        states = [self._enter(prefilled)] if prefilled else []
        if others := prompts[len(prefilled) :]:
            self._prefill(list(dict.fromkeys(others)))
            states.append(self._enter(others))
        return torch.cat(states)

    def _enter(self, prompts: Sequence[TokenIds]) -> Tensor:
        indices = [self._index[prompt] for prompt in prompts]
        self.cache.enter(indices)
        return self._states[indices]

    def _prefill(self, prompts: Sequence[TokenIds]) -> None:
        """Prefill prompts padded on the right, so that none of their tokens attends to the padding."""
        lengths = [len(prompt) for prompt in prompts]
        ids = torch.tensor([[*p, *[0] * (max(lengths) - len(p))] for p in prompts], device=self.policy.device)
        prefix = shared_prefix_length(prompts) if len(prompts) > 1 else 0
        cache = DynamicCache(config=self.policy.network.config)
        if prefix:
            run_trunk(self.policy, ids[:1, :prefix], cache)
            cache.batch_repeat_interleave(len(prompts))
        hidden = run_trunk(self.policy, ids[:, prefix:], cache)
        self.cache.add_prompts([(layer.keys, layer.values) for layer in cache.layers], lengths)
        self._index = {prompt: i for i, prompt in enumerate(prompts)}
        self._states = hidden[range(len(prompts)), [length - prefix - 1 for length in lengths]]

    def decode(self, tokens: Sequence[int]) -> Tensor:
        """Append a token to every row; returns the states that predict the next, `[B, d]`."""
        positions = self.cache.extend(self.policy.device)
        ids = torch.tensor(tokens, device=self.policy.device)[:, None]
        with decoding_with(self.policy, self.cache):
            # A mask keeps transformers from creating one; `one_token_attention` takes the cache's.
            mask = self.cache.sharing.mask
            return run_trunk(self.policy, ids, self.cache, attention_mask=mask, position_ids=positions)[:, 0]

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Drop all other rows; returns the former index of each remaining row, in the new order."""
        return self.cache.keep(rows)


class PaddedDecoder:
    """Rows in the cache that transformers makes for the model, prompts padded on the left."""

    continuous_batching = False

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.cache_argument = cache_argument(policy.trunk) or "past_key_values"

    def enter(self, prompts: Sequence[TokenIds]) -> Tensor:
        """Replace all rows by rows for `prompts`; returns the states that predict the next, `[B, d]`."""
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

    def decode(self, tokens: Sequence[int]) -> Tensor:
        """Append a token to every row; returns the states that predict the next, `[B, d]`."""
        ids = torch.tensor(tokens, device=self.policy.device)[:, None]
        if self.cache_argument == "cache_params":
            return self._run(ids)  # a recurrent state has no padding, and a mask of the whole text does not fit
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=1)
        return self._run(ids, attention_mask=self.mask, position_ids=self.mask.sum(1, keepdim=True) - 1)

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Drop all other rows; returns the former index of each remaining row, in the new order."""
        index = torch.tensor(rows, dtype=torch.long, device=self.policy.device)
        self.cache.reorder_cache(index)
        self.mask = self.mask[index]
        return list(rows)

    def _run(self, ids: Tensor, **layout: Tensor) -> Tensor:
        """Compute the states of the last column of `ids` `[B, T]`, `[B, d]`."""
        return run_trunk(self.policy, ids, self.cache, self.cache_argument, **layout)[:, -1]


def shared_prefix_length(prompts: Sequence[TokenIds]) -> int:
    """Count the ids of the prefix that all prompts share, excluding the last id of each."""
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
