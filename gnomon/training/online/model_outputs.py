"""Model outputs needed for an update: policy and reference log-probs, critic values, token rewards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import torch
from torch import Tensor

from gnomon.algorithms.contract import Algorithm
from gnomon.core.batches import TokenGroups
from gnomon.core.experience import Experience
from gnomon.data.batching import micro_batches
from gnomon.losses.kl import log_ratio
from gnomon.losses.reduce import masked
from gnomon.models.roles import Policy
from gnomon.training.checks import needs_reference
from gnomon.training.runtime.distributed import Processes
from gnomon.training.runtime.micro_batching import TokenBudget
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.settings import OnlineSettings


@dataclass(frozen=True)
class RolloutEvaluator:
    """Runs each model under no_grad in micro-batches, sharded over processes.

    Attributes:
        temperature: sampling temperature, which log-probs are computed at.
        token_reward: a policy whose log-ratios to the reference reward single tokens.
    """

    algorithm: Algorithm
    models: TrainedModels
    settings: OnlineSettings
    temperature: float
    processes: Processes
    token_reward: Policy | None
    token_budget: TokenBudget

    @cached_property
    def reads_reference(self) -> bool:
        """True if a round reads the reference."""
        return needs_reference(self.algorithm, self.settings)

    @torch.no_grad()
    def add_policy_logprobs(self, experience: Experience) -> Experience:
        """Add the policy's log-probs if completions were sampled from another distribution."""
        exploring = self.settings.exploration
        off_policy = (
            bool(exploring.temperatures) or exploring.reference_share > 0 or self.settings.replay is not None
        )
        if not (off_policy or self.settings.recompute_logprobs):
            return experience
        logprobs = self._per_token(
            experience, lambda t: self.models.policy.logprobs(t, temperature=self.temperature)
        )  # [N, T]
        sampler_logprobs = experience.old_logprobs if exploring.weighted else None
        return replace(experience, old_logprobs=logprobs, sampler_logprobs=sampler_logprobs)

    @torch.no_grad()
    def add_reference_logprobs(self, experience: Experience, weights: Mapping[str, Tensor] | None) -> Experience:
        """Add the reference's log-probs of the sampled tokens, `[N, T]`, if anything reads them."""
        if not self.reads_reference:
            return experience
        temperature = self.temperature
        policy, states = self.models.policy, None
        with policy.reference_mode(weights):
            logprobs = self._per_token(
                experience, lambda t: policy.logprobs(t, temperature=temperature)
            )  # [N, T]
            if self.settings.kl.reads_vocabulary:
                policy.remember_reference_head()
                states = self._per_token(experience, policy.token_states)
        kl = None
        if states is not None and self.settings.kl.measure == "full":
            own = self._per_token(experience, policy.token_states)
            kl = policy.full_kl(experience.tokens, own, states, temperature=temperature)
        reference_states = states if self.settings.kl.estimator == "full" else None
        return replace(experience, reference_logprobs=logprobs, reference_states=reference_states, full_kl=kl)

    @torch.no_grad()
    def add_critic_values(self, experience: Experience) -> Experience:
        """Add the critic's values, and its hidden states if its trunk is frozen."""
        if "critic" not in self.algorithm.needs:
            return experience
        critic = self.models.critic
        if not critic.frozen_trunk:
            return replace(experience, values=self._per_token(experience, lambda t: critic.predict(t).values))
        states = self._per_token(experience, lambda t: cast(Tensor, critic.predict(t).states))
        values = critic.predict(experience.tokens, states).values
        return replace(
            experience, critic_states=states, values=masked(values, experience.tokens.mask.to(values.device))
        )

    @torch.no_grad()
    def add_token_rewards(self, experience: Experience) -> Experience:
        """Add `log π_dpo − log π_ref` of each token, for algorithms that use token rewards."""
        if "token_reward" not in self.algorithm.needs:
            return experience
        model, reference = self.token_reward, experience.reference_logprobs
        assert model is not None
        assert reference is not None
        logprobs = self._per_token(experience, lambda t: model.logprobs(t, temperature=self.temperature))
        return replace(experience, token_rewards=log_ratio(logprobs, reference))

    def _run(self, tokens: TokenGroups, model: Callable[[TokenGroups], Tensor]) -> Tensor:
        """Outputs for one micro-batch, in as many passes as memory requires."""
        parts: list[tuple[list[int], Tensor]] = []
        for attempt in self.token_budget.attempts():
            with attempt:
                passes = self.token_budget.split_groups(tokens, [range(len(tokens))])
                parts = [(rows, model(tokens.select(rows))) for rows in passes]
        if len(parts) == 1:
            return parts[0][1]
        longest = max(part.shape[1] for _, part in parts)
        output = parts[0][1].new_zeros(len(tokens), longest, *parts[0][1].shape[2:])
        for rows, part in parts:
            output[rows, : part.shape[1]] = part
        return output

    def _per_token(self, experience: Experience, model: Callable[[TokenGroups], Tensor]) -> Tensor:
        """Per-token outputs of a model for all rows, `[N, T, …]`, zeros in the padding."""
        batches = micro_batches(experience.tokens, self.token_budget.initial_tokens)
        device = experience.old_logprobs.device
        shard = [self._run(experience.tokens.select(rows), model) for rows in self.processes.shard(batches)]
        if self.processes.count > 1:
            shard = [part.cpu() for part in shard]
        parts = self.processes.unshard(shard, len(batches))
        n, width = experience.tokens.mask.shape
        output = parts[0].new_zeros(n, width, *parts[0].shape[2:], device=device)
        for rows, part in zip(batches, parts, strict=True):
            output[rows, : part.shape[1]] = part.to(device)
        mask = experience.tokens.mask.to(device)
        return output.masked_fill(~mask.view(n, width, *[1] * (output.dim() - 2)), 0.0)
