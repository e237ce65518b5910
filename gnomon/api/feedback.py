"""Collecting judgements, as typed calls: what `gnomon feedback` does for Python programs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gnomon.core.errors import ConfigError, DataError

if TYPE_CHECKING:  # heavy, so imported by the calls that use it: the command line starts through here
    from gnomon.feedback.export.exporter import Wanted
    from gnomon.feedback.quality.summary import Figures
    from gnomon.feedback.selection.prompts import Coverage, Picked
    from gnomon.feedback.store.ingest import Counted
    from gnomon.feedback.store.store import Project, Store

Name = str | os.PathLike[str]
Role = Literal["admin", "reviewer", "annotator"]
State = Literal["active", "paused", "withdrawn"]
PUBLISHED = {  # what the texts of each set of ratings are taken to answer
    "film-reviews": "Write one sentence of a film review.",
    "product-reviews": "Write one sentence of a product review.",
    "editorials": "Write one sentence of a newspaper editorial.",
    "tweets": "Write a tweet.",
}


def open_store(url: Name, *, make: bool = False) -> Store:
    """A feedback store; see `gnomon.feedback.store.store.Store`.

    Args:
        url: where it is.
        make: whether a SQLite file that is not there is made.

    Raises:
        ConfigError: it is not there, or cannot be opened.
    """
    from gnomon.feedback.store.database import sqlite_file
    from gnomon.feedback.store.store import Store

    where = url if isinstance(url, str) else Path(url)
    file = sqlite_file(where)
    if not make and file is not None and not file.exists():
        raise ConfigError(f"there is no feedback store at {file}; make one with gnomon feedback init.")
    return Store(where)


def only_project(store: Store) -> str:
    """The id of a store's only project.

    Raises:
        ConfigError: it has none, or several.
    """
    known = store.projects()
    if not known:
        raise ConfigError("the store has no project; make one with gnomon feedback init.")
    if len(known) > 1:
        raise ConfigError(f"name the project with --project (the store has: {', '.join(known)}).")
    return known[0]


def feedback_init(url: Name, project: Project) -> None:
    """Make a project in a store, which is made too if it is not there.

    Raises:
        ConfigError: the task or a setting of the project cannot be.
        DataError: there is a project of that id.
    """
    from gnomon.feedback.task_types import SHAPES, limits_of, setup_of

    if project.task not in SHAPES:
        raise ConfigError(f"the task is '{project.task}'; give one of {', '.join(SHAPES)}.")
    limits_of(setup_of(project.settings))
    criteria = setup_of(project.settings).criteria
    if criteria and not setup_of(project.settings).asked_of(project.task):
        raise ConfigError(f"a {project.task} has no criteria; leave them out, or make it a rating or a likert.")
    with closing(open_store(url, make=True)) as store:
        store.add_project(project)


def feedback_import(url: Name, project: str | None, file: Name, *, bare: bool = False) -> Counted:
    """Add prompts with their completions, and the items of the project's task: see `feedback_items.add_groups`.

    Args:
        url: of the store.
        project: its id; the only one where nothing is said.
        file: rows with a prompt and `completions`, or `chosen` and `rejected`, or, where completions are scored,
            one `completion`; any format of `data.sources`. A prompt's `category`, `tags`, `value` and `edge` go
            into the bank.
        bare: the rows are prompts alone, for the bank.

    Returns:
        How many items were added, and how many were there; of bare prompts, how many prompts.

    Raises:
        DataError: a row is wrong; then nothing is added.
    """
    from gnomon.data.reading.reported_rows import report_keys
    from gnomon.data.reading.unread_keys import KeysRead
    from gnomon.feedback.importing.items import add_groups, read_groups

    keys = KeysRead()
    with closing(open_store(url)) as store:
        name = project or only_project(store)
        groups = read_groups(Path(file), store.project(name).task, bare=bare, keys=keys)
        counted = add_groups(store, name, groups)
    report_keys(Path(file), "prompts and completions", keys)
    return counted


def feedback_import_ratings(
    url: Name,
    project: str | None,
    file: Name,
    *,
    prompt: str | None = None,
    scale: tuple[float, float] | None = None,
) -> Counted:
    """Add ratings that were collected elsewhere as judgements; see `gnomon.feedback.importing.ratings`.

    Args:
        url: of the store.
        project: its id; if there is none of it, one that rates on one criterion is made. The only one where
            nothing is said.
        file: rows of ratings, or the name of a set of `gnomon.data.film_reviews`.
        prompt: what texts answer that have no prompt of their own.
        scale: least and greatest rating, for a project that is made.

    Returns:
        How many judgements were added, and how many were there.

    Raises:
        DataError: a row is wrong, or the project does not score on one criterion; then nothing is added.
    """
    from gnomon.data.film_reviews import HIGHEST, LOWEST, RATING_SETS, load_rating_set
    from gnomon.data.reading.conversations import prompt_of
    from gnomon.data.reading.reported_rows import report_keys
    from gnomon.data.reading.unread_keys import KeysRead
    from gnomon.feedback.importing.ratings import import_ratings, scan_ratings
    from gnomon.feedback.store.store import Project

    name, keys = str(file), KeysRead()
    published = name in RATING_SETS and not Path(file).exists()
    asked = prompt or (PUBLISHED[name] if published else None)
    default = prompt_of(asked) if asked else None
    with closing(open_store(url, make=project is not None)) as store:
        project = project or only_project(store)
        if project in store.projects():
            about, new = store.project(project), False
            if scale is not None:
                raise ConfigError(f"project '{project}' has its scale already; leave --scale away.")
        else:
            scale = scale or ((LOWEST, HIGHEST) if published else None)
            settings = {"criteria": ["overall"], **({"scale": list(scale)} if scale else {})}
            about, new = Project(project, f"Ratings of {Path(name).stem}", "rating", settings=settings), True
        if published:
            texts, _ = load_rating_set(name)
            rows = iter([(text.id, replace(text, prompt=default)) for text in texts])
        else:
            rows = scan_ratings(Path(file), default, keys)
        counted = import_ratings(store, about, rows, Path(name).stem, new=new)
    report_keys(Path(file), "ratings", keys)
    return counted


def feedback_pick(
    url: Name, project: str | None, count: int, mix: Mapping[str, float] | None = None, *, seed: int = 0
) -> tuple[list[Picked], list[Coverage]]:
    """Choose prompts of the bank to ask next, by `feedback.bank`; a prompt was asked as often as it has items.

    Args:
        url: of the store.
        project: its id; the only one where nothing is said.
        count: how many.
        mix: shares of `high_value`, `under_covered`, `edge` and `random`, which add up to 1.
        seed: of what is left to chance.

    Returns:
        The prompts, and how far each category is covered.

    Raises:
        ConfigError: the shares do not add up.
        DataError: the bank is empty.
    """
    from gnomon.core.config import validate
    from gnomon.feedback.selection.prompts import Mix, coverage, select

    with closing(open_store(url)) as store:
        name = project or only_project(store)
        prompts, asked = store.bank(name), store.times_asked(name)
    if not prompts:
        raise DataError(f"project '{name}' has no prompts; add some with gnomon feedback import --prompts.")
    chosen = validate(Mix, dict(mix or {}), "--mix")
    return select(prompts, count, chosen, asked, seed), coverage(prompts, asked)


def feedback_export(
    url: Name,
    project: str | None,
    folder: Name,
    wanted: Wanted | None = None,
    format: str = "jsonl",
    *,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a project's data, row by row, and `manifest.json`, which says what it was made of.

    Args:
        url: of the store.
        project: its id; the only one where nothing is said.
        folder: gets a file for each kind of rows, in the place of those of an earlier export.
        wanted: how voices are combined, and which rows and annotators are left out.
        format: `jsonl`, `parquet` or `datasets`.
        overwrite: replace files of the same names that no export wrote or somebody changed; other files stay.

    Returns:
        The manifest.

    Raises:
        DataError: nobody has judged anything yet, or the folder holds something else than an export.
        BusyError: another process exports into the folder.
    """
    from gnomon.feedback.export.writers import write_export

    with closing(open_store(url)) as store:
        return write_export(
            store, project or only_project(store), Path(folder), wanted, format, overwrite=overwrite
        )


def feedback_gold(url: Name, project: str | None, file: Name) -> Counted:
    """Add questions whose answer is known; items that are there become gold ones.

    Args:
        url: of the store.
        project: its id, one of pairs or rankings; the only one where nothing is said.
        file: rows with a prompt, `chosen` and `rejected`; for rankings with `completions`, best first.

    Raises:
        ConfigError: the project's task is another.
        DataError: a row is wrong; then nothing is added.
    """
    from gnomon.core.types import Preference, Ranking
    from gnomon.data.reading.reported_rows import read_reported
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
        known = [replace(row, completions=own_ids(row.prompt, row.completions)) for row in rankings]
        return add_gold(store, project, known)


def feedback_agreement(url: Name, project: str | None = None) -> Figures:
    """How far a project's annotators agree, and how far each can be relied on; the only project's by default.

    Raises:
        ConfigError: none was named, and the store has none, or several.
        DataError: there is no such project.
    """
    from gnomon.feedback.quality.summary import figures

    with closing(open_store(url)) as store:
        return figures(store, project or only_project(store))


def feedback_link(url: Name, project: str | None, name: str, role: Role = "annotator") -> str:
    """A new personal link's path, `/join/…`; nobody can be told it again."""
    from gnomon.feedback.store.access import Access

    with closing(open_store(url)) as store:
        return f"/join/{Access(store).invite(project or only_project(store), name, role)}"


def feedback_link_again(url: Name, project: str | None, annotator: str) -> str:
    """Another personal link's path for somebody who was invited; the ones before end.

    Raises:
        DataError: nobody of that id was invited to the project, or they were withdrawn.
    """
    from gnomon.feedback.store.access import Access

    with closing(open_store(url)) as store:
        return f"/join/{Access(store).invite_again(project or only_project(store), annotator)}"


def feedback_annotator(url: Name, annotator: str, state: State) -> None:
    """Let an annotator work, pause them, or withdraw them: their links end, and what they said counts no more.

    Raises:
        DataError: nobody has that id.
    """
    from gnomon.feedback.store.access import Access

    with closing(open_store(url)) as store:
        store.set_annotator(annotator, state)
        if state == "withdrawn":
            Access(store).revoke(annotator)


def feedback_status(url: Name, project: str | None = None) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """How far a project is, as `Queue.progress` counts it; and a row for whoever was invited or has judged.

    Raises:
        ConfigError: none was named, and the store has none, or several.
        DataError: there is no such project.
    """
    from gnomon.feedback.quality.summary import annotator_table
    from gnomon.feedback.tasks.queue import Queue

    with closing(open_store(url)) as store:
        name = project or only_project(store)
        store.project(name)
        return Queue(store, name).progress(), annotator_table(store, name)
