"""What can be told apart by its first token is told apart, by every algorithm in the folder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from cases import mismatched, models_for
from torch import Tensor

from gnomon.algorithms.contract import algorithms, needs_step_statistics
from gnomon.core.batches import Demonstrations, Labels, Preferences, Rankings, StepTotals, TokenGroups
from gnomon.core.experience import Experience
from gnomon.core.types import Demonstration, Label, Preference, Ranking
from gnomon.rollouts.experience import apply_kl_penalty
from gnomon.training.online.policy_update import rows_with_signal, step_totals
from gnomon.training.runtime.model_bundle import TrainedModels

EVERY = algorithms()
PROMPTS = [[7], [11, 12], [3, 4, 5]]
GOOD, BAD = 21, 42  # the first token says all; what follows is the same on both sides
TAILS = [[], [30], [31, 32]]
STEPS = 40


def tokens_of(*first: int) -> TokenGroups:
    """For each prompt one completion a first token, with that prompt's tail."""
    completions = [[token, *tail] for tail in TAILS for token in first]
    return TokenGroups.build(PROMPTS, completions, [g for g in range(3) for _ in first])


def separable(algorithm: Any, models: TrainedModels) -> Any:
    """Good and bad in turn, one of each a prompt; what is good is all that there is to imitate."""
    if algorithm.consumes is Demonstration:
        tokens = tokens_of(GOOD)
        return Demonstrations(tokens, torch.ones(3), StepTotals(3, float(tokens.mask.sum())))
    tokens = tokens_of(GOOD, BAD)
    totals = StepTotals(6, float(tokens.mask.sum()))
    reference = models.policy.reference_logprobs(tokens) if algorithm.trains == "policy" else None
    good, bad = torch.tensor([0, 2, 4]), torch.tensor([1, 3, 5])
    pairs: dict[str, Any] = {"tokens": tokens, "weight": torch.ones(3), "reference_logprobs": reference}
    pairs["totals"] = replace(totals, rows=3)
    if algorithm.consumes is Preference:
        return Preferences(chosen=good, rejected=bad, probability=torch.ones(3), margin=torch.zeros(3), **pairs)
    if algorithm.consumes is Ranking:
        return Rankings(order=tuple(torch.tensor(pair) for pair in zip(good, bad, strict=True)), **pairs)
    if algorithm.consumes is Label:
        labels = Labels(tokens, torch.tensor([True, False] * 3), torch.ones(6), totals, reference)
        if not needs_step_statistics(algorithm):
            return labels
        strangers = replace(labels, tokens=mismatched(tokens))
        sums = {
            name: float(value) for name, value in algorithm.step_statistics(models, labels, strangers).items()
        }
        return replace(labels, totals=replace(totals, sums=sums))
    assert algorithm.consumes is Experience
    with torch.no_grad():
        now = models.policy.logprobs(tokens, temperature=models.temperature)
    drawn = Experience(
        tokens=tokens,
        old_logprobs=now,
        scores=torch.tensor([1.0, -1.0] * 3),
        finished=torch.ones(6, dtype=torch.bool),
        totals=totals,
        reference_logprobs=now,
        values=torch.zeros_like(now),
        token_rewards=torch.zeros_like(now),
    )
    experience: Experience = algorithm.compute_advantages(apply_kl_penalty(drawn, 0.0))
    every = range(6)
    return replace(experience, totals=step_totals(experience, every, every, rows_with_signal(experience, every)))


@torch.no_grad()
def judged(algorithm: Any, models: TrainedModels, tokens: TokenGroups) -> Tensor:
    """What the model thinks of each completion, `[N]`: its log-probability, or its score."""
    if algorithm.trains == "reward":
        return models.reward.scores(tokens)
    return models.policy.logprobs(tokens).sum(dim=1)


def learn(algorithm: Any, models: TrainedModels, batch: Any) -> tuple[list[float], Tensor]:
    """Losses of the steps, and how far each good completion has drawn ahead of its bad one, `[3]`."""
    both = tokens_of(GOOD, BAD)
    before = judged(algorithm, models, both)
    held = [models.trained] + ([models.critic_model] if models.critic_model else [])
    adam = torch.optim.Adam([p for model in held for p in model.trainable().values()], lr=3e-3)
    losses = []
    for _ in range(STEPS):
        loss, _ = algorithm.loss(models, batch)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    moved = judged(algorithm, models, both) - before
    return losses, moved[0::2] - moved[1::2]


@pytest.mark.parametrize("name", EVERY)
def test_its_loss_falls_and_good_and_bad_come_apart(name: str) -> None:
    """By more than e, prompt by prompt; a clip ends the fall of an online loss, at 2e-4 in GSPO's case."""
    algorithm = EVERY[name]()
    models = models_for(algorithm)
    losses, apart = learn(algorithm, models, separable(algorithm, models))
    assert losses[-1] < losses[0] - 2e-4
    if algorithm.consumes is not Experience:
        assert losses[-1] < 0.6 * losses[0]
    assert (apart > 1.0).all(), apart


@pytest.mark.parametrize("name", ["dpo", "reward_model"])
def test_the_other_way_round_they_come_apart_the_other_way(name: str) -> None:
    """So that it is the preference that separates them, and not the tokens."""
    algorithm = EVERY[name]()
    models = models_for(algorithm)
    batch = separable(algorithm, models)
    turned = replace(batch, chosen=batch.rejected, rejected=batch.chosen)
    _, apart = learn(algorithm, models, turned)
    assert (apart < -1.0).all(), apart
