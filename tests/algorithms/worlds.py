"""A world small enough to enumerate: three letters and an end, completions of at most three tokens.

Its policy and critic are tables with one row for each text so far, and answer as the real models do.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gnomon.core.batches import Experience, TokenGroups, Totals, pad_rows
from gnomon.losses.reduce import masked_sum
from gnomon.models.policy import Answer
from gnomon.rollouts.experience import price_kl

LETTERS, END, LONGEST = 3, 3, 3
STATES = {
    state: i
    for i, state in enumerate(s for n in range(LONGEST) for s in itertools.product(range(LETTERS), repeat=n))
}
# Those that end by themselves, shortest first, then those that the length limit cuts off: 1 + 3 + 9 + 27.
COMPLETIONS = [(*state, END) for state in STATES] + list(itertools.product(range(LETTERS), repeat=LONGEST))


def groups_of(rows: list[int]) -> TokenGroups:
    """The completions `rows` of one prompt."""
    return TokenGroups.build([[0]], [COMPLETIONS[r] for r in rows], [0] * len(rows))


EVERY = groups_of(list(range(len(COMPLETIONS))))


_PLACES = {c: [STATES[c[:t]] if t < len(c) else 0 for t in range(LONGEST)] for c in COMPLETIONS}


def _look_up(table: Tensor, tokens: TokenGroups) -> Tensor:
    """The table's row for the text before each token, `[N, T, …]`."""
    width = int(tokens.lengths.max())
    return table[torch.tensor([_PLACES[tuple(c.tolist())][:width] for c in tokens.completions])]


class TablePolicy(nn.Module):
    """Logits for each text so far."""

    def __init__(self, seed: int, scale: float = 1.0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(len(STATES), LETTERS + 1, generator=generator, dtype=torch.float64)
        self.table = nn.Parameter(scale * drawn)

    def logprobs_and_entropy(
        self, tokens: TokenGroups, *, temperature: float = 1.0, entropy: bool = True
    ) -> tuple[Tensor, Tensor]:
        every = _look_up((self.table / temperature).log_softmax(-1), tokens)
        ids = pad_rows(tokens.completions, 0)
        found = every.gather(2, ids[:, :, None]).squeeze(2)
        return found, -(every.exp() * every).sum(-1).detach()

    def logprobs(self, tokens: TokenGroups, *, temperature: float = 1.0) -> Tensor:
        return self.logprobs_and_entropy(tokens, temperature=temperature)[0]

    def all_logprobs(self) -> Tensor:
        """Of every completion, `[40]`; their exponentials add up to 1."""
        return masked_sum(self.logprobs(EVERY), EVERY.mask)


class TableCritic(nn.Module):
    """A value for each text so far."""

    def __init__(self, table: Tensor):
        super().__init__()
        self.table = nn.Parameter(table.clone())

    def answer(self, tokens: TokenGroups, states: Tensor | None = None) -> Answer:
        return Answer(_look_up(self.table, tokens), None)


@dataclass
class TableModels:
    """What a loss is given."""

    policy: TablePolicy
    critic: TableCritic
    temperature: float = 1.0


def rewards_of(seed: int) -> Tensor:
    """A reward for each completion without any pattern, `[40]`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(COMPLETIONS), generator=generator, dtype=torch.float64)


def exact_values(policy: TablePolicy, reference: TablePolicy, rewards: Tensor, beta: float) -> Tensor:
    """The expected reward still to come, price of nats included, for each text so far."""
    with torch.no_grad():
        logprobs = policy.logprobs(EVERY)
        ratio = logprobs - reference.logprobs(EVERY)
        values = torch.zeros(len(STATES), dtype=torch.float64)
        for state, place in STATES.items():
            depth, total = len(state), torch.zeros((), dtype=torch.float64)
            for row, completion in enumerate(COMPLETIONS):
                if len(completion) > depth and completion[:depth] == state:
                    rest = slice(depth, len(completion))
                    gain = rewards[row] - beta * ratio[row, rest].sum()
                    total += logprobs[row, rest].sum().exp() * gain
            values[place] = total
    return values


def experience_of(
    rows: list[int], models: TableModels, reference: TablePolicy, rewards: Tensor, beta: float
) -> Experience:
    """What the online loop would hand to `credit` had it drawn these completions."""
    tokens = groups_of(rows)
    with torch.no_grad():
        found = Experience(
            tokens=tokens,
            logprobs=models.policy.logprobs(tokens),
            scores=rewards[rows],
            finished=torch.tensor([COMPLETIONS[r][-1] == END for r in rows]),
            totals=Totals(len(rows), float(tokens.mask.sum())),
            reference_logprobs=reference.logprobs(tokens),
            values=models.critic.answer(tokens).values,
        )
    return price_kl(found, beta)


def optimum(reference: TablePolicy, rewards: Tensor, beta: float) -> Tensor:
    """π* ∝ π_ref·exp(r/β), `[40]`."""
    with torch.no_grad():
        return (reference.all_logprobs() + rewards / beta).softmax(0)


def objective(policy: TablePolicy, reference: TablePolicy, rewards: Tensor, beta: float) -> Tensor:
    """E[r] − β·KL(π‖π_ref), exactly."""
    logprobs = policy.all_logprobs()
    return (logprobs.exp() * (rewards - beta * (logprobs - reference.all_logprobs().detach()))).sum()
