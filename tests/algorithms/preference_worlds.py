"""Worlds whose completions can be counted, with every preference known exactly.

Two prompts; completions of ragged length, ended by END or by the length limit; a policy is a table of logits for
each prompt and each text so far, so it can be any distribution.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from gnomon.core.batches import Labels, Preferences, Rankings, StepTotals, TokenGroups, pad_rows
from gnomon.losses.reduce import masked_sum

PROMPTS = 2
Row = tuple[int, int]  # prompt, completion


@dataclass(frozen=True)
class World:
    """All completions over some letters up to a length, the END token included."""

    letters: int
    longest: int

    @property
    def states(self) -> list[tuple[int, ...]]:
        """Texts so far."""
        lengths = range(self.longest)
        return [s for n in lengths for s in itertools.product(range(self.letters), repeat=n)]

    @property
    def completions(self) -> list[tuple[int, ...]]:
        """Those that end by themselves, shortest first, then those that the limit cuts off."""
        cut = itertools.product(range(self.letters), repeat=self.longest)
        return [*((*s, self.letters) for s in self.states), *cut]

    @property
    def rows(self) -> list[Row]:
        """Every completion of every prompt."""
        return list(itertools.product(range(PROMPTS), range(len(self.completions))))

    def tokens(self, rows: Sequence[Row]) -> TokenGroups:
        """Some of them as a batch."""
        completions = self.completions
        return TokenGroups.build(
            [[g] for g in range(PROMPTS)], [completions[c] for _, c in rows], [g for g, _ in rows]
        )


TWO_ARMS = World(letters=1, longest=1)  # END or a
SEVEN = World(letters=2, longest=2)  # END, aE, bE, aa, ab, ba, bb


class TablePolicy(nn.Module):
    """Logits for each prompt and text so far."""

    def __init__(self, world: World, seed: int, scale: float = 1.0):
        super().__init__()
        self.world = world
        shape = (PROMPTS, len(world.states), world.letters + 1)
        generator = torch.Generator().manual_seed(seed)
        self.table = nn.Parameter(scale * torch.randn(shape, generator=generator, dtype=torch.float64))

    def logprobs(self, tokens: TokenGroups, *, temperature: float = 1.0) -> Tensor:
        """`[N, T]`."""
        states = {s: i for i, s in enumerate(self.world.states)}
        rows = [c.tolist() for c in tokens.completions]
        indices = pad_rows([torch.tensor([states[tuple(r[:t])] for t in range(len(r))]) for r in rows], 0)
        prompt = torch.tensor([int(p[0]) for p in tokens.prompts])[tokens.group]
        every = self.table.log_softmax(-1)[prompt[:, None], indices]
        return every.gather(2, pad_rows(tokens.completions, 0)[:, :, None]).squeeze(2)

    def sums(self) -> Tensor:
        """The log-probability of every completion, `[prompts, completions]`; exponentials add up to 1."""
        tokens = self.world.tokens(self.world.rows)
        return masked_sum(self.logprobs(tokens), tokens.mask).view(PROMPTS, -1)


def models(policy: TablePolicy) -> Any:
    """What a loss is given."""
    return SimpleNamespace(policy=policy, temperature=1.0)


def reference_of(reference: TablePolicy, tokens: TokenGroups) -> Tensor:
    """What the reference says, `[N, T]`."""
    with torch.no_grad():
        return reference.logprobs(tokens)


def preferences(
    reference: TablePolicy, shares: Mapping[tuple[int, int, int], float], margins: Sequence[float] = ()
) -> Preferences:
    """Pairs (prompt, first, second) with the share of raters who prefer the first."""
    world, pairs = reference.world, list(shares)
    tokens = world.tokens(world.rows)
    count = len(world.completions)
    return Preferences(
        tokens=tokens,
        chosen=torch.tensor([g * count + a for g, a, _ in pairs]),
        rejected=torch.tensor([g * count + b for g, _, b in pairs]),
        probability=torch.tensor(list(shares.values()), dtype=torch.float64),
        margin=torch.tensor(margins or [0.0] * len(pairs), dtype=torch.float64),
        weight=torch.ones(len(pairs), dtype=torch.float64),
        totals=StepTotals(len(pairs), float(tokens.mask.sum())),
        reference_logprobs=reference_of(reference, tokens),
    )


def all_pairs(rewards: Tensor) -> dict[tuple[int, int, int], float]:
    """Every pair of each prompt with the share σ(r_a − r_b), of rewards `[prompts, completions]`."""
    pairs = [(g, a, b) for g in range(PROMPTS) for a, b in itertools.combinations(range(rewards.shape[1]), 2)]
    return {(g, a, b): float(torch.sigmoid(rewards[g, a] - rewards[g, b])) for g, a, b in pairs}


def rankings(reference: TablePolicy, rewards: Tensor, ranked: Sequence[Sequence[int]]) -> Rankings:
    """Every order of the `ranked` completions of each prompt, as often as Plackett and Luce say."""
    world, count = reference.world, len(reference.world.completions)
    orders: list[Tensor] = []
    weight: list[float] = []
    for g, members in enumerate(ranked):
        for order in itertools.permutations(members):
            left = [torch.logsumexp(rewards[g, list(order[k:])], 0) for k in range(len(order))]
            weight.append(float((rewards[g, list(order)].sum() - sum(left)).exp()))
            orders.append(torch.tensor([g * count + c for c in order]))
    tokens = world.tokens(world.rows)
    return Rankings(
        tokens=tokens,
        order=tuple(orders),
        weight=torch.tensor(weight, dtype=torch.float64),
        totals=StepTotals(PROMPTS, float(tokens.mask.sum())),
        reference_logprobs=reference_of(reference, tokens),
    )


def labels(reference: TablePolicy, shares: Mapping[Row, float], often: Mapping[Row, float]) -> Labels:
    """Each completion twice, called good and bad, weighed by how often it is and by who calls it so.

    A survey counts rows, not weights, so `often` and shares enter as repeated rows: they are multiples of 0.1.
    """
    rows: list[Row] = []
    good: list[bool] = []
    for row, share in shares.items():
        times = round(10 * often.get(row, 1.0))
        yes = round(times * share)
        assert abs(yes - times * share) < 1e-9
        rows += [row] * times
        good += [True] * yes + [False] * (times - yes)
    tokens = reference.world.tokens(rows)
    return Labels(
        tokens=tokens,
        good=torch.tensor(good),
        weight=torch.ones(len(rows), dtype=torch.float64),
        totals=StepTotals(len(rows), float(tokens.mask.sum())),
        reference_logprobs=reference_of(reference, tokens),
    )


def minimize(policy: TablePolicy, loss: Callable[[], Tensor]) -> None:
    """To where the gradient is nothing."""
    optimizer = torch.optim.LBFGS(
        policy.parameters(), max_iter=500, tolerance_grad=1e-11, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]


def fit(algorithm: Any, policy: TablePolicy, batch: Any) -> TablePolicy:
    """The policy that an algorithm ends with on a whole world."""
    minimize(policy, lambda: algorithm.loss(models(policy), batch)[0])
    return policy


def surveyed(algorithm: Any, policy: TablePolicy, reference: TablePolicy, batch: Labels) -> Labels:
    """With what the loop would have added up: each completion also after the other prompt."""
    swapped = replace(batch.tokens, group=1 - batch.tokens.group)
    strangers = replace(batch, tokens=swapped, reference_logprobs=reference_of(reference, swapped))
    sums = {
        name: float(value) for name, value in algorithm.step_statistics(models(policy), batch, strangers).items()
    }
    return replace(batch, totals=replace(batch.totals, sums=sums))


def fit_labels(algorithm: Any, policy: TablePolicy, reference: TablePolicy, batch: Labels) -> TablePolicy:
    """Likewise, with a baseline that follows the policy and carries no gradient."""
    for _ in range(60):
        before = policy.table.detach().clone()
        fit(algorithm, policy, surveyed(algorithm, policy, reference, batch))
        if (policy.table.detach() - before).abs().max() < 1e-10:
            break
    return policy


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that changes its sign once is 0, by bisection."""
    rising = function(high) > 0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if (function(middle) > 0) == rising else (middle, high)
    return (low + high) / 2
