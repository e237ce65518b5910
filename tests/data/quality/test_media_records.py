"""Cleaning of records with media: nothing is lost, and records that differ in an image alone are different."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_rows import QUESTION, REFUSAL, about, pair_about
from numpy.typing import NDArray
from project import write_rows
from quality_rows import cleaned, reasons

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Preference
from gnomon.data.quality.contract import Tools
from gnomon.data.reading.media.parts import shown_content
from gnomon.data.records import parse_record, record_media


def alike(texts: Sequence[str]) -> NDArray[np.float32]:
    """All texts have the same vector."""
    return np.ones((len(texts), 1), np.float32)


OFF = dict.fromkeys(("truncated", "length_bias", "refusals"), "off")


def drop(*names: str) -> dict[str, Any]:
    every = ("duplicates", "near_duplicates", "contradictions")
    return {**OFF, **{name: "drop" if name in names else "off" for name in every}}


@pytest.mark.parametrize("name", ["duplicates", "near_duplicates"])
def test_records_with_other_images_are_no_duplicates(tmp_path: Path, name: str) -> None:
    rows = [pair_about(image) for image in ("a.png", "b.png", None, "a.png", None)]
    result = cleaned(tmp_path, rows, drop(name))
    assert sorted(result.why(name)) == ["line 4", "line 5"]
    kept = [parse_record(Preference, row) for row in result.clean]
    assert kept == [parse_record(Preference, row) for row in rows[:3]]
    assert [[one.source for one in record_media(record)] for record in kept] == [["a.png"], ["b.png"], []]


def test_images_in_answers_and_images_alone_are_compared_too(tmp_path: Path) -> None:
    def drawn(*images: str) -> dict[str, Any]:
        answers = [[{"role": "assistant", "content": [{"type": "image", "image": one}]}] for one in images]
        return {"prompt": "Draw.", "completion": answers[0]}

    rows = [drawn("a"), drawn("b"), drawn("a")]
    for name in ("duplicates", "near_duplicates"):
        assert list(cleaned(tmp_path, rows, drop(name)).why(name)) == ["line 3"]
    alone = [about(one) | {"prompt": [{"role": "user", "content": [{"type": "image"}]}]} for one in "aba"]
    for name in ("duplicates", "near_duplicates"):
        assert list(cleaned(tmp_path, alone, drop(name)).why(name)) == ["line 3"]


def test_paraphrases_have_the_same_image(tmp_path: Path) -> None:
    rows = [pair_about(image, f"a{n}", f"b{n}") for n, image in enumerate(("a.png", "b.png", "a.png"))]
    filters = {**drop(), "embeddings": {"model": "made-up"}}
    result = cleaned(tmp_path, rows, filters, Tools(embed=alike))
    assert result.why("embeddings") == {"line 3": "it means the same as line 1, cosine 1.00"}


def test_a_held_out_prompt_has_the_same_image(tmp_path: Path) -> None:
    """Among many held-out prompts of the same words."""
    held_out = tmp_path / "held_out.jsonl"
    write_rows(held_out, [about(f"{n}.png") for n in range(60)])
    rows = [pair_about(image) for image in ("55.png", "60.png", None)]
    result = cleaned(tmp_path, rows, {**drop(), "held_out": {"files": [str(held_out)]}})
    assert result.why("held_out") == {"line 1": f"its prompt is 100% like line 56 of {held_out}"}


def test_answers_about_other_images_do_not_contradict_each_other(tmp_path: Path) -> None:
    one, other = ("A cat.", "A dog."), ("A dog.", "A cat.")
    rows = [pair_about("a", *one), pair_about("b", *other), pair_about("c", *one), pair_about("c", *other)]
    result = cleaned(tmp_path, rows, drop("contradictions"))
    assert sorted(result.why("contradictions")) == ["line 3", "line 4"]


def test_a_masked_text_keeps_its_images_where_they_stand(tmp_path: Path) -> None:
    words = [{"type": "text", "text": "From me@x.org: "}, {"type": "image", "image": "a.png"}]
    row = {
        "prompt": [{"role": "user", "content": [*words, {"type": "text", "text": "to you@x.org"}]}],
        "completion": "A",
    }
    (kept,) = cleaned(tmp_path, [row], {**drop(), "personal_data": "mask"}).clean
    record = parse_record(Demonstration, kept)
    assert shown_content(record.prompt.messages[0]) == "From [EMAIL]: [image a.png]to [EMAIL]"


def test_an_id_stands_for_one_image(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": {"id": "p", "messages": [{"role": "user", "content": QUESTION}]},
            "completion": "A",
            "images": [image],
        }
        for image in "ab"
    ]
    result = cleaned(tmp_path, rows, drop())
    assert result.why("unreadable") == {"line 2": "prompt id 'p' stands for another prompt at line 1"}


def test_tokens_of_images_are_not_counted(chat_tokenizer: Any) -> None:
    with pytest.raises(DataError, match=REFUSAL):
        reasons("length", pair_about("a.png"), tokenizer=chat_tokenizer, max_tokens=1000)
    assert reasons("length", pair_about("a.png"), max_characters=1000) == []
