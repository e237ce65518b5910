"""Worlds small enough to enumerate: a few letters and an end, short completions, more than one prompt.

Their policies and critics are tables with one row for each prompt and text so far, and answer as real models do.
Everything that theory speaks of (expected reward, KL, the optimum, the expected gradient) is a finite sum here.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn

from gnomon.core.batches import StepTotals, TokenGroups, pad_rows
from gnomon.core.experience import Experience, KLPenalty
from gnomon.losses.reduce import masked_sum
from gnomon.models.roles import CriticOutput
from gnomon.rollouts.experience import apply_kl_penalty

Row = tuple[int, tuple[int, ...]]  # a prompt and a completion


@dataclass(frozen=True)
class World:
    """`prompts` prompts, answered by up to `longest` tokens: letters, or the end that is the last id."""

    letters: int = 3
    longest: int = 3
    prompts: int = 2

    @property
    def end(self) -> int:
        return self.letters

    @cached_property
    def texts(self) -> list[tuple[int, ...]]:
        """What may stand before a token."""
        return [s for n in range(self.longest) for s in itertools.product(range(self.letters), repeat=n)]

    @cached_property
    def completions(self) -> list[tuple[int, ...]]:
        """Those that end by themselves, then those that the length limit cuts off."""
        return [(*text, self.end) for text in self.texts] + list(
            itertools.product(range(self.letters), repeat=self.longest)
        )

    @cached_property
    def rows(self) -> list[Row]:
        """Every completion of every prompt."""
        return [(p, c) for p in range(self.prompts) for c in self.completions]

    @cached_property
    def states(self) -> dict[Row, int]:
        """The row of a table for each prompt and text so far."""
        return {key: i for i, key in enumerate((p, t) for p in range(self.prompts) for t in self.texts)}

    @cached_property
    def paths(self) -> dict[Row, list[int]]:
        """For each row the places of the texts before its tokens; 0 in the padding."""
        return {
            (p, c): [self.states[p, c[:t]] if t < len(c) else 0 for t in range(self.longest)]
            for p, c in self.rows
        }

    @cached_property
    def every(self) -> TokenGroups:
        """All rows as one batch, a group for each prompt."""
        return self.groups(self.rows)

    def groups(self, rows: list[Row], group: list[int] | None = None) -> TokenGroups:
        """Rows as a batch; those with the same number in `group` are compared with each other."""
        chosen = group or [p for p, _ in rows]
        names = list(dict.fromkeys(chosen))
        first = {g: rows[chosen.index(g)][0] for g in names} if group is None else _first(rows, chosen)
        order = {g: i for i, g in enumerate(names)}
        return TokenGroups.build([[first[g]] for g in names], [c for _, c in rows], [order[g] for g in chosen])

    def look_up(self, table: Tensor, tokens: TokenGroups) -> Tensor:
        """The table's row for the text before each token, `[N, T, …]`."""
        width = int(tokens.lengths.max())
        prompts = [int(prompt[0]) for prompt in tokens.prompts]
        keys = zip(tokens.group.tolist(), tokens.completions, strict=True)
        rows = torch.tensor([self.paths[prompts[g], tuple(c.tolist())] for g, c in keys])
        return table[rows[:, :width]]

    def noise(self, seed: int, *shape: int, scale: float = 1.0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)

    def rewards(self, seed: int) -> Tensor:
        """A reward for each row without any pattern."""
        return self.noise(seed, len(self.rows))


def _first(rows: list[Row], group: list[int]) -> dict[int, int]:
    prompt_by_group: dict[int, int] = {}
    for (prompt, _), g in zip(rows, group, strict=True):
        prompt_by_group.setdefault(g, prompt)
    return prompt_by_group


class TablePolicy(nn.Module):
    """Logits for each prompt and text so far."""

    def __init__(self, world: World, seed: int, scale: float = 1.0):
        super().__init__()
        self.world = world
        self.table = nn.Parameter(world.noise(seed, len(world.states), world.letters + 1, scale=scale))

    def logprobs_and_entropy(
        self, tokens: TokenGroups, *, temperature: float = 1.0, entropy: bool = True
    ) -> tuple[Tensor, Tensor]:
        every = self.world.look_up((self.table / temperature).log_softmax(-1), tokens)
        ids = pad_rows(tokens.completions, 0)
        logprobs = every.gather(2, ids[:, :, None]).squeeze(2)
        return logprobs, -(every.exp() * every).sum(-1).detach()

    def logprobs_entropy_and_kl(
        self, tokens: TokenGroups, reference: Tensor, *, temperature: float = 1.0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A table's states are the logits themselves."""
        logprobs, entropy = self.logprobs_and_entropy(tokens, temperature=temperature)
        own = self.world.look_up((self.table / temperature).log_softmax(-1), tokens)
        return logprobs, entropy, (own.exp() * (own - (reference / temperature).log_softmax(-1))).sum(-1)

    def logprobs(self, tokens: TokenGroups, *, temperature: float = 1.0) -> Tensor:
        return self.logprobs_and_entropy(tokens, temperature=temperature)[0]

    def all_logprobs(self) -> Tensor:
        """Of every row; a prompt's exponentials add up to 1."""
        return masked_sum(self.logprobs(self.world.every), self.world.every.mask)

    def probabilities(self) -> Tensor:
        """Of every completion given its prompt, `[prompts, completions]`."""
        return self.all_logprobs().detach().exp().view(self.world.prompts, -1)


class TableCritic(nn.Module):
    """A value for each prompt and text so far."""

    def __init__(self, world: World, table: Tensor):
        super().__init__()
        self.world = world
        self.table = nn.Parameter(table.clone())

    def predict(self, tokens: TokenGroups, states: Tensor | None = None) -> CriticOutput:
        return CriticOutput(self.world.look_up(self.table, tokens), None)


@dataclass
class TableModels:
    """What a loss is given."""

    policy: TablePolicy
    critic: TableCritic
    temperature: float = 1.0


def exact_values(policy: TablePolicy, reference: TablePolicy, rewards: Tensor, beta: float) -> Tensor:
    """The expected reward still to come, price of nats included, for each prompt and text so far."""
    world = policy.world
    with torch.no_grad():
        logprobs = policy.logprobs(world.every)
        ratio = logprobs - reference.logprobs(world.every)
        values = torch.zeros(len(world.states), dtype=torch.float64)
        for (prompt, text), state in world.states.items():
            depth, total = len(text), torch.zeros((), dtype=torch.float64)
            for row, (p, completion) in enumerate(world.rows):
                if p == prompt and len(completion) > depth and completion[:depth] == text:
                    rest = slice(depth, len(completion))
                    gain = rewards[row] - beta * ratio[row, rest].sum()
                    total += logprobs[row, rest].sum().exp() * gain
            values[state] = total
    return values


def optimum(reference: TablePolicy, rewards: Tensor, beta: float) -> Tensor:
    """π* ∝ π_ref·exp(r/β) for each prompt, `[prompts, completions]`."""
    with torch.no_grad():
        logits = reference.all_logprobs() + rewards / beta
        return logits.view(reference.world.prompts, -1).softmax(-1)


def as_policy(world: World, probabilities: Tensor) -> TablePolicy:
    """The table that gives these probabilities to completions, `[prompts, completions]`."""
    policy = TablePolicy(world, seed=0)
    flat = probabilities.reshape(-1)
    logits = torch.full(policy.table.shape, -torch.inf, dtype=torch.float64)
    for (prompt, text), state in world.states.items():
        for token in range(world.letters + 1):
            longer = (*text, token)
            below = [i for i, (p, c) in enumerate(world.rows) if p == prompt and c[: len(longer)] == longer]
            if below:
                logits[state, token] = flat[below].sum().log()
    policy.table.data.copy_(logits)
    return policy


def objective(policy: TablePolicy, reference: TablePolicy, rewards: Tensor, beta: float) -> Tensor:
    """E[r] − β·KL(π‖π_ref), exactly, averaged over prompts."""
    logprobs = policy.all_logprobs()
    gain = rewards - beta * (logprobs - reference.all_logprobs().detach())
    return (logprobs.exp() * gain).sum() / policy.world.prompts


def total_variation(policy: TablePolicy, best: Tensor) -> float:
    """Half the sum of absolute differences, the worst prompt's."""
    return float(0.5 * (policy.probabilities() - best).abs().sum(-1).max())


@dataclass(frozen=True)
class Pricing:
    """Where and how the KL is priced, as `training.kl` says it."""

    placement: str = "reward"
    estimator: str = "k1"
    unbiased_gradient: bool = True


def experience_of(
    rows: list[int],
    models: TableModels,
    reference: TablePolicy,
    rewards: Tensor,
    beta: float,
    *,
    group: list[int] | None = None,
    pricing: Pricing | None = None,
    sampler: TablePolicy | None = None,
    token_reward: TablePolicy | None = None,
) -> Experience:
    """The experience that `compute_advantages` gets if the policy, or another `sampler`, drew these rows."""
    kl, world = pricing or Pricing(), models.policy.world
    tokens = world.groups([world.rows[r] for r in rows], group)
    with torch.no_grad():
        experience = Experience(
            tokens=tokens,
            old_logprobs=models.policy.logprobs(tokens),
            scores=rewards[rows],
            finished=torch.tensor([world.rows[r][1][-1] == world.end for r in rows]),
            totals=StepTotals(len(rows), float(tokens.mask.sum())),
            reference_logprobs=reference.logprobs(tokens),
            reference_states=world.look_up(reference.table, tokens),
            values=models.critic.predict(tokens).values,
            token_rewards=torch.zeros(tokens.mask.shape, dtype=torch.float64),
            sampler_logprobs=sampler.logprobs(tokens) if sampler else None,
        )
        if token_reward:
            gained = token_reward.logprobs(tokens) - reference.logprobs(tokens)
            experience = replace(experience, token_rewards=gained)
    estimator = "k1" if kl.placement == "loss" else kl.estimator  # the loss's own is in its penalty
    experience = apply_kl_penalty(experience, beta, placement=kl.placement, estimator=estimator)
    return (
        replace(experience, penalty=KLPenalty(beta, kl.estimator, kl.unbiased_gradient))
        if kl.placement == "loss"
        else experience
    )


def expected_gradient(
    algorithm: Any,
    models: TableModels,
    reference: TablePolicy,
    rewards: Tensor,
    beta: float,
    *,
    k: int = 1,
    pricing: Pricing | None = None,
    sampler: TablePolicy | None = None,
    token_reward: TablePolicy | None = None,
) -> Tensor:
    """The ascent direction that samples give on average, by enumeration of every group of K completions.

    Each draw is a step of its own: with totals of one row and, for token means, as many tokens as there are on
    average, a loss is linear in its draws; a draw's probability weighs its advantages and its penalty. It is that
    of the policy, or of another `sampler` whose log-probabilities the loss is then told.
    """
    world = models.policy.world
    size = len(world.completions)
    drawn = [
        [p * size + i for i in members]
        for p in range(world.prompts)
        for members in itertools.product(range(size), repeat=k)
    ]
    rows = [r for group in drawn for r in group]
    group = [g for g, members in enumerate(drawn) for _ in members]
    with torch.no_grad():
        logprobs = (sampler or models.policy).all_logprobs()
        chance = torch.stack([logprobs[members].sum().exp() for members in drawn]) / world.prompts
    experience = experience_of(
        rows, models, reference, rewards, beta,
        group=group, pricing=pricing, sampler=sampler, token_reward=token_reward,
    )  # fmt: skip
    credited = algorithm.compute_advantages(experience)
    weight = chance[torch.tensor(group)][:, None] / k
    credited = replace(
        credited, advantages=credited.advantages * weight, penalty=None, totals=StepTotals(1, 1, limit=1)
    )
    loss, _ = algorithm.loss(cast(Any, models), credited)
    if pricing is not None and pricing.placement == "loss":
        loss = loss + expected_penalty(algorithm, models, reference, beta, pricing)
    return -torch.autograd.grad(loss, models.policy.table)[0]


def expected_penalty(
    algorithm: Any, models: TableModels, reference: TablePolicy, beta: float, pricing: Pricing
) -> Tensor:
    """The penalty in the loss, averaged over what the policy draws (whose chances are not differentiated).

    A draw whose advantage is 0 costs its penalty alone; its chance weighs the price.
    """
    world = models.policy.world
    chance = models.policy.probabilities().flatten() / world.prompts
    zero = torch.zeros(len(world.rows), dtype=torch.float64)
    cost = torch.zeros((), dtype=torch.float64)
    for row in range(len(world.rows)):
        experience = experience_of([row], models, reference, zero, beta, pricing=pricing)
        assert experience.penalty is not None
        batch = replace(
            experience,
            advantages=torch.zeros_like(experience.old_logprobs),
            totals=StepTotals(1, 1, limit=1),
            penalty=replace(experience.penalty, coef=beta * float(chance[row])),
        )
        cost = cost + algorithm.loss(cast(Any, models), batch)[0]
    return cost
