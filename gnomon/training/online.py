"""The online loop: sample, score, reference, value, credit, update, record, adapt.

It knows of an algorithm only `needs`, `credit` and `loss`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch

from gnomon.algorithms.contract import Algorithm, OnlineAlgorithm
from gnomon.core.batches import Experience, Rollout, Totals, merge_metrics
from gnomon.core.errors import ConfigError, RunError
from gnomon.core.progress import StopSignal, progress
from gnomon.core.run_folder import MetricsLog, to_json, write_jsonl
from gnomon.core.types import Prompt
from gnomon.data.batching import epoch_order, within_budget
from gnomon.losses.advantages import explained_variance
from gnomon.losses.kl import adapt_coefficient
from gnomon.losses.reduce import masked
from gnomon.models.policy import Policy
from gnomon.rewards.reward import Reward
from gnomon.rollouts.experience import (
    build_experience,
    price_kl,
    replace_unfinished,
    sequence_kl,
)
from gnomon.rollouts.sampler import NativeSampler, Sampling
from gnomon.training.checkpoints import load_checkpoint, save_checkpoint
from gnomon.training.guards import Saver
from gnomon.training.models import TrainedModels
from gnomon.training.optimiser import Optimiser
from gnomon.training.settings import OnlineSettings

SAMPLES_KEPT = 8  # of each round, in samples.jsonl


@dataclass
class OnlineLoop:
    """One stage of online training.

    Attributes:
        reference: a second model, where the policy has no adapter to switch off.
        kl_coefficient: the price of a nat now.
    """

    algorithm: Algorithm
    models: TrainedModels
    reward: Reward
    prompts: Sequence[Prompt]
    settings: OnlineSettings
    sampling: Sampling
    folder: Path
    seed: int
    stop: StopSignal
    reference: Policy | None = None

    def __post_init__(self) -> None:
        if not self.sampling.on_policy:
            raise ConfigError(
                f"sampling: {', '.join(self.sampling.off_policy)} would draw from another distribution than that "
                "of the model that learns; leave them out here."
            )
        self.kl_coefficient = self.settings.kl.coefficient
        planned = self.settings.steps * self.settings.epochs * self.settings.minibatches
        groups = [(self._named("policy"), self.settings.learning_rate)]
        if self.models.critic_model is not None:
            rate = self.settings.critic_learning_rate or self.settings.learning_rate
            groups.append((self._named("critic"), rate))
        self.optimiser = Optimiser(groups, self.settings, planned)
        self.sampler = NativeSampler(self.models.policy)
        self.samples: list[dict[str, object]] = []

    def _named(self, which: str) -> dict[str, torch.nn.Parameter]:
        model = self.models.policy if which == "policy" else self.models.critic
        return {f"{which}.{name}": p for name, p in model.trainable().items()}

    def run(self, label: str) -> dict[str, float]:
        """Train to the end, or from the newest checkpoint to the end; returns the last round's metrics."""
        root, planned = self.folder / "checkpoints", self.settings.steps
        saved = load_checkpoint(root, self.optimiser.parameters, self.optimiser)
        done = int(saved["step"]) if saved else 0
        last: dict[str, float] = {}
        if saved:
            self.kl_coefficient, self.samples, last = (
                saved["kl_coefficient"],
                saved["samples"],
                saved["metrics"],
            )
        log = MetricsLog(self.folder / "metrics.jsonl", keep_steps=done)

        def save(step: int) -> None:
            state = {"kl_coefficient": self.kl_coefficient, "samples": self.samples, "metrics": last}
            save_checkpoint(root, step, self.optimiser.parameters, self.optimiser, state)

        saver = Saver(save, self.stop, self.settings.checkpoint_seconds)
        with progress(label, planned) as bar:
            bar.at(done)
            for step in range(done + 1, planned + 1):
                last = self.step(step)
                log.record(step, last)
                bar.at(step, f"score {last['score_mean']:+.2f}  KL {last['kl']:.2f}")
                saver.after_step(step, planned)
        write_jsonl(self.folder / "samples.jsonl", self.samples)
        return last

    def step(self, step: int) -> dict[str, float]:
        """One round."""
        started = time.monotonic()
        rollouts = self.sample(step)
        sampled = time.monotonic()
        rollouts, experience, failed = self.score(rollouts)
        experience = self.ask_reference(experience)
        experience = self.ask_critic(experience)
        experience = price_kl(experience, self.kl_coefficient)
        experience = cast(OnlineAlgorithm, self.algorithm).credit(experience)
        experienced = time.monotonic()
        learned = self.update(experience, step)
        times = {
            "sampling_seconds": sampled - started,
            "experience_seconds": experienced - sampled,
            "update_seconds": time.monotonic() - experienced,
        }
        self.keep_samples(step, rollouts, experience)
        found = {**self.describe(experience), **learned, **times, "failed_rows": float(failed)}
        self.adapt(experience)
        return found

    def sample(self, step: int) -> list[Rollout]:
        """K completions for this round's prompts, which are walked in a new order each time round."""
        count, size = len(self.prompts), self.settings.prompts_per_step
        places = range((step - 1) * size, step * size)
        orders = {p // count: epoch_order(count, self.seed, p // count) for p in places}
        chosen = [self.prompts[orders[p // count][p % count]] for p in places]
        seed = self.seed * 1_000_003 + step
        return self.sampler.sample(chosen, self.sampling, seed=seed, version=self.optimiser.taken)

    def score(self, rollouts: list[Rollout]) -> tuple[list[Rollout], Experience, int]:
        """Experience with scores; rows on which the reward failed are left out and counted."""
        found = self.reward.score([r.prompt for r in rollouts], [r.completion for r in rollouts])
        kept = [i for i in range(len(rollouts)) if bool(found.values[i].isfinite())]
        if not kept:
            reason = found.failures[0][1] if found.failures else "scores are not finite"
            raise RunError(f"the reward '{self.reward.name}' failed on every completion of a round: {reason}.")
        rollouts = [rollouts[i] for i in kept]
        finished = torch.tensor([r.finished for r in rollouts])
        scores = replace_unfinished(found.values[kept], finished, self.settings.missing_eos_score)
        return (
            rollouts,
            build_experience(rollouts, scores).to(self.models.policy.device),
            len(found.values) - len(kept),
        )

    @torch.no_grad()
    def ask_reference(self, experience: Experience) -> Experience:
        """The reference's log-probabilities of what the policy drew."""
        policy, temperature = self.models.policy, self.sampling.temperature
        parts = []
        for rows in self._micro_batches(experience):
            tokens = experience.tokens.select(rows)
            parts.append(
                self.reference.logprobs(tokens, temperature=temperature)
                if self.reference
                else policy.reference_logprobs(tokens, temperature=temperature)
            )
        return replace(experience, reference_logprobs=self._scatter(experience, parts))

    @torch.no_grad()
    def ask_critic(self, experience: Experience) -> Experience:
        """The critic's values, and what its trunk said if that will not change."""
        if "critic" not in self.algorithm.needs:
            return experience
        batches = self._micro_batches(experience)
        answers = [self.models.critic.answer(experience.tokens.select(rows)) for rows in batches]
        values = self._scatter(
            experience,
            [
                masked(a.values, experience.tokens.select(r).mask.to(a.values.device))
                for a, r in zip(answers, batches, strict=True)
            ],
        )
        states = [a.states for a in answers if a.states is not None]
        kept = self._scatter(experience, states) if len(states) == len(answers) else None
        return replace(experience, values=values, critic_states=kept)

    def update(self, experience: Experience, step: int) -> dict[str, float]:
        """Several passes over the batch, each in minibatches shuffled anew; metrics are means over all."""
        count = len(experience.tokens)
        size = -(-count // self.settings.minibatches)
        steps: list[dict[str, float]] = []
        for epoch in range(self.settings.epochs):
            order = epoch_order(count, self.seed + step, epoch)
            for start in range(0, count, size):
                steps.append(self._update_minibatch(experience, order[start : start + size]))
                if len(steps) == 1:
                    first = {"first_approx_kl": steps[0]["approx_kl"]} if "approx_kl" in steps[0] else {}
        names = dict.fromkeys(name for found in steps for name in found)
        return {name: sum(found[name] for found in steps) / len(steps) for name in names} | first

    def _update_minibatch(self, experience: Experience, rows: list[int]) -> dict[str, float]:
        tokens = float(sum(int(experience.tokens.masks[r].sum()) for r in rows))
        totals = Totals(len(rows), tokens)
        minibatch = experience.select(rows, totals)
        parts = []
        for micro in self._micro_batches(minibatch):
            loss, metrics = self.algorithm.loss(self.models, minibatch.select(micro, totals))
            loss.backward()  # type: ignore[no-untyped-call]
            parts.append(metrics)
        rate = self.settings.learning_rate * self.optimiser.factor
        norm = self.optimiser.step()
        return {**merge_metrics(parts), "grad_norm": norm, "learning_rate": rate}

    def describe(self, experience: Experience) -> dict[str, float]:
        """What the round's samples were like, before learning from them."""
        kl = sequence_kl(experience)
        assert experience.rewards is not None
        found = {
            "score_mean": float(experience.scores.mean()),
            "score_std": float(experience.scores.std(unbiased=False)),
            "reward_mean": float(masked(experience.rewards, experience.tokens.mask.to(kl.device)).sum(1).mean()),
            "kl": float(kl.mean()),
            "kl_coefficient": self.kl_coefficient,
            "length_mean": float(experience.tokens.lengths.float().mean()),
            "missing_eos_share": 1 - float(experience.finished.float().mean()),
        }
        if experience.values is not None and experience.returns is not None:
            mask = experience.tokens.mask.to(kl.device)
            found["explained_variance"] = float(explained_variance(experience.values, experience.returns, mask))
        return found

    def adapt(self, experience: Experience) -> None:
        """Set the price of a nat for the next round."""
        kl = self.settings.kl
        if kl.target is not None:
            self.kl_coefficient = adapt_coefficient(
                self.kl_coefficient,
                float(sequence_kl(experience).mean()),
                len(experience.tokens),
                target=kl.target,
                horizon=kl.horizon,
            )

    def keep_samples(self, step: int, rollouts: Sequence[Rollout], experience: Experience) -> None:
        """The first few of the round, for `samples.jsonl`."""
        for rollout, score in list(zip(rollouts, experience.scores.tolist(), strict=True))[:SAMPLES_KEPT]:
            prompt = rollout.prompt.messages[-1].content
            row = {"step": step, "prompt": prompt, "text": rollout.completion.text, "score": score}
            self.samples.append(to_json({**row, "finished": rollout.finished}))

    def _micro_batches(self, experience: Experience) -> list[list[int]]:
        """Rows within the token budget; completions of one prompt stay together, so it is read once."""
        tokens = experience.tokens
        members: dict[int, list[int]] = {}
        for row, g in enumerate(tokens.group.tolist()):
            members.setdefault(g, []).append(row)
        groups = list(members.items())
        costs = [len(tokens.prompts[g]) + sum(len(tokens.completions[r]) for r in rows) for g, rows in groups]
        cut = within_budget(costs, self.settings.batch_tokens)
        return [[row for i in part for row in groups[i][1]] for part in cut]

    def _scatter(self, experience: Experience, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Put the rows of the micro-batches back in order, `[N, T, …]`."""
        n, width = experience.tokens.mask.shape
        found = parts[0].new_zeros(n, width, *parts[0].shape[2:])
        for rows, part in zip(self._micro_batches(experience), parts, strict=True):
            found[rows, : part.shape[1]] = part
        return found
