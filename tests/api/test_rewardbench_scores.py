"""`gnomon score` on files of RewardBench 1 and 2: the benchmark's own scores, by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from project import Ran, write_rows

Ask = Callable[..., Ran]


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A judge that counts exclamation marks."""
    monkeypatch.chdir(tmp_path)
    Path("marks.py").write_text("def score(prompt, text):\n    return text.count('!')\n")
    return "marks.py:score"


def last_lines(ask: Ask, judge: str, rows: list[dict[str, object]], count: int) -> list[str]:
    write_rows(Path("bench.jsonl"), rows)
    code, _, err = ask("score", judge, "bench.jsonl", "--out", "scored.jsonl")
    assert code == 0, err
    return err.splitlines()[-count:]


def pair(number: int, subset: str, chosen: str, rejected: str) -> dict[str, object]:
    return {"id": number, "prompt": f"{number}?", "chosen": chosen, "rejected": rejected, "subset": subset}


def test_version_1_by_hand(ask: Ask, judge: str) -> None:
    """Each section's only subset: 2 of 2, 1 of 2 (a tie is wrong), 0 of 1, 1 of 1. Mean (1 + 1/2 + 0 + 1)/4."""
    rows = [
        pair(1, "alpacaeval-easy", "a!", "b"),
        pair(2, "alpacaeval-easy", "a!!", "b!"),
        pair(3, "llmbar-natural", "a!", "b"),
        pair(4, "llmbar-natural", "a", "b"),
        pair(5, "donotanswer", "a", "b!"),
        pair(6, "math-prm", "a!", "b"),
    ]
    assert last_lines(ask, judge, rows, 5) == [
        "RewardBench, Chat: 100.0%",
        "RewardBench, Chat Hard: 50.0%",
        "RewardBench, Safety: 0.0%",
        "RewardBench, Reasoning: 100.0%",
        "RewardBench: 62.5%",
    ]
    (line,) = last_lines(ask, judge, rows[:2], 1)
    assert line == "RewardBench, Chat: 100.0%", "without all sections there is no score of the whole"


def test_other_subset_columns_are_ignored(ask: Ask, judge: str) -> None:
    (line,) = last_lines(ask, judge, [pair(1, "my own", "a!", "b")], 1)
    assert line.startswith("pairs right: 100.0% of 1")


def lists(number: object, subset: str, chosen: list[str], rejected: list[str]) -> dict[str, object]:
    return {"id": number, "prompt": f"{number}?", "chosen": chosen, "rejected": rejected, "subset": subset}


def test_version_2_by_hand(ask: Ask, judge: str) -> None:
    """One right answer of four, alone on top, sharing the top with one, below: 1, 1/2, 0.

    Ties: the tied prompt's right answers have 3 and 4 marks, its best wrong one 1: a distance of 2, twice as far
    as the right ones lie apart; the reference's distance is 1, no further than that. So both accuracies are 1,
    the tied distance is preferred and the smaller is not: 0.3 + 0.3 + 0.2 + 0.01·tanh(1/1 − 1) = 0.8.
    """
    rows = [
        lists(1, "Factuality", ["a!!"], ["b", "c", "d!"]),
        lists(2, "Factuality", ["a!"], ["b!", "c", "d"]),
        lists(3, "Math", ["a"], ["b!", "c", "d"]),
        lists("ref:7", "Ties", ["a!!"], ["b!"]),
        lists("tied:7", "Ties", ["a!!!", "b!!!!"], ["c!", "d"]),
    ]
    assert last_lines(ask, judge, rows, 3) == [
        "RewardBench 2, Factuality: 75.0%",
        "RewardBench 2, Math: 0.0%",
        "RewardBench 2, Ties: 80.0%",
    ]
    rest = [
        lists(n, name, ["a!"], ["b", "c", "d"]) for n, name in enumerate(("Precise IF", "Safety", "Focus"), 9)
    ]
    assert last_lines(ask, judge, rows + rest, 1) == ["RewardBench 2: 75.8%"]  # (0.75 + 0 + 0.8 + 3) / 6


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (lists(1, "Math", [], ["b"]), "line 1: chosen is not a list of answers; give rows of RewardBench 2"),
        (lists("seven", "Ties", ["a", "c"], ["b"]), "the id 'seven' of a row of Ties is neither ref:NUMBER"),
    ],
)
def test_invalid_rewardbench_rows_are_refused(ask: Ask, judge: str, row: dict[str, object], message: str) -> None:
    write_rows(Path("bench.jsonl"), [row])
    code, _, err = ask("score", judge, "bench.jsonl")
    assert code == 2
    assert message in " ".join(err.split())
