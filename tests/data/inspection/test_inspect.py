"""`gnomon data inspect`: hand-counted facts of small files, refused rows, and the command itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from project import Run, write_rows

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Label, Preference, Prompt, Ranking, RatedText
from gnomon.data.inspection import inspect
from gnomon.data.inspection.facts import facts, lengths, picture
from gnomon.data.inspection.problems import Problem, problems
from gnomon.data.inspection.view import as_text, preview, short

PAIRS = [
    {"prompt": "Q", "chosen": "long one", "rejected": "no"},
    {"prompt": "Q", "chosen": "long one", "rejected": "no"},
    {"prompt": "Q", "chosen": "no", "rejected": "longer"},
    {"prompt": "RR", "chosen": "电影", "rejected": ""},
    {"prompt": "RR", "chosen": "ab", "rejected": "cd"},
    {"prompt": "RR", "chosen": "ab"},
]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    write_rows(path, PAIRS)
    with path.open("a", encoding="utf-8") as file:
        file.write("{broken\n")
    return path


def test_problems_are_listed_by_severity_with_their_rows(tmp_path: Path) -> None:
    """Lines 1 and 2 are equal, and line 3 reverses both."""
    path = tmp_path / "pairs.jsonl"
    rows = [*PAIRS[:2], {"prompt": "Q", "chosen": "no", "rejected": "long one"}, {"prompt": "Q", "chosen": "a"}]
    write_rows(path, [*rows, {"prompt": "Q", "chosen": "same", "rejected": "same", "probability": 0.5}])
    assert [(one.severity, one.text, one.rows) for one in problems(inspect(path))] == [
        ("error", "not used, no 'rejected' in it, which has prompt, chosen", ("line 4",)),
        ("warning", "the reverse of another preference", ("line 1", "line 2", "line 3")),
        ("warning", "chosen and rejected are equal", ("line 5",)),
        ("warning", "an exact duplicate of an earlier row", ("line 2",)),
        ("note", "1 tie, which trains with probability 0.5 for each side", ()),
    ]


def test_length_that_predicts_the_choice_is_a_problem(tmp_path: Path) -> None:
    """Of 40 pairs 34 have the longer side chosen: 0.85 ± 0.11 lies above 0.6; 24, 0.60 ± 0.15, do not."""
    for longer, expected in ((34, ["the longer side is chosen in 85% of the pairs"]), (24, [])):
        pairs = [("long one", "no") if n < longer else ("no", "long one") for n in range(40)]
        path = tmp_path / f"{longer}.jsonl"
        write_rows(path, [{"prompt": f"Q{n}", "chosen": c, "rejected": r} for n, (c, r) in enumerate(pairs)])
        assert [one.text.partition(":")[0] for one in problems(inspect(path))] == expected


def test_many_rows_of_a_problem_are_counted_and_the_first_named() -> None:
    rows = tuple(f"line {n}" for n in range(1, 8))
    sentence = Problem("warning", "empty", rows).sentence()
    assert sentence == "empty: 7 (line 1, line 2, line 3, line 4, line 5 and 2 more)"


def test_a_histogram_has_its_tallest_bar_at_the_most_frequent_size() -> None:
    """Sixteen bars from 0 to 16: three sizes in the first, one in the third, one beyond the end in the last."""
    assert picture([0, 0, 0, 2, 99], 16) == "█ ▃" + " " * 12 + "▃"


def test_facts_are_counted(pairs: Path) -> None:
    """Of five sound pairs the longer side is chosen three times, the shorter once, and once both have two.

    Q has the answers "long one", "no", "longer"; RR has "电影", "", "ab", "cd".
    """
    result = inspect(pairs)
    assert dict(facts(result)) == {
        "file": "JSON lines",
        "format": "Gnomon's own layout",
        "kind": "preferences",
        "rows": "7",
        "records": "5",
        "refused": "2",
        "distinct prompts": "2",
        "distinct completions": "7",
        "completions per prompt": "3 to 4, median 3.5",
        "empty completions": "1",
        "exact duplicates": "1",
        "scripts": "Latin 95%, Han 5%",
        "longer side is chosen": "70.0%",
        "sides equally long": "1",
    }
    assert [r.where for r in result.refused] == ["line 6", "line 7"]
    assert result.refused[0].reason == "no 'rejected' in it, which has prompt, chosen"


def test_lengths_are_in_characters_and_in_the_models_tokens(pairs: Path, chat_tokenizer: Any) -> None:
    result = inspect(pairs)
    prompts, completions = lengths(result)
    assert (prompts.quantiles["least"], prompts.quantiles["most"]) == (1, 2)
    assert (completions.quantiles["least"], completions.quantiles["median"], completions.quantiles["most"]) == (
        0,
        2,
        8,
    )
    table = {(row.of, row.unit): row.quantiles for row in lengths(inspect(pairs, chat_tokenizer))}
    assert table["completions", "tokens"]["least"] == 1  # the end of the turn
    both = table["both together", "tokens"]
    assert both["most"] > table["prompts", "tokens"]["most"] > table["prompts", "characters"]["most"]


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (PAIRS[0], Preference),
        ({"prompt": "Q", "completions": ["a", "b"]}, Ranking),
        ({"prompt": "Q", "completion": "a", "label": 1}, Label),
        ({"prompt": "Q", "completion": "a"}, Demonstration),
        ({"id": "1", "text": "a", "ratings": [1, 2]}, RatedText),
        ({"prompt": "Q"}, Prompt),
    ],
)
def test_the_most_telling_kind_is_found(tmp_path: Path, row: dict[str, Any], kind: type) -> None:
    """Two of three rows are of the kind; the third could be a prompt, as nearly all of them could."""
    path = tmp_path / "rows.jsonl"
    write_rows(path, [row, {"prompt": "other"}, row])
    result = inspect(path)
    assert result.kind is kind
    assert preview(result.records[0])
    assert as_text(result).startswith("file: JSON lines\nformat: Gnomon's own layout\nkind: ")


def test_the_balance_of_labels_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, [{"prompt": "Q", "completion": str(n), "label": n == 0} for n in range(4)])
    assert dict(facts(inspect(path)))["good"] == "1 of 4 (25.0%)"


def test_empty_files_and_unknown_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="holds no rows"):
        inspect(path)
    write_rows(path, [{"frage": "Q", "antwort": "A"}])
    with pytest.raises(DataError, match="no row is a record of any kind; the keys are antwort, frage"):
        inspect(path)


def test_rendered_rows_mark_the_learned_parts(tmp_path: Path, chat_tokenizer: Any) -> None:
    path = tmp_path / "rows.jsonl"
    turns = [("user", "Q"), ("assistant", "A"), ("user", "R"), ("assistant", "B")]
    write_rows(path, [{"messages": [{"role": role, "content": text} for role, text in turns]}])
    result = inspect(path)
    prompt, answered = preview(result.records[0], chat_tokenizer)
    assert prompt == ("prompt", r"<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n")
    middle = r"\n<|im_start|>user\nR<|im_end|>\n<|im_start|>assistant\n"
    assert answered == ("completion", f"⟦A<|im_end|>⟧{middle}⟦B<|im_end|>⟧")


def test_unprintable_characters_are_escaped_and_long_texts_cut() -> None:
    assert short("a\x1b[31m\x00电影\n") == r"a\x1b[31m\x00电影\n"
    assert short("x" * 301).endswith("x … (301 characters)")


@pytest.mark.long
def test_the_command_prints_plain_lines_when_piped(gnomon: Run, pairs: Path, tiny_model: Path) -> None:
    result = gnomon("data", "inspect", str(pairs), "--rows", "1", "--model", str(tiny_model))
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:3] == ["file: JSON lines", "format: Gnomon's own layout", "kind: preferences"]
    assert "error: not used, no 'rejected' in it, which has prompt, chosen: 1 (line 6)" in lines
    assert any(line.startswith("completions, tokens: least ") for line in lines)
    assert "record 1, chosen: ⟦long one<|im_end|>⟧" in lines
    assert not any(line.startswith("record 2") for line in lines)
    wrong = gnomon("data", "inspect", str(pairs.with_name("absent.jsonl")))
    assert wrong.returncode == 2
    assert "no such file" in wrong.stderr


def test_a_terminal_gets_tables(pairs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from gnomon.data.inspection import view

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    view.show(inspect(pairs), rows=1)
    output = capsys.readouterr().out
    assert "longer side is chosen" in output
    assert "│" in output
    assert "not used, no 'rejected' in it" in output


def test_unread_columns_are_listed_with_similar_keys(tmp_path: Path) -> None:
    path = tmp_path / "typo.jsonl"
    write_rows(path, [{"prompt": "Q", "chosn": "a"}, {"prompt": "R", "chosn": "a", "source": 1}])
    result = inspect(path)
    assert result.kind is Prompt
    assert result.unread == ("chosn (did you mean chosen?)", "source")
    (note,) = problems(result)
    assert note.sentence() == "columns that are not used: chosn (did you mean chosen?), source"
    write_rows(path, [{"prompt": "Q", "chosn": "a", "rejected": "b"}])
    with pytest.raises(
        DataError, match="only row is refused, line 1: no 'chosen' in it, which has prompt, chosn,"
    ):
        inspect(path)
    write_rows(path, PAIRS)
    assert inspect(path).unread == ()


def test_worker_processes_change_nothing_but_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused rows, a prompt's id that stands for another prompt, unread keys: as one process finds them."""
    rows: list[dict[str, Any]] = [
        {"prompt": f"Q{n // 2}", "chosen": f"{n} 好", "rejected": "no", "note": n} for n in range(1500)
    ]
    rows[700] = {"prompt": "Q", "chosen": "a"}
    rows[900] = {
        "prompt": {"id": "x", "messages": [{"role": "user", "content": "A"}]},
        "chosen": "a",
        "rejected": "b",
    }
    rows[1400] = {
        "prompt": {"id": "x", "messages": [{"role": "user", "content": "B"}]},
        "chosen": "a",
        "rejected": "b",
    }
    path = tmp_path / "rows.jsonl"
    write_rows(path, rows)
    alone, together = (inspect(path, records=3, jobs=jobs) for jobs in (1, 2))
    assert as_text(together) == as_text(alone)
    assert together.outlines == alone.outlines
    assert together.refused == alone.refused
    assert [one.where for one in alone.refused] == ["line 701", "line 1401"]
    assert "stands for another prompt at line 901" in alone.refused[1].reason
    assert alone.unread == ("note",)
    assert [record.chosen.text for record in together.records] == ["0 好", "1 好", "2 好"]
    assert len(inspect(path).records) == 1498


def test_completions_that_repeat_their_prompt_are_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    asked = "What is a gnomon?"
    rows = [{"prompt": asked, "chosen": f"{asked} A stick.", "rejected": "No."}]
    write_rows(path, [*rows, {"prompt": "Q", "chosen": "Q", "rejected": "R"}])
    sentences = [one.sentence() for one in problems(inspect(path))]
    assert sentences == ["a completion that repeats its prompt: 1 (line 1)"]
