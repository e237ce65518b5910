"""A training stage: load what the algorithm needs, train, save a plain model."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch

from gnomon.app.examine import examine_reward_model
from gnomon.app.recipe import FeedbackStage, TrainStage
from gnomon.app.workspace import Workspace
from gnomon.core.errors import DataError
from gnomon.core.progress import console
from gnomon.core.run_folder import write_jsonl
from gnomon.core.types import Prompt, Rejected
from gnomon.data.batching import token_groups, within_budget
from gnomon.data.encoding import ENCODE, Example, check_lengths, token_limit
from gnomon.models.loading import load_critic, load_policy, load_reward_model, save_model
from gnomon.models.policy import Model, RewardModel
from gnomon.rewards.reward import LearnedReward
from gnomon.training.checkpoints import remove_checkpoints
from gnomon.training.models import TrainedModels
from gnomon.training.offline import planned_steps, train_offline
from gnomon.training.online import OnlineLoop
from gnomon.training.settings import OfflineSettings, OnlineSettings

CENTRED_ON = 200  # completions whose average score becomes 0


def run_train(stage: TrainStage, work: Workspace) -> dict[str, Any]:
    """Train, save `model/`, and return the stage's result."""
    started = time.monotonic()
    torch.manual_seed(work.recipe.seed)
    found = _online(stage, work) if stage.online else _offline(stage, work)
    model: Model = found.pop("trained")
    parameters = model.parameter_counts()
    save_model(model, work.stage_folder(stage.name) / "model")
    result = {
        "kind": "train",
        "algorithm": stage.algorithm,
        "model": stage.model,
        "seconds": time.monotonic() - started,
        "parameters": parameters,
        "device": work.compute.device.type,
        "dtype": str(work.compute.dtype).removeprefix("torch."),
        **found,
    }
    feedback = _feedback_behind(stage, work)
    if isinstance(model, RewardModel) and feedback is not None:
        result["evaluation"] = examine_reward_model(model, stage.name, feedback, work)
    result["peak_memory_gb"] = peak_memory_gb()
    remove_checkpoints(work.stage_folder(stage.name) / "checkpoints")
    return result


def peak_memory_gb() -> float:
    """The most memory this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)


def _offline(stage: TrainStage, work: Workspace) -> dict[str, Any]:
    algorithm, settings = stage.make_algorithm(), stage.loop
    assert isinstance(settings, OfflineSettings)
    assert stage.data is not None
    trainable = stage.trainable or work.recipe.model
    source, seed, template = work.model(stage.model), work.recipe.seed, work.recipe.model.chat_template
    model: Model
    if algorithm.trains == "reward":
        model = load_reward_model(
            source, work.compute, trainable, seed=seed, depth=stage.depth, chat_template=template
        )
    else:
        model = load_policy(source, work.compute, trainable, chat_template=template)
    records = work.records(algorithm.consumes, stage.data)
    limit = token_limit(settings.max_tokens, model.network.config)
    examples, rejected = ENCODE[algorithm.consumes](records, model.tokenizer, limit)
    folder = work.stage_folder(stage.name)
    write_jsonl(folder / "rejected.jsonl", rejected)
    _say_rejected(rejected, len(records), stage)
    final = train_offline(
        algorithm,
        TrainedModels(model),
        examples,
        settings,
        folder=folder,
        seed=seed,
        stop=work.stop,
        label=stage.name,
    )
    if isinstance(model, RewardModel):
        centre(model, examples)
    return {
        "trained": model,
        "final": final,
        "steps": planned_steps(len(examples), settings),
        "examples": len(examples),
        "rejected": len(rejected),
    }


def _online(stage: TrainStage, work: Workspace) -> dict[str, Any]:
    algorithm, settings = stage.make_algorithm(), stage.loop
    assert isinstance(settings, OnlineSettings)
    assert stage.reward is not None
    assert stage.prompts is not None
    trainable = stage.trainable or work.recipe.model
    seed, compute, template = work.recipe.seed, work.compute, work.recipe.model.chat_template
    policy = load_policy(work.model(stage.model), compute, trainable, chat_template=template)
    prompts = work.records(Prompt, stage.prompts)
    check_lengths(prompts, policy.tokenizer, stage.sampling.max_tokens, policy.network.config)
    critic = None
    if "critic" in algorithm.needs:
        learning = trainable.model_copy(update={"layers": stage.critic_layers})
        source = work.model(stage.critic or stage.reward)
        critic = load_critic(source, compute, learning, seed=seed, chat_template=template)
    judge = load_reward_model(work.model(stage.reward), compute, seed=seed, chat_template=template)
    loop = OnlineLoop(
        algorithm=algorithm,
        models=TrainedModels(policy, critic, stage.sampling.temperature),
        reward=LearnedReward(judge, stage.reward),
        prompts=prompts,
        settings=settings,
        sampling=stage.sampling,
        folder=work.stage_folder(stage.name),
        seed=seed,
        stop=work.stop,
    )
    return {"trained": policy, "final": loop.run(stage.name), "steps": settings.steps}


@torch.inference_mode()
def centre(model: RewardModel, examples: Sequence[Example]) -> None:
    """Shift the scores so that completions of the training data average 0 (Ziegler et al. 2019)."""
    chosen: list[Example] = []
    count = 0
    for example in examples:
        if count >= CENTRED_ON:
            break
        chosen.append(example)
        count += len(example.completions)
    total = 0.0
    for rows in within_budget([e.cost for e in chosen], 4096):
        total += float(model.scores(token_groups([chosen[r] for r in rows])).sum())
    model.centre(total / count)


def _feedback_behind(stage: TrainStage, work: Workspace) -> FeedbackStage | None:
    """The feedback stage whose held-out texts can examine this stage's model."""
    name = (stage.data or "").partition("/")[0]
    return next((s for s in work.recipe.stages if s.name == name and isinstance(s, FeedbackStage)), None)


def _say_rejected(rejected: Sequence[Rejected], total: int, stage: TrainStage) -> None:
    if len(rejected) == total:
        raise DataError(f"stage '{stage.name}': every row was refused; the first: {rejected[0].reason}.")
    if rejected:
        console.print(f"  {len(rejected)} of {total} rows refused; see {stage.name}/rejected.jsonl")
