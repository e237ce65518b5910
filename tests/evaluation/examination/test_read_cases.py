"""Cases from files of pairs, rankings, ratings and benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from project import write_rows

from gnomon.core.errors import DataError
from gnomon.evaluation.examination.cases import Cases, PairCase
from gnomon.evaluation.examination.read_cases import SourceFile, read_cases
from gnomon.stats.one_person import LeftOut


def cases_of(folder: Path, *files: list[dict[str, Any]], category: str = "") -> Cases:
    sources = []
    for number, rows in enumerate(files):
        path = folder / f"{number}.jsonl"
        write_rows(path, rows)
        sources.append(SourceFile(path, path.name))
    return read_cases(sources, category)


def texts_of(cases: Cases, pair: PairCase) -> tuple[str, str]:
    return (cases.texts.completions[pair.first].text, cases.texts.completions[pair.second].text)


def test_preferences(tmp_path: Path) -> None:
    """A pair of probability 0.5 has no right order, one below is turned around; equal texts are one."""
    cases = cases_of(
        tmp_path,
        [
            {"prompt": "p", "chosen": "a", "rejected": "b"},
            {"prompt": "p", "chosen": "a", "rejected": "c", "probability": 0.5},
            {"prompt": "q", "chosen": "a", "rejected": "b", "probability": 0.25},
        ],
    )
    assert [texts_of(cases, pair) for pair in cases.pairs] == [("a", "b"), ("a", "c"), ("b", "a")]
    assert [(pair.decided, pair.probability) for pair in cases.pairs] == [(True, 1), (False, 0.5), (True, 0.75)]
    assert [pair.clusters for pair in cases.pairs] == [(0, 0), (0, 0), (1, 1)]
    assert len(cases.texts) == 5
    assert [pair.where.rpartition(", ")[2] for pair in cases.pairs] == ["line 1", "line 2", "line 3"]


def test_rankings_are_pairs_and_lists(tmp_path: Path) -> None:
    cases = cases_of(tmp_path, [{"prompt": "p", "completions": ["a", "b", "c"]}])
    assert [texts_of(cases, pair) for pair in cases.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    (ranking,) = cases.lists
    assert (ranking.values, ranking.rated) == ((0, -1, -2), False)


def test_ratings_are_pairs_within_a_prompt(tmp_path: Path) -> None:
    """Means 2, 4 and 4: the last two are not decided. 3 or 1 against 4: nobody rates the first higher."""
    rows = [
        {"id": "1", "prompt": "p", "text": "a", "ratings": [3, 1]},
        {"id": "2", "prompt": "p", "text": "b", "ratings": [4, 4]},
        {"id": "3", "prompt": "p", "text": "c", "ratings": [5, 3]},
        {"id": "4", "prompt": "q", "text": "d", "ratings": [1, 1]},
    ]
    cases = cases_of(tmp_path, rows)
    assert [texts_of(cases, pair) for pair in cases.pairs] == [("b", "a"), ("c", "a"), ("b", "c")]
    assert [pair.decided for pair in cases.pairs] == [True, True, False]
    assert [pair.probability for pair in cases.pairs] == [1, 0.875, 0.5]
    assert cases.pairs[0].persons == (LeftOut(1, 1),) * 4
    assert [one.values for one in cases.lists] == [(2, 4, 4), (1,)]
    assert cases.without_prompt == 0


def test_ratings_without_a_prompt_are_compared_with_all(tmp_path: Path) -> None:
    rows = [{"id": str(n), "text": f"t{n}", "ratings": [n]} for n in range(4)]
    cases = cases_of(tmp_path, rows)
    assert len(cases.pairs) == 6
    assert cases.pairs[0].clusters == (1, 0)
    assert cases.without_prompt == 4
    many = [{"id": str(n), "text": f"t{n}", "ratings": [n]} for n in range(100)]
    drawn = cases_of(tmp_path, many).pairs
    assert len({(pair.first, pair.second) for pair in drawn}) == 4000
    assert drawn == cases_of(tmp_path, many).pairs


def test_votes_of_named_people(tmp_path: Path) -> None:
    """Two of three prefer the second answer: it is the chosen one, and the votes are turned to it."""
    row = {"instruction": "p", "response1": "a", "response2": "b"}
    votes = {"annotator1": 2, "annotator2": 2, "annotator3": 1}
    cases = cases_of(tmp_path, [{**row, **votes}, {**row, "response2": "c", **dict.fromkeys(votes, 1)}])
    assert [texts_of(cases, pair) for pair in cases.pairs] == [("b", "a"), ("a", "c")]
    assert cases.pairs[0].persons == (LeftOut(0, 1),)
    assert cases.pairs[1].persons == (LeftOut(1, 1),) * 3


def pair(number: int, **more: Any) -> dict[str, Any]:
    return {"prompt": f"{number}?", "chosen": "a", "rejected": "b", **more}


def test_a_category_column_is_detected(tmp_path: Path) -> None:
    rows = [pair(n, id=str(n), domain="math" if n % 2 else "code", source=str(n)) for n in range(6)]
    cases = cases_of(tmp_path, rows)
    assert (cases.category, cases.categories) == ("domain", ["code", "math"])
    assert cases_of(tmp_path, [pair(n, source=str(n)) for n in range(6)]).categories == []
    assert cases_of(tmp_path, [pair(n, domain="math") for n in range(6)]).categories == []


def test_a_category_column_is_named(tmp_path: Path) -> None:
    rows = [pair(n, meta={"kind": n % 2}, domain=str(n % 3)) for n in range(6)]
    assert cases_of(tmp_path, rows, category="meta.kind").categories == ["0", "1"]
    with pytest.raises(DataError, match="no row has a value in the column 'kind'"):
        cases_of(tmp_path, rows, category="kind")


def test_several_files_are_categories_where_no_column_is(tmp_path: Path) -> None:
    cases = cases_of(tmp_path, [pair(1), pair(2)], [pair(1), pair(3)])
    assert (cases.category, cases.categories) == ("file", ["0.jsonl", "1.jsonl"])
    assert len({one.clusters for one in cases.pairs}) == 3, "a prompt is one cluster in all files"


def test_lists_of_a_benchmark(tmp_path: Path) -> None:
    sides = {"chosen": ["a", "b", "c"], "rejected": ["x", "y", "z"]}
    cases = cases_of(
        tmp_path, [{"id": n, "prompt": f"{n}?", **sides, "domain": d} for n, d in ((1, "chat"), (2, "math"))]
    )
    assert [len(cases.pairs), len(cases.texts)] == [18, 12]
    one, other = cases.benchmarks["RM-Bench"]
    assert (one.subset, one.right, one.wrong, other.id) == ("chat", (0, 1, 2), (3, 4, 5), "2")
    assert cases.categories == ["chat", "math"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([pair(1, probability=0.5)], "no two texts of which people prefer one"),
        ([{"prompt": "p", "completions": ["a"]}], "line 1: completions are fewer than two"),
        ([{"prompt": "p"}], "no row is one of preferences or rankings or rated texts"),
        ([{"id": "1", "prompt": "p", "text": "a", "ratings": [3]}], "no two texts of which people prefer one"),
        (
            [{"prompt": "p", "chosen": ["a"] * 3, "rejected": ["b", "c", 5], "domain": "chat"}],
            "line 1: 5 is neither a text nor a JSON object; as a row of RM-Bench",
        ),
    ],
)
def test_files_without_pairs(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        cases_of(tmp_path, rows)
