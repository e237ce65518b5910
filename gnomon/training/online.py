"""The online loop: sample, score, compare, credit, update, record, adapt.

It knows of an algorithm only `needs`, `credit` and `loss`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from gnomon.algorithms.contract import Algorithm, OnlineAlgorithm
from gnomon.core.batches import Experience, Moments, Penalty, Rollout, TokenGroups, merge_metrics
from gnomon.core.errors import ConfigError, RunError
from gnomon.core.progress import StopSignal, console, progress
from gnomon.core.run_folder import MetricsLog, StepLog
from gnomon.core.types import Prompt
from gnomon.data.batching import within_budget
from gnomon.losses.kl import adapt_coefficient, halve_or_raise, log_ratio
from gnomon.losses.reduce import masked
from gnomon.models.policy import Policy
from gnomon.rewards.reward import Reward, Scores
from gnomon.rewards.shaping import ShapedReward
from gnomon.rollouts.experience import build_experience, price_kl, replace_unfinished, sequence_kl, soft_overlong
from gnomon.rollouts.sampler import NativeSampler, Sampling
from gnomon.training.budget import Budget
from gnomon.training.checkpoints import load_checkpoint, save_checkpoint
from gnomon.training.guards import Saver, Watch
from gnomon.training.models import TrainedModels
from gnomon.training.optimiser import Optimiser
from gnomon.training.processes import Processes
from gnomon.training.prompts import PromptStream
from gnomon.training.replay import Remembered, ReplayMemory
from gnomon.training.rounds import alike_groups, describe, explore, minibatches, rows_with_signal, sample_rows
from gnomon.training.settings import OnlineSettings
from gnomon.training.side_task import SideTask

GAP_LIMIT, KL_LIMIT = 0.01, 1e-3  # between sampler and trainer, on tokens that the policy has just drawn


@dataclass
class OnlineLoop:
    """One stage of online training.

    Attributes:
        prompts: what is sampled for, or pools of them with weights.
        token_reward: a policy whose log-ratios to the reference reward single tokens.
        reference_weights: the weights that make the policy its own reference; where nothing is said, its adapter
            switched off, or a copy of what it begins with.
        side: demonstrations to imitate besides.
        watch: told of every step's metrics; it ends the loop by answering true.
        kl_coefficient: the price of a nat now.
        past: the returns of former rounds.
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
    reference_weights: Mapping[str, Tensor] | None = None
    side: SideTask | None = None
    processes: Processes = field(default_factory=Processes)
    watch: Watch | None = None

    def __post_init__(self) -> None:
        if not self.sampling.on_policy:
            raise ConfigError(
                f"sampling: {', '.join(self.sampling.off_policy)} would draw from another distribution than that "
                "of the model that learns; leave them out here."
            )
        if self.sampling.completions < self.algorithm.group:
            raise ConfigError(
                f"sampling.completions is {self.sampling.completions}, but this algorithm compares several of "
                f"one prompt; set it to {self.algorithm.group} or more (4 to 16 is usual)."
            )
        pools = [p if isinstance(p, tuple) else (self.prompts, 1.0) for p in self.prompts]
        pools = pools if isinstance(self.prompts[0], tuple) else pools[:1]
        self.stream = PromptStream(cast(Any, pools), self.seed, self.settings.curriculum)
        self.memory = ReplayMemory(self.settings.replay, self.seed) if self.settings.replay else None
        self.kl_coefficient = self.settings.kl.coefficient
        self.past = Moments()
        self.budget = Budget(self.settings, self.processes)
        planned = self.settings.steps * self.settings.epochs * self.settings.minibatches
        groups = [(self._named("policy"), self.settings.learning_rate)]
        if self.models.critic_model is not None:
            rate = self.settings.critic_learning_rate or self.settings.learning_rate
            groups.append((self._named("critic"), rate))
        self.optimiser = Optimiser(groups, self.settings, planned)
        self.sampler = NativeSampler(self.models.policy)
        if self.reference_weights is None and self.models.policy.adapter is None:
            self.reference_weights = self.models.policy.copy_weights()

    def _named(self, which: str) -> dict[str, torch.nn.Parameter]:
        model = self.models.policy if which == "policy" else self.models.critic
        return {f"{which}.{name}": p for name, p in model.trainable().items()}

    def run(self, label: str) -> dict[str, float]:
        """Train to the end, or from the newest checkpoint to the end; returns the last round's metrics."""
        root, planned, main = self.folder / "checkpoints", self.settings.steps, self.processes.main
        saved = load_checkpoint(root, self.optimiser.parameters, self.optimiser)
        done, last = 0, dict[str, float]()
        if saved:
            done, last = int(saved["step"]), saved["metrics"]
            self.restore(saved)
        else:
            self.budget.begin()
        log = MetricsLog(self.folder / "metrics.jsonl", keep_steps=done, write=main)
        samples = StepLog(self.folder / "samples.jsonl", keep_steps=done, write=main)

        def save(step: int) -> None:
            if main:
                state = {**self.state(), "metrics": last}
                extra = self.reference_weights if self.settings.reference_every else None
                save_checkpoint(root, step, self.optimiser.parameters, self.optimiser, state, extra)

        saver = Saver(save, self.stop, self.settings.checkpoint_seconds, self.processes)
        with progress(label, self.budget.place(0, planned)[1], quiet=not main) as bar:
            bar.at(self.budget.place(done, planned)[0])
            for step in range(done + 1, planned + 1):
                if self.budget.over and step > 1:
                    break
                ends = self.budget.planned(step - 1, planned)
                self.optimiser.planned = ends * self.settings.epochs * self.settings.minibatches
                last, shown = self.step(step)
                self.budget.lap()
                last["tokens_seen"] = float(self.budget.tokens)
                log.record(step, last)
                samples.record(shown)
                bar.at(
                    self.budget.place(step, planned)[0], f"score {last['score_mean']:+.2f}  KL {last['kl']:.2f}"
                )
                saver.after_step(step, ends)
                if self.watch and self.watch(step, last):
                    break
        return last

    def step(self, step: int) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """One round: its metrics, and some of its samples."""
        started = time.monotonic()
        rollouts = self.sample(step)
        sampled = time.monotonic()
        rollouts, scores, judged = self.score(rollouts)
        rollouts, scores, judged = self.resample(step, rollouts, scores, judged)
        experience = self.remember(step, rollouts, scores)
        experience = self.ask_policy(experience)
        experience = self.ask_reference(experience)
        experience = self.ask_critic(experience)
        experience = self.ask_token_rewards(experience)
        experience = self.price(experience)
        experience = cast(OnlineAlgorithm, self.algorithm).credit(replace(experience, past=self.past))
        experienced = time.monotonic()
        learned = self.update(experience, step)
        times = {
            "sampling_seconds": sampled - started,
            "experience_seconds": experienced - sampled,
            "update_seconds": time.monotonic() - experienced,
        }
        found = {**describe(experience), "kl_coefficient": self.kl_coefficient, **judged, **learned, **times}
        self.adapt(step, experience, rollouts, scores)
        return found, sample_rows(step, rollouts, scores.tolist())

    def sample(self, step: int, attempt: int = 0) -> list[Rollout]:
        """K completions for this round's prompts."""
        chosen = self.stream.take(self.settings.prompts_per_step)
        mine = self.processes.share(chosen)
        groups = explore(
            self.sampler,
            mine,
            self.sampling,
            self.settings.exploration,
            seed=(self.seed * 1_000_003 + step) * 31 + attempt,
            version=self.optimiser.taken,
            reference=self.reference_weights,
        )
        drawn = self.processes.gather(groups, len(chosen))
        self.budget.tokens += sum(len(g[0].prompt_ids) + sum(len(r.token_ids) for r in g) for g in drawn if g)
        return [rollout for group in drawn for rollout in group]

    def score(self, rollouts: list[Rollout]) -> tuple[list[Rollout], Tensor, dict[str, float]]:
        """Scores `[N]`; rows on which the reward failed are left out and counted."""
        found, values = self._scores(rollouts)
        kept = [i for i in range(len(rollouts)) if bool(values[i].isfinite())]
        if not kept:
            reason = found.failures[0][1] if found.failures else "scores are not finite"
            raise RunError(f"the reward '{self.reward.name}' failed on every completion of a round: {reason}.")
        judged = {"failed_rows": float(len(rollouts) - len(kept))}
        if len(found.parts) > 1:
            judged |= {f"score_{name}": float(part.nanmean()) for name, part in found.parts.items()}
        rollouts = [rollouts[i] for i in kept]
        finished = torch.tensor([r.finished for r in rollouts])
        scores = replace_unfinished(values[kept], finished, self.settings.missing_eos_score)
        lengths = torch.tensor([len(r.token_ids) for r in rollouts])
        limit = self.sampling.max_tokens
        return rollouts, scores + soft_overlong(lengths, limit, self.settings.overlong_buffer), judged

    def _scores(self, rollouts: list[Rollout]) -> tuple[Scores, Tensor]:
        """The reward's parts and values of all rows; completions of one prompt are scored in one process."""
        names = [(r.prompt.id, r.version) for r in rollouts]
        groups = [[row for row, n in enumerate(names) if n == name] for name in dict.fromkeys(names)]
        mine = [rollouts[row] for rows in self.processes.share(groups) for row in rows]
        scored = self.reward.score([r.prompt for r in mine], [r.completion for r in mine])
        everyone = self.processes.collect((scored.values, dict(scored.parts), list(scored.failures)))
        order = [
            row for rank in range(self.processes.count) for g in groups[rank :: self.processes.count] for row in g
        ]
        back = torch.tensor(order).argsort()
        values = torch.cat([theirs[0] for theirs in everyone])[back]
        parts = {n: torch.cat([theirs[1][n] for theirs in everyone])[back] for n in everyone[0][1]}
        found = Scores(values, parts, [failure for theirs in everyone for failure in theirs[2]])
        if isinstance(self.reward, ShapedReward):
            values = self.reward.combine(parts)
        return found, values

    def resample(
        self, step: int, rollouts: list[Rollout], scores: Tensor, judged: dict[str, float]
    ) -> tuple[list[Rollout], Tensor, dict[str, float]]:
        """Replace groups whose scores are all alike by other prompts', as often as the settings say."""
        wanted = self.settings.prompts_per_step
        for attempt in range(1, self.settings.resample + 1):
            alike = alike_groups(rollouts, scores)
            kept = [i for i, r in enumerate(rollouts) if r.prompt.id not in alike]
            if not alike or (len(kept) == 0 and attempt == self.settings.resample):
                break
            more, their_scores, _ = self.score(self.sample(step, attempt))
            known = {rollouts[i].prompt.id for i in kept}
            dull = alike_groups(more, their_scores)
            fresh = [i for i, r in enumerate(more) if r.prompt.id not in known | dull]
            room = list(dict.fromkeys(more[i].prompt.id for i in fresh))[: wanted - len(known)]
            fresh = [i for i in fresh if more[i].prompt.id in room]
            if not kept and not fresh:
                continue
            rollouts = [rollouts[i] for i in kept] + [more[i] for i in fresh]
            scores = torch.cat([scores[kept], their_scores[fresh]])
        return rollouts, scores, judged

    def remember(self, step: int, rollouts: list[Rollout], scores: Tensor) -> Experience:
        """The round's experience, with groups of former rounds where the settings ask for some."""
        groups = len({r.prompt.id for r in rollouts})
        for old in self.memory.draw(groups, step) if self.memory else []:
            rollouts = [*rollouts, *old.rollouts]
            scores = torch.cat([scores, torch.tensor(old.scores)])
        found = build_experience(rollouts, scores, limit=self.sampling.max_tokens)
        return found.to(self.models.policy.device)

    @torch.no_grad()
    def ask_policy(self, experience: Experience) -> Experience:
        """The policy's own log-probabilities, where completions were drawn from another distribution."""
        exploring = self.settings.exploration
        elsewhere = bool(exploring.temperatures) or exploring.reference_share > 0 or self.memory is not None
        if not (elsewhere or self.settings.recompute_logprobs):
            return experience
        found = self._ask(
            experience, lambda t: self.models.policy.logprobs(t, temperature=self.sampling.temperature)
        )
        drawn = experience.logprobs if exploring.weighted else None
        return replace(experience, logprobs=found, sampler_logprobs=drawn)

    @torch.no_grad()
    def ask_reference(self, experience: Experience) -> Experience:
        """The reference's log-probabilities of what was drawn."""
        temperature = self.sampling.temperature
        with self.models.policy.as_reference(self.reference_weights):
            found = self._ask(experience, lambda t: self.models.policy.logprobs(t, temperature=temperature))
        return replace(experience, reference_logprobs=found)

    @torch.no_grad()
    def ask_critic(self, experience: Experience) -> Experience:
        """The critic's values, and what its trunk said if that will not change."""
        if "critic" not in self.algorithm.needs:
            return experience
        critic = self.models.critic
        if not critic.frozen_trunk:
            return replace(experience, values=self._ask(experience, lambda t: critic.answer(t).values))
        states = self._ask(experience, lambda t: cast(Tensor, critic.answer(t).states))
        values = critic.answer(experience.tokens, states).values
        return replace(
            experience, critic_states=states, values=masked(values, experience.tokens.mask.to(values.device))
        )

    @torch.no_grad()
    def ask_token_rewards(self, experience: Experience) -> Experience:
        """`log π_dpo − log π_ref` of each token, for algorithms that learn from them."""
        if "token_reward" not in self.algorithm.needs:
            return experience
        model, reference = self.token_reward, experience.reference_logprobs
        assert model is not None
        assert reference is not None
        found = self._ask(experience, lambda t: model.logprobs(t, temperature=self.sampling.temperature))
        return replace(experience, token_rewards=log_ratio(found, reference))

    def price(self, experience: Experience) -> Experience:
        """Rewards with the price of the KL in them, or the price for the loss to ask."""
        kl = self.settings.kl
        priced = price_kl(
            experience,
            self.kl_coefficient,
            where=kl.where,
            estimator=kl.estimator,
            entropy_bonus=self.settings.entropy_bonus,
        )
        if kl.where != "loss" or not self.kl_coefficient:
            return priced
        return replace(priced, penalty=Penalty(self.kl_coefficient, kl.estimator, kl.exact))

    def update(self, experience: Experience, step: int) -> dict[str, float]:
        """Several passes over the batch, each in minibatches shuffled anew; metrics are means over all."""
        steps: list[dict[str, float]] = []
        for epoch in range(self.settings.epochs):
            cut = minibatches(experience, self.settings.minibatches, self.seed + step, epoch)
            steps += [self._update_minibatch(experience, rows) for rows in cut]
        learned = [found for found in steps if found]
        first = self._compare_with_sampler(steps[0], experience)
        names = dict.fromkeys(name for found in learned for name in found)
        means = {name: sum(found[name] for found in learned) / len(learned) for name in names}
        return {**means, **first, "idle_steps": float(len(steps) - len(learned))}

    def _update_minibatch(self, experience: Experience, rows: list[int]) -> dict[str, float]:
        """One optimiser step; none where no completion has anything to teach."""
        totals = replace(
            experience.totals,
            rows=len(rows),
            tokens=float(sum(int(experience.tokens.masks[r].sum()) for r in rows)),
        )
        quiet = "critic" not in self.algorithm.needs and experience.penalty is None
        taught = rows_with_signal(experience, rows) if quiet else rows
        if not taught:
            return {}
        minibatch = experience.select(taught, totals)
        self.budget.tokens += minibatch.tokens.cost + (
            self.side.tokens(self.optimiser.taken + 1) if self.side else 0
        )
        parts = []
        for micro in self.processes.share(self._micro_batches(minibatch.tokens)):
            loss, metrics = self.algorithm.loss(self.models, minibatch.select(micro, totals))
            if not torch.isfinite(loss):
                raise RunError(
                    f"the loss of optimiser step {self.optimiser.taken + 1} is not finite; the last checkpoint "
                    "stands; lower training.learning_rate and run again."
                )
            loss.backward()  # type: ignore[no-untyped-call]
            parts.append({name: float(value) for name, value in metrics.items()})
        if self.side:
            parts.append(self.side.backward(self.models, self.optimiser.taken + 1, self.processes))
        self.processes.add_up_gradients(self.optimiser.parameters.values())
        everyone = [part for theirs in self.processes.collect(parts) for part in theirs]
        rate = self.settings.learning_rate * self.optimiser.factor
        return {**merge_metrics(everyone), "grad_norm": self.optimiser.step(), "learning_rate": rate}

    def _compare_with_sampler(self, first: dict[str, float], experience: Experience) -> dict[str, float]:
        """How far the trainer was from what the sampler said, on the first minibatch; alarm if they disagree."""
        if "approx_kl" not in first:
            return {}
        gap, kl = first.get("probability_gap", 0.0), first["approx_kl"]
        if (gap > GAP_LIMIT or kl > KL_LIMIT) and experience.sampler_logprobs is None and self.processes.main:
            console.print(
                f"  [yellow]sampler and trainer disagree[/yellow]: mean |Δp| {gap:.2g}, KL {kl:.2g} a token; "
                "set training.recompute_logprobs: true, or model.precision: float32"
            )
        return {"first_approx_kl": kl, "first_probability_gap": gap}

    def adapt(self, step: int, experience: Experience, rollouts: list[Rollout], scores: Tensor) -> None:
        """Set the price of a nat for the next round, and what later rounds know of this one."""
        kl, settings = float(sequence_kl(experience).mean()), self.settings.kl
        if settings.target is not None:
            self.kl_coefficient = (
                halve_or_raise(self.kl_coefficient, kl, target=settings.target)
                if settings.rule == "simple"
                else adapt_coefficient(
                    self.kl_coefficient,
                    kl,
                    len(experience.tokens),
                    target=settings.target,
                    horizon=settings.horizon,
                )
            )
        assert experience.rewards is not None
        assert experience.advantages is not None
        mask = experience.tokens.mask.to(experience.rewards.device)
        self.past = self.past.after(masked(experience.rewards, mask).sum(dim=1))
        by_prompt: dict[str, list[int]] = {}
        for row, rollout in enumerate(rollouts):
            by_prompt.setdefault(rollout.prompt.id, []).append(row)
        self.stream.learn({name: scores[rows].tolist() for name, rows in by_prompt.items()})
        if self.memory:
            size = masked(experience.advantages, mask).abs().sum(1) / mask.sum(1)
            self.memory.add(
                [
                    Remembered(
                        tuple(rollouts[r] for r in rows), tuple(scores[rows].tolist()), float(size[rows].mean())
                    )
                    for rows in by_prompt.values()
                ]
            )
        if self.settings.reference_every and step % self.settings.reference_every == 0:
            self.reference_weights = self.models.policy.copy_weights()

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds besides weights and moments."""
        return {
            "kl_coefficient": self.kl_coefficient,
            "budget": self.budget.state(),
            "past": [self.past.mean, self.past.deviation, self.past.seen],
            "stream": self.stream.state(),
            "memory": self.memory.state() if self.memory else [],
            "reward": self.reward.state() if isinstance(self.reward, ShapedReward) else {},
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Undo `state`."""
        self.kl_coefficient = saved["kl_coefficient"]
        self.budget.restore(saved["budget"])
        mean, deviation, seen = saved["past"]
        self.past = Moments(mean, deviation, int(seen))
        self.stream.restore(saved["stream"])
        if self.memory:
            self.memory.restore(saved["memory"])
        if isinstance(self.reward, ShapedReward):
            self.reward.restore(saved["reward"])
        self.reference_weights = saved.get("extra") or self.reference_weights

    def _micro_batches(self, tokens: TokenGroups) -> list[list[int]]:
        """Rows within the token budget; completions of one prompt stay together, so it is read once."""
        members: dict[int, list[int]] = {}
        for row, g in enumerate(tokens.group.tolist()):
            members.setdefault(g, []).append(row)
        groups = list(members.items())
        costs = [len(tokens.prompts[g]) + sum(len(tokens.completions[r]) for r in rows) for g, rows in groups]
        cut = within_budget(costs, self.settings.batch_tokens)
        return [[row for i in part for row in groups[i][1]] for part in cut]

    def _ask(self, experience: Experience, ask: Callable[[TokenGroups], Tensor]) -> Tensor:
        """Per-token answers of a model for all rows, `[N, T, …]`, zeros in the padding."""
        batches = self._micro_batches(experience.tokens)
        device = experience.logprobs.device
        mine = [ask(experience.tokens.select(rows)) for rows in self.processes.share(batches)]
        if self.processes.count > 1:
            mine = [part.cpu() for part in mine]
        parts = self.processes.gather(mine, len(batches))
        n, width = experience.tokens.mask.shape
        found = parts[0].new_zeros(n, width, *parts[0].shape[2:], device=device)
        for rows, part in zip(batches, parts, strict=True):
            found[rows, : part.shape[1]] = part.to(device)
        mask = experience.tokens.mask.to(device)
        return found.masked_fill(~mask.view(n, width, *[1] * (found.dim() - 2)), 0.0)
