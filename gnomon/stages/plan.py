"""Estimate the memory and time of one stage: prepare its data and models as for a run, and try each briefly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from gnomon.core.types import Prompt
from gnomon.data.batching import pack_by_tokens
from gnomon.models.external import open_policy
from gnomon.models.loading import load_critic, save_model
from gnomon.models.roles import Model, Policy, RewardModel
from gnomon.models.settings import FROZEN
from gnomon.rewards.composite import ShapedReward
from gnomon.rewards.reward import LearnedReward, Reward
from gnomon.stages.evaluate import held_out_texts
from gnomon.stages.feedback import run_feedback
from gnomon.stages.load import load_auxiliary_models, load_trained
from gnomon.stages.references import saved_critic
from gnomon.stages.reward_factory import make_reward
from gnomon.stages.settings import CRITIC, EvaluateStage, FeedbackStage, HybridStage, Stage, TrainStage
from gnomon.stages.train_loops import encoded
from gnomon.stages.workspace import Workspace
from gnomon.training.offline.loop import batches, planned_steps
from gnomon.training.runtime.memory_profile import (
    Fit,
    Footprint,
    Shape,
    fit,
    footprint,
    shape_of,
    shape_of_round,
    weight_bytes,
)
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.runtime.sampling_memory import forward_tokens_per_second, profile_sampling
from gnomon.training.settings import LoopSettings, OfflineSettings, OnlineSettings

PARTS = ("process", "weights", "gradients", "optimizer", "activations", "sampling", "states")
IN_TURN = ("activations", "sampling")  # never in memory at once
ASIDE = 1 / 3  # time of a forward pass, as a share of a forward and backward pass


@dataclass(frozen=True)
class StagePlan:
    """Estimated memory and time of a stage.

    Attributes:
        name: of the stage, or `stage/phase`.
        does: a short description.
        parameters: total and trainable.
        bytes: by part (`PARTS`); activations and sampling take turns.
        tokens_per_second: of a training pass, or of sampling where nothing is trained.
        seconds: upper bound, since completions may end early.
        several: whether an optimizer step has several micro-batches, so that gradients of one coexist with the
            activations of the next. With a single one, gradients appear as its activations are freed.
    """

    name: str
    does: str
    parameters: tuple[int, int]
    bytes: dict[str, float]
    tokens_per_second: float
    seconds: float
    several: bool = True

    @property
    def peak(self) -> float:
        """Peak memory in bytes."""
        in_turn = IN_TURN if self.several else (*IN_TURN, "gradients")
        always = sum(size for part, size in self.bytes.items() if part not in in_turn)
        return always + max(self.bytes[part] for part in in_turn)


def plan_stage(stage: Stage, work: Workspace, process: float) -> list[StagePlan]:
    """Estimate a stage, or each of its phases, and write what later stages need into its folder.

    Args:
        stage: to estimate.
        work: a temporary run folder.
        process: memory of the process before any model is loaded, in bytes.
    """
    if isinstance(stage, FeedbackStage):
        run_feedback(stage, work)
        return []
    if isinstance(stage, EvaluateStage):
        return [_plan_evaluation(stage, work, process)]
    torch.manual_seed(work.recipe.seed)
    model = load_trained(stage, work)
    phases: Sequence[TrainStage] = stage.phases if isinstance(stage, HybridStage) else [stage]
    planned = []
    for phase in phases:
        name = stage.name if phase is stage else f"{stage.name}/{phase.name}"
        estimate = (_plan_sampled if phase.online else _plan_stored)(phase, work, model, process)
        if saved_critic(phase):
            _save_start_of_critic(phase, work, work.stage_folder(name) / CRITIC)
        planned.append(replace(estimate, name=name))
    save_model(model, work.stage_folder(stage.name) / "model")
    return planned


def _save_start_of_critic(stage: TrainStage, work: Workspace, folder: Path) -> None:
    """Save the untrained critic, which later stages may name; it takes as much memory as the trained one."""
    source, compute, template = work.model(stage.critic_model), work.compute, work.recipe.model.chat_template
    critic = load_critic(source, compute, FROZEN, seed=work.recipe.seed, chat_template=template, head=stage.head)
    save_model(critic, folder)


def _plan_stored(stage: TrainStage, work: Workspace, model: Model, process: float) -> StagePlan:
    settings = stage.loop
    assert isinstance(settings, OfflineSettings)
    model.checkpoint_gradients(settings.gradient_checkpointing)
    records = work.load_sources(stage.make_algorithm().consumes, stage.tasks)
    examples, _ = encoded(records, stage, work, model, work.stage_folder(stage.name))
    models = TrainedModels(model)
    shape = shape_of(examples)
    room = _room(settings, models, shape, stage.name)
    memory = footprint(models, shape, settings.optimizer)
    costs = [[e.cost for e in batch] for batch in batches(examples, settings, work.recipe.seed)]
    micro_batches = [[sum(step[i] for i in rows) for rows in pack_by_tokens(step, room.tokens)] for step in costs]
    largest = max(max(step) for step in micro_batches)
    seen = sum(e.cost for e in examples)
    reads_again = bool(stage.make_algorithm().needs) or settings.epochs > 1 or settings.validation is not None
    states = _states_bytes(model, seen, room.states_gb) if reads_again else 0.0
    read = sum(map(sum, costs)) + ASIDE * seen * ("reference" in stage.make_algorithm().needs)
    parts = _parts(process, memory, memory.weights, memory.activations(largest), states=states)
    about = f"{stage.algorithm}, {planned_steps(len(examples), settings)} steps"
    pace = memory.tokens_per_second
    estimate = _stage_plan(stage.name, about, model, parts, pace, read / pace)
    return replace(estimate, several=any(len(step) > 1 for step in micro_batches))


def _plan_sampled(stage: TrainStage, work: Workspace, policy: Model, process: float) -> StagePlan:
    settings = stage.loop
    assert isinstance(settings, OnlineSettings)
    assert isinstance(policy, Policy)
    policy.checkpoint_gradients(settings.gradient_checkpointing)
    pools = list(work.load_sources(Prompt, stage.pools).values())
    others = load_auxiliary_models(stage, work, policy)
    models = TrainedModels(policy, others.critic, stage.sampling.temperature)
    shape = shape_of_round(pools, policy.tokenizer, stage.sampling)
    room = _room(settings, models, shape, stage.name)
    memory = footprint(models, shape, settings.optimizer)
    judges = _judges(others.reward)
    loaded = [policy, *([others.critic] if others.critic else []), *judges]
    loaded += [others.token_reward] if others.token_reward else []
    prompts = [prompt for pool in pools for prompt in pool][: settings.prompts_per_step]
    drawn = profile_sampling(policy, prompts, stage.sampling, loaded)
    tokens = settings.prompts_per_step * (shape.prompt + shape.together * shape.completion)
    largest = min(room.tokens, tokens / settings.minibatches)
    aside = len(loaded) - 1 + (settings.kl.coef > 0)  # passes without a gradient
    round_seconds = drawn.seconds + tokens * (settings.epochs + ASIDE * aside) / memory.tokens_per_second
    parts = _parts(
        process,
        memory,
        weight_bytes(loaded),
        memory.activations(int(largest)),
        sampling=drawn.bytes,
        states=_states_bytes(policy, tokens, room.states_gb),
    )
    about = f"{stage.algorithm}, {settings.steps} rounds"
    return _stage_plan(stage.name, about, policy, parts, memory.tokens_per_second, settings.steps * round_seconds)


def _plan_evaluation(stage: EvaluateStage, work: Workspace, process: float) -> StagePlan:
    """Estimate an evaluation: each model samples beside the reference, then each judge scores all samples."""
    template = work.recipe.model.chat_template
    prompts = work.records(Prompt, stage.prompts)
    texts = len(held_out_texts(stage, work, prompts)) if stage.texts_used is None else stage.texts_used
    both = [open_policy(work.model(stage.reference), work.compute, chat_template=template)]
    both += [open_policy(work.model(stage.evaluate[-1]), work.compute, chat_template=template)]
    drawn = profile_sampling(both[-1], prompts, stage.sampling, both)
    shape = shape_of_round([prompts], both[0].tokenizer, stage.sampling)
    rows = len(prompts) * shape.together
    read = len(stage.evaluate) * (rows + texts) * shape.completion
    judges = [j for name in stage.judges for j in _judges(_reward(name, work, both[0]))]
    read += len(judges) * len(stage.evaluate) * rows * shape.completion
    pace = forward_tokens_per_second(both[0], shape)
    parts = dict.fromkeys(PARTS, 0.0) | {
        "process": process,
        "weights": float(weight_bytes(both)),
        "sampling": drawn.bytes,
    }
    seconds = len(stage.evaluate) * drawn.seconds + read / pace
    about = f"evaluation of {len(stage.evaluate)} models, {rows} completions each"
    return _stage_plan(stage.name, about, both[-1], parts, rows * shape.completion / drawn.seconds, seconds)


def _reward(name: str, work: Workspace, policy: Policy) -> Reward | None:
    return None if name == "ridge" else make_reward(name, work, policy.tokenizer)


def _judges(reward: Reward | None) -> list[RewardModel]:
    parts = [one for _, one in reward.parts] if isinstance(reward, ShapedReward) else [reward]
    return [one.model for one in parts if isinstance(one, LearnedReward)]


def _room(settings: LoopSettings, models: TrainedModels, shape: Shape, label: str) -> Fit:
    if settings.memory_gb is None:
        return Fit(settings.micro_batch_tokens, settings.activation_cache_gb)
    return fit(models, settings.memory_gb, shape, label, settings.optimizer)


def _states_bytes(model: Model, tokens: float, limit: float) -> float:
    """Memory of the activation cache above frozen layers; 0 without one."""
    with model.activation_cache(limit) as cached:
        width = model.network.config.get_text_config().hidden_size
        return min(tokens * width * 4, limit * 2**30) if cached else 0.0


def _parts(
    process: float,
    memory: Footprint,
    weights: float,
    activations: float,
    *,
    sampling: float = 0.0,
    states: float = 0.0,
) -> dict[str, float]:
    values = (process, weights, memory.gradients, memory.moments, activations, sampling, states)
    return dict(zip(PARTS, map(float, values), strict=True))


def _stage_plan(
    name: str, does: str, model: Model, parts: dict[str, float], pace: float, seconds: float
) -> StagePlan:
    counts = model.parameter_counts()
    return StagePlan(name, does, (counts["total"], counts["trainable"]), parts, pace, seconds)
