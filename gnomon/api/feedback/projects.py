"""Python calls behind `gnomon feedback`: projects, imports, exports, links and reports."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gnomon.core.errors import ConfigError, DataError

if TYPE_CHECKING:  # heavy, so imported by the calls that use it: the command line starts through here
    from gnomon.feedback.export.exporter import ExportSpec
    from gnomon.feedback.quality.summary import QualityReport
    from gnomon.feedback.quality.written_quality import WrittenCounts
    from gnomon.feedback.selection.prompts import CategoryCoverage, SelectedPrompt
    from gnomon.feedback.store.ingest import IngestCounts
    from gnomon.feedback.store.store import Project, Store

Name = str | os.PathLike[str]
Role = Literal["admin", "reviewer", "annotator"]
State = Literal["active", "paused", "withdrawn"]
PUBLISHED_PROMPTS = {  # prompt assumed for the texts of each published set of ratings
    "film-reviews": "Write one sentence of a film review.",
    "product-reviews": "Write one sentence of a product review.",
    "editorials": "Write one sentence of a newspaper editorial.",
    "tweets": "Write a tweet.",
}


def open_store(url: Name, *, make: bool = False) -> Store:
    """Open a feedback store; see `gnomon.feedback.store.store.Store`.

    Args:
        url: address of the database.
        make: create a missing SQLite file.

    Raises:
        ConfigError: it does not exist, or cannot be opened.
    """
    from gnomon.feedback.store.database import sqlite_file
    from gnomon.feedback.store.store import Store

    address = url if isinstance(url, str) else Path(url)
    file = sqlite_file(address)
    if not make and file is not None and not file.exists():
        raise ConfigError(f"there is no feedback store at {file}; create one with gnomon feedback init.")
    return Store(address)


def only_project(store: Store) -> str:
    """Return the id of a store's only project.

    Raises:
        ConfigError: it has none, or several.
    """
    known = store.projects()
    if not known:
        raise ConfigError("the store has no project; create one with gnomon feedback init.")
    if len(known) > 1:
        raise ConfigError(f"name the project with --project (the store has: {', '.join(known)}).")
    return known[0]


def feedback_init(url: Name, project: Project) -> None:
    """Create a project in a store; a missing store is created too.

    Raises:
        ConfigError: the task or a setting is invalid.
        DataError: there is a project of that id.
    """
    from gnomon.feedback.task_types import SHAPES, check_settings, limits_of, setup_of

    if project.task not in SHAPES:
        raise ConfigError(f"the task is '{project.task}'; give one of {', '.join(SHAPES)}.")
    limits_of(setup_of(project.settings))
    check_settings(project.task, project.settings)
    with closing(open_store(url, make=True)) as store:
        store.add_project(project)


def feedback_import(url: Name, project: str | None, file: Name, *, bare: bool = False) -> IngestCounts:
    """Import prompts with completions and create the project's items; see `importing.items.add_groups`.

    Args:
        url: address of the store.
        project: id of the project; `None`: the only one.
        file: rows with a prompt and `completions`, or `chosen` and `rejected`, or, where completions are scored,
            one `completion`, or, where annotators write the answers, a prompt alone; any format of
            `data.reading.readers`. The columns `category`, `tags`, `value`, `edge`, `language`, `domain` and
            `skills` are stored with the prompt.
        bare: add the rows as prompts without completions to the prompt bank, and create no items.

    Returns:
        Numbers of added and existing items; of prompts if they are bare.

    Raises:
        DataError: a row is invalid; nothing is added.
    """
    from gnomon.data.reading.row_fields import KeysRead
    from gnomon.data.reported_rows import report_keys
    from gnomon.feedback.importing.items import add_groups, read_groups, report_unused_completions
    from gnomon.feedback.task_types import DEMONSTRATION

    keys = KeysRead()
    with closing(open_store(url)) as store:
        name = project or only_project(store)
        task = store.project(name).task
        groups = read_groups(Path(file), task, bare=bare, keys=keys)
        counted = add_groups(store, name, groups, bare=bare)
    if task == DEMONSTRATION:
        report_unused_completions(Path(file), keys)
    report_keys(Path(file), "prompts" if bare or task == DEMONSTRATION else "prompts and completions", keys)
    return counted


def feedback_import_ratings(
    url: Name,
    project: str | None,
    file: Name,
    *,
    prompt: str | None = None,
    scale: tuple[float, float] | None = None,
    format: str = "",
    columns: Mapping[str, Any] | None = None,
) -> IngestCounts:
    """Import ratings collected elsewhere as judgements; see `gnomon.feedback.importing.ratings`.

    Args:
        url: address of the store.
        project: id of the project; an unknown one is created with one criterion. `None`: the only one.
        file: rows of ratings, or the name of a set of `gnomon.data.film_reviews`.
        prompt: prompt of texts that have none.
        scale: lowest and highest rating of a new project.
        format: name of the file's format; it is recognized by default.
        columns: mapping of its columns, for another layout.

    Returns:
        Numbers of added and existing judgements.

    Raises:
        DataError: a row is invalid, or the project does not score on one criterion; nothing is added.
    """
    from gnomon.data.film_reviews import HIGHEST, LOWEST, RATING_SETS, load_rating_set
    from gnomon.data.formats.registry import RowLayout
    from gnomon.data.reading.conversations import prompt_of
    from gnomon.data.reading.row_fields import KeysRead
    from gnomon.data.reported_rows import report_keys, report_unused
    from gnomon.feedback.importing.ratings import import_ratings, scan_ratings
    from gnomon.feedback.store.store import Project

    name, keys = str(file), KeysRead()
    published = name in RATING_SETS and not Path(file).exists()
    prompt_text = prompt or (PUBLISHED_PROMPTS[name] if published else None)
    default = prompt_of(prompt_text) if prompt_text else None
    with closing(open_store(url, make=project is not None)) as store:
        project = project or only_project(store)
        if project in store.projects():
            about, new = store.project(project), False
            if scale is not None:
                raise ConfigError(f"project '{project}' already has a scale; remove --scale.")
        else:
            scale = scale or ((LOWEST, HIGHEST) if published else None)
            settings = {"criteria": ["overall"], **({"scale": list(scale)} if scale else {})}
            about, new = Project(project, f"Ratings of {Path(name).stem}", "rating", settings=settings), True
        if published:
            texts, _ = load_rating_set(name)
            rows = iter([(text.id, replace(text, prompt=default)) for text in texts])
        else:
            rows = scan_ratings(Path(file), default, keys, RowLayout.of(format, columns))
        counted = import_ratings(store, about, rows, Path(name).stem, new=new)
    report_keys(Path(file), "ratings", keys)
    report_unused(Path(file), keys)
    return counted


def feedback_import_judgements(
    url: Name,
    project: str | None,
    file: Name,
    *,
    prompt: str | None = None,
    format: str = "",
) -> IngestCounts:
    """Import judgements of pairs or rankings with their annotators; see `gnomon.feedback.importing.judgements`.

    Args:
        url: address of the store.
        project: id of the project; an unknown one is created, for pairs or for rankings, as the file has them.
            `None`: the only one.
        file: an export of Label Studio or Argilla, or rows of two answers with a column for each annotator.
        prompt: prompt of rows that have none.
        format: name of the file's format; it is recognized by default.

    Returns:
        Numbers of added and existing judgements.

    Raises:
        DataError: a row is damaged, or the project has another task; nothing is added.
    """
    from gnomon.data.formats.registry import RowLayout
    from gnomon.data.reading.conversations import prompt_of
    from gnomon.data.reading.row_fields import KeysRead
    from gnomon.data.reported_rows import report_keys, report_unused
    from gnomon.feedback.importing.judgements import TASKS, import_judgements, scan_judged_items, task_of
    from gnomon.feedback.store.store import Project
    from gnomon.feedback.task_types import DEMONSTRATION

    path, keys, layout = Path(file), KeysRead(), RowLayout.of(format)
    default = prompt_of(prompt) if prompt else None
    with closing(open_store(url, make=project is not None)) as store:
        project = project or only_project(store)
        new = project not in store.projects()
        title = f"Judgements of {path.stem}"
        about = Project(project, title, task_of(path, layout)) if new else store.project(project)
        if about.task == DEMONSTRATION:
            raise ConfigError(
                f"project '{project}' collects written answers, and --judgements imports choices and rankings; "
                "give another --project, or import prompts without --judgements."
            )
        if about.task not in TASKS:
            raise ConfigError(f"project '{project}' has scores, not choices; import them with --ratings.")
        items = scan_judged_items(path, about.task, default, keys, layout)
        counted = import_judgements(store, about, items, path.stem, new=new)
    report_keys(path, "judgements", keys)
    report_unused(path, keys)
    return counted


def feedback_select_prompts(
    url: Name, project: str | None, count: int, mix: Mapping[str, float] | None = None, *, seed: int = 0
) -> tuple[list[SelectedPrompt], list[CategoryCoverage]]:
    """Select the next prompts to annotate; see `gnomon.feedback.selection.prompts`.

    Coverage counts the items of each prompt.

    Args:
        url: address of the store.
        project: id of the project; `None`: the only one.
        count: number of prompts.
        mix: shares of `high_value`, `under_covered`, `edge` and `random`, which add up to 1.
        seed: seed of the random choices.

    Returns:
        The prompts, and the coverage of each category.

    Raises:
        ConfigError: the shares do not add up.
        DataError: the project has no prompts.
    """
    from gnomon.core.config import validate
    from gnomon.feedback.selection.prompts import PromptMix, coverage, select_prompts

    with closing(open_store(url)) as store:
        name = project or only_project(store)
        prompts, item_counts = store.bank(name), store.item_counts(name)
    if not prompts:
        raise DataError(f"project '{name}' has no prompts; add some with gnomon feedback import --prompts.")
    prompt_mix = validate(PromptMix, dict(mix or {}), "--mix")
    return select_prompts(prompts, count, prompt_mix, item_counts, seed), coverage(prompts, item_counts)


def feedback_export(
    url: Name,
    project: str | None,
    folder: Name,
    spec: ExportSpec | None = None,
    format: str = "jsonl",
    *,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Export a project's data with a `manifest.json` that records its provenance.

    Args:
        url: address of the store.
        project: id of the project; `None`: the only one.
        folder: gets one file for each kind of rows; files of an earlier export are replaced.
        spec: aggregation, kinds of rows, excluded annotators.
        format: `jsonl`, `parquet`, `datasets`, or the layout of another tool as JSON lines: `trl`, `openrlhf`,
            `llama-factory`.
        overwrite: also replace files of the same names that no export wrote or that were changed since.

    Returns:
        The manifest.

    Raises:
        DataError: there are no judgements yet, or the folder holds something other than an export.
        BusyError: another process exports into the folder.
    """
    from gnomon.feedback.export.writers import write_export

    with closing(open_store(url)) as store:
        return write_export(
            store, project or only_project(store), Path(folder), spec, format, overwrite=overwrite
        )


def feedback_gold(url: Name, project: str | None, file: Name) -> IngestCounts:
    """Add gold items (known answers); existing items are marked as gold.

    Args:
        url: address of the store.
        project: id of the project, with the task pair or ranking; `None`: the only one.
        file: rows with a prompt, `chosen` and `rejected`; for rankings with `completions`, best first.

    Raises:
        ConfigError: the project's task is another.
        DataError: a row is invalid; nothing is added.
    """
    from gnomon.core.types import Preference, Ranking
    from gnomon.data.reported_rows import read_reported
    from gnomon.feedback.importing.items import own_ids
    from gnomon.feedback.tasks.gold_items import add_gold, check_ordered

    with closing(open_store(url)) as store:
        project = project or only_project(store)
        task = store.project(project).task
        check_ordered(project, task)
        if task == "ranking":
            rankings = read_reported(Ranking, Path(file))
        else:
            rows = read_reported(Preference, Path(file))
            rankings = [Ranking(row.prompt, (row.chosen, row.rejected)) for row in rows]
        gold = [replace(row, completions=own_ids(row.prompt, row.completions)) for row in rankings]
        return add_gold(store, project, gold)


def feedback_agreement(url: Name, project: str | None = None) -> QualityReport:
    """Compute agreement and reliability of a project's annotators.

    Raises:
        ConfigError: no project was named, and the store has none, or several.
        DataError: there is no such project.
    """
    from gnomon.feedback.quality.summary import quality_report

    with closing(open_store(url)) as store:
        return quality_report(store, project or only_project(store))


def feedback_invite(url: Name, project: str | None, name: str, role: Role = "annotator") -> str:
    """Create an annotator and return the path of a personal link, `/join/…`; it is shown only once.

    Args:
        url: address of the store.
        project: id of the project; `None`: the only one.
        name: name of the annotator.
        role: what the link allows.
    """
    from gnomon.feedback.store.access import Access

    with closing(open_store(url)) as store:
        return f"/join/{Access(store).invite(project or only_project(store), name, role)}"


def feedback_invite_again(url: Name, project: str | None, annotator: str) -> str:
    """Return the path of a new personal link for an existing annotator; earlier links end.

    Args:
        url: address of the store.
        project: id of the project; `None`: the only one.
        annotator: id of the annotator.

    Raises:
        DataError: no annotator of that id was invited to the project, or they are withdrawn.
    """
    from gnomon.feedback.store.access import Access

    with closing(open_store(url)) as store:
        return f"/join/{Access(store).invite_again(project or only_project(store), annotator)}"


def feedback_set_annotator(url: Name, annotator: str, state: State) -> None:
    """Activate, pause or withdraw an annotator; withdrawing ends their links and discounts their judgements.

    Args:
        url: address of the store.
        annotator: id of the annotator.
        state: the new state.

    Raises:
        DataError: there is no such annotator.
    """
    from gnomon.feedback.store.access import Access

    with closing(open_store(url)) as store:
        store.set_annotator(annotator, state)
        if state == "withdrawn":
            Access(store).revoke(annotator)


def feedback_status(url: Name, project: str | None = None) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Return the counts of `Queue.progress`, and a row for each annotator who was invited or has judged.

    Raises:
        ConfigError: no project was named, and the store has none, or several.
        DataError: there is no such project.
    """
    from gnomon.feedback.quality.summary import annotator_table
    from gnomon.feedback.tasks.queue import Queue

    with closing(open_store(url)) as store:
        name = project or only_project(store)
        store.project(name)
        return Queue(store, name).progress(), annotator_table(store, name)


def feedback_written_counts(url: Name, project: str | None = None) -> WrittenCounts | None:
    """Return the numbers of written answers by outcome and flag; `None` if annotators of the project write none.

    Raises:
        ConfigError: no project was named, and the store has none, or several.
        DataError: there is no such project.
    """
    from gnomon.feedback.quality.written_quality import count_texts, load_checked_texts
    from gnomon.feedback.task_types import DEMONSTRATION

    with closing(open_store(url)) as store:
        name = project or only_project(store)
        if store.project(name).task != DEMONSTRATION:
            return None
        return count_texts(load_checked_texts(store, name))
