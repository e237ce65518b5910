"""What keeping the states of frozen layers saves: an epoch of DPO and a round of PPO's updates, with and without.

    python benchmarks/frozen_states.py          A B A B …, medians of ratios

SmolLM2-135M with LoRA on the upper 12 of 30 layers, random token ids of the film reviews' lengths. The losses of
both ways are compared before any time is printed.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import torch

from gnomon.algorithms.dpo import DPO
from gnomon.core.batches import TokenGroups
from gnomon.core.progress import StopSignal, console
from gnomon.data.encoding import Example, PairIndices
from gnomon.models.engine.device import find_compute
from gnomon.models.external import open_policy
from gnomon.models.roles import Policy
from gnomon.models.settings import Trainable
from gnomon.training.offline.loop import OfflineLoop
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.settings import OfflineSettings

PAIRS = 3
PROMPT, COMPLETION = 40, 25  # tokens
GROUPS, WIDTH = 16, 8  # prompts of an epoch, and completions of each


def draw(count: int, generator: torch.Generator) -> tuple[int, ...]:
    return tuple(torch.randint(1000, 40_000, (count,), generator=generator).tolist())


def examples() -> list[Example]:
    generator = torch.Generator().manual_seed(0)
    pairs = tuple(PairIndices(2 * k, 2 * k + 1, 1.0, 1.0, 1.0) for k in range(WIDTH // 2))
    return [
        Example(f"p{g}", draw(PROMPT, generator), tuple(draw(COMPLETION, generator) for _ in range(WIDTH)), pairs)
        for g in range(GROUPS)
    ]


def epoch(policy: Policy, gigabytes: float) -> tuple[float, float]:
    """Seconds of an epoch of DPO, the reference's pass included, and its last loss."""
    before = {name: parameter.detach().clone() for name, parameter in policy.trainable().items()}
    settings = OfflineSettings(epochs=1, batch_size=4, learning_rate=2e-4, activation_cache_gb=gigabytes)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        last = OfflineLoop(
            algorithm=DPO(),
            models=TrainedModels(policy),
            examples=examples(),
            settings=settings,
            folder=Path(folder),
            seed=0,
            stop=StopSignal(),
            label="dpo",
        ).run()
        seconds = time.perf_counter() - started
    for name, parameter in policy.trainable().items():
        parameter.data.copy_(before[name])
    return seconds, last["loss"]


def updates(policy: Policy, gigabytes: float) -> tuple[float, float]:
    """Seconds of a round's reference pass and two updates, without the optimizer, and their last loss."""
    generator = torch.Generator().manual_seed(1)
    tokens = TokenGroups.build(
        [draw(PROMPT, generator) for _ in range(12)],
        [draw(COMPLETION, generator) for _ in range(48)],
        [n // 4 for n in range(48)],
    )
    with policy.activation_cache(gigabytes):
        started = time.perf_counter()
        policy.reference_logprobs(tokens)
        for _ in range(2):
            loss = policy.logprobs(tokens).mean()
            loss.backward()  # type: ignore[no-untyped-call]
        seconds = time.perf_counter() - started
    for parameter in policy.trainable().values():
        parameter.grad = None
    return seconds, float(loss.detach())


def main() -> None:
    console.quiet = True
    policy = open_policy("smollm2-135m", find_compute(), Trainable(layers=12))
    for name, work in (("DPO epoch", epoch), ("PPO updates", updates)):
        work(policy, 0.0)  # warm
        ratios = []
        for _ in range(PAIRS):
            (without, loss), (with_cache, same) = work(policy, 0.0), work(policy, 2.0)
            assert abs(loss - same) <= 1e-3 * abs(loss), (loss, same)
            ratios.append(without / with_cache)
        ratio_texts = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{name:12} {statistics.median(ratios):.2f} times as fast ({ratio_texts}), losses equal")


if __name__ == "__main__":
    main()
