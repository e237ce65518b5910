"""Run a training stage's loop: encode its data, load its models, and run the offline or the online loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from gnomon.core.errors import DataError
from gnomon.core.storage.files import read_jsonl, write_jsonl
from gnomon.core.types import Demonstration, Prompt, RejectedRow
from gnomon.data.batching import pack_by_tokens, token_groups
from gnomon.data.encoding import ENCODE, Example, check_lengths, token_limit
from gnomon.data.reading.downloads import cache_folder
from gnomon.data.reported_rows import readable_records
from gnomon.models.loading import save_model
from gnomon.models.roles import Model, Policy, RewardModel
from gnomon.stages.common.encoded_data import EncodedData, encode_data, report_control_tokens, report_rejected
from gnomon.stages.common.load import load_auxiliary_models
from gnomon.stages.common.results import Failure, LoopResult
from gnomon.stages.common.score_scales import start_scores
from gnomon.stages.references import CRITIC
from gnomon.stages.train_settings import TrainSettings
from gnomon.stages.workspace import Workspace
from gnomon.training.offline.loop import OfflineLoop
from gnomon.training.offline.sample_logging import SampleLogger
from gnomon.training.online.loop import OnlineLoop
from gnomon.training.online.offline_completions import StoredCompletions, store_completions
from gnomon.training.online.reward_failures import failures_in
from gnomon.training.outcome import outcome
from gnomon.training.runtime.checkpoints import StepCallback, newest_step
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.runtime.sft_mix import AuxiliarySFT
from gnomon.training.settings import OfflineSettings, OnlineSettings

CENTERING_COMPLETIONS = 200  # completions whose mean score becomes 0


def train_offline(
    stage: TrainSettings,
    work: Workspace,
    model: Model,
    folder: Path,
    *,
    reference: Mapping[str, torch.Tensor] | None = None,
    stop_condition: StepCallback | None = None,
    data: EncodedData | None = None,
    algorithm: Any = None,
    seed: int | None = None,
) -> LoopResult:
    """Train a model on the stage's stored data.

    Args:
        stage: with an offline algorithm.
        work: the run.
        model: to train.
        folder: for checkpoints, metrics and rejected rows.
        reference: weights of the reference; `None` takes the starting weights.
        stop_condition: ends the loop once it returns true for a step's metrics.
        data: encoded examples in place of all of the stage's.
        algorithm: in place of the stage's own, for a member of an ensemble.
        seed: in place of the recipe's, likewise.
    """
    algorithm, settings = algorithm or stage.built_algorithm, stage.loop
    seed = work.recipe.seed if seed is None else seed
    assert isinstance(settings, OfflineSettings)
    model.checkpoint_gradients(settings.gradient_checkpointing)
    data = data or encode_data(stage, work, model, folder)
    sft_mix, rejected_demonstrations = load_sft_mix(stage, work, model, folder)
    rejected = data.rejected + rejected_demonstrations
    if work.processes.main:
        write_jsonl(folder / "rejected.jsonl", rejected)
    sample_logger = make_sample_logger(data.prompts, work, model, settings.log_samples_every, folder)
    if isinstance(model, RewardModel):
        start_scores(model, stage, data.examples, data.kinds, main=work.processes.main)
    with step_callback(folder, work, stop_condition, sample_logger) as callback:
        final = OfflineLoop(
            algorithm=algorithm,
            models=TrainedModels(model),
            examples=data.examples,
            settings=settings,
            folder=folder,
            seed=seed,
            stop=work.stop,
            label=stage.name,
            processes=work.processes,
            callback=callback,
            sft_mix=sft_mix,
            reference_weights=reference,
            reference_cache=cache_folder() / "reference" if settings.reference_cache else None,
        ).run()
    if isinstance(model, RewardModel):
        model.score_by_steps(getattr(algorithm, "steps", None))  # of a process reward model
        if model.steps is None and model.has_score:  # centering would shift the logits of a probability
            center_scores(model, data.examples)
    rows = list(read_jsonl(folder / "metrics.jsonl"))
    return LoopResult(
        final=dict(final),
        steps=last_step(rows),
        learning=outcome(rows),
        examples=len(data.examples),
        rejected=len(rejected),
    )


def make_sample_logger(
    prompts: Iterable[Prompt], work: Workspace, model: Model, every: int | None, folder: Path
) -> StepCallback | None:
    """Make the callback that logs a policy's samples every few steps; `None` if this process logs none.

    Args:
        prompts: of the data, the first of which are sampled for.
        work: the run.
        model: that is trained; only policies are sampled from.
        every: steps between samples; `None` logs none.
        folder: of the stage.
    """
    if every is None or not isinstance(model, Policy) or not work.processes.main:
        return None
    return SampleLogger(model, prompts, every, folder)


def load_sft_mix(
    stage: TrainSettings, work: Workspace, model: Model, folder: Path
) -> tuple[AuxiliarySFT | None, list[RejectedRow]]:
    """Load the auxiliary SFT task of a stage with `sft_mix`, else `None`; also returns the rejected rows.

    The length limit is that of the stage's own rows; an online stage has none and takes the default.

    Args:
        stage: the stage.
        work: the run.
        model: that is trained.
        folder: of the stage, for messages.
    """
    if stage.sft_mix is None:
        return None, []
    settings, loop = stage.sft_mix, stage.loop
    records = work.records(Demonstration, settings.data)
    max_tokens = (loop if isinstance(loop, OfflineSettings) else OfflineSettings()).max_tokens
    limit = token_limit(max_tokens, model.network.config)
    examples, rejected = ENCODE[Demonstration](records, model.tokenizer, limit)
    report_rejected(rejected, len(records), stage, settings.data, folder)
    report_control_tokens(records, model.tokenizer, settings.data)
    return AuxiliarySFT(examples, settings.weight, settings.batch_size, work.recipe.seed), rejected


def load_stored_completions(
    stage: TrainSettings, work: Workspace, policy: Model, folder: Path
) -> tuple[StoredCompletions | None, list[RejectedRow]]:
    """Load the stored completions of a stage with `stored`, else `None`; also returns the rejected rows.

    Args:
        stage: the stage.
        work: the run.
        policy: that is trained.
        folder: of the stage, for messages.
    """
    if stage.stored is None:
        return None, []
    source, records = stage.stored.data, work.records(Demonstration, stage.stored.data)
    completions, rejected = store_completions(
        records,
        policy.tokenizer,
        share=stage.stored.share,
        limit=stage.sampling.max_tokens,
        micro_batch_tokens=stage.loop.micro_batch_tokens,
    )
    report_rejected(rejected, len(records), stage, source, folder)
    report_control_tokens(records, policy.tokenizer, source)
    prompts = {p.context for pool in work.load_sources(Prompt, stage.prompt_sources).values() for p in pool}
    if not prompts & completions.answers.keys():
        raise DataError(
            f"stage '{stage.name}': {source} answers none of the stage's prompts; give data that does."
        )
    return completions, rejected


def train_online(
    stage: TrainSettings,
    work: Workspace,
    policy: Model,
    folder: Path,
    *,
    reference: Mapping[str, torch.Tensor] | None = None,
    stop_condition: StepCallback | None = None,
) -> LoopResult:
    """Train a policy on its own samples.

    Args:
        stage: with an online algorithm.
        work: the run.
        policy: to train.
        folder: for checkpoints, metrics, samples and rejected rows.
        reference: weights of the reference; `None` takes the starting weights.
        stop_condition: ends the loop once it returns true for a step's metrics.
    """
    algorithm, settings = stage.built_algorithm, stage.loop
    assert isinstance(settings, OnlineSettings)
    assert isinstance(policy, Policy)
    assert stage.reward is not None
    policy.checkpoint_gradients(settings.gradient_checkpointing)
    prompts_by_source, rejected_prompts = readable_records(
        work.load_sources(Prompt, stage.prompt_sources), stage.name, report=work.processes.main
    )
    weighted_pools = [(prompts, stage.prompt_sources[source]) for source, prompts in prompts_by_source.items()]
    for source, prompts in prompts_by_source.items():
        report_control_tokens(prompts, policy.tokenizer, source)
        check_lengths(prompts, policy.tokenizer, stage.sampling.max_tokens, policy.network.config)
    auxiliary = load_auxiliary_models(stage, work, policy)
    sft_mix, rejected = load_sft_mix(stage, work, policy, folder)
    stored, rejected_completions = load_stored_completions(stage, work, policy, folder)
    rejected = rejected_prompts + rejected + rejected_completions
    if (sft_mix or stored or rejected) and work.processes.main:
        write_jsonl(folder / "rejected.jsonl", rejected)
    with step_callback(folder, work, stop_condition) as callback:
        final = OnlineLoop(
            algorithm=algorithm,
            models=TrainedModels(policy, auxiliary.critic, stage.sampling.temperature),
            reward=auxiliary.reward,
            prompts=weighted_pools,
            settings=settings,
            sampling=stage.sampling,
            folder=folder,
            seed=work.recipe.seed,
            stop=work.stop,
            label=stage.name,
            token_reward=auxiliary.token_reward,
            stored=stored,
            reference_weights=reference,
            sft_mix=sft_mix,
            processes=work.processes,
            callback=callback,
        ).run()
    rows = list(read_jsonl(folder / "metrics.jsonl"))
    steps = last_step(rows)
    if auxiliary.critic and work.processes.main:
        save_model(auxiliary.critic, folder / CRITIC, steps=steps)
    return LoopResult(
        final=dict(final),
        steps=steps,
        learning=outcome(rows, min_group_size=algorithm.min_group_size),
        reward_failures=[Failure(**row) for row in failures_in(folder)],
    )


def last_step(rows: Sequence[Mapping[str, Any]]) -> int:
    """Return the last recorded step; fewer than planned after a budget, a stop condition or early stopping.

    Args:
        rows: rows of `metrics.jsonl`.
    """
    return max((int(row["step"]) for row in rows), default=0)


@contextmanager
def step_callback(
    folder: Path,
    work: Workspace,
    stop_condition: StepCallback | None,
    sample_logger: StepCallback | None = None,
) -> Iterator[StepCallback | None]:
    """Context manager: a callback that sends each step's metrics to trackers, logs samples and may end the loop.

    It is `None` if there is nothing to do.

    Trackers name the training by its folder in the run: `stage`, or `stage/phase`.

    Args:
        folder: of the stage or phase.
        work: the run.
        stop_condition: returns whether the loop should end.
        sample_logger: logs samples.
    """
    resumed_step = newest_step(folder / "checkpoints") or 0
    trackers = work.open_trackers(folder.relative_to(work.folder).as_posix(), resumed_step)

    def callback(step: int, metrics: Mapping[str, float]) -> bool:
        if trackers:
            trackers.record(step, metrics)
        if sample_logger:
            sample_logger(step, metrics)
        return bool(stop_condition and stop_condition(step, metrics))

    try:
        yield callback if trackers or sample_logger or stop_condition else None
    finally:
        if trackers:
            trackers.close()


@torch.inference_mode()
def center_scores(model: RewardModel, examples: Sequence[Example]) -> None:
    """Shift the scores to mean 0 over completions of the training data (Ouyang et al. 2022, section 3.5)."""
    sample: list[Example] = []
    count = 0
    for example in examples:
        if count >= CENTERING_COMPLETIONS:
            break
        sample.append(example)
        count += len(example.completions)
    total = torch.zeros(1)
    for rows in pack_by_tokens([example.cost for example in sample], 4096):
        total = total + model.member_scores(token_groups([sample[row] for row in rows])).sum(dim=1).cpu()  # [E]
    model.center(total / count)
