"""Run a training stage's loop: encode its data, load its models, and run the offline or the online loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gnomon.core.errors import DataError
from gnomon.core.progress import console
from gnomon.core.storage.files import read_jsonl, write_jsonl
from gnomon.core.types import Demonstration, Prompt, RejectedRow
from gnomon.data.batching import epoch_order, pack_by_tokens, token_groups
from gnomon.data.encoding import ENCODE, Example, check_lengths, token_limit
from gnomon.data.reading.downloads import cache_folder
from gnomon.data.record_kinds import all_refused
from gnomon.data.records import completions_of, prompt_of_record
from gnomon.data.templates.control_tokens import ControlCounts
from gnomon.models.loading import save_model
from gnomon.models.roles import Model, Policy, RewardModel
from gnomon.stages.common.load import load_auxiliary_models
from gnomon.stages.common.results import Failure, LoopResult
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


def train_stored(
    stage: TrainSettings,
    work: Workspace,
    model: Model,
    folder: Path,
    *,
    reference: Mapping[str, torch.Tensor] | None = None,
    over: StepCallback | None = None,
) -> LoopResult:
    """Train a model on the stage's stored data.

    Args:
        stage: with an offline algorithm.
        work: the run.
        model: to train.
        folder: for checkpoints, metrics and rejected rows.
        reference: weights of the reference; `None` takes the starting weights.
        over: ends the loop early where it returns true for a step's metrics.
    """
    algorithm, settings = stage.built_algorithm, stage.loop
    assert isinstance(settings, OfflineSettings)
    model.checkpoint_gradients(settings.gradient_checkpointing)
    records = work.load_sources(algorithm.consumes, stage.data_sources)
    examples, rejected = encoded(records, stage, work, model, folder)
    sft_mix, refused = sft_mix_of(stage, work, model, folder)
    rejected += refused
    if work.processes.main:
        write_jsonl(folder / "rejected.jsonl", rejected)
    shown = showing(records, work, model, settings.log_samples_every, folder)
    with watching(folder, work, over, shown) as callback:
        final = OfflineLoop(
            algorithm=algorithm,
            models=TrainedModels(model),
            examples=examples,
            settings=settings,
            folder=folder,
            seed=work.recipe.seed,
            stop=work.stop,
            label=stage.name,
            processes=work.processes,
            callback=callback,
            sft_mix=sft_mix,
            reference_weights=reference,
            reference_cache=cache_folder() / "reference" if settings.reference_cache else None,
        ).run()
    if isinstance(model, RewardModel):
        center_scores(model, examples)
    rows = list(read_jsonl(folder / "metrics.jsonl"))
    return LoopResult(
        final=dict(final),
        steps=steps_taken(rows),
        learning=outcome(rows),
        examples=len(examples),
        rejected=len(rejected),
    )


def showing(
    records: Mapping[str, Sequence[Any]], work: Workspace, model: Model, every: int | None, folder: Path
) -> StepCallback | None:
    """The callback that logs samples of a policy every few steps; `None` without one, and in other processes.

    Args:
        records: of each source, whose prompts are sampled for.
        work: the run.
        model: that is trained; only policies are sampled from.
        every: steps between samples; `None` logs none.
        folder: of the stage.
    """
    if every is None or not isinstance(model, Policy) or not work.processes.main:
        return None
    return SampleLogger(model, [record.prompt for source in records.values() for record in source], every, folder)


def encoded(
    pooled: Mapping[str, Sequence[Any]], stage: TrainSettings, work: Workspace, model: Model, folder: Path
) -> tuple[list[Example], list[RejectedRow]]:
    """Encode the data of an offline stage.

    Args:
        pooled: each source's records, from `Workspace.load_sources`.
        stage: the stage.
        work: the run.
        model: that is trained on them.
        folder: of the stage, for messages.

    Returns:
        The examples, and the rejected rows.
    """
    consumes, settings = stage.built_algorithm.consumes, stage.loop
    assert isinstance(settings, OfflineSettings)
    limit = token_limit(settings.max_tokens, model.network.config)
    examples: list[Example] = []
    rejected: list[RejectedRow] = []
    for source, records in pooled.items():
        source_examples, refused = ENCODE[consumes](records, model.tokenizer, limit)
        report_rejected(refused, len(records), stage, source, folder)
        report_control_tokens(records, model.tokenizer, source)
        examples += weighted(source_examples, stage.data_sources[source], work.recipe.seed)
        rejected += refused
    return examples, rejected


def weighted(examples: Sequence[Example], weight: float, seed: int) -> list[Example]:
    """Repeat or subsample examples by a weight: 0.5 takes half of them, 2 takes each twice.

    Args:
        examples: of one source.
        weight: of the source.
        seed: of the choice of a fraction.
    """
    whole, share = int(weight), weight - int(weight)
    extra = epoch_order(len(examples), seed, 99)[: round(share * len(examples))]
    return [*list(examples) * whole, *(replace(examples[i]) for i in extra)]


def sft_mix_of(
    stage: TrainSettings, work: Workspace, model: Model, folder: Path
) -> tuple[AuxiliarySFT | None, list[RejectedRow]]:
    """The auxiliary SFT task of a stage with `sft_mix`, else `None`, and the rejected rows.

    The length limit is that of the stage's own rows; an online stage has none and takes the default.

    Args:
        stage: the stage.
        work: the run.
        model: that is trained.
        folder: of the stage, for messages.
    """
    if stage.sft_mix is None:
        return None, []
    records, loop = work.records(Demonstration, stage.sft_mix.data), stage.loop
    stored = loop if isinstance(loop, OfflineSettings) else OfflineSettings()
    limit = token_limit(stored.max_tokens, model.network.config)
    examples, refused = ENCODE[Demonstration](records, model.tokenizer, limit)
    report_rejected(refused, len(records), stage, stage.sft_mix.data, folder)
    report_control_tokens(records, model.tokenizer, stage.sft_mix.data)
    settings = stage.sft_mix
    return AuxiliarySFT(examples, settings.weight, settings.batch_size, work.recipe.seed), refused


def stored_completions(
    stage: TrainSettings, work: Workspace, policy: Model, folder: Path
) -> tuple[StoredCompletions | None, list[RejectedRow]]:
    """The stored completions of a stage with `stored`, else `None`, and the rejected rows.

    Args:
        stage: the stage.
        work: the run.
        policy: that is trained.
        folder: of the stage, for messages.
    """
    if stage.stored is None:
        return None, []
    source, records = stage.stored.data, work.records(Demonstration, stage.stored.data)
    completions, refused = store_completions(
        records,
        policy.tokenizer,
        share=stage.stored.share,
        limit=stage.sampling.max_tokens,
        micro_batch_tokens=stage.loop.micro_batch_tokens,
    )
    report_rejected(refused, len(records), stage, source, folder)
    report_control_tokens(records, policy.tokenizer, source)
    prompts = {p.messages for pool in work.load_sources(Prompt, stage.prompt_sources).values() for p in pool}
    if not prompts & completions.answers.keys():
        raise DataError(
            f"stage '{stage.name}': {source} answers none of the stage's prompts; give data that does."
        )
    return completions, refused


def train_sampled(
    stage: TrainSettings,
    work: Workspace,
    policy: Model,
    folder: Path,
    *,
    reference: Mapping[str, torch.Tensor] | None = None,
    over: StepCallback | None = None,
) -> LoopResult:
    """Train a policy on its own samples.

    Args:
        stage: with an online algorithm.
        work: the run.
        policy: to train.
        folder: for checkpoints, metrics, samples and rejected rows.
        reference: weights of the reference; `None` takes the starting weights.
        over: ends the loop early where it returns true for a step's metrics.
    """
    algorithm, settings = stage.built_algorithm, stage.loop
    assert isinstance(settings, OnlineSettings)
    assert isinstance(policy, Policy)
    assert stage.reward is not None
    policy.checkpoint_gradients(settings.gradient_checkpointing)
    pooled = work.load_sources(Prompt, stage.prompt_sources)
    pools = [(prompts, stage.prompt_sources[source]) for source, prompts in pooled.items()]
    for source, prompts in pooled.items():
        report_control_tokens(prompts, policy.tokenizer, source)
        check_lengths(prompts, policy.tokenizer, stage.sampling.max_tokens, policy.network.config)
    others = load_auxiliary_models(stage, work, policy)
    sft_mix, rejected = sft_mix_of(stage, work, policy, folder)
    stored, refused = stored_completions(stage, work, policy, folder)
    rejected += refused
    if (sft_mix or stored) and work.processes.main:
        write_jsonl(folder / "rejected.jsonl", rejected)
    with watching(folder, work, over) as callback:
        final = OnlineLoop(
            algorithm=algorithm,
            models=TrainedModels(policy, others.critic, stage.sampling.temperature),
            reward=others.reward,
            prompts=pools,
            settings=settings,
            sampling=stage.sampling,
            folder=folder,
            seed=work.recipe.seed,
            stop=work.stop,
            label=stage.name,
            token_reward=others.token_reward,
            stored=stored,
            reference_weights=reference,
            sft_mix=sft_mix,
            processes=work.processes,
            callback=callback,
        ).run()
    rows = list(read_jsonl(folder / "metrics.jsonl"))
    steps = steps_taken(rows)
    if others.critic and work.processes.main:
        save_model(others.critic, folder / CRITIC, steps=steps)
    return LoopResult(
        final=dict(final),
        steps=steps,
        learning=outcome(rows, min_group_size=algorithm.min_group_size),
        reward_failures=[Failure(**row) for row in failures_in(folder)],
    )


def steps_taken(rows: Sequence[Mapping[str, Any]]) -> int:
    """Number of recorded steps; fewer than planned after a budget, a condition or early stopping.

    Args:
        rows: rows of `metrics.jsonl`.
    """
    return max((int(row["step"]) for row in rows), default=0)


@contextmanager
def watching(
    folder: Path, work: Workspace, over: StepCallback | None, shown: StepCallback | None = None
) -> Iterator[StepCallback | None]:
    """Context manager with the callback for each step's metrics: it sends them to trackers and may end the loop.

    `None` where there is nothing to call.

    Trackers name the training by its folder in the run: `stage`, or `stage/phase`.

    Args:
        folder: of the stage or phase.
        work: the run.
        over: returns whether the loop should end.
        shown: logs samples.
    """
    done = newest_step(folder / "checkpoints") or 0
    sink = work.sinks(folder.relative_to(work.folder).as_posix(), done)

    def callback(step: int, metrics: Mapping[str, float]) -> bool:
        if sink:
            sink.record(step, metrics)
        if shown:
            shown(step, metrics)
        return bool(over and over(step, metrics))

    try:
        yield callback if sink or shown or over else None
    finally:
        if sink:
            sink.close()


@torch.inference_mode()
def center_scores(model: RewardModel, examples: Sequence[Example]) -> None:
    """Shift the scores to mean 0 over completions of the training data (Ouyang et al. 2022, section 3.5)."""
    chosen: list[Example] = []
    count = 0
    for example in examples:
        if count >= CENTERING_COMPLETIONS:
            break
        chosen.append(example)
        count += len(example.completions)
    total = 0.0
    for rows in pack_by_tokens([e.cost for e in chosen], 4096):
        total += float(model.scores(token_groups([chosen[r] for r in rows])).sum())
    model.center(total / count)


def report_rejected(
    rejected: Sequence[RejectedRow], total: int, stage: TrainSettings, source: str, folder: Path
) -> None:
    """Print the number of rejected rows of a source and the reason of the first.

    Args:
        rejected: rows.
        total: number of rows of the source.
        stage: the stage.
        source: as the recipe names it.
        folder: with `rejected.jsonl`.

    Raises:
        DataError: every row was rejected.
    """
    reasons = [f"{row.where}: {row.reason}" for row in rejected]
    if len(rejected) == total:
        raise DataError(f"stage '{stage.name}': {all_refused(Path(source), reasons)}")
    if rejected:
        first = reasons[0].removeprefix(f"{Path(source)}, ")
        message = f"  {len(rejected)} of {total} rows of {source} refused, the first at {first}; see "
        console.print(f"{message}{folder / 'rejected.jsonl'}", markup=False, highlight=False, soft_wrap=True)


def report_control_tokens(records: Sequence[Any], tokenizer: Any, source: str) -> None:
    """Print how control tokens in the texts of a source are treated, if there are any.

    Args:
        records: of the source.
        tokenizer: that encodes them.
        source: as the recipe names it.
    """
    counts = ControlCounts()
    for record in records:
        prompt = prompt_of_record(record)
        if prompt is not None:
            counts.add(tokenizer, prompt, completions_of(record))
    for name, value in counts.facts():
        console.print(f"  {source}: {name}: {value}", markup=False, highlight=False, soft_wrap=True)
