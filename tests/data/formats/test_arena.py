"""Arena battles: winners, ties, several turns, tables with one column for each outcome."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gnomon.core.types import Preference
from gnomon.data.inspection import inspect
from gnomon.data.records import read_records


def battle(winner: Any, *, parts: bool = False) -> dict[str, Any]:
    def turn(role: str, text: str) -> dict[str, Any]:
        content = [{"type": "text", "text": text, "image": None, "mimeType": None}] if parts else text
        return {"role": role, "content": content, "num_tokens": len(text)}

    sides = {f"conversation_{side}": [turn("user", "Hi"), turn("assistant", side)] for side in "ab"}
    return {"model_a": "x", "model_b": "y", "winner": winner, **sides, "turn": 1}


def test_winners_are_preferred_and_ties_are_halves(rows_file: Callable[..., Path]) -> None:
    winners = ["model_a", "model_b", "tie", "tie (bothbad)", "both_bad"]
    records = read_records(Preference, rows_file(*map(battle, winners)))
    chosen = [(record.chosen.text, record.probability) for record in records]
    assert chosen == [("a", 1), ("b", 1), ("a", 0.5), ("a", 0.5), ("a", 0.5)]
    assert records[0].prompt.messages[0].content == "Hi"


def test_unknown_winners_are_refused_and_battles_without_one_unused(rows_file: Callable[..., Path]) -> None:
    inspection = inspect(rows_file(battle("model_a"), battle("A"), battle(None), battle("tie")))
    assert len(inspection.records) == 2
    reasons = [one.reason for one in inspection.refused]
    assert reasons[0].startswith("winner is 'A', which is none of model_a, model_b, tie")
    assert reasons[1] == "the battle has no winner"


def test_a_winner_may_be_the_name_of_a_model(rows_file: Callable[..., Path]) -> None:
    inspection = inspect(rows_file(battle("y"), battle("x"), battle("z"), {**battle("x"), "model_b": "x"}))
    assert [record.chosen.text for record in inspection.records] == ["b", "a"]
    reasons = [one.reason for one in inspection.refused]
    assert reasons[0].startswith("winner is 'z', which is none of model_a,")
    assert reasons[0].endswith("or of the models")
    assert reasons[1].startswith("winner is 'x'")


def test_a_conversation_that_is_null_is_refused(rows_file: Callable[..., Path]) -> None:
    lost = {**battle("model_a"), "conversation_b": None}
    silent = battle("model_a")
    silent["conversation_a"][1]["content"] = None
    inspection = inspect(rows_file(battle("tie"), battle("tie"), lost, silent))
    assert [one.reason.partition(";")[0] for one in inspection.refused] == [
        "'conversation_b' is null",
        "'content' is null",
    ]


def test_a_conversation_ends_with_the_turn_that_was_judged(rows_file: Callable[..., Path]) -> None:
    first = battle("model_a")
    for side in "ab":
        more = [{"role": "user", "content": "And?"}, {"role": "assistant", "content": f"{side}{side}"}]
        first[f"conversation_{side}"] += more
    one, both = read_records(Preference, rows_file(first, {**first, "turn": 2}))
    assert (one.chosen.text, one.chosen.turns) == ("a", None)
    assert [turn.content for turn in both.chosen.turns or ()] == ["a", "And?", "aa"]


def test_contents_are_read_in_parts(rows_file: Callable[..., Path]) -> None:
    seen = battle("model_b", parts=True)
    drawn = battle("model_b", parts=True)
    for side in "ab":
        drawn[f"conversation_{side}"][0]["content"].append({"type": "image", "image": "x.png"})
    differing = battle("model_b", parts=True)
    differing["conversation_a"][0]["content"].append({"type": "image", "image": "x.png"})
    inspection = inspect(rows_file(seen, drawn, differing))
    assert [one.chosen.text for one in inspection.records] == ["b", "b"]
    assert [one.source for one in inspection.records[1].prompt.messages[0].media] == ["x.png"]
    assert "chosen and rejected share no prompt" in inspection.refused[0].reason


def test_answers_that_part_in_the_first_turn_keep_all_turns(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    header = ["id", "prompt", "response_a", "response_b", "winner_model_a", "winner_model_b", "winner_tie"]
    rows: list[list[Any]] = [
        ["1", ["Is it?", "And now?"], ["Yes.", "No."], ["Hm.", "Perhaps."], "1", "0", "0"],
        ["2", ["Name a film."], ["Ran."], ["Ikiru."], "0", "0", "1"],
        ["3", ["One?", "Two?"], ["1"], ["1", "2"], "0", "1", "0"],
        ["4", ["Name a film."], ["Ran."], ["Ikiru."], "1", "1", "0"],
        ["5", ["Name a film."], ["Ran."], [None], "1", "0", "0"],
        ["6", [None], ["Ran."], ["Ikiru."], "1", "0", "0"],
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([[one if isinstance(one, str) else json.dumps(one) for one in row] for row in rows])
    inspection = inspect(path)
    first, second = inspection.records
    assert [turn.content for turn in first.chosen.turns or ()] == ["Yes.", "And now?", "No."]
    assert [turn.content for turn in first.prompt.messages] == ["Is it?"]
    assert (second.chosen.text, second.rejected.text, second.probability) == ("Ran.", "Ikiru.", 0.5)
    reasons = [one.reason for one in inspection.refused]
    assert reasons[0].startswith("response_a has 1 turn, and prompt 2")
    assert reasons[1].startswith("of winner_model_a, winner_model_b, winner_tie 2 are 1")
    assert reasons[2:] == ["a turn of response_b is null", "a turn of prompt is null"]
