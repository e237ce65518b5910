"""Encoding of a training stage's stored data: in memory, or on disk and memory-mapped if they are large."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.progress import console
from gnomon.core.types import Prompt, RejectedRow
from gnomon.data.batching import rows_by_weight
from gnomon.data.encoding import ENCODE, Example, token_limit
from gnomon.data.formats.contract import UnusedRow
from gnomon.data.pool import is_large
from gnomon.data.record_kinds import all_refused
from gnomon.data.records import completions_of, prompt_of_record, record_media, scan_records
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
        prompts: reads the prompts of the data, from the start, without those that have media.
    """

    examples: Sequence[Example]
    rejected: list[RejectedRow] = field(default_factory=list)
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


def _encode_in_memory(
    stage: TrainSettings, work: Workspace, model: Model, folder: Path, limit: int
) -> EncodedData:
    consumes = stage.built_algorithm.consumes
    examples: list[Example] = []
    rejected: list[RejectedRow] = []
    records_by_source = work.load_sources(consumes, stage.data_sources)
    for source, records in records_by_source.items():
        source_examples, source_rejected = ENCODE[consumes](records, model.tokenizer, limit)
        report_rejected(source_rejected, len(records), stage, source, folder)
        report_control_tokens(records, model.tokenizer, source)
        rows = rows_by_weight(len(source_examples), stage.data_sources[source], work.recipe.seed)
        examples += [source_examples[row] for row in rows]
        rejected += source_rejected
    every = itertools.chain.from_iterable(records_by_source.values())
    return EncodedData(examples, rejected, (one.prompt for one in every if not record_media(one)))


def _encode_to_disk(stage: TrainSettings, work: Workspace, model: Model, folder: Path, limit: int) -> EncodedData:
    consumes = stage.built_algorithm.consumes
    sources: dict[str, TokenizedSource] | None = None
    if work.processes.first_on_host:
        sources = _open_sources(stage, work, model, limit)
    work.processes.barrier()
    if not work.processes.first_on_host:  # in the cache by now
        sources = _open_sources(stage, work, model, limit)
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
    examples = StoredExamples(files, stage.data_sources, work.recipe.seed)
    return EncodedData(examples, rejected, _prompts(stage, work, consumes))


def _open_sources(
    stage: TrainSettings, work: Workspace, model: Model, limit: int
) -> dict[str, TokenizedSource] | None:
    """The tokenized sources; `None`, with a note, if the cache cannot be written."""
    consumes, layout = stage.built_algorithm.consumes, work.recipe.layout_of
    try:
        return {
            source: tokenize_source(consumes, work.data_path(source), layout(source), model.tokenizer, limit)
            for source in stage.data_sources
        }
    except TokenCacheError as error:
        if work.processes.main:
            note = f"  {str(error).rstrip('.')}; the data are held in memory"
            console.print(note, markup=False, highlight=False, soft_wrap=True)
        return None


def _prompts(stage: TrainSettings, work: Workspace, kind: type[Any]) -> Iterator[Prompt]:
    """The prompts of a stage's data, read from its sources."""
    records = (
        scan_records(kind, work.data_path(one), None, work.recipe.layout_of(one)) for one in stage.data_sources
    )
    for _, record in itertools.chain.from_iterable(records):
        if not isinstance(record, UnusedRow | DataError) and not record_media(record):
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
            counts.add(tokenizer, prompt, completions_of(record))
    report_control_counts(counts, source)


def report_control_counts(counts: ControlCounts, source: str) -> None:
    """Print counts of control tokens in the texts of a source, if there are any."""
    for name, value in counts.facts():
        console.print(f"  {source}: {name}: {value}", markup=False, highlight=False, soft_wrap=True)
