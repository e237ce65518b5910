"""Both loops on models that take milliseconds, with a fault that can be planted at any step."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from function_reward import FunctionReward
from tiny import prompts_of, tiny_critic, tiny_policy
from torch import Tensor

from gnomon.algorithms.ppo import PPO
from gnomon.algorithms.sft import SFT
from gnomon.core.batches import Metrics
from gnomon.core.progress import StopSignal
from gnomon.core.types import Demonstration, Label, Preference, Ranking
from gnomon.data.encoding import Example, PairIndices, RankedIndices
from gnomon.models.settings import Trainable
from gnomon.rewards.reward import Reward
from gnomon.rollouts.sampling_params import Sampling
from gnomon.training.offline.loop import OfflineLoop
from gnomon.training.online.loop import OnlineLoop
from gnomon.training.runtime.checkpoints import StepCallback
from gnomon.training.runtime.distributed import Processes
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.settings import KLSettings, OfflineSettings, OnlineSettings

LORA = Trainable(rank=4)
TIMES = {"time", "tokens_per_second", "sampling_seconds", "experience_seconds", "update_seconds"}


class Killed(BaseException):
    """Nothing in between catches it, as nothing catches SIGKILL."""


class Watched:
    """An algorithm that calls `before(n)` ahead of its n-th loss."""

    def __init__(self, algorithm: Any, before: Callable[[int], None]):
        self._algorithm, self._before, self.calls = algorithm, before, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._algorithm, name)

    def loss(self, models: Any, batch: Any) -> tuple[Tensor, Metrics]:
        self.calls += 1
        self._before(self.calls)
        found: tuple[Tensor, Metrics] = self._algorithm.loss(models, batch)
        return found


def recorded(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what a clock said."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def weights_of(models: TrainedModels) -> list[Tensor]:
    both = [models.trained] + ([models.critic_model] if models.critic_model else [])
    return [p.detach().clone() for model in both for p in model.trainable().values()]


def demonstrations() -> list[Example]:
    """Ten of ragged lengths, so that steps of four do not divide an epoch."""
    generator = torch.Generator().manual_seed(0)

    def draw(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(0, 61, (n,), generator=generator).tolist())

    return [Example(f"p{i}", draw(1 + i % 4), (draw(2 + i % 5),), weight=1.0 + i) for i in range(10)]


def examples_for(algorithm: Any) -> list[Example]:
    """Ten prompts of ragged completions: three in pairs and orders, one where there are labels or nothing."""
    generator = torch.Generator().manual_seed(0)

    def draw(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(0, 61, (n,), generator=generator).tolist())

    said: dict[type, Callable[[int], dict[str, Any]]] = {
        Demonstration: lambda i: {},
        Label: lambda i: {"good": i % 3 != 0},
        Preference: lambda i: {"pairs": (PairIndices(0, 1, 0.9, 1.0, 1.0), PairIndices(1, 2, 0.6, 0.2, 2.0))},
        Ranking: lambda i: {"rankings": (RankedIndices((0, 1, 2), 1.0), RankedIndices((0, 2), 2.0))},
    }
    count = 3 if algorithm.consumes in (Preference, Ranking) else 1
    found = []
    for i in range(10):
        prompt, completions = draw(1 + i % 4), tuple((*draw(1 + (i + k) % 5), 60 - k) for k in range(3))
        found.append(Example(f"p{i}", prompt, completions[:count], **said[algorithm.consumes](i)))
    return found


def offline(
    folder: Path,
    *,
    before: Callable[[int], None] = lambda call: None,
    stop: StopSignal | None = None,
    models: TrainedModels | None = None,
    algorithm: Any = None,
    reference_cache: Path | None = None,
    callback: StepCallback | None = None,
    **settings: Any,
) -> TrainedModels:
    """Seven steps of SFT on a fresh model, or what is left of them; one loss a step. Or another algorithm."""
    chosen = {"epochs": 2.6, "batch_size": 4, "learning_rate": 0.01, "micro_batch_tokens": 10_000} | settings
    models = models or TrainedModels(tiny_policy(trainable=LORA))
    OfflineLoop(
        algorithm=cast(Any, Watched(algorithm or SFT(), before)),
        models=models,
        examples=demonstrations() if algorithm is None else examples_for(algorithm),
        settings=OfflineSettings(**chosen),
        folder=folder,
        seed=3,
        stop=StopSignal() if stop is None else stop,
        label="sft",
        reference_cache=reference_cache,
        callback=callback,
    ).run()
    return models


def letters_a(prompt: Any, text: str) -> float:
    """How often the letter a stands in the text, less its length in words."""
    return text.count("a") - 0.1 * len(text)


def online(
    folder: Path,
    words: Any,
    *,
    before: Callable[[int], None] = lambda call: None,
    stop: StopSignal | None = None,
    reward: Reward | None = None,
    sampling: dict[str, Any] | None = None,
    trainable: Trainable = LORA,
    processes: Processes | None = None,
    algorithm: Any = None,
    callback: StepCallback | None = None,
    critic: Trainable | None = LORA,
    reference_weights: Mapping[str, Tensor] | None = None,
    **settings: Any,
) -> OnlineLoop:
    """Four rounds of PPO on fresh models: 3 of 4 prompts, K = 2, two passes in two minibatches each."""
    chosen: dict[str, Any] = {
        "steps": 4,
        "prompts_per_step": 3,
        "epochs": 2,
        "minibatches": 2,
        "learning_rate": 0.01,
    }
    chosen |= {"kl": KLSettings(target=0.05, horizon=20), "micro_batch_tokens": 10_000} | settings
    values = tiny_critic(words, critic, seed=1) if critic else None
    models = TrainedModels(tiny_policy(words, trainable), values, temperature=0.9)
    draws = {"completions": 2, "max_tokens": 5, "temperature": 0.9} | (sampling or {})
    return OnlineLoop(
        algorithm=cast(Any, Watched(algorithm or PPO(), before)),
        token_reward=tiny_policy(words, seed=2) if algorithm and "token_reward" in algorithm.needs else None,
        models=models,
        reward=reward or FunctionReward(letters_a, "a"),
        prompts=prompts_of("a", "b c", "c c c", "a b a"),
        settings=OnlineSettings(**chosen),
        sampling=Sampling(**draws),
        folder=folder,
        seed=5,
        stop=StopSignal() if stop is None else stop,
        label="online",
        processes=processes or Processes(),
        callback=callback,
        reference_weights=reference_weights,
    )
