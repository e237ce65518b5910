"""Inspection and rendering of rows with media: counted, named, and refused where a model would read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from media_rows import QUESTION, REFUSAL, about, pair_about
from project import Ran, write_rows

from gnomon.data.inspection import inspect
from gnomon.data.inspection.facts import facts
from gnomon.data.inspection.problems import problems
from gnomon.data.inspection.view import as_json, as_text
from gnomon.data.rendering.pieces import render_file

ROWS = [
    pair_about("a.png"),
    pair_about(None),
    {**pair_about("b.png"), "images": ["b.png", "c.png"], "audio": "d.wav"},
    pair_about("b.png"),
    pair_about("b.png"),
]
TEXT = "images, which no model here reads; training refuses the row"


def file_of(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "rows.jsonl"
    write_rows(path, rows)
    return path


def test_rows_with_media_are_counted_and_named(tmp_path: Path) -> None:
    inspection = inspect(file_of(tmp_path, ROWS))
    table = dict(facts(inspection))
    assert table["records with images"] == "4, 5 images in all"
    assert table["records with sounds"] == "1, 1 sound in all"
    assert "records with videos" not in table
    assert (table["distinct prompts"], table["exact duplicates"], table["refused"]) == ("4", "1", "0")
    assert [(one.severity, one.text, one.rows) for one in problems(inspection)] == [
        ("error", TEXT, ("line 1", "line 3", "line 4", "line 5")),
        ("error", TEXT.replace("images", "sounds"), ("line 3",)),
        ("warning", "an exact duplicate of an earlier row", ("line 5",)),
    ]
    content = as_json(inspection, rows=1)
    assert {"severity": "error", "text": TEXT, "rows": ("line 1", "line 3", "line 4", "line 5")} in content[
        "problems"
    ]
    assert content["records"][0][0] == {"role": "user", "text": f"[image a.png]{QUESTION}"}


def test_tokens_are_counted_of_the_other_rows(tmp_path: Path, chat_tokenizer: Any) -> None:
    inspection = inspect(file_of(tmp_path, ROWS[:2]), chat_tokenizer)
    assert len(inspection.outlines) == 2
    assert [one.tokens is None for one in inspection.outlines] == [True, False]
    lines = as_text(inspection, chat_tokenizer).splitlines()
    assert "record 1, user: [image a.png]" + QUESTION in lines
    assert not any("tokens not counted" in line for line in lines)
    whole = inspect(file_of(tmp_path, ROWS[:1]), chat_tokenizer)
    assert "tokens" not in as_text(whole, chat_tokenizer)


def test_an_answer_that_is_an_image_is_not_empty(tmp_path: Path) -> None:
    answer = [{"role": "assistant", "content": [{"type": "image", "image": "a.png"}]}]
    inspection = inspect(file_of(tmp_path, [{"prompt": "Draw.", "completion": answer}]))
    assert dict(facts(inspection))["empty completions"] == "0"
    assert "completion: [image a.png]" in as_text(inspection)


def test_a_rendered_row_has_the_reason_in_place_of_tokens(tmp_path: Path, chat_tokenizer: Any) -> None:
    rows = [about("a.png", completion="A."), about(None, completion="A.")]
    refused, read = render_file(file_of(tmp_path, rows), chat_tokenizer, 2).records
    assert (refused.reason, refused.sequences) == (f"{REFUSAL}; remove the row", ())
    assert refused.turns == (("user", f"[image a.png]{QUESTION}"),)
    assert read.sequences
    (prompt,) = render_file(file_of(tmp_path, [about("a.png")]), chat_tokenizer, 1).records
    assert prompt.reason.startswith(REFUSAL)


def test_the_commands_carry_media_through(tmp_path: Path, ask: Callable[..., Ran]) -> None:
    rows = [pair_about(f"{n}.png", f"It is number {n}.") for n in range(6)]
    path = file_of(tmp_path, rows)
    code, out, err = ask("data", "inspect", path, "--json")
    assert (code, err) == (0, "")
    assert [one["rows"][0] for one in json.loads(out)["problems"] if one["severity"] == "error"] == ["line 1"]
    images: set[str] = set()
    assert ask("data", "split", path, "--out", tmp_path / "parts", "--parts", "train=0.5,test=0.5")[0] == 0
    for part in ("train", "test"):
        for line in (tmp_path / "parts" / f"{part}.jsonl").read_text(encoding="utf-8").splitlines():
            images.add(json.loads(line)["prompt"]["messages"][0]["content"][0]["image"])
    assert images == {f"{n}.png" for n in range(6)}
    assert ask("data", "pairs", path, "--out", tmp_path / "pairs.jsonl")[0] == 0
    assert len((tmp_path / "pairs.jsonl").read_text(encoding="utf-8").splitlines()) == 6
    assert ask("data", "convert", path, "--to", "llama-factory", "--out", tmp_path / "factory.jsonl")[0] == 0
    assert inspect(tmp_path / "factory.jsonl").format == "LLaMA-Factory rows"
