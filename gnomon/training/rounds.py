"""The parts of an online round that need nothing but their arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch import Tensor

from gnomon.core.batches import Experience, Rollout, Totals
from gnomon.core.types import Prompt
from gnomon.data.batching import epoch_order
from gnomon.data.rendering import render_prompt
from gnomon.losses.advantages import alike_in_group, explained_variance
from gnomon.losses.reduce import masked, masked_sum
from gnomon.rollouts.experience import sequence_kl
from gnomon.rollouts.sampler import NativeSampler, turns
from gnomon.rollouts.sampling import Sampling
from gnomon.training.footprint import Shape
from gnomon.training.settings import Exploration
from gnomon.training.stored import StoredCompletions

SAMPLES_KEPT = 8  # of each round, in samples.jsonl
LOOKED_AT = 32  # prompts of each pool, to learn how long they are


def shape_of_round(pools: Sequence[Sequence[Prompt]], tokenizer: Any, sampling: Sampling) -> Shape:
    """What a round's micro-batches are made of, with completions as long as they may be."""
    some = [prompt for pool in pools for prompt in pool[:LOOKED_AT]]
    length = median(len(render_prompt(tokenizer, prompt)) for prompt in some)
    return Shape(int(length), sampling.max_tokens, sampling.completions)


def explore(
    sampler: NativeSampler,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    exploration: Exploration,
    *,
    seed: int,
    version: int,
    reference: Mapping[str, Tensor] | None,
    before: Sequence[int] | None = None,
    stored: StoredCompletions | None = None,
) -> list[list[Rollout]]:
    """K completions for each prompt: the policy's, at several temperatures, the reference's, and stored ones.

    `before`: how often each prompt stands before in the round, of which `prompts` may be a share. A prompt for
    which too few are stored has a smaller group.
    """
    foreign = round(exploration.reference_share * sampling.completions)
    given = stored.count(sampling.completions) if stored else 0
    plan: dict[float, int] = {}
    ladder = exploration.temperatures or (sampling.temperature,)
    for i in range(sampling.completions - foreign - given):
        plan[ladder[i % len(ladder)]] = plan.get(ladder[i % len(ladder)], 0) + 1
    drawn: list[list[Rollout]] = [[] for _ in prompts]
    stood = turns(prompts) if before is None else before

    def draw(count: int, temperature: float, salt: int, *, of: str = "policy") -> None:
        own = sampling.model_copy(update={"completions": count, "temperature": temperature})
        first = [turn * count for turn in stood]
        found = sampler.sample(prompts, own, seed=seed * 17 + salt, version=version, first=first)
        if of == "reference" or temperature != sampling.temperature:
            found = [replace(rollout, foreign=True) for rollout in found]
        for i in range(len(prompts)):
            drawn[i] += found[i * count : (i + 1) * count]

    for salt, (temperature, count) in enumerate(plan.items()):
        draw(count, temperature, salt)
    if foreign:
        with sampler.policy.as_reference(reference):
            draw(foreign, sampling.temperature, 16, of="reference")
    if stored and given:
        temperature = sampling.temperature
        theirs = stored.draw(
            sampler.policy, prompts, given, temperature=temperature, seed=seed, version=version, stood=stood
        )
        drawn = [group + more for group, more in zip(drawn, theirs, strict=True)]
    return drawn


def alike_groups(rollouts: Sequence[Rollout], scores: Tensor) -> set[str]:
    """The prompts whose completions all scored the same: they teach a group method nothing."""
    place = {name: i for i, name in enumerate(dict.fromkeys(r.prompt.id for r in rollouts))}
    alike = alike_in_group(scores, torch.tensor([place[r.prompt.id] for r in rollouts]))
    return {r.prompt.id for r, same in zip(rollouts, alike.tolist(), strict=True) if same}


def minibatches(experience: Experience, count: int, seed: int, epoch: int) -> list[list[int]]:
    """Rows of each optimiser step: groups in a new order, about equally many in each, none torn apart."""
    members: dict[int, list[int]] = {}
    for row, g in enumerate(experience.tokens.group.tolist()):
        members.setdefault(g, []).append(row)
    groups = list(members.values())
    order = epoch_order(len(groups), seed, epoch)
    size = -(-len(groups) // count)
    return [
        [row for i in order[start : start + size] for row in groups[i]] for start in range(0, len(groups), size)
    ]


def rows_with_signal(experience: Experience, rows: Sequence[int]) -> list[int]:
    """Rows with an advantage other than 0 on a token that counts; the rest would cost a pass for nothing."""
    assert experience.advantages is not None
    mask = experience.tokens.mask.to(experience.advantages.device)
    taught = (masked(experience.advantages, mask) != 0).any(dim=1)
    return [row for row in rows if bool(taught[row])]


def step_totals(
    experience: Experience, rows: Sequence[int], read: Sequence[int], taught: Sequence[int]
) -> Totals:
    """What the losses of an optimiser step over `rows` divide by, of which it reads some and some teach."""
    counts = {r: float(experience.tokens.masks[r].sum()) for r in rows}
    tokens = sum(counts.values())
    group = experience.tokens.group.tolist()
    return replace(
        experience.totals,
        rows=len(rows),
        tokens=tokens,
        unread=tokens - sum(counts[r] for r in read),
        groups=len({group[r] for r in taught}),
    )


def own_rows(rollouts: Sequence[Rollout]) -> list[int]:
    """Those that the policy drew from the distribution that is trained."""
    return [row for row, rollout in enumerate(rollouts) if not rollout.foreign]


def describe(experience: Experience, own: Sequence[int]) -> dict[str, float]:
    """What the round's samples were like, before learning from them.

    Of the policy only the rows `own` speak: over what others drew, the mean of log π/π_ref is not its KL. Without
    any, all rows are described.
    """
    whose = experience.select(own, experience.totals) if own else experience
    assert whose.rewards is not None
    mask = whose.tokens.mask.to(whose.rewards.device)
    found = {
        "score_mean": float(whose.scores.mean()),
        "score_std": float(whose.scores.std(unbiased=False)),
        "reward_mean": float(masked(whose.rewards, mask).sum(1).mean()),
        **({"kl": float(sequence_kl(whose).mean())} if whose.reference_logprobs is not None else {}),
        **({"kl_full": float(masked_sum(whose.full_kl, mask).mean())} if whose.full_kl is not None else {}),
        "length_mean": float(whose.tokens.lengths.float().mean()),
        "missing_eos_share": 1 - float(whose.finished.float().mean()),
    }
    tokens = experience.tokens
    mask = tokens.mask.to(mask.device)
    count = len(tokens.prompts)
    if len(tokens) > count:
        alike = alike_in_group(experience.scores, tokens.group).tolist()
        groups = {g for g, same in zip(tokens.group.tolist(), alike, strict=True) if same}
        found["alike_groups_share"] = len(groups) / count
    if experience.values is not None and experience.returns is not None:
        found["explained_variance"] = float(explained_variance(experience.values, experience.returns, mask))
    return found


def sample_rows(step: int, rollouts: Sequence[Rollout], scores: Sequence[float]) -> list[dict[str, Any]]:
    """The first few of the round, for `samples.jsonl`."""
    return [
        {
            "step": step,
            "prompt": rollout.prompt.messages[-1].content,
            "text": rollout.completion.text,
            "score": score,
            "finished": rollout.finished,
        }
        for rollout, score in list(zip(rollouts, scores, strict=True))[:SAMPLES_KEPT]
    ]
