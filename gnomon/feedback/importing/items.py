"""Reads prompts with completions from files and adds them to a project as items of its task."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gnomon.core.errors import DataError
from gnomon.core.progress import console
from gnomon.core.types import Completion, Prompt
from gnomon.data.reading.conversations import completion_of, prompt_and_completion, prompt_and_sides, row_prompt
from gnomon.data.reading.media.columns import with_media
from gnomon.data.reading.messages import fingerprint
from gnomon.data.reading.readers import scan_rows
from gnomon.data.reading.row_fields import KeysRead, TrackedRow, listed, name_of, number, text, truth
from gnomon.data.records import alternatives, parse_record
from gnomon.feedback.requirements import NO_REQUIREMENT, Requirement, requirement
from gnomon.feedback.task_types import DEMONSTRATION, SCALES, setup_of
from gnomon.feedback.visible_text import check_shown

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from gnomon.feedback.store.ingest import IngestCounts
    from gnomon.feedback.store.store import Project, Store

CHUNK = 2000  # groups in memory at a time
COMPLETION_KEYS = ("completions", "chosen", "rejected", "completion")
ADVICE = "give rows with a prompt and completions, or with chosen and rejected"


class Group(NamedTuple):
    """A prompt and its completions, in any order, with the row's facts about the prompt for the prompt bank."""

    prompt: Prompt
    completions: tuple[Completion, ...]
    category: str = ""
    tags: tuple[str, ...] = ()
    value: float = 0.5
    edge: bool = False
    requirement: Requirement = NO_REQUIREMENT


def read_groups(
    path: Path, task: str = "pair", *, bare: bool = False, keys: KeysRead | None = None
) -> Iterator[Group]:
    """Yield the groups of a file: two or more completions per prompt; one or more for tasks with scores.

    For demonstrations the rows are prompts, whose answers annotators write.

    Args:
        path: file of rows.
        task: task of the project.
        bare: the rows are prompts without completions.
        keys: records the keys that the rows have and those that were read.

    Raises:
        DataError: a row is invalid, or there are no rows.
    """
    alone, bare = task in SCALES, bare or task == DEMONSTRATION
    advice = "give rows with a prompt" if bare else f"{ADVICE}, or with one completion" if alone else ADVICE
    empty, keys = True, KeysRead() if keys is None else keys
    for where, row in scan_rows(path):
        empty = False
        try:
            if isinstance(row, DataError):
                raise row
            tracked = TrackedRow(row, keys)
            yield _add_columns(Group(_bare(tracked), ()) if bare else group_of(tracked, alone), tracked)
        except DataError as error:
            problem = str(error).rstrip(".").removeprefix(f"{path}, {where}: ")
            raise DataError(f"{path}, {where}: {problem}; {advice}.") from None
    if empty:
        raise DataError(f"{path} holds no rows; {advice}.")


def report_unused_completions(path: Path, keys: KeysRead) -> None:
    """Print that the rows of a project of demonstrations have completions, and take their keys for read.

    Args:
        path: file of rows.
        keys: the keys that the rows have, and those that were read.
    """
    unused = [key for key in keys.unread() if key in COMPLETION_KEYS]
    if unused:
        keys.read.update(unused)
        console.print(
            f"{path}: completions are not used by this task, whose answers annotators write "
            f"(keys: {', '.join(unused)})",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def add_groups(
    store: Store, project: str, groups: Iterable[Group], *, bare: bool = False, seed: int = 0
) -> IngestCounts:
    """Add prompts, completions and the items of the project's task, each only if the project does not have it.

    For pairs: all pairs of up to three completions; beyond that as many pairs as completions, see
    `feedback.selection.items`. For rankings: sets of the project's ranking size, or one set of all completions if
    there are no more. For scores: an item per completion. For demonstrations: an item per prompt.

    Args:
        store: database with the project.
        project: id of the project.
        groups: prompts with their completions.
        bare: add the prompts to the prompt bank alone.
        seed: seed for the choice of pairs and sets.

    Returns:
        Number of added and of known items; for groups without completions, of prompts.
    """
    from gnomon.feedback.store.ingest import IngestCounts

    about = store.project(project)
    size = setup_of(about.settings).ranking_size
    remaining, added, known = iter(groups), 0, 0
    with store.writing() as session:  # all or nothing
        while chunk := list(itertools.islice(remaining, CHUNK)):
            counts = _add_chunk(store, session, about, chunk, size, seed, bare)
            added, known = added + counts.added, known + counts.known
    return IngestCounts(added, known)


def _add_chunk(
    store: Store, session: Session, about: Project, groups: Sequence[Group], size: int, seed: int, bare: bool
) -> IngestCounts:
    from gnomon.feedback.selection.items import item_completions
    from gnomon.feedback.store.ingest import add_completions, add_items, add_prompt_items, add_prompts
    from gnomon.feedback.store.store import BankPrompt

    bank = [
        BankPrompt(one.prompt, one.category, one.tags, one.value, one.edge, one.requirement) for one in groups
    ]
    prompts = add_prompts(store, about.id, bank, within=session)
    if about.task == DEMONSTRATION and not bare:
        names = [prompts.ids[group.prompt.id] for group in groups]
        return add_prompt_items(store, about.id, names, within=session)
    completions = [(group.prompt.id, different(group)) for group in groups]
    if not any(some for _, some in completions):
        return prompts
    item_ids = [ids for _, some in completions for ids in item_completions(about.task, some, size, seed)]
    rows: list[tuple[str, Completion, dict[str, Any]]] = [
        (prompts.ids[name], one, {}) for name, some in completions for one in some
    ]
    known = add_completions(store, about.id, rows, within=session).ids
    return add_items(store, about.id, [[known[name] for name in ids] for ids in item_ids], within=session)


def different(group: Group) -> list[Completion]:
    """A group's distinct completions; conversations are compared by all turns."""
    return list({(one.text, one.turns): one for one in reversed(group.completions)}.values())[::-1]


def group_of(row: Mapping[str, Any], alone: bool) -> Group:
    """Parse the prompt and the completions of one row, in any supported layout."""
    row = with_media(row)
    if row.get("completions") is not None:
        prompt = row_prompt(row)
        completions = tuple(completion_of(value, prompt) for value in alternatives(row))
    elif alone and row.get("chosen") is None and row.get("rejected") is None:
        prompt, one = prompt_and_completion(row)
        completions = (one,)
    else:
        prompt, *both = prompt_and_sides(row)
        completions = tuple(both)
    if len(completions) < (1 if alone else 2):
        raise DataError("there are no completions" if alone else "there are fewer than two completions")
    check_shown(prompt, completions)
    return Group(prompt, own_ids(prompt, completions))


def _bare(row: Mapping[str, Any]) -> Prompt:
    prompt: Prompt = parse_record(Prompt, row)
    check_shown(prompt)
    return prompt


def _add_columns(group: Group, row: Mapping[str, Any]) -> Group:
    """Add the row's columns for the prompt bank, such as `category`, `tags` and `language`."""
    return group._replace(
        category=text(str(row.get("category") or "")),
        tags=_names(row, "tags"),
        value=number(row, "value", 0.5, 0.0, 1.0),
        edge=row.get("edge") not in (None, "") and truth(row["edge"], "edge"),
        requirement=requirement(
            text(str(row.get("language") or "")), text(str(row.get("domain") or "")), _names(row, "skills")
        ),
    )


def _names(row: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The names of a column: a list, or a text with commas, as in a table."""
    value = row.get(key)
    if isinstance(value, str) and not value.lstrip().startswith("["):
        value = [name.strip() for name in value.split(",") if name.strip()]
    return tuple(text(str(name)) for name in listed(value or [], key))


def own_ids(prompt: Prompt, completions: Sequence[Completion]) -> tuple[Completion, ...]:
    """Make the ids of completions depend on the prompt too, unless the rows give ids: ids derive from texts."""

    def own(one: Completion) -> Completion:
        words = one.text if one.turns is None else fingerprint(one.turns)
        return replace(one, id=name_of(f"{prompt.id}\n{words}")) if one.id == name_of(words) else one

    return tuple(map(own, completions))
