"""From a file's rows to the items of a project: pairs, sets to rank, or completions one by one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Prompt
from gnomon.data.reading.conversations import completion_of, prompt_and_completion, prompt_and_sides, row_prompt
from gnomon.data.reading.messages import fingerprint
from gnomon.data.reading.readers import scan_rows
from gnomon.data.reading.records import alternatives, parse_record
from gnomon.data.reading.row_fields import KeysRead, TrackedRow, listed, name_of, number, text, truth
from gnomon.feedback.task_types import SCALES, setup_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from gnomon.feedback.store.ingest import IngestCounts
    from gnomon.feedback.store.store import Project, Store

CHUNK = 2000  # groups in memory at a time
COMPARED = "give rows with a prompt and completions, or with chosen and rejected"


class Group(NamedTuple):
    """A prompt and its completions, in no order; and what the bank knows of the prompt, where a row says so."""

    prompt: Prompt
    completions: tuple[Completion, ...]
    category: str = ""
    tags: tuple[str, ...] = ()
    value: float = 0.5
    edge: bool = False


def read_groups(
    path: Path, task: str = "pair", *, bare: bool = False, keys: KeysRead | None = None
) -> Iterator[Group]:
    """Prompts with two completions or more; of tasks that score, with one or more; with none where they are bare.

    Args:
        path: of the file.
        task: of the project.
        bare: rows are prompts alone.
        keys: where to note which keys the rows hold, and which were read.

    Raises:
        DataError: a row is wrong, or there is none.
    """
    alone = task in SCALES
    advice = "give rows with a prompt" if bare else f"{COMPARED}, or with one completion" if alone else COMPARED
    empty, keys = True, KeysRead() if keys is None else keys
    for where, row in scan_rows(path):
        empty = False
        try:
            if isinstance(row, DataError):
                raise row
            tracked = TrackedRow(row, keys)
            yield _with_facts(Group(_bare(tracked), ()) if bare else _group(tracked, alone), tracked)
        except DataError as error:
            said = str(error).rstrip(".").removeprefix(f"{path}, {where}: ")
            raise DataError(f"{path}, {where}: {said}; {advice}.") from None
    if empty:
        raise DataError(f"{path} holds no rows; {advice}.")


def add_groups(store: Store, project: str, groups: Iterable[Group], *, seed: int = 0) -> IngestCounts:
    """Add prompts, completions, and the items of the project's task; what is there already is not added again.

    Pairs: all of up to three completions; beyond that as many as completions, by `feedback.pairing`. Rankings:
    sets of the project's size, one of all where there are no more than that. Scores: an item for each completion.

    Returns:
        How many items were added, and how many were there; of groups without completions, how many prompts.
    """
    from gnomon.feedback.store.ingest import IngestCounts

    about = store.project(project)
    size = setup_of(about.settings).ranking_size
    waiting, added, known = iter(groups), 0, 0
    with store.writing() as session:  # all of it, or nothing
        while chunk := list(itertools.islice(waiting, CHUNK)):
            found = _add_chunk(store, session, about, chunk, size, seed)
            added, known = added + found.added, known + found.known
    return IngestCounts(added, known)


def _add_chunk(
    store: Store, session: Session, about: Project, groups: Sequence[Group], size: int, seed: int
) -> IngestCounts:
    from gnomon.feedback.selection.items import item_completions
    from gnomon.feedback.store.ingest import add_completions, add_items, add_prompts
    from gnomon.feedback.store.store import BankPrompt

    bank = [BankPrompt(one.prompt, one.category, one.tags, one.value, one.edge) for one in groups]
    prompts = add_prompts(store, about.id, bank, within=session)
    asked = [(group.prompt.id, different(group)) for group in groups]
    if not any(some for _, some in asked):
        return prompts
    chosen = [ids for _, some in asked for ids in item_completions(about.task, some, size, seed)]
    answers: list[tuple[str, Completion, dict[str, Any]]] = [
        (prompts.ids[name], one, {}) for name, some in asked for one in some
    ]
    known = add_completions(store, about.id, answers, within=session).ids
    return add_items(store, about.id, [[known[name] for name in ids] for ids in chosen], within=session)


def different(group: Group) -> list[Completion]:
    """A group's completions, each once: of several turns all count, not only the assistant's words."""
    return list({(one.text, one.turns): one for one in reversed(group.completions)}.values())[::-1]


def _group(row: Mapping[str, Any], alone: bool) -> Group:
    """The prompt and the completions of one row, in whichever of the layouts it has."""
    if row.get("completions") is not None:
        prompt = row_prompt(row)
        found = tuple(completion_of(value, prompt) for value in alternatives(row))
    elif alone and row.get("chosen") is None and row.get("rejected") is None:
        prompt, one = prompt_and_completion(row)
        found = (one,)
    else:
        prompt, *both = prompt_and_sides(row)
        found = tuple(both)
    if len(found) < (1 if alone else 2):
        raise DataError("completions are none" if alone else "completions are fewer than two")
    return Group(prompt, own_ids(prompt, found))


def _bare(row: Mapping[str, Any]) -> Prompt:
    found: Prompt = parse_record(Prompt, row)
    return found


def _with_facts(group: Group, row: Mapping[str, Any]) -> Group:
    """The group with the bank's columns of its row: `category`, `tags`, `value` and `edge`."""
    tags = row.get("tags")
    if isinstance(tags, str) and not tags.lstrip().startswith("["):
        tags = [name.strip() for name in tags.split(",") if name.strip()]  # as a table holds them
    return group._replace(
        category=text(str(row.get("category") or "")),
        tags=tuple(text(str(name)) for name in listed(tags or [], "tags")),
        value=number(row, "value", 0.5, 0.0, 1.0),
        edge=row.get("edge") not in (None, "") and truth(row["edge"], "edge"),
    )


def own_ids(prompt: Prompt, completions: Sequence[Completion]) -> tuple[Completion, ...]:
    """The same answer to two prompts is two completions: ids that the words alone gave get the prompt's, too."""

    def own(one: Completion) -> Completion:
        words = one.text if one.turns is None else fingerprint(one.turns)
        return replace(one, id=name_of(f"{prompt.id}\n{words}")) if one.id == name_of(words) else one

    return tuple(map(own, completions))
