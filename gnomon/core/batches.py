"""The unit of the system as tensors: prompts, their completions, and one value for each completion token.

Shapes: G prompts, N completions, T tokens of the longest completion. Per-token tensors are `[N, T]`, padded on
the right, and only entries where the mask is true mean anything. Masks come from lengths, never from token ids:
a model may use one id both to pad and to end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from gnomon.core.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

Metrics = dict[str, "Tensor"]


@dataclass(frozen=True, eq=False)
class TokenGroups:
    """G ragged prompts and N ragged completions, each completion belonging to one prompt.

    Attributes:
        prompts: G integer tensors `[P_g]`.
        completions: N integer tensors `[T_n]`, none of them empty.
        group: `[N]`, which prompt each completion belongs to.
        masks: N boolean tensors `[T_n]`; false for tokens the policy did not choose (tool output, other turns).
        names: ids of the G prompts, for draws by prompt; empty if unknown.
    """

    prompts: tuple[Tensor, ...]
    completions: tuple[Tensor, ...]
    group: Tensor
    masks: tuple[Tensor, ...]
    names: tuple[str, ...] = ()

    @classmethod
    def build(
        cls,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        group: Sequence[int],
        masks: Sequence[Sequence[bool]] | None = None,
        names: Sequence[str] = (),
    ) -> TokenGroups:
        """Build from plain lists.

        Args:
            prompts: G lists of ids.
            completions: N lists of ids.
            group: N numbers, the prompt of each completion.
            masks: N lists, false for tokens that the policy did not choose; without, every token counts.
            names: ids of the G prompts.
        """
        tokens = tuple(torch.tensor(list(c), dtype=torch.long) for c in completions)
        token_masks = (
            tuple(torch.ones(len(c), dtype=torch.bool) for c in completions)
            if masks is None
            else tuple(torch.tensor(list(m), dtype=torch.bool) for m in masks)
        )
        groups = cls(
            prompts=tuple(torch.tensor(list(p), dtype=torch.long) for p in prompts),
            completions=tokens,
            group=torch.tensor(list(group), dtype=torch.long),
            masks=token_masks,
            names=tuple(names),
        )
        assert all(len(p) for p in groups.prompts), "a prompt has no tokens"
        assert all(len(c) for c in tokens), "a completion has no tokens"
        assert all(len(c) == len(m) for c, m in zip(tokens, token_masks, strict=True))
        return groups

    def __len__(self) -> int:
        """Number of completions, N."""
        return len(self.completions)

    @cached_property
    def lengths(self) -> Tensor:
        """Number of tokens in each completion, `[N]`."""
        return torch.tensor([len(c) for c in self.completions], dtype=torch.long)

    @cached_property
    def mask(self) -> Tensor:
        """Mask of the entries of a per-token tensor that count, `[N, T]` boolean."""
        return pad_rows(self.masks, False)

    @property
    def cost(self) -> int:
        """Number of tokens a model reads: each used prompt once, and every completion."""
        used = set(self.group.tolist())
        return sum(len(self.prompts[g]) for g in used) + int(self.lengths.sum())

    def select(self, rows: Sequence[int]) -> TokenGroups:
        """Select the completions `rows`, in that order, with their prompts."""
        old = [int(self.group[r]) for r in rows]
        new = {g: i for i, g in enumerate(dict.fromkeys(old))}
        return TokenGroups(
            prompts=tuple(self.prompts[g] for g in new),
            completions=tuple(self.completions[r] for r in rows),
            group=torch.tensor([new[g] for g in old], dtype=torch.long),
            masks=tuple(self.masks[r] for r in rows),
            names=tuple(self.names[g] for g in new) if self.names else (),
        )


@dataclass(frozen=True)
class StepTotals:
    """Divisors of losses and metrics: counts over the whole optimizer step, not over one micro-batch.

    With the same totals in each micro-batch, the losses and metrics of micro-batches add up to those of the
    batch, however it was cut. Online, completions without an advantage may be left out of the batch: a loss still
    counts them, as zeros, and metrics that describe tokens do not.

    Attributes:
        rows: completions or pairs, including those left out.
        tokens: completion tokens that count, including those left out.
        limit: the length limit of a completion, for losses that divide by a constant.
        sums: sums over the step that the algorithm requires, by name.
        skipped_tokens: completion tokens that count, of the completions that were left out.
        groups: prompts with at least one completion that has an advantage.
        examples: offline only: examples of stored data, each a prompt with its connected pairs or rankings.
        judged: offline only: how many judgements there are, by their kind; see `Judgements`.
    """

    rows: float
    tokens: float
    limit: float = 1.0
    sums: Mapping[str, float] = field(default_factory=dict)
    skipped_tokens: float = 0.0
    groups: float = 0.0
    examples: float = 0.0
    judged: Mapping[str, float] = field(default_factory=dict)

    @property
    def computed_tokens(self) -> float:
        """Number of completion tokens that the policy's forward pass computed."""
        return self.tokens - self.skipped_tokens


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """A batch of demonstrations. `weight`: `[N]`."""

    tokens: TokenGroups
    weight: Tensor
    totals: StepTotals
    reference_logprobs: Tensor | None = None  # [N, T]


@dataclass(frozen=True, eq=False)
class Preferences:
    """A batch of M pairs over N distinct completions.

    A completion that takes part in several pairs is in `tokens` once; `chosen` and `rejected` are row numbers,
    `[M]`. `probability`, `margin`, `weight`, `tie`: `[M]`, as in `gnomon.core.types.Preference`. `share`: share
    of each pair in its example, `[M]`; the shares of an example add up to 1.
    """

    tokens: TokenGroups
    chosen: Tensor
    rejected: Tensor
    probability: Tensor
    margin: Tensor
    weight: Tensor
    totals: StepTotals
    reference_logprobs: Tensor | None = None  # [N, T]
    share: Tensor | None = None
    tie: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Labels:
    """A batch of completions labeled good or bad, in the order of the data. `good` (boolean), `weight`: `[N]`."""

    tokens: TokenGroups
    good: Tensor
    weight: Tensor
    totals: StepTotals
    reference_logprobs: Tensor | None = None  # [N, T]


@dataclass(frozen=True, eq=False)
class Rankings:
    """A batch of M rankings over N distinct completions.

    `order` holds for each ranking the rows of `tokens` that it ranks, best first, `[K_m]`. `weight`: `[M]`.
    """

    tokens: TokenGroups
    order: tuple[Tensor, ...]
    weight: Tensor
    totals: StepTotals
    reference_logprobs: Tensor | None = None  # [N, T]


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Scores of M completions on people's scale. `rows` (of `tokens`), `values`, `weight`: `[M]`."""

    rows: Tensor
    values: Tensor
    weight: Tensor


@dataclass(frozen=True, eq=False)
class Judgements:
    """A batch of completions with judgements of several kinds about them.

    The keys of `totals.judged` are `pairs`, `paired_examples`, `rankings`, `scored` (completions with scores)
    and, for each name of a score, `score <name>`.

    Attributes:
        tokens: N distinct completions, each computed once.
        pairs: over the rows of `tokens`; `None` if there are none.
        rankings: likewise.
        scores: by name; the name of a rating of the whole answer is empty.
        totals: divisors of the step.
    """

    tokens: TokenGroups
    pairs: Preferences | None
    rankings: Rankings | None
    scores: Mapping[str, ScoredRows]
    totals: StepTotals


Padding = TypeVar("Padding", bool, int, float)


def pad_rows(rows: Sequence[Tensor], value: Padding) -> Tensor:
    """Stack ragged rows `[T_n]` into `[N, T]`, `value` on the right."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)


def merge_metrics(parts: Sequence[Mapping[str, Tensor | float]]) -> dict[str, float]:
    """Sum the metrics `[]` of one step's micro-batches; each is already its share of the step's mean."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: float(sum(float(part[name]) for part in parts if name in part)) for name in names}
