"""The online loop: sample, score, compare, credit, update, record, adapt.

It uses only `needs`, `credit` and `loss` of an algorithm.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from gnomon.algorithms.contract import Algorithm, OnlineAlgorithm
from gnomon.core.errors import ConfigError
from gnomon.core.experience import Experience, KLPenalty, Rollout, RunningStats
from gnomon.core.progress import StopSignal, progress
from gnomon.core.storage.metrics_log import MetricsLog, StepLog
from gnomon.core.types import Prompt
from gnomon.losses.kl import adapt_coefficient, halve_or_raise
from gnomon.losses.reduce import masked
from gnomon.models.engine.activation_cache import FrozenLayerCache
from gnomon.models.roles import Policy
from gnomon.rewards.composite import ShapedReward
from gnomon.rewards.reward import Reward
from gnomon.rollouts.experience import build_experience, price_kl, sequence_kl
from gnomon.rollouts.sampler import NativeSampler, occurrence_index
from gnomon.rollouts.sampling_params import Sampling
from gnomon.training.checks import data_fault, needs_reference, reuse_fault, sampling_fault
from gnomon.training.offline.early_stopping import BestCheckpoint
from gnomon.training.online.exploration import sample_group_mix
from gnomon.training.online.held_out import HeldOutEvaluator, hold_out
from gnomon.training.online.model_outputs import RolloutEvaluator
from gnomon.training.online.offline_completions import StoredCompletions
from gnomon.training.online.policy_update import PolicyUpdater
from gnomon.training.online.prompt_stream import PromptStream
from gnomon.training.online.replay_buffer import ReplayBuffer, ReplayGroup
from gnomon.training.online.reward_failures import FailureLog
from gnomon.training.online.reward_scoring import Scorer
from gnomon.training.online.round_metrics import describe, own_rows, sample_rows, zero_variance_groups
from gnomon.training.online.sampler_mismatch import compare_logprobs
from gnomon.training.outcome import Alarms
from gnomon.training.runtime.budget import Budget
from gnomon.training.runtime.checkpoints import CheckpointManager, StepCallback, load_checkpoint, save_checkpoint
from gnomon.training.runtime.distributed import Processes
from gnomon.training.runtime.memory_profile import shape_of_round
from gnomon.training.runtime.micro_batching import make_token_budget
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.runtime.model_snapshots import make_snapshot_keeper
from gnomon.training.runtime.optimizer import Optimizer
from gnomon.training.runtime.sft_mix import AuxiliarySFT
from gnomon.training.settings import OnlineSettings


@dataclass
class OnlineLoop:
    """One stage of online training.

    Attributes:
        prompts: prompts, or pools of them with weights.
        token_reward: a policy whose log-ratios to the reference reward single tokens.
        reference_weights: weights of the reference; `None` disables the adapter, or copies the initial weights.
        sft_mix: demonstrations for an SFT term beside the loss.
        callback: called with each step's metrics; the loop ends when it returns true.
        kl_coef: current KL coefficient.
        return_stats: the returns of former rounds.
    """

    algorithm: Algorithm
    models: TrainedModels
    reward: Reward
    prompts: Sequence[Prompt] | Sequence[tuple[Sequence[Prompt], float]]
    settings: OnlineSettings
    sampling: Sampling
    folder: Path
    seed: int
    stop: StopSignal
    token_reward: Policy | None = None
    stored: StoredCompletions | None = None
    reference_weights: Mapping[str, Tensor] | None = None
    sft_mix: AuxiliarySFT | None = None
    processes: Processes = field(default_factory=Processes)
    callback: StepCallback | None = None

    def __post_init__(self) -> None:
        fault = data_fault(self.algorithm, None) or sampling_fault(self.algorithm, self.sampling)
        if fault := fault or reuse_fault(self.algorithm, self.settings):
            raise ConfigError(fault)
        given = self.prompts if isinstance(self.prompts[0], tuple) else [(self.prompts, 1.0)]
        pools, self.held_out = hold_out(cast(Any, given), self.settings.validation, self.seed)
        self.stream = PromptStream(pools, self.seed, self.settings.curriculum)
        self.replay_buffer = ReplayBuffer(self.settings.replay, self.seed) if self.settings.replay else None
        self.kl_coef = self.settings.kl.coef
        self.return_stats = RunningStats()
        self.frozen: list[FrozenLayerCache] = []
        self.learned = False  # from a round, since the loop was made
        self.budget = Budget(self.settings, self.processes)
        planned = self.settings.steps * self.settings.epochs * self.settings.minibatches
        groups = [(self._named("policy"), self.settings.learning_rate)]
        if self.models.critic_model is not None:
            rate = self.settings.critic_learning_rate or self.settings.learning_rate
            groups.append((self._named("critic"), rate))
        self.optimizer = Optimizer(groups, self.settings, planned)
        self.sampler = NativeSampler(self.models.policy)
        self.scorer = Scorer(self.reward, self.settings, self.sampling.max_tokens, self.processes)
        shape = partial(shape_of_round, self.stream.pools, self.sampler.policy.tokenizer, self.sampling)
        token_budget, self.for_states = make_token_budget(
            self.settings, self.models, shape, self.folder, self.processes
        )
        self.evaluator = RolloutEvaluator(
            self.algorithm,
            self.models,
            self.settings,
            self.sampling.temperature,
            self.processes,
            self.token_reward,
            token_budget,
        )
        self.updater = PolicyUpdater(
            self.algorithm,
            self.models,
            self.settings,
            self.optimizer,
            self.budget,
            self.processes,
            self.sft_mix,
            token_budget,
            self.seed,
        )
        self.alarms = Alarms(self.algorithm.min_group_size, self.sampling.max_tokens)
        own = self.reference_weights is None and self.models.policy.adapter is None
        if own and needs_reference(self.algorithm, self.settings):
            self.reference_weights = self.models.policy.reference_weights()

    def _named(self, which: str) -> dict[str, torch.nn.Parameter]:
        model = self.models.policy if which == "policy" else self.models.critic
        return {f"{which}.{name}": p for name, p in model.trainable().items()}

    def run(self, label: str) -> dict[str, float]:
        """Train to the end, or from the newest checkpoint to the end; returns the last round's metrics."""
        root, planned, main = self.folder / "checkpoints", self.settings.steps, self.processes.main
        saved = load_checkpoint(root, self.optimizer.parameters, self.optimizer)
        best = BestCheckpoint(self.settings.validation, self.optimizer.parameters, _tensors_of(saved, "best"))
        done, last, ended = 0, dict[str, float](), False
        if saved:
            done, last, ended = int(saved["step"]), saved["metrics"], bool(saved.get("ended"))
            self.restore(saved)
        else:
            self.budget.start()
        log = MetricsLog(self.folder / "metrics.jsonl", keep_steps=done, write=main)
        samples = StepLog(self.folder / "samples.jsonl", keep_steps=done, write=main)
        failures = FailureLog(self.folder, done, write=main)

        def save(step: int) -> None:
            if main:
                state = {**self.state(), "metrics": last, "ended": ended, **best.state()}
                tensors_by_name = {"best": best.weights, "reference": self.reference_weights}
                if not self.settings.ref_update_interval:
                    tensors_by_name.pop("reference")
                extra = {
                    f"{of}.{n}": t for of, tensors in tensors_by_name.items() for n, t in (tensors or {}).items()
                }
                save_checkpoint(root, step, self.optimizer.parameters, self.optimizer, state, extra)

        keeper = make_snapshot_keeper(self.models.trained, self.folder, self.settings)
        saver = CheckpointManager(save, self.stop, self.settings.checkpoint_seconds, self.processes, root, keeper)
        keeping = self.models.activation_cache(self.for_states)
        bars = progress(label, self.budget.progress(0, planned)[1], quiet=not main)
        with self.models.rounded(), keeping as self.frozen, bars as bar:
            bar.at(self.budget.progress(done, planned)[0])
            self.stop.waits = True
            for step in range(done + 1, planned + 1):
                if ended or best.exhausted or (self.budget.exhausted and step > 1):
                    break
                ends = self.budget.planned_steps(step - 1, planned)
                self.optimizer.total_steps = ends * self.settings.epochs * self.settings.minibatches
                with saver.report_non_finite():
                    last, shown = self.step(step)
                self.budget.update()
                last["tokens_seen"] = float(self.budget.tokens)
                if best.due(step, step if self.budget.exhausted else planned):
                    last |= best.update(self.examine(), step)
                log.record(step, last)
                if main:
                    self.alarms.look(step, last)
                samples.record(shown)
                failures.record(step, self.scorer.reasons)
                self.scorer.reasons.clear()
                bar.at(
                    self.budget.progress(step, planned)[0],
                    f"score {last['score_mean']:+.2f}" + (f"  KL {last['kl']:.2f}" if "kl" in last else ""),
                )
                # Before the checkpoint: a step that is saved is one that trackers have, and whose end is known.
                ended = bool(self.callback and self.callback(step, last))
                saver.after_step(step, ends)
        best.restore_weights()
        return last

    def examine(self) -> dict[str, float]:
        """Metrics of the policy on held-out prompts."""
        validation = self.settings.validation
        assert validation is not None
        examiner = HeldOutEvaluator(self.held_out, validation, self.sampling, self.scorer, self.processes)
        metrics = examiner.measure(self.sampler, seed=self.seed, version=self.optimizer.step_count)
        for states in self.frozen:
            states.clear()
        return metrics

    def step(self, step: int) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """One round: its metrics, and some of its samples."""
        started = time.monotonic()
        rollouts = self.sample(step)
        sampled = time.monotonic()
        rollouts, scores, judged = self.score(rollouts)
        rollouts, scores, judged = self.resample(step, rollouts, scores, judged)
        drawn = self.remember(step, rollouts, scores)
        experience = self.evaluator.policy(drawn)
        mismatch = None if experience is drawn else compare_logprobs(drawn, experience, own_rows(rollouts))
        experience = self.evaluator.reference(experience, self.reference_weights)
        experience = self.evaluator.critic(experience)
        experience = self.evaluator.token_rewards(experience)
        experience = self.price(experience)
        experience = cast(OnlineAlgorithm, self.algorithm).credit(
            replace(experience, return_stats=self.return_stats)
        )
        experienced = time.monotonic()
        learned = self.updater.update(experience, step, mismatch, new=not self.learned)
        self.learned = True
        for states in self.frozen:
            states.clear()  # later rounds have other completions, and a resumed run does not have these
        times = {
            "sampling_seconds": sampled - started,
            "experience_seconds": experienced - sampled,
            "update_seconds": time.monotonic() - experienced,
        }
        # Replayed groups were sampled by an earlier policy, so they do not count in its metrics.
        fresh = experience.select(range(len(rollouts)), experience.totals)
        metrics = {
            **describe(fresh, own_rows(rollouts)),
            "kl_coef": self.kl_coef,
            **judged,
            **learned,
            **times,
        }
        self.adapt(step, fresh, rollouts, scores)
        return metrics, sample_rows(step, rollouts, scores.tolist())

    def sample(self, step: int, attempt: int = 0) -> list[Rollout]:
        """Sample K completions for this round's prompts."""
        chosen = self.stream.take(self.settings.prompts_per_step)
        shard, before = self.processes.shard(chosen), self.processes.shard(occurrence_index(chosen))
        groups = sample_group_mix(
            self.sampler,
            shard,
            self.sampling,
            self.settings.exploration,
            seed=(self.seed * 1_000_003 + step) * 31 + attempt,
            version=self.optimizer.step_count,
            reference=self.reference_weights,
            before=before,
            stored=self.stored,
        )
        drawn = self.processes.unshard(groups, len(chosen))
        self.budget.tokens += sum(len(g[0].prompt_ids) + sum(len(r.token_ids) for r in g) for g in drawn if g)
        return [rollout for group in drawn for rollout in group]

    def score(self, rollouts: list[Rollout]) -> tuple[list[Rollout], Tensor, dict[str, float]]:
        """Score completions `[N]`; rows on which the reward failed are removed and counted."""
        return self.scorer.score(rollouts)

    def resample(
        self, step: int, rollouts: list[Rollout], scores: Tensor, judged: dict[str, float]
    ) -> tuple[list[Rollout], Tensor, dict[str, float]]:
        """Replace groups whose scores are all equal by other prompts' (dynamic sampling, Yu et al. 2025, eq. 11).

        Samples until the round has enough groups, at most `dynamic_sampling_rounds` times; the round may stay
        smaller. If no group has different scores, the round is unchanged.

        Args:
            step: the round.
            rollouts: of the round.
            scores: of the rollouts, `[N]`.
            judged: metrics of the reward.
        """
        for attempt in range(1, self.settings.dynamic_sampling_rounds + 1):
            differing = self._differing(rollouts, scores)
            at_hand = {rollouts[i].prompt.id for i in differing}
            missing = self.stream.groups(self.settings.prompts_per_step) - len(at_hand)
            if missing <= 0:
                break
            more, more_scores, more_metrics = self.score(self.sample(step, attempt))
            for name in ("reward_failures", "abstained_rows"):
                judged = {**judged, name: judged.get(name, 0.0) + more_metrics.get(name, 0.0)}
            usable = [i for i in self._differing(more, more_scores) if more[i].prompt.id not in at_hand]
            chosen = list(dict.fromkeys(more[i].prompt.id for i in usable))[:missing]
            fresh = [i for i in usable if more[i].prompt.id in chosen]
            if differing or fresh:
                rollouts = [rollouts[i] for i in differing] + [more[i] for i in fresh]
                scores = torch.cat([scores[differing], more_scores[fresh]])
        return rollouts, scores, judged

    def _differing(self, rollouts: Sequence[Rollout], scores: Tensor) -> list[int]:
        """Rows of groups whose scores differ."""
        equal = zero_variance_groups(rollouts, scores)
        return [i for i, r in enumerate(rollouts) if r.prompt.id not in equal]

    def remember(self, step: int, rollouts: list[Rollout], scores: Tensor) -> Experience:
        """The round's experience, with replayed groups if there is a replay buffer.

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
        experience = replace(experience, names=tuple(r.prompt.id for r in rollouts))
        return experience.to(self.models.policy.device)

    def price(self, experience: Experience) -> Experience:
        """Add rewards with the KL penalty, or the penalty for the loss."""
        kl = self.settings.kl
        priced = price_kl(
            experience,
            self.kl_coef,
            placement=kl.placement,
            estimator=kl.estimator,
            entropy_bonus=self.settings.entropy_bonus,
        )
        if kl.placement != "loss" or not self.kl_coef:
            return priced
        return replace(priced, penalty=KLPenalty(self.kl_coef, kl.estimator, kl.unbiased_gradient))

    def adapt(self, step: int, experience: Experience, rollouts: list[Rollout], scores: Tensor) -> None:
        """Update the KL coefficient, return statistics, curriculum, replay buffer and reference after a round.

        Args:
            step: the round.
            experience: of the round's own samples.
            rollouts: of the round.
            scores: of the rollouts, `[N]`.
        """
        settings, own = self.settings.kl, own_rows(rollouts)
        if settings.target is not None and settings.coef and own:
            kls = sequence_kl(experience)[own]
            kl = float(kls.mean())
            self.kl_coef = (
                halve_or_raise(self.kl_coef, kl, target=settings.target)
                if settings.controller == "simple"
                else adapt_coefficient(
                    self.kl_coef,
                    kl,
                    len(kls),
                    target=settings.target,
                    horizon=settings.horizon,
                )
            )
        assert experience.rewards is not None
        assert experience.advantages is not None
        mask = experience.tokens.mask.to(experience.rewards.device)
        self.return_stats = self.return_stats.after(masked(experience.rewards, mask).sum(dim=1))
        by_prompt: dict[str, list[int]] = {}
        for row, rollout in enumerate(rollouts):
            by_prompt.setdefault(rollout.prompt.id, []).append(row)
        self.stream.learn({name: scores[rows].tolist() for name, rows in by_prompt.items()})
        if self.replay_buffer:
            size = masked(experience.advantages, mask).abs().sum(1) / mask.sum(1)
            self.replay_buffer.add(
                [
                    ReplayGroup(
                        tuple(rollouts[r] for r in rows), tuple(scores[rows].tolist()), float(size[rows].mean())
                    )
                    for rows in by_prompt.values()
                ]
            )
        every, read = self.settings.ref_update_interval, needs_reference(self.algorithm, self.settings)
        if every and read and step % every == 0:
            self.reference_weights = self.models.policy.reference_weights()

    def state(self) -> dict[str, Any]:
        """State for a checkpoint, besides weights and moments."""
        return {
            "kl_coef": self.kl_coef,
            "budget": self.budget.state(),
            "past": [self.return_stats.mean, self.return_stats.deviation, self.return_stats.seen],
            "stream": self.stream.state(),
            "memory": self.replay_buffer.state() if self.replay_buffer else [],
            "reward": self.reward.state() if isinstance(self.reward, ShapedReward) else {},
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Restore from `state`."""
        self.kl_coef = saved["kl_coef"]
        self.budget.restore(saved["budget"])
        mean, deviation, seen = saved["past"]
        self.return_stats = RunningStats(mean, deviation, int(seen))
        self.stream.restore(saved["stream"])
        if self.replay_buffer:
            self.replay_buffer.restore(saved["memory"])
        if isinstance(self.reward, ShapedReward):
            self.reward.restore(saved["reward"])
        reference = _tensors_of(saved, "reference")
        self.reference_weights = (reference and reference.get("extra")) or self.reference_weights


def _tensors_of(saved: dict[str, Any] | None, name: str) -> dict[str, Any] | None:
    """A checkpoint's state with only the `extra` tensors below `name`."""
    if saved is None:
        return None
    start = f"{name}."
    extra = {n: tensor for n, tensor in (saved.get("extra") or {}).items() if n.startswith(start)}
    return {**saved, "extra": {n.removeprefix(start): tensor for n, tensor in extra.items()}}
