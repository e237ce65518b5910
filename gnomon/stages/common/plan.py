"""Estimate the memory and time of trainings: prepare data and models as for a run, and try each briefly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gnomon.core.types import Prompt
from gnomon.data.batching import pack_by_tokens
from gnomon.data.example_columns import columns_of
from gnomon.data.reported_rows import readable_records
from gnomon.models.loading import load_critic, save_model
from gnomon.models.roles import Model, Policy, RewardModel
from gnomon.models.settings import FROZEN
from gnomon.rewards.ensemble import models_of
from gnomon.rewards.reward import Reward
from gnomon.stages.common.encoded_data import encode_data
from gnomon.stages.common.load import load_auxiliary_models
from gnomon.stages.common.reward_factory import parts_of
from gnomon.stages.contract import PARTS, Stage, StagePlan
from gnomon.stages.references import CRITIC
from gnomon.stages.train_settings import TrainSettings
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
from gnomon.training.runtime.sampling_memory import profile_sampling
from gnomon.training.settings import LoopSettings, OfflineSettings, OnlineSettings

ASIDE = 1 / 3  # time of a forward pass, as a share of a forward and backward pass


def plan_trainings(stage: Stage, model: Model, work: Workspace, baseline_bytes: float) -> list[StagePlan]:
    """Estimate the trainings of a stage, and save the untrained models that later stages need.

    Args:
        stage: to estimate.
        model: that it trains, as loaded.
        work: a temporary run folder.
        baseline_bytes: memory of the process before any model is loaded.
    """
    planned = []
    for one in stage.trainings():
        name = stage.name if stage.as_training() else f"{stage.name}/{one.name}"
        estimate = (_plan_sampled if one.online else plan_stored)(one, work, model, baseline_bytes)
        if one.saved_critic():
            _save_start_of_critic(one, work, work.stage_folder(name) / CRITIC)
        planned.append(replace(estimate, name=name))
    save_model(model, work.stage_folder(stage.name) / "model")
    return planned


def _save_start_of_critic(stage: TrainSettings, work: Workspace, folder: Path) -> None:
    """Save the untrained critic, which later stages may name; it takes as much memory as the trained one."""
    source, compute, template = work.model(stage.critic_model), work.compute, work.recipe.model.chat_template
    critic = load_critic(source, compute, FROZEN, seed=work.recipe.seed, chat_template=template, head=stage.head)
    save_model(critic, folder)


def plan_stored(stage: TrainSettings, work: Workspace, model: Model, baseline_bytes: float) -> StagePlan:
    """Estimate a training on stored data.

    Args:
        stage: the training.
        work: a temporary run folder.
        model: that it trains, as loaded.
        baseline_bytes: memory of the process before any model is loaded.
    """
    settings = stage.loop
    assert isinstance(settings, OfflineSettings)
    model.checkpoint_gradients(settings.gradient_checkpointing)
    examples = encode_data(stage, work, model, work.stage_folder(stage.name)).examples
    models = TrainedModels(model)
    shape = shape_of(examples)
    room = _room(settings, models, shape, stage.name)
    memory = footprint(models, shape, settings.optimizer)
    lengths = columns_of(examples).costs
    costs = [[lengths[i] for i in batch] for batch in batches(len(examples), settings, work.recipe.seed)]
    micro_batches = [[sum(step[i] for i in rows) for rows in pack_by_tokens(step, room.tokens)] for step in costs]
    largest = max(max(step) for step in micro_batches)
    seen = sum(lengths)
    reads_again = bool(stage.built_algorithm.needs) or settings.epochs > 1 or settings.validation is not None
    states = _states_bytes(model, seen, room.states_gb) if reads_again else 0.0
    read = sum(map(sum, costs)) + ASIDE * seen * ("reference" in stage.built_algorithm.needs)
    parts = _parts(baseline_bytes, memory, memory.weights, memory.activations(largest), states=states)
    about = f"{stage.algorithm}, {planned_steps(len(examples), settings)} steps"
    pace = memory.tokens_per_second
    estimate = stage_plan(stage.name, about, model, parts, pace, read / pace)
    return replace(estimate, several=any(len(step) > 1 for step in micro_batches))


def _plan_sampled(stage: TrainSettings, work: Workspace, policy: Model, baseline_bytes: float) -> StagePlan:
    settings = stage.loop
    assert isinstance(settings, OnlineSettings)
    assert isinstance(policy, Policy)
    policy.checkpoint_gradients(settings.gradient_checkpointing)
    prompts_by_source = work.load_sources(Prompt, stage.prompt_sources)
    pools = list(readable_records(prompts_by_source, stage.name, report=False)[0].values())
    others = load_auxiliary_models(stage, work, policy)
    models = TrainedModels(policy, others.critic, stage.sampling.temperature)
    shape = shape_of_round(pools, policy.tokenizer, stage.sampling)
    room = _room(settings, models, shape, stage.name)
    memory = footprint(models, shape, settings.optimizer)
    judges = reward_models_in(others.reward)
    loaded = [policy, *([others.critic] if others.critic else []), *judges]
    loaded += [others.token_reward] if others.token_reward else []
    prompts = [prompt for pool in pools for prompt in pool][: settings.prompts_per_step]
    drawn = profile_sampling(policy, prompts, stage.sampling, loaded)
    tokens = settings.prompts_per_step * (shape.prompt + shape.together * shape.completion)
    largest = min(room.tokens, tokens / settings.minibatches)
    aside = len(loaded) - 1 + (settings.kl.coef > 0)  # passes without a gradient
    round_seconds = drawn.seconds + tokens * (settings.epochs + ASIDE * aside) / memory.tokens_per_second
    parts = _parts(
        baseline_bytes,
        memory,
        weight_bytes(loaded),
        memory.activations(int(largest)),
        sampling=drawn.bytes,
        states=_states_bytes(policy, tokens, room.states_gb),
    )
    about = f"{stage.algorithm}, {settings.steps} rounds"
    return stage_plan(stage.name, about, policy, parts, memory.tokens_per_second, settings.steps * round_seconds)


def reward_models_in(reward: Reward) -> list[RewardModel]:
    """The reward models of a reward, or of the parts of a sum."""
    return [model for part in parts_of(reward) for model in models_of(part)]


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
    baseline_bytes: float,
    memory: Footprint,
    weights: float,
    activations: float,
    *,
    sampling: float = 0.0,
    states: float = 0.0,
) -> dict[str, float]:
    values = (baseline_bytes, weights, memory.gradients, memory.moments, activations, sampling, states)
    return dict(zip(PARTS, map(float, values), strict=True))


def stage_plan(
    name: str, does: str, model: Model, parts: dict[str, float], pace: float, seconds: float
) -> StagePlan:
    """An estimate of a stage that uses a model.

    Args:
        name: of the stage.
        does: a short description.
        model: whose parameters are counted.
        parts: memory in bytes, by part.
        pace: tokens per second.
        seconds: upper bound.
    """
    counts = model.parameter_counts()
    return StagePlan(name, does, (counts["total"], counts["trainable"]), parts, pace, seconds)
