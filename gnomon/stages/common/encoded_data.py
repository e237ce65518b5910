"""Encoding of a training stage's stored data: in memory, or on disk and memory-mapped if they are large."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnomon.algorithms.registry import consumed_kinds
from gnomon.core.errors import DataError
from gnomon.core.progress import console
from gnomon.core.types import Prompt, RejectedRow
from gnomon.data.batching import rows_by_weight
from gnomon.data.encoding import ENCODE, Example, answers_of, token_limit
from gnomon.data.formats.contract import UnusedRow
from gnomon.data.pool import is_large
from gnomon.data.record_kinds import all_refused, kinds_to_learn
from gnomon.data.records import NAMES, disambiguate_prompt_ids, prompt_of_record, record_media, scan_records
from gnomon.data.templates.control_tokens import ControlCounts
from gnomon.data.tokenized.cache import TokenCacheError, TokenizedSource, tokenize_source
from gnomon.data.tokenized.stored_examples import StoredExamples
from gnomon.models.roles import Model
from gnomon.stages.train_settings import TrainSettings
from gnomon.stages.workspace import Workspace
from gnomon.training.settings import OfflineSettings


@dataclass(frozen=True)
class EncodedData:
    """The data of an offline stage.

    Attributes:
        examples: of all sources, by their weights.
        rejected: rows that cannot be used.
        kinds: kinds of records in the data.
        prompts: reads the prompts of the data, from the start, without those that have media.
    """

    examples: Sequence[Example]
    rejected: list[RejectedRow] = field(default_factory=list)
    kinds: tuple[type, ...] = ()
    prompts: Iterator[Prompt] = field(default_factory=lambda: iter(()))


def encode_data(stage: TrainSettings, work: Workspace, model: Model, folder: Path) -> EncodedData:
    """Encode the data of an offline stage; those of large sources are tokenized once for all stages and runs.

    Args:
        stage: the stage.
        work: the run.
        model: that is trained on them.
        folder: of the stage, for messages.

    Raises:
        DataError: a row is damaged, or all rows of a source are rejected.
    """
    assert isinstance(stage.loop, OfflineSettings)
    limit = token_limit(stage.loop.max_tokens, model.network.config)
    large = any(is_large(work.data_path(source)) for source in stage.data_sources)
    return (_encode_to_disk if large else _encode_in_memory)(stage, work, model, folder, limit)


@dataclass(frozen=True)
class LearnedSource:
    """A source of a stage's data, as records of one kind.

    Attributes:
        source: as the recipe names it.
        kind: of the records.
        weight: of the source.
    """

    source: str
    kind: type
    weight: float


def learned_sources(stage: TrainSettings, work: Workspace) -> dict[str, LearnedSource]:
    """Return the sources of a stage by their names in messages; one with scores beside comes twice."""
    algorithm = stage.built_algorithm
    kinds, scores = consumed_kinds(algorithm), bool(getattr(algorithm, "scores", None))
    named: dict[str, LearnedSource] = {}
    for source, weight in stage.data_sources.items():
        layout = work.recipe.layout_of(source)
        first, *beside = kinds_to_learn(work.data_path(source), kinds, layout, scores=scores)
        named[source] = LearnedSource(source, first, weight)
        named |= {f"{source} ({NAMES[kind]})": LearnedSource(source, kind, weight) for kind in beside}
    return named


def _encode_in_memory(
    stage: TrainSettings, work: Workspace, model: Model, folder: Path, limit: int
) -> EncodedData:
    examples: list[Example] = []
    rejected: list[RejectedRow] = []
    sources = learned_sources(stage, work)
    records_by_name: dict[str, list[Any]] = disambiguate_prompt_ids(
        {name: work.records(one.kind, one.source) for name, one in sources.items()}
    )
    for name, records in records_by_name.items():
        one = sources[name]
        source_examples, source_rejected = ENCODE[one.kind](records, model.tokenizer, limit)
        report_rejected(source_rejected, len(records), stage, name, folder)
        report_control_tokens(records, model.tokenizer, name)
        rows = rows_by_weight(len(source_examples), one.weight, work.recipe.seed)
        examples += [source_examples[row] for row in rows]
        rejected += source_rejected
    every = itertools.chain.from_iterable(records_by_name.values())
    prompts = (one.prompt for one in every if one.prompt and not record_media(one))
    return EncodedData(examples, rejected, _kinds(sources), prompts)


def _kinds(sources: Mapping[str, LearnedSource]) -> tuple[type, ...]:
    return tuple(dict.fromkeys(one.kind for one in sources.values()))


def _encode_to_disk(stage: TrainSettings, work: Workspace, model: Model, folder: Path, limit: int) -> EncodedData:
    learned = learned_sources(stage, work)
    sources: dict[str, TokenizedSource] | None = None
    if work.processes.first_on_host:
        sources = _open_sources(learned, work, model, limit)
    work.processes.barrier()
    if not work.processes.first_on_host:  # in the cache by now
        sources = _open_sources(learned, work, model, limit)
    if sources is None:
        return _encode_in_memory(stage, work, model, folder, limit)
    rejected: list[RejectedRow] = []
    for source, tokenized in sources.items():
        counts = tokenized.counts
        if tokenized.cached and work.processes.main:
            note = f"  {source}: {counts.rows:,} rows are tokenized already"
            console.print(note, markup=False, highlight=False, soft_wrap=True)
        report_rejected(counts.rejected, counts.rows, stage, source, folder)
        report_control_counts(counts.controls, source)
        rejected += counts.rejected
    files = {source: tokenized.examples for source, tokenized in sources.items()}
    weights = {name: one.weight for name, one in learned.items()}
    examples = StoredExamples(files, weights, work.recipe.seed)
    return EncodedData(examples, rejected, _kinds(learned), _prompts(learned, work))


def _open_sources(
    learned: Mapping[str, LearnedSource], work: Workspace, model: Model, limit: int
) -> dict[str, TokenizedSource] | None:
    """The tokenized sources; `None`, with a note, if the cache cannot be written."""
    layout = work.recipe.layout_of
    try:
        return {
            name: tokenize_source(
                one.kind, work.data_path(one.source), layout(one.source), model.tokenizer, limit
            )
            for name, one in learned.items()
        }
    except TokenCacheError as error:
        if work.processes.main:
            note = f"  {str(error).rstrip('.')}; the data are held in memory"
            console.print(note, markup=False, highlight=False, soft_wrap=True)
        return None


def _prompts(learned: Mapping[str, LearnedSource], work: Workspace) -> Iterator[Prompt]:
    """The prompts of a stage's data, read from its sources."""
    records: Iterator[Iterator[tuple[str, Any]]] = (
        scan_records(one.kind, work.data_path(one.source), None, work.recipe.layout_of(one.source))
        for one in learned.values()
    )
    for _, record in itertools.chain.from_iterable(records):
        if isinstance(record, UnusedRow | DataError) or record_media(record):
            continue
        if record.prompt is not None:
            yield record.prompt


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
            counts.add(tokenizer, prompt, answers_of(record))
    report_control_counts(counts, source)


def report_control_counts(counts: ControlCounts, source: str) -> None:
    """Print counts of control tokens in the texts of a source, if there are any."""
    for name, value in counts.facts():
        console.print(f"  {source}: {name}: {value}", markup=False, highlight=False, soft_wrap=True)
