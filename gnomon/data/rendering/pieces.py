"""Records as the trainer reads them: tokens in pieces that are trained, that are not, or that end a turn.

The ids and masks are those of `gnomon.data.encoding`, so what is displayed is what is learned.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Demonstration, Message, Prompt, RatedText
from gnomon.data.encoding import ENCODE, Example
from gnomon.data.formats.registry import OWN, RowLayout
from gnomon.data.quality.completion_roles import CompletionRole, completion_roles
from gnomon.data.reading.media.parts import shown_content
from gnomon.data.record_kinds import KINDS, recognize_kind
from gnomon.data.records import EXPECTED, completions_of, prompt_of_record, scan_records
from gnomon.data.templates.chat_template import turn_end
from gnomon.data.templates.rendering import render_prompt

PieceKind = Literal["masked", "trained", "stop"]
LONGEST = 1_000_000  # tokens of a record that is displayed


@dataclass(frozen=True)
class RenderedPiece:
    """Consecutive tokens of one kind, with their text.

    Attributes:
        kind: `trained`: what the policy learns to write; `stop`: the learned token that ends a turn; `masked`:
            text that it only reads.
    """

    kind: PieceKind
    text: str
    tokens: int


@dataclass(frozen=True)
class RenderedSequence:
    """A prompt with one of its completions, as the model reads them.

    Attributes:
        role: of a `CompletionRole`, or `prompt` or `text`.
        rank: position in a ranking, from 1; 0 otherwise.
        turns: the completion's turns as the file has them: role and text.
    """

    role: str
    rank: int
    pieces: tuple[RenderedPiece, ...]
    turns: tuple[tuple[str, str], ...] = ()

    def count(self, kind: PieceKind) -> int:
        """Count the tokens of a kind."""
        return sum(piece.tokens for piece in self.pieces if piece.kind == kind)

    @property
    def name(self) -> str:
        """The role, with the rank if there is one."""
        return CompletionRole(self.role, self.rank).name


@dataclass(frozen=True)
class RenderedRecord:
    """A row of a file as token sequences, or the reason why training rejects it.

    Attributes:
        where: position of the row.
        turns: what the file has before the completions: tools, then the prompt's turns, each as role and text.
    """

    where: str
    sequences: tuple[RenderedSequence, ...] = ()
    turns: tuple[tuple[str, str], ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class RenderedFile:
    """The first records of a file, rendered.

    Attributes:
        kind: kind of the records.
    """

    path: Path
    kind: type
    records: tuple[RenderedRecord, ...]


def render_file(path: Path, tokenizer: Any, rows: int, layout: RowLayout = OWN) -> RenderedFile:
    """Render the first rows of a file.

    Args:
        path: of the file or folder.
        tokenizer: with its chat template.
        rows: number of rows.
        layout: the layout of its rows, where the user gave one.

    Raises:
        DataError: the file cannot be read.
    """
    recognition = recognize_kind(path, KINDS, layout)
    kind = recognition.kind
    scanned = itertools.islice(scan_records(kind, path, layout=recognition.layout), rows)
    return RenderedFile(
        path, kind, tuple(_rendered(where, record, path, kind, tokenizer) for where, record in scanned)
    )


def _rendered(where: str, record: Any, path: Path, kind: type, tokenizer: Any) -> RenderedRecord:
    if isinstance(record, DataError):
        reason = str(record).removeprefix(f"{path}, {where}: ").removesuffix(f"; {EXPECTED[kind]}")
        return RenderedRecord(where, reason=reason)
    return render_record(record, tokenizer, where)


def render_record(record: Any, tokenizer: Any, where: str) -> RenderedRecord:
    """Render a record; a reason stands in place of its sequences where training would reject it.

    Args:
        record: of any kind.
        tokenizer: with its chat template.
        where: position of its row.
    """
    prompt = prompt_of_record(record)
    if prompt is None:
        return RenderedRecord(where, reason="a rated text without a prompt has no conversation; give it a prompt")
    turns = tuple([("tool", tool) for tool in prompt.tools] + [_turn(turn) for turn in prompt.messages])
    try:
        sequences = tuple(_sequences(record, prompt, tokenizer))
    except DataError as error:
        return RenderedRecord(where, turns=turns, reason=str(error).removeprefix(f"{record.where}: "))
    return RenderedRecord(where, sequences, turns)


def _sequences(record: Any, prompt: Prompt, tokenizer: Any) -> Iterator[RenderedSequence]:
    if isinstance(record, Prompt):
        ids = tuple(render_prompt(tokenizer, record))
        yield RenderedSequence("prompt", 0, _pieces(tokenizer, ids, (), ()))
        return
    if isinstance(record, RatedText):
        record = Demonstration(prompt, Completion(record.id, record.text), where=record.where)
        roles = [CompletionRole("text")]
    else:
        roles = completion_roles(record)
    examples, rejected = ENCODE[type(record)]([record], tokenizer, LONGEST)
    if rejected:
        raise DataError(rejected[0].reason)
    (example,) = examples
    for (role, rank), completion, index in zip(roles, completions_of(record), _order(example), strict=True):
        ids = example.completions[index]
        mask = example.masks[index] if example.masks else (True,) * len(ids)
        turns = completion.turns or (Message("assistant", completion.text),)
        pieces = _pieces(tokenizer, example.prompt, ids, mask)
        yield RenderedSequence(role, rank, pieces, tuple(map(_turn, turns)))


def _order(example: Example) -> Sequence[int]:
    """Return the indices of an example's completions in the order of the record's."""
    if example.pairs:
        return example.pairs[0].chosen, example.pairs[0].rejected
    return example.rankings[0].order if example.rankings else range(len(example.completions))


def _turn(turn: Message) -> tuple[str, str]:
    """Return the role of a turn, and its reasoning, text and tool calls."""
    return turn.role, "\n".join(filter(None, (turn.reasoning_content, shown_content(turn), *turn.tool_calls)))


def _pieces(
    tokenizer: Any, prompt: Sequence[int], ids: Sequence[int], mask: Sequence[bool]
) -> tuple[RenderedPiece, ...]:
    """Group tokens by their kind.

    Args:
        tokenizer: of the ids.
        prompt: ids of the prompt.
        ids: ids of the completion.
        mask: true for ids that are learned.
    """
    end = turn_end(tokenizer)
    ends = [
        learned and (token == end or not (*mask, False)[position + 1])
        for position, (token, learned) in enumerate(zip(ids, mask, strict=True))
    ]
    kinds: list[PieceKind] = ["masked"] * len(prompt)
    kinds += [
        "stop" if stop else "trained" if learned else "masked" for stop, learned in zip(ends, mask, strict=True)
    ]
    whole = [*prompt, *ids]
    pieces: list[RenderedPiece] = []
    start, written = 0, ""
    for kind, group in itertools.groupby(kinds):
        tokens = len(list(group))
        text = _decoded(tokenizer, whole[: start + tokens])
        # A decoder may drop the space before a first token, so a piece is what its tokens add to the text.
        added = (
            text[len(written) :]
            if text.startswith(written)
            else _decoded(tokenizer, whole[start : start + tokens])
        )
        pieces.append(RenderedPiece(kind, added, tokens))
        start, written = start + tokens, text
    return tuple(pieces)


def _decoded(tokenizer: Any, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))
