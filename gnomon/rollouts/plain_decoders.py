"""Decoders without padding, for any architecture: one token per step in every row of completions.

`UnpaddedDecoder` keeps rows with prompts of one length side by side in the cache that the model itself creates;
`AloneDecoder` gives each row a cache, for caches from which rows cannot be selected. `RecomputingDecoder` has no
cache: it runs the forward engine on whole texts for each token, and so agrees with it by construction, in time
quadratic in the length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import ModelError
from gnomon.data.batching import micro_batches
from gnomon.models.engine.forward import autocast, completion_states
from gnomon.models.roles import Policy
from gnomon.rollouts.decoding import TokenIds, cache_argument

TOKENS = 4096  # tokens that `RecomputingDecoder` reads at once


@dataclass
class _Batch:
    """Rows of one length that are read together.

    Attributes:
        cache: the model's cache of their prompts and tokens so far.
        rows: their numbers among the decoder's rows.
    """

    cache: Any
    rows: list[int]


class UnpaddedDecoder:
    """Rows in caches that the model itself creates: one for all prompts of one length that entered together."""

    continuous_batching = True

    def __init__(self, policy: Policy) -> None:
        argument = cache_argument(policy.trunk)
        if argument is None:
            raise ModelError(f"{policy.network.config.model_type} models have no cache.")
        self.policy, self.argument = policy, argument
        self.batches: list[_Batch] = []
        self.count = 0  # rows

    def enter(self, prompts: Sequence[TokenIds]) -> Tensor:
        """Add rows for `prompts` after the current ones; returns the states that predict the next, `[B, d]`."""
        states: dict[int, Tensor] = {}
        for indices in self._together(prompts):
            unique = list(dict.fromkeys(prompts[index] for index in indices))
            hidden, cache = self._run(unique, None)
            source = [unique.index(prompts[index]) for index in indices]
            self._select(cache, source, len(unique))
            self.batches.append(_Batch(cache, [self.count + index for index in indices]))
            states |= dict(zip(indices, hidden[source], strict=True))
        self.count += len(prompts)
        return torch.stack([states[index] for index in range(len(prompts))])

    def decode(self, tokens: Sequence[int]) -> Tensor:
        """Append a token to every row; returns the states that predict the next, `[B, d]`."""
        states: dict[int, Tensor] = {}
        for batch in self.batches:
            hidden, batch.cache = self._run([(tokens[row],) for row in batch.rows], batch.cache)
            states |= dict(zip(batch.rows, hidden, strict=True))
        return torch.stack([states[row] for row in range(self.count)])

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Drop all other rows; returns the former index of each remaining row, in the new order."""
        after = {row: number for number, row in enumerate(rows)}
        for batch in self.batches:
            staying = [i for i, row in enumerate(batch.rows) if row in after]
            self._select(batch.cache, staying, len(batch.rows))
            batch.rows = [after[batch.rows[i]] for i in staying]
        self.batches = [batch for batch in self.batches if batch.rows]
        self.count = len(rows)
        return list(rows)

    def _run(self, ids: Sequence[TokenIds], cache: Any) -> tuple[Tensor, Any]:
        """Compute the states of the last column of `ids` `[B, T]`, `[B, d]`; also returns the extended cache."""
        arguments = {} if cache is None else {self.argument: cache}
        with autocast(self.policy.device, self.policy.compute.dtype):
            output = self.policy.trunk(
                input_ids=torch.tensor(ids, device=self.policy.device), use_cache=True, **arguments
            )
        return output.last_hidden_state[:, -1], output[self.argument]

    def _select(self, cache: Any, rows: Sequence[int], count: int) -> None:
        """Reduce a cache of `count` rows to `rows`, in this order; a row may be repeated."""
        if rows and list(rows) != list(range(count)):
            cache.reorder_cache(torch.tensor(rows, device=self.policy.device))

    def _together(self, prompts: Sequence[TokenIds]) -> list[list[int]]:
        """Group the indices of prompts that share a cache."""
        by_length: dict[int, list[int]] = {}
        for index, prompt in enumerate(prompts):
            by_length.setdefault(len(prompt), []).append(index)
        return list(by_length.values())


class AloneDecoder(UnpaddedDecoder):
    """Rows with a separate cache each."""

    def _together(self, prompts: Sequence[TokenIds]) -> list[list[int]]:
        return [[index] for index in range(len(prompts))]


class RecomputingDecoder:
    """Rows as token ids, which the forward engine reads from the start for each token."""

    continuous_batching = True

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.prompts: list[TokenIds] = []  # of each row
        self.drawn: list[TokenIds] = []  # of each row

    def enter(self, prompts: Sequence[TokenIds]) -> Tensor:
        """Add rows for `prompts` after the current ones; returns the states that predict the next, `[B, d]`."""
        self.prompts += prompts
        self.drawn += [()] * len(prompts)
        return self._states(range(len(self.prompts) - len(prompts), len(self.prompts)))

    def decode(self, tokens: Sequence[int]) -> Tensor:
        """Append a token to every row; returns the states that predict the next, `[B, d]`."""
        self.drawn = [(*before, token) for before, token in zip(self.drawn, tokens, strict=True)]
        return self._states(range(len(self.prompts)))

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Drop all other rows; returns the former index of each remaining row, in the new order."""
        self.prompts, self.drawn = ([texts[row] for row in rows] for texts in (self.prompts, self.drawn))
        return list(rows)

    def _states(self, rows: Sequence[int]) -> Tensor:
        """Compute the state that predicts the next token of each row, `[B, d]`."""
        unique = list(dict.fromkeys(self.prompts[row] for row in rows))
        groups = TokenGroups.build(
            unique,
            [(*self.drawn[row], 0) for row in rows],
            [unique.index(self.prompts[row]) for row in rows],
        )
        by_row: dict[int, Tensor] = {}
        for part in micro_batches(groups, TOKENS):
            tokens = groups.select(part)
            states = completion_states(
                self.policy.trunk, tokens, at="state", dtype=self.policy.compute.dtype, layout=self.policy.layout
            )
            by_row |= dict(zip(part, states[tokens.lengths.cumsum(0) - 1], strict=True))
        return torch.stack([by_row[row] for row in range(len(rows))])
