"""What the models say of a round's completions: the policy itself, its reference, its critic, a token reward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
    """Asks each model, without gradients, a micro-batch at a time, each process a share of them.

    Attributes:
        temperature: at which policy and reference are asked.
        token_reward: a policy whose log-ratios to the reference reward single tokens.
    """

    algorithm: Algorithm
    models: TrainedModels
    settings: OnlineSettings
    temperature: float
    processes: Processes
    token_reward: Policy | None
    token_budget: TokenBudget

    @torch.no_grad()
    def policy(self, experience: Experience) -> Experience:
        """The policy's own log-probabilities, where completions were drawn from another distribution."""
        exploring = self.settings.exploration
        elsewhere = (
            bool(exploring.temperatures) or exploring.reference_share > 0 or self.settings.replay is not None
        )
        if not (elsewhere or self.settings.recompute_logprobs):
            return experience
        found = self._answers(experience, lambda t: self.models.policy.logprobs(t, temperature=self.temperature))
        drawn = experience.logprobs if exploring.weighted else None
        return replace(experience, logprobs=found, sampler_logprobs=drawn)

    @torch.no_grad()
    def reference(self, experience: Experience, weights: Mapping[str, Tensor] | None) -> Experience:
        """The reference's log-probabilities of what was drawn, where anything reads them."""
        if not needs_reference(self.algorithm, self.settings):
            return experience
        temperature = self.temperature
        policy, states = self.models.policy, None
        with policy.reference_mode(weights):
            found = self._answers(experience, lambda t: policy.logprobs(t, temperature=temperature))
            if self.settings.kl.reads_vocabulary:
                policy.remember_reference_head()
                states = self._answers(experience, policy.token_states)
        kl = None
        if states is not None and self.settings.kl.measure == "full":
            own = self._answers(experience, policy.token_states)
            kl = policy.full_kl(experience.tokens, own, states, temperature=temperature)
        priced = states if self.settings.kl.estimator == "full" else None
        return replace(experience, reference_logprobs=found, reference_states=priced, full_kl=kl)

    @torch.no_grad()
    def critic(self, experience: Experience) -> Experience:
        """The critic's values, and what its trunk said if that will not change."""
        if "critic" not in self.algorithm.needs:
            return experience
        critic = self.models.critic
        if not critic.frozen_trunk:
            return replace(experience, values=self._answers(experience, lambda t: critic.predict(t).values))
        states = self._answers(experience, lambda t: cast(Tensor, critic.predict(t).states))
        values = critic.predict(experience.tokens, states).values
        return replace(
            experience, critic_states=states, values=masked(values, experience.tokens.mask.to(values.device))
        )

    @torch.no_grad()
    def token_rewards(self, experience: Experience) -> Experience:
        """`log π_dpo − log π_ref` of each token, for algorithms that learn from them."""
        if "token_reward" not in self.algorithm.needs:
            return experience
        model, reference = self.token_reward, experience.reference_logprobs
        assert model is not None
        assert reference is not None
        found = self._answers(experience, lambda t: model.logprobs(t, temperature=self.temperature))
        return replace(experience, token_rewards=log_ratio(found, reference))

    def _ask(self, tokens: TokenGroups, ask: Callable[[TokenGroups], Tensor]) -> Tensor:
        """One micro-batch's answers, in as many passes as there is room for."""
        everyone = range(len(tokens))

        def attempt() -> list[tuple[list[int], Tensor]]:
            return [(rows, ask(tokens.select(rows))) for rows in self.token_budget.split_rows(tokens, [everyone])]

        parts = self.token_budget.run(attempt)
        if len(parts) == 1:
            return parts[0][1]
        longest = max(part.shape[1] for _, part in parts)
        found = parts[0][1].new_zeros(len(tokens), longest, *parts[0][1].shape[2:])
        for rows, part in parts:
            found[rows, : part.shape[1]] = part
        return found

    def _answers(self, experience: Experience, ask: Callable[[TokenGroups], Tensor]) -> Tensor:
        """Per-token answers of a model for all rows, `[N, T, …]`, zeros in the padding."""
        batches = micro_batches(experience.tokens, self.token_budget.initial_tokens)
        device = experience.logprobs.device
        mine = [self._ask(experience.tokens.select(rows), ask) for rows in self.processes.shard(batches)]
        if self.processes.count > 1:
            mine = [part.cpu() for part in mine]
        parts = self.processes.unshard(mine, len(batches))
        n, width = experience.tokens.mask.shape
        found = parts[0].new_zeros(n, width, *parts[0].shape[2:], device=device)
        for rows, part in zip(batches, parts, strict=True):
            found[rows, : part.shape[1]] = part.to(device)
        mask = experience.tokens.mask.to(device)
        return found.masked_fill(~mask.view(n, width, *[1] * (found.dim() - 2)), 0.0)
