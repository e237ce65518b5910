"""Gnomon's side of a case, in a process of its own: python ours.py CASE RESULT."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import work
from torch.utils.flop_counter import FlopCounterMode
from work import Case

from gnomon.algorithms.contract import algorithms
from gnomon.core.progress import StopSignal, console
from gnomon.core.types import Message, Prompt
from gnomon.data.encoding import Example, PairIndices
from gnomon.data.mismatched_pairs import MismatchedPairs
from gnomon.models.engine import onednn_weights
from gnomon.models.engine.device import find_compute
from gnomon.models.loading import load_critic, load_policy, load_reward_model
from gnomon.models.settings import Trainable
from gnomon.rewards.python_reward import make_function_reward
from gnomon.rewards.reward import LearnedReward
from gnomon.rollouts.sampler import NativeSampler
from gnomon.rollouts.sampling_params import Sampling
from gnomon.training.offline import loop as offline
from gnomon.training.online.loop import OnlineLoop
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.settings import KLSettings, OfflineSettings, OnlineSettings

ALL = Trainable(adapter="none")
PLAIN = {"learning_rate": work.LEARNING_RATE, "schedule": "constant", "warmup": 0.0, "checkpoint_seconds": 1e6}


def examples(case: Case) -> list[Example]:
    if case.work == "kto":
        labeled = enumerate(work.labelled(case))
        return [Example(f"p{n}", row.prompt, (completion,), good=good) for n, (row, completion, good) in labeled]
    pairs = (PairIndices(0, 1, 1.0, 0.0, 1.0),)
    return [
        Example(f"p{n}", r.prompt, (r.chosen,))
        if case.work == "sft"
        else Example(f"p{n}", r.prompt, (r.chosen, r.rejected), pairs)
        for n, r in enumerate(work.rows(case))
    ]


def train_stored(case: Case, folder: Path) -> tuple[list[float], list[float]]:
    """Seconds and losses of each step; the reference's pass over all data is shared out to the steps."""
    compute = find_compute("cpu", case.precision)
    if case.work == "reward_model":
        model = load_reward_model(f"{case.model}/scorer", compute, ALL, seed=0)
    else:
        model = load_policy(f"{case.model}/policy", compute, ALL)
    offline.epoch_order = lambda count, seed, epoch: list(range(count))  # type: ignore[attr-defined]
    offline.mismatched_pairs = lambda encoded, *_: MismatchedPairs(  # type: ignore[attr-defined]
        encoded, {n: work.before(case, n) for n in range(len(encoded))}
    )
    settings = OfflineSettings(batch_size=case.rows, activation_cache_gb=0.0, **PLAIN)
    algorithm = algorithms()[case.work](**({"center_rewards_coef": 0.0} if case.work == "reward_model" else {}))
    seconds, reference_seconds = list[float](), 0.0
    train_step, compute_reference = (
        offline.OfflineLoop.train_step,
        offline.OfflineLoop.compute_reference_logprobs,
    )

    def timed(self: offline.OfflineLoop, batch: Any) -> dict[str, float]:
        started = time.perf_counter()
        metrics = train_step(self, batch)
        seconds.append(time.perf_counter() - started)
        return metrics

    def timed_reference(self: offline.OfflineLoop, encoded: Any) -> Any:
        nonlocal reference_seconds
        started = time.perf_counter()
        logprobs = compute_reference(self, encoded)
        reference_seconds = time.perf_counter() - started
        return logprobs

    offline.OfflineLoop.train_step = timed  # type: ignore[method-assign]
    offline.OfflineLoop.compute_reference_logprobs = timed_reference  # type: ignore[method-assign]
    offline.OfflineLoop(
        algorithm=algorithm,
        models=TrainedModels(model),
        examples=examples(case),
        settings=settings,
        folder=folder,
        seed=0,
        stop=StopSignal(),
        label=case.work,
    ).run()
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [s + reference_seconds / case.steps for s in seconds], [row["loss"] for row in rows]


def train_sampled(case: Case, folder: Path) -> tuple[list[float], list[float]]:
    compute = find_compute("cpu", case.precision)
    policy = load_policy(f"{case.model}/policy", compute, ALL)
    critic = reward = None
    if case.work == "ppo":
        critic = load_critic(f"{case.model}/scorer", compute, ALL, seed=0)
        judge = load_reward_model(f"{case.model}/scorer", compute, Trainable(layers=0), seed=0)
        judge.round_weights()  # as a stage's is
        reward = LearnedReward(judge, "r")
    texts = [policy.tokenizer.decode(r.prompt) for r in work.rows(case)]
    loop = OnlineLoop(
        algorithm=algorithms()[case.work](),
        models=TrainedModels(policy, critic),
        reward=reward or make_function_reward(lambda prompt, completion: work.letters(completion), "e"),
        prompts=[Prompt(f"p{n}", (Message("user", text),)) for n, text in enumerate(texts)],
        settings=OnlineSettings(
            steps=case.steps,
            prompts_per_step=case.rows,
            minibatches=1,
            truncation_score=None,
            activation_cache_gb=0.0,
            epochs=4 if case.work == "ppo" else 1,
            kl=KLSettings(coef=0.05, target=None),
            **PLAIN,
        ),
        sampling=Sampling(completions=case.completions, max_tokens=case.limit),
        folder=folder,
        seed=0,
        stop=StopSignal(),
        label=case.work,
    )
    loop.sampler.end_ids = (work.NEVER,)
    loop.run()
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    parts = ("sampling_seconds", "experience_seconds", "update_seconds")
    return [sum(row[part] for part in parts) for row in rows], []


def sample(case: Case) -> tuple[list[float], list[float]]:
    policy = load_policy(f"{case.model}/policy", find_compute("cpu", case.precision))
    sampler, seconds = NativeSampler(policy), []
    sampler.end_ids = (work.NEVER,)
    texts = [policy.tokenizer.decode(r.prompt) for r in work.rows(case)]
    for step in range(case.steps):
        prompts = [Prompt(f"p{n}", (Message("user", text),)) for n, text in enumerate(texts)][step :: case.steps]
        started = time.perf_counter()
        sampler.sample(prompts, Sampling(completions=case.completions, max_tokens=case.limit), seed=step)
        seconds.append(time.perf_counter() - started)
    return seconds, []


def main(case: Case, result: Path) -> None:
    console.quiet = True
    counter: Any = nullcontext()
    if case.count_flops:
        onednn_weights.LIMIT = 0  # the counter knows plain products only
        counter = FlopCounterMode(display=False)
    with tempfile.TemporaryDirectory() as name, counter:
        if case.work == "sample":
            seconds, losses = sample(case)
        else:
            seconds, losses = (train_stored if case.work in work.OFFLINE else train_sampled)(case, Path(name))
    flops = counter.get_total_flops() / case.steps if case.count_flops else None
    work.report(result, seconds=seconds, tokens=work.tokens_of(case), losses=losses, flops=flops)


if __name__ == "__main__":
    main(Case.read(Path(sys.argv[1])), Path(sys.argv[2]))
