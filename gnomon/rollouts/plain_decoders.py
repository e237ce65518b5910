"""The trunk one token further in every row of completions: ways without padding, for any architecture.

`UnpaddedDecoder` has rows of prompts of one length side by side in the cache that the model itself makes;
`AloneDecoder` gives each row a cache, for caches from which rows cannot be taken. `RecomputingDecoder` has none:
it asks the forward engine for whole texts again with each token, and so agrees with it by construction, in time
that grows with the square of the length.
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
from gnomon.rollouts.decoding import Ids, cache_argument

TOKENS = 4096  # that `RecomputingDecoder` reads at once


@dataclass
class _Batch:
    """Rows of one length that are read together.

    Attributes:
        cache: what the model made when it read their prompts.
        rows: which of the decoder's rows each is.
    """

    cache: Any
    rows: list[int]


class UnpaddedDecoder:
    """Rows in caches of the model's own: one for all that entered together with prompts of one length."""

    joins = True

    def __init__(self, policy: Policy) -> None:
        argument = cache_argument(policy.trunk)
        if argument is None:
            raise ModelError(f"{policy.network.config.model_type} models keep nothing of what they have read.")
        self.policy, self.argument = policy, argument
        self.batches: list[_Batch] = []
        self.count = 0  # rows

    def enter(self, prompts: Sequence[Ids]) -> Tensor:
        """Rows for `prompts` behind those that are there; the state that predicts their first token, `[B, d]`."""
        states: dict[int, Tensor] = {}
        for places in self._together(prompts):
            unique = list(dict.fromkeys(prompts[place] for place in places))
            hidden, cache = self._run(unique, None)
            source = [unique.index(prompts[place]) for place in places]
            self._select(cache, source, len(unique))
            self.batches.append(_Batch(cache, [self.count + place for place in places]))
            states |= dict(zip(places, hidden[source], strict=True))
        self.count += len(prompts)
        return torch.stack([states[place] for place in range(len(prompts))])

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Read one more token in every row; the state that predicts the next, `[B, d]`."""
        states: dict[int, Tensor] = {}
        for batch in self.batches:
            hidden, batch.cache = self._run([(tokens[row],) for row in batch.rows], batch.cache)
            states |= dict(zip(batch.rows, hidden, strict=True))
        return torch.stack([states[row] for row in range(self.count)])

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Let go of all other rows; returns which row stands in each place afterwards."""
        after = {row: place for place, row in enumerate(rows)}
        for batch in self.batches:
            staying = [i for i, row in enumerate(batch.rows) if row in after]
            self._select(batch.cache, staying, len(batch.rows))
            batch.rows = [after[batch.rows[i]] for i in staying]
        self.batches = [batch for batch in self.batches if batch.rows]
        self.count = len(rows)
        return list(rows)

    def _run(self, ids: Sequence[Ids], cache: Any) -> tuple[Tensor, Any]:
        """The states of the last column of `ids` `[B, T]`, `[B, d]`, and the cache that holds them too."""
        given = {} if cache is None else {self.argument: cache}
        with autocast(self.policy.device, self.policy.compute.dtype):
            found = self.policy.trunk(
                input_ids=torch.tensor(ids, device=self.policy.device), use_cache=True, **given
            )
        return found.last_hidden_state[:, -1], found[self.argument]

    def _select(self, cache: Any, places: Sequence[int], count: int) -> None:
        """Let a cache of `count` rows hold these of them, in this order; one may stand several times."""
        if places and list(places) != list(range(count)):
            cache.reorder_cache(torch.tensor(places, device=self.policy.device))

    def _together(self, prompts: Sequence[Ids]) -> list[list[int]]:
        """Which of the prompts share a cache."""
        by_length: dict[int, list[int]] = {}
        for place, prompt in enumerate(prompts):
            by_length.setdefault(len(prompt), []).append(place)
        return list(by_length.values())


class AloneDecoder(UnpaddedDecoder):
    """Rows that each have a cache of their own."""

    def _together(self, prompts: Sequence[Ids]) -> list[list[int]]:
        return [[place] for place in range(len(prompts))]


class RecomputingDecoder:
    """Rows as texts, which the forward engine reads whole for each token."""

    joins = True

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.prompts: list[Ids] = []  # of each row
        self.drawn: list[Ids] = []  # likewise

    def enter(self, prompts: Sequence[Ids]) -> Tensor:
        """Rows for `prompts` behind those that are there; the state that predicts their first token, `[B, d]`."""
        self.prompts += prompts
        self.drawn += [()] * len(prompts)
        return self._states(range(len(self.prompts) - len(prompts), len(self.prompts)))

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Read one more token in every row; the state that predicts the next, `[B, d]`."""
        self.drawn = [(*before, token) for before, token in zip(self.drawn, tokens, strict=True)]
        return self._states(range(len(self.prompts)))

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Let go of all other rows; returns which row stands in each place afterwards."""
        self.prompts, self.drawn = ([texts[row] for row in rows] for texts in (self.prompts, self.drawn))
        return list(rows)

    def _states(self, rows: Sequence[int]) -> Tensor:
        """The state before one more token of each row, whichever token that is, `[B, d]`."""
        unique = list(dict.fromkeys(self.prompts[row] for row in rows))
        groups = TokenGroups.build(
            unique,
            [(*self.drawn[row], 0) for row in rows],
            [unique.index(self.prompts[row]) for row in rows],
        )
        found: dict[int, Tensor] = {}
        for part in micro_batches(groups, TOKENS):
            tokens = groups.select(part)
            states = completion_states(
                self.policy.trunk, tokens, at="state", dtype=self.policy.compute.dtype, layout=self.policy.layout
            )
            found |= dict(zip(part, states[tokens.lengths.cumsum(0) - 1], strict=True))
        return torch.stack([found[row] for row in range(len(rows))])
