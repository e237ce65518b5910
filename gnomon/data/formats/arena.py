"""Battles of two models that a person decided: Chatbot Arena, LMArena, and Kaggle's table of votes.

Zheng et al. 2023, arXiv 2306.05685; https://www.kaggle.com/competitions/lmsys-chatbot-arena
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Preference
from gnomon.data.formats.common.judged_answers import preference
from gnomon.data.formats.common.verdicts import side_of_model
from gnomon.data.formats.contract import Format, UnusedRow, has_value
from gnomon.data.reading.counting import counted
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import brief, filled, listed, mapping, required, truth

WINNERS = {  # share of the vote for model A
    "model_a": 1.0,
    "model_b": 0.0,
    "tie": 0.5,
    "tie (bothbad)": 0.5,
    "both_bad": 0.5,
}
VOTES = {"winner_model_a": 1.0, "winner_model_b": 0.0, "winner_tie": 0.5}


class ArenaBattles(Format):
    """Two conversations with a winner."""

    name = "arena"
    title = "arena battles"
    kinds = (Preference,)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """`conversation_a`, `conversation_b` and `winner`."""
        if all(filled(row.get(key)) for key in ("conversation_a", "conversation_b")) and "winner" in row:
            return "conversation_a and conversation_b have a winner"
        return None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Compare the conversations; the turns that they share at the start are the prompt."""
        winner = row.get("winner")
        if not filled(winner):
            raise UnusedRow("the battle has no winner")
        share = _vote_for_a(winner, row)
        turn = row.get("turn")  # the one that was judged; the conversations of MT-bench go on after it
        end = 2 * turn if isinstance(turn, int) and turn > 0 else None
        sides = [_conversation(required(row, key), key)[:end] for key in ("conversation_a", "conversation_b")]
        yield preference({}, sides[0], sides[1], share)


class ArenaVotes(Format):
    """A table with the user's turns, both models' turns as JSON lists, and one column for each outcome."""

    name = "arena-votes"
    title = "arena votes with one column for each outcome"
    kinds = (Preference,)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """`response_a`, `response_b`, and a column for each outcome."""
        if all(key in row for key in ("prompt", "response_a", "response_b", *VOTES)):
            return "response_a and response_b have winner_model_a, winner_model_b and winner_tie"
        return None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Interleave the user's turns with those of each model."""
        outcomes = [share for key, share in VOTES.items() if truth(required(row, key), key)]
        if len(outcomes) != 1:
            raise DataError(f"of {', '.join(VOTES)} {len(outcomes)} are 1, where one must be")
        questions = listed(required(row, "prompt"), "prompt")
        sides = [_interleaved(questions, required(row, key), key) for key in ("response_a", "response_b")]
        yield preference({}, sides[0], sides[1], outcomes[0])


def _vote_for_a(winner: Any, row: Mapping[str, Any]) -> float:
    """Return the share of the vote for model A: a winner is a side, an outcome or the name of a model."""
    if isinstance(winner, str) and winner in WINNERS:
        return WINNERS[winner]
    suffix = side_of_model(winner, row)
    if suffix is None:
        models = " or of the models" if has_value(row, "model_a", "model_b") else ""
        raise DataError(f"winner is {brief(winner)}, which is none of {', '.join(WINNERS)}{models}")
    return float(suffix == "a")


def _conversation(value: Any, key: str) -> list[dict[str, Any]]:
    """Check a conversation's shape; what only describes a turn, such as the number of its tokens, is dropped."""
    turns = [mapping(turn) for turn in listed(value, key)]
    return [{name: turn[name] for name in turn if name != "num_tokens"} for turn in turns]


def _interleaved(questions: list[Any], value: Any, key: str) -> list[dict[str, Any]]:
    """Build a conversation.

    Raises:
        DataError: a turn is null, an answer that never came, or the numbers of turns differ.
    """
    answers = listed(value, key)
    if len(answers) != len(questions):
        raise DataError(f"{key} has {counted(len(answers), 'turns')}, and prompt {len(questions)}")
    turns: list[dict[str, Any]] = []
    for question, answer in zip(questions, answers, strict=True):
        if question is None or answer is None:
            raise DataError(f"a turn of {'prompt' if question is None else key} is null")
        turns.append({"role": "user", "content": question})
        turns.append({"role": "assistant", "content": answer})
    return turns
