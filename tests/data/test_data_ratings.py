"""A user's ratings: both forms of rows, corrections, splits by prompt, and which texts are imitated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.storage.files import write_jsonl
from gnomon.core.types import MediaPart, Message, Prompt, RatedText
from gnomon.data.ratings import demonstration_sample, gather_ratings, split_ratings
from gnomon.data.records import read_records


def read(folder: Path, *rows: dict[str, Any]) -> list[RatedText]:
    path = folder / "ratings.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return gather_ratings(read_records(RatedText, path))


def prompt(name: str, text: str = "") -> Prompt:
    return Prompt(name, (Message("user", text or name),))


def answers(prompts: int, each: int) -> list[RatedText]:
    """Texts that answer prompts; the rating of the k-th answer is k, plus a tenth of the prompt's number."""
    return [
        RatedText(f"{p}.{k}", f"answer {k} to {p}", (k + p / 10,), prompt(f"p{p}"))
        for p in range(prompts)
        for k in range(each)
    ]


def test_long_rows_are_gathered_by_text_and_a_later_rating_is_a_correction(tmp_path: Path) -> None:
    items = read(
        tmp_path,
        {"text": "Good.", "rater": "ann", "rating": 2},
        {"text": "Bad.", "rater": "ann", "rating": -1},
        {"text": "Good.", "rater": "bob", "rating": 1},
        {"text": "Good.", "rater": "ann", "rating": 3},
        {"text": "Good.", "rating": 0},
    )
    assert [(i.text, i.ratings, i.raters) for i in items] == [
        ("Good.", (3.0, 1.0, 0.0), ("ann", "bob", "")),
        ("Bad.", (-1.0,), ("ann",)),
    ]
    assert items[0].id != items[1].id


def test_the_same_text_under_two_prompts_is_two_items(tmp_path: Path) -> None:
    items = read(
        tmp_path,
        {"prompt": "Is it raining?", "text": "Yes.", "rater": "ann", "rating": 1},
        {"prompt": "要伞吗？", "text": "Yes.", "rater": "ann", "rating": 5},
        {"prompt": "要伞吗？", "text": "Yes.", "rater": "bob", "rating": 4},
    )
    assert [i.ratings for i in items] == [(1.0,), (5.0, 4.0)]
    assert len({i.id for i in items}) == len({i.prompt for i in items}) == 2


def test_wide_rows_keep_their_ids_and_every_nameless_rating(tmp_path: Path) -> None:
    items = read(
        tmp_path,
        {"id": "a", "text": "Good.", "ratings": [2, 2]},
        {"id": "b", "text": "Good.", "ratings": [2]},
        {"id": "c", "text": "Bad.", "ratings": [0, 1], "raters": ["ann", "bob"]},
    )
    assert items == [
        RatedText("a", "Good.", (2.0, 2.0, 2.0)),
        RatedText("c", "Bad.", (0.0, 1.0), raters=("ann", "bob")),
    ]


def test_a_table_with_one_row_a_rating(tmp_path: Path) -> None:
    """As a survey tool exports it: a name left blank is nobody's, a prompt left blank is none."""
    path = tmp_path / "ratings.csv"
    path.write_text('prompt,text,rater,rating\n,"Good, yes.",ann,2\n,"Good, yes.",,1.5\n', encoding="utf-8")
    [item] = gather_ratings(read_records(RatedText, path))
    assert (item.text, item.ratings, item.raters, item.prompt) == ("Good, yes.", (2.0, 1.5), ("ann", ""), None)


def test_ratings_survive_writing_and_reading(tmp_path: Path) -> None:
    items = [RatedText("a", "好", (1.0, 2.0), prompt("p"), ("ann", "")), RatedText("b", "b", (0.0,), prompt("p"))]
    write_jsonl(tmp_path / "part.jsonl", items)
    assert read_records(RatedText, tmp_path / "part.jsonl") == items


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{"id": "a", "text": "x", "ratings": [1]}, {"id": "a", "text": "y", "ratings": [1]}], "two texts"),
        (
            [{"id": "a", "text": "x", "ratings": [1], "prompt": "Q"}, {"id": "b", "text": "y", "ratings": [1]}],
            "text 'b' has no prompt, but others have",
        ),
        (
            [{"id": "a", "text": "x", "ratings": [1, 2], "raters": ["ann"]}],
            "line 1: raters is not a list with one",
        ),
        ([{"id": "a", "text": "x", "ratings": [1], "raters": "ann"}], "line 1: raters is not a list"),
        ([{"text": "x", "rater": "ann"}], "line 1: no 'ratings' in it"),
        ([{"text": "x", "rater": "ann", "rating": "nan"}], "line 1: rating is not a finite number: 'nan'"),
    ],
)
def test_rows_that_make_no_sense_are_one_sentence(
    tmp_path: Path, rows: list[dict[str, Any]], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        read(tmp_path, *rows)


def test_prompts_stay_whole_and_sizes_are_met() -> None:
    items = answers(prompts=20, each=5)
    parts = split_ratings(items, {"training": 50, "held_out": 20}, judge_holdout=0.2, seed=1)
    assert {name: len(part) for name, part in parts.items()} == {
        "judge_holdout": 20,
        "training": 50,
        "held_out": 20,
    }
    owners = [{item.prompt for item in part} for part in parts.values()]
    assert sum(map(len, owners)) == len(set.union(*owners))  # no prompt in two parts
    assert split_ratings(items[::-1], {"training": 50, "held_out": 20}, judge_holdout=0.2, seed=1) == parts
    assert split_ratings(items, {"training": 50, "held_out": 20}, judge_holdout=0.2, seed=2) != parts


def test_prompts_of_equal_wording_are_one() -> None:
    """Two ids, one question: if they were split, the evaluation would use a prompt of training."""
    items = [
        RatedText(
            f"{n}.{k}", f"{n} {k}", (1.0,), prompt(f"p{n}.{k}", f"Question  {n}?" if k else f"question {n}?")
        )
        for n in range(10)
        for k in range(2)
    ]
    for seed in range(5):
        parts = split_ratings(items, {"training": 10, "held_out": 10}, judge_holdout=0.0, seed=seed)
        numbers = [{item.id.split(".")[0] for item in parts[name]} for name in ("training", "held_out")]
        assert not numbers[0] & numbers[1]


def test_prompts_about_other_images_are_other_prompts() -> None:
    """Two prompts of the same words with an image each fill two parts; with the same one they are one."""
    for images, fits in ((("a.png", "b.png"), True), (("a.png", "a.png"), False)):
        asked = [
            Prompt(f"p{n}", (Message("user", "What is it?", media=(MediaPart("image", one),)),))
            for n, one in enumerate(images)
        ]
        items = [RatedText(f"{n}", f"It is {n}.", (1.0,), asked[n % 2]) for n in range(4)]
        if fits:
            parts = split_ratings(items, {"training": 2, "held_out": 2}, judge_holdout=0.0, seed=0)
            assert {name: len({item.prompt for item in part}) for name, part in parts.items() if part} == {
                "training": 1,
                "held_out": 1,
            }
        else:
            with pytest.raises(DataError, match="1 prompts are too few for 2 parts"):
                split_ratings(items, {"training": 2, "held_out": 2}, judge_holdout=0.0, seed=0)


def test_texts_without_prompts_are_split_by_text() -> None:
    items = [RatedText(f"{n}.{k}", f"text {n}", (1.0,)) for n in range(8) for k in range(2)]
    parts = split_ratings(items, {"training": 8, "held_out": 8}, judge_holdout=0.0, seed=0)
    assert not {i.text for i in parts["training"]} & {i.text for i in parts["held_out"]}


def test_too_few_texts_or_prompts_are_refused() -> None:
    with pytest.raises(DataError, match="10 texts are too few for the parts"):
        split_ratings(answers(2, 5), {"training": 8, "held_out": 3}, judge_holdout=0.0, seed=0)
    with pytest.raises(DataError, match="2 prompts are too few for 3 parts"):
        split_ratings(answers(2, 5), {"training": 4, "held_out": 2}, judge_holdout=0.2, seed=0)


def test_best_takes_the_best_of_every_prompt_first() -> None:
    """Three prompts with answers rated 0-3, 0.1-3.1, 0.2-3.2; by rating alone p2 gives its best two first."""
    chosen = demonstration_sample(answers(prompts=3, each=4), 5, "best", 0.0, seed=0)
    assert [item.id for item in chosen] == ["2.3", "1.3", "0.3", "2.2", "1.2"]


def test_best_without_prompts_selects_by_rating() -> None:
    items = [RatedText(str(n), str(n), (float(n),)) for n in (3, 1, 4, 5, 9)]
    assert [i.id for i in demonstration_sample(items, 3, "best", 0.0, seed=0)] == ["9", "5", "4"]


def test_neutral_is_around_the_centre_and_returns_the_ratings_as_given() -> None:
    """On a scale of 1 to 5 no text is below 0; around 3.25, their mean, there are both sides."""
    items = [RatedText(str(n), str(n), (float(1 + n % 5), float(2 + n % 4))) for n in range(40)]
    center = sum(item.mean for item in items) / len(items)
    chosen = demonstration_sample(items, 20, "neutral", center, seed=0)
    assert all(item in items for item in chosen)
    assert abs(sum(item.mean for item in chosen) / 20 - center) < 0.05
    assert {item.mean > center for item in chosen} == {True, False}


def test_more_demonstrations_than_texts_are_refused() -> None:
    with pytest.raises(DataError, match="7 demonstrations cannot be chosen from 6 texts"):
        demonstration_sample(answers(2, 3), 7, "best", 0.0, seed=0)
