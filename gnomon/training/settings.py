"""Settings that the two loops share; defaults are the vetted ones."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gnomon.core.config import Settings


class OptimiserSettings(Settings):
    """AdamW with warm-up and decay.

    Attributes:
        learning_rate: peak step size.
        warmup: share of all steps over which the rate rises from 0.
        schedule: what follows: `constant`, or `linear` or `cosine` down to 0.
        weight_decay: decoupled, on matrices only.
        betas: decay of the two moment estimates.
        epsilon: added to the root of the second moment.
        max_grad_norm: gradients are scaled down to this norm.
    """

    learning_rate: float = Field(default=3e-4, gt=0)
    warmup: float = Field(default=0.05, ge=0, le=1)
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = Field(default=1e-8, gt=0)
    max_grad_norm: float = Field(default=1.0, gt=0)


class LoopSettings(OptimiserSettings):
    """What both loops need.

    Attributes:
        batch_tokens: tokens of one micro-batch; less memory with less, the same numbers with any.
        gradient_checkpointing: compute layers again on the way back rather than keep what they said: less memory,
            about a third more time, the same numbers.
        checkpoint_seconds: how often the state is saved; 0 is after each step.
    """

    batch_tokens: int = Field(default=1536, gt=0)
    gradient_checkpointing: bool = False
    checkpoint_seconds: float = Field(default=120.0, ge=0)


class OfflineSettings(LoopSettings):
    """Training on stored data.

    Attributes:
        epochs: passes over the data.
        batch_size: demonstrations, or prompts with all their pairs, that one step sees.
        max_tokens: longer rows (prompt and completion) are refused and written to `rejected.jsonl`.
    """

    epochs: float = Field(default=1.0, gt=0)
    batch_size: int = Field(default=16, gt=0)
    max_tokens: int = Field(default=1024, gt=0)


class KLSettings(Settings):
    """The price of leaving the reference: k1 inside the reward.

    Attributes:
        coefficient: price of a nat at the start, in reward.
        target: KL of a completion, in nats, that the price is adapted to hold; `None` keeps the price.
        horizon: samples over which the price may change by about a fifth.
    """

    coefficient: float = Field(default=0.15, ge=0)
    target: float | None = Field(default=6.0, gt=0)
    horizon: float = Field(default=10_000.0, gt=0)


class OnlineSettings(LoopSettings):
    """Training on the policy's own samples.

    Attributes:
        steps: rounds of sampling and learning.
        prompts_per_step: prompts that a round samples completions for.
        epochs: passes over each round's samples.
        minibatches: optimiser steps a pass.
        critic_learning_rate: peak step size of the critic; `None` is the policy's.
        missing_eos_score: replaces the score of a completion that was cut off; `None` keeps the score.
        kl: the price of leaving the reference.
    """

    epsilon: float = Field(default=1e-5, gt=0)
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    steps: int = Field(default=100, gt=0)
    prompts_per_step: int = Field(default=16, gt=0)
    epochs: int = Field(default=1, gt=0)
    minibatches: int = Field(default=2, gt=0)
    critic_learning_rate: float | None = Field(default=None, gt=0)
    missing_eos_score: float | None = -1.0
    kl: KLSettings = KLSettings()
