"""Splits by prompt: near-duplicates together, shares by stratum, the command."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from media_rows import about
from project import Run, write_rows

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.types import Completion, Demonstration, Message, Prompt
from gnomon.data.records import parse_record
from gnomon.data.splitting.by_prompt import near_duplicate_groups, parse_shares, shared_prompts, split_by_prompt

WORDS = ("river", "mountain", "harbor", "lantern", "violin", "garden", "winter", "copper", "falcon", "meadow")


def ask(text: str, answer: str = "a") -> Demonstration:
    return Demonstration(Prompt(text, (Message("user", text),)), Completion(answer, answer))


def prompts(count: int) -> list[str]:
    """Prompts that have few 5-grams in common."""
    return [f"{WORDS[n % 10]} {WORDS[n // 10 % 10] * 2} {WORDS[n // 100 % 10] * 3} {n}" for n in range(count)]


def test_all_records_of_a_prompt_are_in_one_part_and_shares_are_met() -> None:
    records = [ask(text, answer) for text in prompts(100) for answer in "abc"]
    result = split_by_prompt(records, {"train": 0.8, "valid": 0.1, "test": 0.1}, similarity=1)
    assert {name: len(part) for name, part in result.parts.items()} == {"train": 240, "valid": 30, "test": 30}
    assert shared_prompts(result.parts.values()) == 0
    assert (result.prompts, result.joined) == (100, 0)
    again = split_by_prompt(records, {"train": 0.8, "valid": 0.1, "test": 0.1}, similarity=1)
    assert again.parts == result.parts
    other = split_by_prompt(records, {"train": 0.8, "valid": 0.1, "test": 0.1}, similarity=1, seed=1)
    assert other.parts != result.parts


def test_near_duplicates_share_a_part_in_chinese_too() -> None:
    """Two pairs differ in one sign of some forty; equal texts in two Unicode forms are one prompt."""
    long = "What is the shadow of a gnomon at noon in June, and why does it point to the north"
    chinese = "请用三句话解释为什么夏至正午的时候日晷的影子最短并且指向正北方向而冬至的时候最长"
    texts = [f"{long}?", f"{long}!", f"{chinese}？", f"{chinese}。", "An unrelated question", "é", "e\u0301"]
    records = [ask(text) for text in texts]
    for seed in range(5):
        result = split_by_prompt(records, {"train": 0.5, "test": 0.5}, seed=seed)
        parts = {r.prompt.messages[0].content: name for name, part in result.parts.items() for r in part}
        assert parts[texts[0]] == parts[texts[1]]
        assert parts[texts[2]] == parts[texts[3]]
        assert parts[texts[5]] == parts[texts[6]]
        assert (result.prompts, result.joined) == (6, 2)
    assert near_duplicate_groups(texts[:5], 1.0) == [0, 1, 2, 3, 4]


def test_each_value_of_a_column_has_its_shares() -> None:
    """Of 60 records 40 have the value a: 30 and 10; 20 have b: 15 and 5."""
    records = [ask(text) for text in prompts(60)]
    values = ["b" if n % 3 == 0 else "a" for n in range(60)]
    result = split_by_prompt(records, {"train": 0.75, "test": 0.25}, values=values, similarity=1)
    assert result.strata == {"a": {"train": 30, "test": 10}, "b": {"train": 15, "test": 5}}


@settings(max_examples=50)
@given(st.lists(st.integers(0, 12), min_size=2, max_size=40), st.integers(0, 5))
def test_every_record_is_in_one_part_and_no_part_is_empty(numbers: list[int], seed: int) -> None:
    records = [ask(f"prompt {n}", str(i)) for i, n in enumerate(numbers)]
    shares = {"train": 0.9, "test": 0.1}
    if len(set(numbers)) < 2:
        with pytest.raises(DataError, match="too few for 2 parts"):
            split_by_prompt(records, shares, seed=seed, similarity=1)
        return
    result = split_by_prompt(records, shares, seed=seed, similarity=1)
    assert all(result.parts.values())
    assert Counter(r.completion.text for part in result.parts.values() for r in part) == Counter(
        r.completion.text for r in records
    )
    assert shared_prompts(result.parts.values()) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train=0.9", "two or more parts"),
        ("train,test", "two or more parts"),
        ("train=x,test", "'x' is no share"),
        ("train=0.5,test=0.4", "add up to 0.9"),
        ("train=1.5,test", "add up to 1.5"),
        ("train=0.5,train=0.5", "occurs twice"),
        ("../x=0.5,test", "is no name of a part"),
    ],
)
def test_wrong_shares_are_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_shares(text)


def test_shares_are_parsed() -> None:
    assert parse_shares("train=0.8, test") == {"train": 0.8, "test": pytest.approx(0.2)}


def test_the_command_writes_the_parts(tmp_path: Path, gnomon: Run) -> None:
    file, out = tmp_path / "rows.jsonl", tmp_path / "parts"
    rows = [
        {"prompt": text, "completion": "a", "topic": "x" if n % 2 else "y"} for n, text in enumerate(prompts(20))
    ]
    write_rows(file, rows)
    arguments = [
        "data",
        "split",
        str(file),
        "--out",
        str(out),
        "--parts",
        "train=0.5,test",
        "--stratify",
        "topic",
    ]
    result = gnomon(*arguments, "--json")
    assert result.returncode == 0, result.stderr
    counts = json.loads(result.stdout)
    assert counts["parts"] == {"train": 10, "test": 10}
    assert counts["strata"] == {"x": {"train": 5, "test": 5}, "y": {"train": 5, "test": 5}}
    files = [out / f"{name}.jsonl" for name in ("train", "test")]
    lines = [json.loads(line) for one in files for line in one.read_text("utf-8").splitlines()]
    assert sorted((row["prompt"]["messages"][0]["content"], row["topic"]) for row in lines) == sorted(
        (row["prompt"], row["topic"]) for row in rows
    )
    again = gnomon(*arguments)
    assert (again.returncode, "train.jsonl exists" in again.stderr) == (2, True)
    wrong = gnomon("data", "split", str(file), "--out", str(tmp_path / "x"), "--stratify", "absent")
    assert (wrong.returncode, "no row has the column 'absent'" in wrong.stderr) == (2, True)


def test_prompts_about_other_images_are_other_prompts() -> None:
    """The words are the same in all of them; the same image stays in one part, alone or not."""
    records = [parse_record(Demonstration, about(f"{n % 40}.png", completion=str(n))) for n in range(80)]
    result = split_by_prompt(records, {"train": 0.5, "test": 0.5})
    assert {name: len(part) for name, part in result.parts.items()} == {"train": 40, "test": 40}
    assert (result.prompts, result.joined, shared_prompts(result.parts.values())) == (40, 0, 0)
    alone = [parse_record(Demonstration, about(f"{n}.png", completion="A")) for n in range(9)]
    image_only = [
        replace(one, prompt=replace(one.prompt, messages=(replace(one.prompt.messages[0], content=""),)))
        for one in alone
    ]
    assert split_by_prompt(image_only, {"train": 0.5, "test": 0.5}).joined == 0
