"""Memory and time of sampling, measured on two short samples: for a run's plan."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from gnomon.core.batches import TokenGroups
from gnomon.core.types import Prompt
from gnomon.models.roles import Model, Policy
from gnomon.rollouts.kv_cache import completion_capacity
from gnomon.rollouts.sampler import NativeSampler
from gnomon.rollouts.sampling_params import Sampling
from gnomon.training.runtime.memory_profile import TRIAL, Shape, peak_bytes, random_groups

TRIAL_TOKENS = (2, 10)  # tokens of the two samples


@dataclass(frozen=True)
class SamplingCost:
    """Peak bytes of sampling, and seconds if no completion ends early."""

    bytes: float
    seconds: float


def profile_sampling(
    policy: Policy, prompts: Sequence[Prompt], sampling: Sampling, loaded: Sequence[Model]
) -> SamplingCost:
    """Estimate memory and time of sampling all completions of `prompts` from two short samples.

    Args:
        policy: to sample from.
        prompts: of a round.
        sampling: of the stage.
        loaded: models in memory, not counted.
    """
    known = [t for model in loaded for t in (*model.network.parameters(), *model.network.buffers())]
    sampler = NativeSampler(policy)
    rows = len(prompts) * sampling.completions
    side_by_side = min(sampling.batch, rows)
    some = list(prompts)[: -(-side_by_side // sampling.completions)]
    seconds, sizes = [], []
    for tokens in TRIAL_TOKENS:
        short = sampling.model_copy(
            update={"max_tokens": tokens, "min_tokens": tokens, "stop": (), "stop_ids": ()}
        )
        started = time.monotonic()
        sizes.append(peak_bytes(partial(_draw, sampler, some, short), known, policy.device))
        seconds.append(time.monotonic() - started)
    seconds_per_token = max(seconds[1] - seconds[0], 0.0) / (TRIAL_TOKENS[1] - TRIAL_TOKENS[0])
    one_batch = seconds[0] + seconds_per_token * max(sampling.max_tokens - TRIAL_TOKENS[0], 0)
    config = policy.network.config.get_text_config()
    query_heads = getattr(config, "num_attention_heads", 0)  # without heads no cache grows
    heads = getattr(config, "num_key_value_heads", None) or query_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // max(query_heads, 1)
    numbers = 2 * config.num_hidden_layers * heads * head * side_by_side  # keys and values of one token a row
    # Other caches grow by one token at a time.
    capacity = completion_capacity if policy.decoder == "slots" else int
    more = max(capacity(sampling.max_tokens) - capacity(TRIAL_TOKENS[1]), 0)
    return SamplingCost(
        max(sizes) + numbers * policy.compute.dtype.itemsize * more, one_batch * rows / side_by_side
    )


def _draw(sampler: NativeSampler, prompts: Sequence[Prompt], sampling: Sampling) -> None:
    sampler.sample(prompts, sampling, seed=0)


def forward_tokens_per_second(policy: Policy, shape: Shape) -> float:
    """Throughput of a pass without a gradient, in tokens per second."""
    groups: TokenGroups = random_groups(TRIAL, shape, policy)
    started = time.monotonic()
    with torch.no_grad():
        policy.logprobs(groups)
    return groups.cost / (time.monotonic() - started)
