"""Settings of the offline and online loops, with tested defaults."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Literal, Self

from pydantic import model_validator

from gnomon.core.config import Settings
from gnomon.core.ranges import (
    BudgetTokens,
    Finite,
    Gigabytes,
    Positive,
    Range,
    Seconds,
    Share,
    Temperature,
    Tokens,
)


class Curriculum(Settings):
    """Prefer prompts of medium difficulty.

    A prompt is drawn with weight `exp(−(rate − target)²/(2·width²))`, where `rate` is the share of its
    completions that scored above `success`, averaged over its rounds; a prompt that has not been sampled yet has
    weight 1.

    Attributes:
        target: preferred success rate; at ½ the variance is largest.
        width: standard deviation of the weight around `target`.
        success: score above which a completion counts as solved.
        memory: weight of the previous rate when a prompt is sampled again.
    """

    target: Annotated[float, Range("it is a success rate", ge=0, le=1)] = 0.5
    width: Annotated[float, Range("it is a distance between success rates", gt=0, le=1e6)] = 0.25
    success: Finite = 0.0
    memory: Annotated[float, Range("at 1 no rate would ever change", ge=0, lt=1)] = 0.5


OptimizerKind = Literal["adamw", "adamw_8bit"]
LearningRate = Annotated[float, Range("a step of that size destroys the weights", gt=0, le=10)]
Decay = Annotated[float, Range("a moment is a moving average; at 1 it would never change", ge=0, lt=1)]
Dropped = Annotated[float, Range("it is a dropout probability", ge=0, lt=1)]
# Settings that do not change a loop's numbers.
NON_SEMANTIC_SETTINGS = (
    "micro_batch_tokens",
    "memory_gb",
    "gradient_checkpointing",
    "activation_cache_gb",
    "reference_cache",
    "checkpoint_seconds",
    "log_samples_every",
    "models_every",
    "models_kept",
)


class OptimizerSettings(Settings):
    """AdamW with warm-up and decay.

    Attributes:
        learning_rate: peak learning rate.
        warmup: share of all steps over which the learning rate rises from 0.
        schedule: schedule after warm-up: `constant`, or `linear` or `cosine` down to 0.
        weight_decay: decoupled, on matrices only.
        betas: decay rates of the two moment estimates.
        epsilon: added to the square root of the second moment.
        max_grad_norm: gradients are clipped to this norm.
        optimizer: `adamw` with its two moments in float32, or `adamw_8bit` with moments in a quarter of the
            memory, in blocks with one scale each (Dettmers et al. 2022); it needs bitsandbytes, and makes a large
            model's steps slow on a CPU.
    """

    learning_rate: LearningRate = 3e-4
    warmup: Share = 0.05
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    weight_decay: Annotated[float, Range("weights would turn around within a few steps", ge=0, le=100)] = 0.0
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    epsilon: Annotated[float, Range("it avoids a division by 0", gt=0, le=1e6)] = 1e-8
    max_grad_norm: Positive = 1.0
    optimizer: OptimizerKind = "adamw"

    @model_validator(mode="after")
    def _library_is_there(self) -> Self:
        if self.optimizer == "adamw_8bit" and find_spec("bitsandbytes") is None:
            raise ValueError(
                "optimizer: adamw_8bit needs bitsandbytes; run pip install bitsandbytes, or remove optimizer"
            )
        return self


class LoopSettings(OptimizerSettings):
    """Settings of both loops.

    Attributes:
        micro_batch_tokens: tokens of one micro-batch. It changes memory use, not the numbers. A GPU is faster
            with more: set it to what fits, or set `memory_gb`.
        memory_gb: memory limit of the process (on a GPU: of its tensors), in gigabytes of 10^9 bytes. A trial
            pass at the start sets `micro_batch_tokens` and bounds `activation_cache_gb`; `None` uses their
            settings.
        gradient_checkpointing: recompute activations in the backward pass instead of storing them: less memory,
            about a third more time, the same numbers.
        activation_cache_gb: memory for the activations of frozen lower layers on tokens that are read again
            (after a reference pass, in a second epoch or minibatch): less time, the same numbers; 0 caches
            nothing.
        checkpoint_seconds: time between checkpoints; 0 saves after each step.
        budget_seconds: stop after the step that exceeds it. Steps or epochs remain an upper bound, and the
            learning rate schedule ends where the budget will.
        budget_tokens: the same, in tokens that the trained model learns from or samples (see
            `gnomon.training.runtime.budget`).
        models_every: steps (online: rounds) after which the current model is also saved in a folder of its own,
            `models/<step>` in the stage's folder, which loads like the stage's `model`; the numbers do not depend
            on it. A reward model's scores are shifted to an average of 0 only in `model`.
        models_kept: number of these folders to keep, newest first; `None` keeps all.
    """

    micro_batch_tokens: Annotated[int, Range("a micro-batch has tokens", ge=1, le=10**9)] = 640
    memory_gb: Annotated[float, Range("it is memory in gigabytes", gt=0, le=1e6)] | None = None
    gradient_checkpointing: bool = False
    activation_cache_gb: Gigabytes = 2.0
    checkpoint_seconds: Seconds = 120.0
    budget_seconds: Annotated[float, Range("it is a time in seconds", gt=0, le=1e9)] | None = None
    budget_tokens: BudgetTokens | None = None
    models_every: Annotated[int, Range("it is a number of steps", ge=1, le=10**9)] | None = None
    models_kept: Annotated[int, Range("it is a number of folders", ge=1, le=10**6)] | None = None


class Validation(Settings):
    """Validation on held-out data, with early stopping.

    Attributes:
        share: share of the data's prompts that is held out.
        every: optimizer steps between two evaluations; the last step is always evaluated.
        metric: name of the training metric to compare.
        better: whether more or less of it is better.
        patience: stop after this many evaluations without a new best; `None` trains to the end. The stage ends
            with the best weights.
    """

    share: Annotated[float, Range("some prompts are held out and some trained on", gt=0, lt=1)] = 0.1
    every: Annotated[int, Range("it counts optimizer steps", ge=1, le=10**9)] = 50
    metric: str = "loss"
    better: Literal["more", "less"] = "less"
    patience: Annotated[int, Range("it counts evaluations", ge=1, le=10**9)] | None = 3


class EasyToHard(Settings):
    """Examples from easy to hard.

    Attributes:
        by: what makes an example hard: `margin`: a small one; `agreement`: a share of raters near ½;
            `length_gap`: sides of about the same length; `loss`: a large loss of the model that the stage starts
            from.
        parts: number of parts with equally many examples and steps, the easiest first.
        cumulative: whether a part also has the examples of the parts before it.
        rate_decay: factor of the learning rate from one part to the next.
    """

    by: Literal["margin", "agreement", "length_gap", "loss"] = "agreement"
    parts: Annotated[int, Range("one part is no curriculum", ge=2, le=1000)] = 3
    cumulative: bool = True
    rate_decay: Annotated[float, Range("at 0 nothing more would be learned", gt=0, le=1)] = 1.0


class OfflineSettings(LoopSettings):
    """Training on stored data.

    Attributes:
        epochs: passes over the data.
        batch_size: examples of one optimizer step, at most all: demonstrations, labels, or all pairs or rankings
            of a prompt that share completions.
        max_tokens: longer rows (prompt and completion) are refused and written to `rejected.jsonl`.
        curriculum: take the examples from easy to hard; `None` takes them in random order.
        validation: hold out a share of the data and keep the best weights; `None` trains on all of it to the end.
        log_samples_every: steps between samples of the policy for the data's first prompts, in `samples.jsonl`;
            `None` logs none.
        adapter_dropout: dropout probability on a LoRA adapter's inputs in training passes (Srivastava et al.
            2014). With it, or with `head_dropout`, runs still resume bit for bit and do not depend on the number
            of processes, but numbers depend on how `micro_batch_tokens` splits a step.
        head_dropout: the same on the hidden states that a reward model's head reads.
        reference_cache: cache the reference's log-probs on disk for later runs with the same data and reference.
    """

    epochs: Annotated[float, Range("a pass sees at least one row in a million", ge=1e-6, le=1e6)] = 1.0
    batch_size: Annotated[int, Range("a step sees examples", ge=1, le=10**9)] = 16
    max_tokens: Tokens = 1024
    adapter_dropout: Dropped = 0.0
    head_dropout: Dropped = 0.0
    curriculum: EasyToHard | None = None
    validation: Validation | None = None
    log_samples_every: Annotated[int, Range("it counts steps; null never samples", ge=1, le=10**9)] | None = 100
    reference_cache: bool = True


class KLSettings(Settings):
    """KL penalty towards the reference.

    Attributes:
        coef: initial coefficient, in reward per nat.
        target: KL of a completion, in nats, that the coefficient is adapted to; `None` keeps it fixed.
        controller: how it is adapted: `proportional` (Ziegler et al. 2019), or `simple`: ×1.5 above 1.5 targets,
            ×0.5 below half a target.
        horizon: samples over which the proportional controller changes the coefficient by at most about a fifth.
        placement: in the `reward`, or as a term of the `loss`.
        estimator: `k1`, `k2` or `k3`, from the sampled tokens, or `full`: exact at each token, over the whole
            vocabulary; in the loss only. In the reward only k1 has the gradient of the KL.
        measure: `auto` measures the KL where a reference is used anyway; `sampled` runs the reference for this
            even where nothing else needs it; `full` measures it over the whole vocabulary too, as `kl_full`.
        unbiased_gradient: in the loss, weight the estimate so that its gradient is that of its expectation (for
            k1 and k3 the KL), independent of how the surrogate weights tokens; off is the form in common use.
    """

    coef: Annotated[float, Range("a negative coefficient rewards leaving the reference", ge=0, le=1e6)] = 0.15
    target: Annotated[float, Range("a KL is positive; null keeps the coefficient fixed", gt=0, le=1e6)] | None = (
        6.0
    )
    controller: Literal["proportional", "simple"] = "proportional"
    horizon: Annotated[float, Range("it counts samples", gt=0, le=1e12)] = 10_000.0
    placement: Literal["reward", "loss"] = "reward"
    estimator: Literal["k1", "k2", "k3", "full"] = "k1"
    unbiased_gradient: bool = True
    measure: Literal["auto", "sampled", "full"] = "auto"

    @model_validator(mode="after")
    def _full_is_for_the_loss(self) -> Self:
        if self.estimator == "full" and self.placement != "loss":
            raise ValueError(
                "estimator: full has a gradient of its own, which a reward cannot carry; set placement: loss"
            )
        return self

    @property
    def reads_vocabulary(self) -> bool:
        """True if the reference is needed over the whole vocabulary, not only on sampled tokens."""
        return (self.estimator == "full" and self.coef > 0) or self.measure == "full"


class Replay(Settings):
    """Replay of groups from earlier rounds, with importance weights towards the current policy.

    Attributes:
        share: replayed groups per new group.
        capacity: newest groups to keep.
        priority: groups are drawn with probability ∝ (mean |advantage| + 0.01)^priority; 0 draws uniformly.
    """

    share: Annotated[float, Range("it counts replayed groups per new group", gt=0, le=1000)] = 0.25
    capacity: Annotated[int, Range("it counts groups", ge=1, le=10**9)] = 256
    priority: Annotated[float, Range("it is an exponent; 0 draws uniformly", ge=0, le=100)] = 1.0


class Exploration(Settings):
    """Other sources of a group's completions besides the policy at the stage's temperature.

    Attributes:
        temperatures: sampling temperatures, assigned to the completions of a group in turn.
        reference_share: share of each group's completions that the reference samples.
        weighted: weight completions of another known distribution by π_old/π_sampler, truncated at the
            algorithm's `tis_cap`; otherwise they count as if the policy had sampled them.
    """

    temperatures: tuple[Temperature, ...] = ()
    reference_share: Annotated[float, Range("the policy samples the rest of a group", ge=0, lt=1)] = 0.0
    weighted: bool = True


class OnlineValidation(Settings):
    """Validation of an online stage on held-out prompts, with early stopping.

    Attributes:
        share: share of the stage's prompts that is held out, split by their text.
        every: rounds between two evaluations; the last round is always evaluated.
        completions: completions for each held-out prompt.
        metric: metric to compare policies by: `score_mean`, or another validation metric.
        better: whether more or less of it is better.
        patience: stop after this many evaluations without a new best; `None` trains to the end. The stage ends
            with the best policy.
    """

    share: Annotated[float, Range("it is a part of the prompts", gt=0, lt=1)] = 0.1
    every: Annotated[int, Range("it counts rounds", ge=1, le=10**9)] = 10
    completions: Annotated[int, Range("it counts completions of a prompt", ge=1, le=10**5)] = 1
    metric: str = "score_mean"
    better: Literal["more", "less"] = "more"
    patience: Annotated[int, Range("it counts evaluations; null never stops", ge=1, le=10**9)] | None = None


class OnlineSettings(LoopSettings):
    """Training on the policy's own samples.

    Attributes:
        steps: rounds of sampling and training.
        prompts_per_step: prompts of a round.
        epochs: passes over each round's samples.
        minibatches: optimizer steps per pass; completions of one prompt stay in one minibatch.
        critic_learning_rate: peak learning rate of the critic; `None` uses the policy's.
        truncation_score: cap on the score of a completion that reached the length limit; it also never exceeds
            its own score, nor that of any finished completion of the round. `None` keeps its own score.
        overlong_buffer: number of tokens before the length limit over which a penalty ramps down to −1 (Yu et al.
            2025, eq. 13); 0 is off.
        entropy_bonus: reward per nat of `−log π`, on every token.
        dynamic_sampling_rounds: extra sampling passes that replace prompts whose scores are all equal, until the
            round has `prompts_per_step` groups (Yu et al. 2025, eq. 11).
        recompute_logprobs: recompute the log-probs of samples with the trainer, and weight by the sampler's; for
            samplers that are another program.
        ref_update_interval: rounds after which the policy becomes the new reference; `None` never.
        kl: KL penalty towards the reference.
        curriculum: prefer prompts of medium difficulty.
        replay: replay groups from earlier rounds.
        exploration: other sources of completions.
        validation: evaluate on held-out prompts and keep the best policy; `None` trains on all and keeps the
            last.
    """

    epsilon: Annotated[float, Range("it avoids a division by 0", gt=0, le=1e6)] = 1e-5
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    steps: Annotated[int, Range("it counts rounds", ge=1, le=10**9)] = 100
    prompts_per_step: Annotated[int, Range("a round needs prompts", ge=1, le=10**7)] = 16
    epochs: Annotated[int, Range("it counts passes over a round's samples", ge=1, le=10**6)] = 1
    minibatches: Annotated[int, Range("each pass has at least one", ge=1, le=10**6)] = 2
    critic_learning_rate: LearningRate | None = None
    truncation_score: Finite | None = -1.0
    overlong_buffer: Annotated[int, Range("it counts tokens; 0 is off", ge=0, le=2**27)] = 0
    entropy_bonus: Annotated[float, Range("a negative bonus would pay for certainty", ge=0, le=1e6)] = 0.0
    dynamic_sampling_rounds: Annotated[int, Range("it counts extra sampling passes; 0 is off", ge=0, le=1000)] = 0
    recompute_logprobs: bool = False
    ref_update_interval: Annotated[int, Range("it counts rounds; null never", ge=1, le=10**9)] | None = None
    kl: KLSettings = KLSettings()
    curriculum: Curriculum | None = None
    replay: Replay | None = None
    exploration: Exploration = Exploration()
    validation: OnlineValidation | None = None
