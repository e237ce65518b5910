"""Settings that the two loops share; defaults are the vetted ones."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Literal, Self

from pydantic import model_validator

from gnomon.core.config import Settings
from gnomon.core.ranges import (
    Finite,
    Gigabytes,
    Positive,
    Range,
    Seconds,
    Share,
    Temperature,
    TokenBudget,
    Tokens,
)


class Curriculum(Settings):
    """Prefer prompts that are neither solved nor hopeless.

    A prompt is drawn with weight `exp(−(rate − target)²/(2·width²))`, `rate` the share of its completions that
    scored above `success`, averaged over its rounds; one that has not been tried has weight 1.

    Attributes:
        target: the success rate that teaches most; ½ has the largest variance.
        width: how quickly the weight falls away from it.
        success: the score above which a completion counts as solved.
        memory: share of the former rate that is kept when a prompt is tried again.
    """

    target: Annotated[float, Range("it is a success rate", ge=0, le=1)] = 0.5
    width: Annotated[float, Range("it is a distance between success rates", gt=0, le=1e6)] = 0.25
    success: Finite = 0.0
    memory: Annotated[float, Range("at 1 no rate would ever change", ge=0, lt=1)] = 0.5


Moments = Literal["float32", "8bit"]
LearningRate = Annotated[float, Range("a step of that size destroys the weights", gt=0, le=10)]
Decay = Annotated[float, Range("a moment is an average that forgets; at 1 it would never move", ge=0, lt=1)]
Dropped = Annotated[float, Range("it is the share that is dropped", ge=0, lt=1)]
# Settings that a loop's numbers do not depend on.
OF_THE_MACHINE = (
    "batch_tokens",
    "memory_gb",
    "gradient_checkpointing",
    "frozen_states_gb",
    "reference_cache",
    "checkpoint_seconds",
    "samples_every",
    "models_every",
    "models_kept",
)


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
        moments: how AdamW's two moments are kept: `float32`, or `8bit`, a quarter of the memory, in blocks with a
            scale each (Dettmers et al. 2022). These need bitsandbytes, and make a large model's steps slow on a
            processor.
    """

    learning_rate: LearningRate = 3e-4
    warmup: Share = 0.05
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    weight_decay: Annotated[float, Range("weights would turn around within a few steps", ge=0, le=100)] = 0.0
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    epsilon: Annotated[float, Range("it keeps a division by 0 away", gt=0, le=1e6)] = 1e-8
    max_grad_norm: Positive = 1.0
    moments: Moments = "float32"

    @model_validator(mode="after")
    def _library_is_there(self) -> Self:
        if self.moments == "8bit" and find_spec("bitsandbytes") is None:
            raise ValueError("moments: 8bit needs bitsandbytes; pip install bitsandbytes, or leave moments away")
        return self


class LoopSettings(OptimiserSettings):
    """What both loops need.

    Attributes:
        batch_tokens: tokens of one micro-batch; less memory with less, the same numbers with any. A CPU is no
            faster with more; a GPU is: give it what its memory holds, or say `memory_gb`.
        memory_gb: what the process, or on a GPU its tensors, may take in all, in gigabytes of 10^9 bytes: a
            trial at the start sets `batch_tokens` and bounds `frozen_states_gb`. `None` leaves them as they are.
        gradient_checkpointing: compute layers again on the way back rather than keep what they said: less memory,
            about a third more time, the same numbers.
        frozen_states_gb: memory for what frozen lower layers said of tokens that come again (after a reference's
            pass, in a second epoch or minibatch): less time, the same numbers; 0 keeps nothing.
        checkpoint_seconds: how often the state is saved; 0 is after each step.
        budget_seconds: stop after the step that passes it; steps or epochs remain an upper bound, and the
            learning rate's schedule ends where the budget will.
        budget_tokens: likewise, in tokens that the trained model learns from or writes (see
            `gnomon.training.runtime.budget`).
        models_every: steps (online: rounds) after which the model as it is then is also saved as a folder of its
            own, `models/<step>` in the stage's folder, which loads as the stage's `model` does; the same numbers
            with any. A reward model's scores are shifted to an average of 0 only in `model`.
        models_kept: the newest so many of these folders stay; `None` keeps all.
    """

    batch_tokens: Annotated[int, Range("a micro-batch has tokens", ge=1, le=10**9)] = 640
    memory_gb: Annotated[float, Range("it is memory in gigabytes", gt=0, le=1e6)] | None = None
    gradient_checkpointing: bool = False
    frozen_states_gb: Gigabytes = 2.0
    checkpoint_seconds: Seconds = 120.0
    budget_seconds: Annotated[float, Range("it is a time in seconds", gt=0, le=1e9)] | None = None
    budget_tokens: TokenBudget | None = None
    models_every: Annotated[int, Range("it is a number of steps", ge=1, le=10**9)] | None = None
    models_kept: Annotated[int, Range("it is a number of folders", ge=1, le=10**6)] | None = None


class Validation(Settings):
    """A part of the data that is not trained on, and when to stop because of it.

    Attributes:
        share: of the data's prompts.
        every: optimiser steps between two looks; the last step is always looked at.
        metric: what is watched, a name from the training metrics.
        better: whether more or less of it is better.
        patience: stop after this many looks without a new best; `None` goes on to the end. The best weights so
            far are what a stage ends with.
    """

    share: Annotated[float, Range("some prompts are held out and some trained on", gt=0, lt=1)] = 0.1
    every: Annotated[int, Range("it counts optimizer steps", ge=1, le=10**9)] = 50
    metric: str = "loss"
    better: Literal["more", "less"] = "less"
    patience: Annotated[int, Range("it counts looks at the held-out part", ge=1, le=10**9)] | None = 3


class OfflineSettings(LoopSettings):
    """Training on stored data.

    Attributes:
        epochs: passes over the data.
        batch_size: examples that one step sees, at most all: demonstrations, labels, or of a prompt all pairs or
            rankings that hang together by a completion of both.
        max_tokens: longer rows (prompt and completion) are refused and written to `rejected.jsonl`.
        validation: holds a part back and keeps the best weights; `None` trains on everything to the end.
        samples_every: steps after which the policy answers the data's first prompts, into `samples.jsonl`;
            `None` never.
        adapter_dropout: share of a LoRA adapter's inputs that each pass that learns sets to 0 (Srivastava et al.
            2014); off in every other pass. With it, and with `head_dropout`, a run still goes on bit for bit and
            several processes learn what one learns, but numbers depend on how `batch_tokens` cuts a step.
        head_dropout: likewise of the states that a reward model's head reads.
        reference_cache: keep what the reference says on disk, for later runs that ask it the same.
    """

    epochs: Annotated[float, Range("a pass sees at least one row in a million", ge=1e-6, le=1e6)] = 1.0
    batch_size: Annotated[int, Range("a step sees examples", ge=1, le=10**9)] = 16
    max_tokens: Tokens = 1024
    adapter_dropout: Dropped = 0.0
    head_dropout: Dropped = 0.0
    validation: Validation | None = None
    samples_every: Annotated[int, Range("it counts steps; null never samples", ge=1, le=10**9)] | None = 100
    reference_cache: bool = True


class KLSettings(Settings):
    """The price of leaving the reference.

    Attributes:
        coefficient: price of a nat at the start, in reward.
        target: KL of a completion, in nats, that the price is adapted to hold; `None` keeps the price.
        rule: `proportional` (Ziegler et al. 2019), or `simple`: ×1.5 above 1.5 targets, ×0.5 below half of one.
        horizon: samples over which the proportional rule may change the price by about a fifth.
        where: inside the `reward`, or as a term of the `loss`.
        estimator: `k1`, `k2` or `k3`, from the tokens that were drawn, or `full`: exact at each token, over the
            whole vocabulary; in the loss only. In the reward only k1 has the gradient of the KL.
        measure: `auto` measures the KL where a reference is used anyway; `sampled` runs the reference for this
            even where nothing else needs it; `full` measures it over the whole vocabulary too, as `kl_full`.
        exact: in the loss, weigh the estimate so that its gradient is that of its expectation, for k1 and k3 the
            KL, however the surrogate weighs tokens; off is as commonly written.
    """

    coefficient: Annotated[float, Range("a negative price pays for leaving the reference", ge=0, le=1e6)] = 0.15
    target: Annotated[float, Range("a KL is positive; null keeps the price", gt=0, le=1e6)] | None = 6.0
    rule: Literal["proportional", "simple"] = "proportional"
    horizon: Annotated[float, Range("it counts samples", gt=0, le=1e12)] = 10_000.0
    where: Literal["reward", "loss"] = "reward"
    estimator: Literal["k1", "k2", "k3", "full"] = "k1"
    exact: bool = True
    measure: Literal["auto", "sampled", "full"] = "auto"

    @model_validator(mode="after")
    def _full_is_for_the_loss(self) -> Self:
        if self.estimator == "full" and self.where != "loss":
            raise ValueError(
                "estimator: full has a gradient of its own, which a reward does not pass on; set where: loss"
            )
        return self

    @property
    def reads_vocabulary(self) -> bool:
        """Whether the reference's whole distribution is needed, not only that of what was drawn."""
        return (self.estimator == "full" and self.coefficient > 0) or self.measure == "full"


class Replay(Settings):
    """Learn again from groups of former rounds, weighted by how likely the policy still is to write them.

    Attributes:
        share: replayed groups for each fresh one.
        capacity: groups that are remembered, newest first.
        priority: groups are drawn with probability ∝ (mean |advantage| + 0.01)^priority; 0 draws alike.
    """

    share: Annotated[float, Range("it counts replayed groups for each fresh one", gt=0, le=1000)] = 0.25
    capacity: Annotated[int, Range("it counts groups", ge=1, le=10**9)] = 256
    priority: Annotated[float, Range("it is an exponent; 0 draws all alike", ge=0, le=100)] = 1.0


class Exploration(Settings):
    """Where a group's completions come from besides the policy at the stage's temperature.

    Attributes:
        temperatures: the completions of a group take these in turn.
        reference_share: share of each group's completions that the reference writes.
        weighted: give completions of another known distribution the weight π_old/π_sampler, truncated at the
            algorithm's `importance_cap`; otherwise they count as if the policy had written them.
    """

    temperatures: tuple[Temperature, ...] = ()
    reference_share: Annotated[float, Range("the policy writes the rest of a group", ge=0, lt=1)] = 0.0
    weighted: bool = True


class OnlineValidation(Settings):
    """Prompts that an online stage never learns from, and the policy that answers them best.

    Attributes:
        share: of the stage's prompts, held back by their text.
        every: rounds between two looks; the last round is always looked at.
        completions: answers to each held-out prompt.
        metric: by which policies are compared: `score_mean`, or another of the look's.
        better: whether more or less of it is better.
        patience: stop after this many looks without a new best; `None` goes on to the end. The best policy so far
            is what a stage ends with.
    """

    share: Annotated[float, Range("it is a part of the prompts", gt=0, lt=1)] = 0.1
    every: Annotated[int, Range("it counts rounds", ge=1, le=10**9)] = 10
    completions: Annotated[int, Range("it counts answers to a prompt", ge=1, le=10**5)] = 1
    metric: str = "score_mean"
    better: Literal["more", "less"] = "more"
    patience: Annotated[int, Range("it counts looks; null never stops", ge=1, le=10**9)] | None = None


class OnlineSettings(LoopSettings):
    """Training on the policy's own samples.

    Attributes:
        steps: rounds of sampling and learning.
        prompts_per_step: prompts that a round samples completions for.
        epochs: passes over each round's samples.
        minibatches: optimiser steps a pass; completions of one prompt stay in one minibatch.
        critic_learning_rate: peak step size of the critic; `None` is the policy's.
        missing_eos_score: the most that a completion can score that was cut off; it never gets more than its own
            score, nor than any completion of the round that ended. `None` keeps its own score.
        overlong_buffer: the last so many tokens before the length limit cost a ramp down to −1 (Yu et al. 2025,
            eq. 13); 0 is off.
        entropy_bonus: reward of a nat of `−log π`, on every token.
        resample: how often more prompts are drawn in place of those whose scores are all alike, until the round
            has as many groups as it asks for (Yu et al. 2025, eq. 11).
        recompute_logprobs: ask the trainer for the log-probabilities of what was sampled, and weigh by the
            sampler's; for samplers that are another program.
        reference_every: rounds after which the policy becomes the new reference; `None` never.
        kl: the price of leaving the reference.
        curriculum: prefer prompts of medium success.
        replay: learn again from former rounds.
        exploration: other sources of completions.
        validation: looks at held-out prompts and keeps the best policy; `None` trains on all and keeps the last.
    """

    epsilon: Annotated[float, Range("it keeps a division by 0 away", gt=0, le=1e6)] = 1e-5
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    steps: Annotated[int, Range("it counts rounds", ge=1, le=10**9)] = 100
    prompts_per_step: Annotated[int, Range("a round needs prompts", ge=1, le=10**7)] = 16
    epochs: Annotated[int, Range("it counts passes over a round's samples", ge=1, le=10**6)] = 1
    minibatches: Annotated[int, Range("each pass has at least one", ge=1, le=10**6)] = 2
    critic_learning_rate: LearningRate | None = None
    missing_eos_score: Finite | None = -1.0
    overlong_buffer: Annotated[int, Range("it counts tokens; 0 is off", ge=0, le=2**27)] = 0
    entropy_bonus: Annotated[float, Range("a negative bonus would pay for certainty", ge=0, le=1e6)] = 0.0
    resample: Annotated[int, Range("it counts tries; 0 is off", ge=0, le=1000)] = 0
    recompute_logprobs: bool = False
    reference_every: Annotated[int, Range("it counts rounds; null never", ge=1, le=10**9)] | None = None
    kl: KLSettings = KLSettings()
    curriculum: Curriculum | None = None
    replay: Replay | None = None
    exploration: Exploration = Exploration()
    validation: OnlineValidation | None = None
