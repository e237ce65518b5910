"""The online loop: sample completions, score them, compute log-probs and advantages, update the policy.

It uses only `needs`, `compute_advantages` and `loss` of an algorithm.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from gnomon.algorithms.contract import OnlineAlgorithm
from gnomon.core.errors import ConfigError
from gnomon.core.experience import Experience, KLPenalty, Rollout, RunningStats
from gnomon.core.storage.metrics_log import StepLog
from gnomon.core.types import Prompt
from gnomon.losses.kl import adapt_coefficient, halve_or_raise
from gnomon.losses.reduce import masked
from gnomon.models.roles import Model, Policy
from gnomon.rewards.composite import ShapedReward
from gnomon.rewards.reward import Reward
from gnomon.rollouts.experience import apply_kl_penalty, build_experience, sequence_kl
from gnomon.rollouts.sampler import NativeSampler, occurrence_index
from gnomon.rollouts.sampling_params import Sampling
from gnomon.training.checks import data_incompatibility, reuse_incompatibility, sampling_incompatibility
from gnomon.training.online.exploration import sample_group_mix
from gnomon.training.online.held_out import HeldOutEvaluator, hold_out
from gnomon.training.online.model_outputs import RolloutEvaluator
from gnomon.training.online.offline_completions import StoredCompletions
from gnomon.training.online.policy_update import PolicyUpdater
from gnomon.training.online.prompt_stream import PromptStream
from gnomon.training.online.replay_buffer import ReplayBuffer, ReplayGroup
from gnomon.training.online.reward_failures import FailureLog
from gnomon.training.online.reward_scoring import Scorer
from gnomon.training.online.round_metrics import describe, on_policy_rows, sample_rows, zero_variance_groups
from gnomon.training.online.sampler_mismatch import compare_logprobs
from gnomon.training.outcome import Alarms
from gnomon.training.runtime.loop import TrainingLoop, saved_tensors
from gnomon.training.runtime.memory_profile import Shape, shape_of_round
from gnomon.training.settings import OnlineSettings


@dataclass(kw_only=True)
class OnlineLoop(TrainingLoop):
    """One stage of training on the policy's own samples.

    Attributes:
        reward: scores completions.
        prompts: prompts, or pools of them with weights.
        sampling: how completions are sampled.
        token_reward: a policy whose log-ratios to the reference reward single tokens.
        stored: off-policy completions that join each group: a person's or another model's.
        held_out: prompts for validation.
        stream: prompts of each round.
        replay_buffer: groups of earlier rounds; `None` without `replay`.
        kl_coef: current KL coefficient.
        return_stats: running mean and standard deviation of the returns of earlier rounds.
        has_updated: whether this process has updated the policy; the first update checks the sampler.
        sampler: samples completions.
        scorer: scores them.
        evaluator: computes the models' outputs.
        updater: takes the optimizer steps of a round.
        alarms: warnings about samples.
        logged_samples: rows of the last round for `samples.jsonl`.

    Raises:
        ConfigError: the settings do not suit the algorithm.
    """

    safe_to_repeat: ClassVar[bool] = False
    settings: OnlineSettings
    reward: Reward
    prompts: Sequence[Prompt] | Sequence[tuple[Sequence[Prompt], float]]
    sampling: Sampling
    token_reward: Policy | None = None
    stored: StoredCompletions | None = None
    held_out: list[Prompt] = field(init=False)
    stream: PromptStream = field(init=False)
    replay_buffer: ReplayBuffer | None = field(init=False)
    kl_coef: float = field(init=False)
    return_stats: RunningStats = field(init=False, default_factory=RunningStats)
    has_updated: bool = field(init=False, default=False)
    sampler: NativeSampler = field(init=False)
    scorer: Scorer = field(init=False)
    evaluator: RolloutEvaluator = field(init=False)
    updater: PolicyUpdater = field(init=False)
    alarms: Alarms = field(init=False)
    logged_samples: list[dict[str, Any]] = field(init=False, default_factory=list)
    _samples: StepLog = field(init=False)
    _failures: FailureLog = field(init=False)

    def __post_init__(self) -> None:
        incompatibility = (
            data_incompatibility(self.algorithm, None)
            or sampling_incompatibility(self.algorithm, self.sampling)
            or reuse_incompatibility(self.algorithm, self.settings)
        )
        if incompatibility:
            raise ConfigError(incompatibility)
        weighted = self.prompts if isinstance(self.prompts[0], tuple) else [(self.prompts, 1.0)]
        pools, self.held_out = hold_out(cast(Any, weighted), self.settings.validation, self.seed)
        self.stream = PromptStream(pools, self.seed, self.settings.curriculum)
        super().__post_init__()
        self.replay_buffer = ReplayBuffer(self.settings.replay, self.seed) if self.settings.replay else None
        self.kl_coef = self.settings.kl.coef
        self.sampler = NativeSampler(self.models.policy)
        self.scorer = Scorer(self.reward, self.settings, self.sampling.max_tokens, self.processes)
        self.evaluator = RolloutEvaluator(
            self.algorithm,
            self.models,
            self.settings,
            self.sampling.temperature,
            self.processes,
            self.token_reward,
            self.token_budget,
        )
        self.updater = PolicyUpdater(
            self.algorithm,
            self.models,
            self.settings,
            self.optimizer,
            self.budget,
            self.processes,
            self.sft_mix,
            self.token_budget,
            self.seed,
        )
        self.alarms = Alarms(self.algorithm.min_group_size, self.sampling.max_tokens)
        needs_reference_copy = self.reference_weights is None and self.models.policy.adapter is None
        if needs_reference_copy and self.evaluator.reads_reference:
            self.reference_weights = self.models.policy.reference_weights()

    @property
    def planned_steps(self) -> int:
        """Rounds of the stage without a budget."""
        return self.settings.steps

    @property
    def updates_per_step(self) -> int:
        """Optimizer steps of a round."""
        return self.settings.epochs * self.settings.minibatches

    def parameter_groups(self) -> list[tuple[Mapping[str, nn.Parameter], float]]:
        """The policy's parameters, and the critic's if there is one."""
        rate = self.settings.learning_rate
        models: list[tuple[str, Model, float]] = [("policy", self.models.policy, rate)]
        if self.models.critic_model is not None:
            models.append(("critic", self.models.critic_model, self.settings.critic_learning_rate or rate))
        return [
            ({f"{name}.{weight}": p for weight, p in model.trainable().items()}, peak)
            for name, model, peak in models
        ]

    def typical_lengths(self) -> Shape:
        """Lengths of a round's prompts, with completions of maximum length."""
        return shape_of_round(self.stream.pools, self.models.policy.tokenizer, self.sampling)

    def progress_note(self) -> str:
        """Score and KL."""
        kl = f"  KL {self.metrics['kl']:.2f}" if "kl" in self.metrics else ""
        return f"score {self.metrics['score_mean']:+.2f}{kl}"

    def resume(self) -> None:
        """Restore the newest checkpoint if there is one, and open the logs after it."""
        super().resume()
        main = self.processes.main
        self._samples = StepLog(self.folder / "samples.jsonl", keep_steps=self.step_count, write=main)
        self._failures = FailureLog(self.folder, self.step_count, write=main)

    def record(self, step: int) -> None:
        """Log metrics, samples and reward failures of a round, and warn about its samples."""
        super().record(step)
        if self.processes.main:
            self.alarms.check(step, self.metrics)
        self._samples.record(self.logged_samples)
        self._failures.record(step, self.scorer.reasons)
        self.scorer.reasons.clear()

    def evaluate(self) -> dict[str, float]:
        """Metrics of the policy on held-out prompts."""
        validation = self.settings.validation
        assert validation is not None
        evaluator = HeldOutEvaluator(self.held_out, validation, self.sampling, self.scorer, self.processes)
        metrics = evaluator.measure(self.sampler, seed=self.seed, policy_version=self.optimizer.step_count)
        for cache in self.activation_caches:
            cache.clear()
        return metrics

    def step(self, step: int) -> dict[str, float]:
        """Sample a round, score it and learn from it; returns its metrics."""
        started = time.monotonic()
        rollouts = self.sample(step)
        sampled = time.monotonic()
        rollouts, scores, reward_metrics = self.score(rollouts)
        rollouts, scores, reward_metrics = self.resample(step, rollouts, scores, reward_metrics)
        from_sampler = self.assemble_experience(step, rollouts, scores)
        experience = self.evaluator.add_policy_logprobs(from_sampler)
        recomputed = experience is not from_sampler
        mismatch = compare_logprobs(from_sampler, experience, on_policy_rows(rollouts)) if recomputed else None
        experience = self.evaluator.add_reference_logprobs(experience, self.reference_weights)
        experience = self.evaluator.add_critic_values(experience)
        experience = self.evaluator.add_token_rewards(experience)
        experience = self.set_rewards(experience)
        experience = cast(OnlineAlgorithm, self.algorithm).compute_advantages(
            replace(experience, return_stats=self.return_stats)
        )
        evaluated = time.monotonic()
        update_metrics = self.updater.update(experience, step, mismatch, first_update=not self.has_updated)
        self.has_updated = True
        for cache in self.activation_caches:
            cache.clear()  # later rounds have other completions, and a resumed run does not have these
        times = {
            "sampling_seconds": sampled - started,
            "experience_seconds": evaluated - sampled,
            "update_seconds": time.monotonic() - evaluated,
        }
        # Replayed groups were sampled by an earlier policy, so they do not count in its metrics.
        fresh = experience.select(range(len(rollouts)), experience.totals)
        metrics = {
            **describe(fresh, on_policy_rows(rollouts)),
            "kl_coef": self.kl_coef,
            **reward_metrics,
            **update_metrics,
            **times,
        }
        self.logged_samples = sample_rows(step, rollouts, scores.tolist())
        self.update_kl_coef(fresh, rollouts)
        self.update_return_stats(fresh)
        self.update_curriculum(rollouts, scores)
        self.update_replay_buffer(fresh, rollouts, scores)
        self.update_reference(step)
        return metrics

    def sample(self, step: int, attempt: int = 0) -> list[Rollout]:
        """Sample K completions for this round's prompts."""
        prompts = self.stream.take(self.settings.prompts_per_step)
        occurrences = occurrence_index(prompts)
        groups = sample_group_mix(
            self.sampler,
            self.processes.shard(prompts),
            self.sampling,
            self.settings.exploration,
            seed=(self.seed * 1_000_003 + step) * 31 + attempt,
            policy_version=self.optimizer.step_count,
            reference=self.reference_weights,
            occurrences=self.processes.shard(occurrences),
            stored=self.stored,
        )
        drawn = self.processes.unshard(groups, len(prompts))
        self.budget.tokens += sum(len(g[0].prompt_ids) + sum(len(r.token_ids) for r in g) for g in drawn if g)
        return [rollout for group in drawn for rollout in group]

    def score(self, rollouts: list[Rollout]) -> tuple[list[Rollout], Tensor, dict[str, float]]:
        """Score completions `[N]`; rows on which the reward failed are removed and counted."""
        return self.scorer.score(rollouts)

    def resample(
        self, step: int, rollouts: list[Rollout], scores: Tensor, reward_metrics: dict[str, float]
    ) -> tuple[list[Rollout], Tensor, dict[str, float]]:
        """Replace groups whose scores are all equal by other prompts' (dynamic sampling, Yu et al. 2025, eq. 11).

        Samples until the round has enough groups, at most `dynamic_sampling_rounds` times; the round may stay
        smaller. If no group has different scores, the round is unchanged.

        Args:
            step: the round.
            rollouts: of the round.
            scores: of the rollouts, `[N]`.
            reward_metrics: of the rollouts.
        """
        for attempt in range(1, self.settings.dynamic_sampling_rounds + 1):
            differing = self._differing(rollouts, scores)
            at_hand = {rollouts[i].prompt.id for i in differing}
            missing = self.stream.groups(self.settings.prompts_per_step) - len(at_hand)
            if missing <= 0:
                break
            more, more_scores, more_metrics = self.score(self.sample(step, attempt))
            for name in ("reward_failures", "abstained_rows"):
                count = reward_metrics.get(name, 0.0) + more_metrics.get(name, 0.0)
                reward_metrics = {**reward_metrics, name: count}
            usable = [i for i in self._differing(more, more_scores) if more[i].prompt.id not in at_hand]
            chosen = list(dict.fromkeys(more[i].prompt.id for i in usable))[:missing]
            fresh = [i for i in usable if more[i].prompt.id in chosen]
            if differing or fresh:
                rollouts = [rollouts[i] for i in differing] + [more[i] for i in fresh]
                scores = torch.cat([scores[differing], more_scores[fresh]])
        return rollouts, scores, reward_metrics

    def _differing(self, rollouts: Sequence[Rollout], scores: Tensor) -> list[int]:
        """Rows of groups whose scores differ."""
        equal = zero_variance_groups(rollouts, scores)
        return [i for i, r in enumerate(rollouts) if r.prompt.id not in equal]

    def assemble_experience(self, step: int, rollouts: list[Rollout], scores: Tensor) -> Experience:
        """Build the round's experience, with groups of earlier rounds from the replay buffer if there is one.

        Args:
            step: the round.
            rollouts: of the round.
            scores: of the rollouts, `[N]`.
        """
        groups = len({r.prompt.id for r in rollouts})
        for old in self.replay_buffer.draw(groups, step) if self.replay_buffer else []:
            rollouts = [*rollouts, *old.rollouts]
            scores = torch.cat([scores, torch.tensor(old.scores)])
        experience = build_experience(rollouts, scores, limit=self.sampling.max_tokens)
        experience = replace(experience, prompt_names=tuple(r.prompt.id for r in rollouts))
        return experience.to(self.models.policy.device)

    def set_rewards(self, experience: Experience) -> Experience:
        """Set the rewards of tokens; with `placement: loss` the KL penalty is a term of the loss instead."""
        kl = self.settings.kl
        penalized = apply_kl_penalty(
            experience,
            self.kl_coef,
            placement=kl.placement,
            estimator=kl.estimator,
            entropy_bonus=self.settings.entropy_bonus,
        )
        if kl.placement != "loss" or not self.kl_coef:
            return penalized
        return replace(penalized, penalty=KLPenalty(self.kl_coef, kl.estimator, kl.unbiased_gradient))

    def update_kl_coef(self, experience: Experience, rollouts: Sequence[Rollout]) -> None:
        """Adapt the KL coefficient to the KL of the policy's own samples.

        Args:
            experience: of the round's own samples.
            rollouts: of the round.
        """
        settings, on_policy = self.settings.kl, on_policy_rows(rollouts)
        if settings.target is None or not settings.coef or not on_policy:
            return
        kls = sequence_kl(experience)[on_policy]
        kl = float(kls.mean())
        if settings.controller == "simple":
            self.kl_coef = halve_or_raise(self.kl_coef, kl, target=settings.target)
        else:
            self.kl_coef = adapt_coefficient(
                self.kl_coef, kl, len(kls), target=settings.target, horizon=settings.horizon
            )

    def update_return_stats(self, experience: Experience) -> None:
        """Add a round's returns to the running statistics."""
        assert experience.rewards is not None
        mask = experience.tokens.mask.to(experience.rewards.device)
        self.return_stats = self.return_stats.update(masked(experience.rewards, mask).sum(dim=1))

    def update_curriculum(self, rollouts: Sequence[Rollout], scores: Tensor) -> None:
        """Update the prompts' success rates from a round's scores, `[N]`."""
        self.stream.update_success_rates(
            {name: scores[rows].tolist() for name, rows in rows_by_prompt(rollouts).items()}
        )

    def update_replay_buffer(self, experience: Experience, rollouts: Sequence[Rollout], scores: Tensor) -> None:
        """Add a round's groups to the replay buffer if there is one.

        Args:
            experience: of the round's own samples, with advantages.
            rollouts: of the round.
            scores: of the rollouts, `[N]`.
        """
        if self.replay_buffer is None:
            return
        assert experience.advantages is not None
        mask = experience.tokens.mask.to(experience.advantages.device)
        mean_abs_advantage = masked(experience.advantages, mask).abs().sum(1) / mask.sum(1)  # [N]
        self.replay_buffer.add(
            [
                ReplayGroup(
                    tuple(rollouts[r] for r in rows),
                    tuple(scores[rows].tolist()),
                    priority=float(mean_abs_advantage[rows].mean()),
                )
                for rows in rows_by_prompt(rollouts).values()
            ]
        )

    def update_reference(self, step: int) -> None:
        """Make the policy the new reference every `ref_update_interval` rounds, if anything reads it."""
        every = self.settings.ref_update_interval
        if every and self.evaluator.reads_reference and step % every == 0:
            self.reference_weights = self.models.policy.reference_weights()

    def state(self) -> dict[str, Any]:
        """State for a checkpoint, besides weights, moments and what every loop has."""
        return {
            "kl_coef": self.kl_coef,
            **super().state(),
            "past": [self.return_stats.mean, self.return_stats.std, self.return_stats.rounds],
            "stream": self.stream.state(),
            "memory": self.replay_buffer.state() if self.replay_buffer else [],
            "reward": self.reward.state() if isinstance(self.reward, ShapedReward) else {},
        }

    def tensors(self) -> dict[str, Tensor]:
        """Tensors `[…]` for a checkpoint, with the reference's weights if they change."""
        reference = self.reference_weights if self.settings.ref_update_interval else None
        return {**super().tensors(), **{f"reference.{name}": t for name, t in (reference or {}).items()}}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Restore from a checkpoint's state and tensors."""
        super().restore(saved)
        self.kl_coef = saved["kl_coef"]
        mean, std, rounds = saved["past"]
        self.return_stats = RunningStats(mean, std, int(rounds))
        self.stream.restore(saved["stream"])
        if self.replay_buffer:
            self.replay_buffer.restore(saved["memory"])
        if isinstance(self.reward, ShapedReward):
            self.reward.restore(saved["reward"])
        self.reference_weights = saved_tensors(saved, "reference") or self.reference_weights


def rows_by_prompt(rollouts: Sequence[Rollout]) -> dict[str, list[int]]:
    """The rows of each prompt, by its id."""
    rows: dict[str, list[int]] = {}
    for row, rollout in enumerate(rollouts):
        rows.setdefault(rollout.prompt.id, []).append(row)
    return rows
