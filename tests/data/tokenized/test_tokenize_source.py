"""Tokenized sources: the same examples as in memory, cached by everything that they depend on."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from gnomon.core.errors import DataError
from gnomon.core.storage.digests import digest_of
from gnomon.core.types import Demonstration, Label, Preference, Ranking
from gnomon.data.encoding import ENCODE
from gnomon.data.formats.registry import OWN
from gnomon.data.reading.dependencies import tokenizer_digest
from gnomon.data.records import read_records
from gnomon.data.tokenized import cache
from gnomon.data.tokenized.cache import TokenCacheError, TokenizedSource, tokenize_source
from gnomon.data.tokenized.example_file import ExampleFile

LIMIT = 160
LONG = "so " * 100
TALK = [
    {"role": "assistant", "content": "good", "train": False},
    {"role": "user", "content": "why"},
    {"role": "assistant", "content": "very 好"},
]
ROWS: dict[type, list[dict[str, Any]]] = {
    Demonstration: [
        {"prompt": "a", "completion": "yes"},
        {"prompt": "b", "completion": TALK, "weight": 0.5},
        {"prompt": "a", "completion": LONG},
        {"prompt": "花", "completion": "样"},
    ],
    Label: [
        {"prompt": "a", "completion": "yes", "label": True},
        {"prompt": "a", "completion": "no", "label": False, "weight": 2.0},
        {"prompt": "b", "completion": LONG, "label": True},
    ],
    Preference: [
        {"prompt": "a", "chosen": "one", "rejected": "two", "probability": 0.8, "margin": 1.5, "weight": 2.0},
        {"prompt": "b", "chosen": TALK, "rejected": "no"},
        {"prompt": "a", "chosen": "same", "rejected": "same<|im_end|>"},
        {"prompt": "a", "chosen": LONG, "rejected": "short"},
        {"prompt": "a", "chosen": "two", "rejected": "three"},
        {"prompt": "c", "chosen": "x<|im_end|>", "rejected": "y"},
        {"prompt": "b", "chosen": "well", "rejected": "ill"},
    ],
    Ranking: [
        {"prompt": "a", "completions": ["one", "two", "three"]},
        {"prompt": "b", "completions": ["x", "y"], "weight": 0.5},
        {"prompt": "a", "completions": ["three", "four"]},
        {"prompt": "a", "completions": ["five", LONG]},
    ],
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("GNOMON_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache" / "tokens"
    assert not list((tmp_path / "cache").glob("**/.gnomon-*"))


def assert_as_in_memory(kind: type, path: Path, tokenizer: Any, tokenized: TokenizedSource) -> None:
    records: list[Any] = read_records(kind, path)
    examples, rejected = ENCODE[kind](records, tokenizer, LIMIT)
    assert list(tokenized.examples) == examples
    assert tokenized.counts.rejected == rejected
    assert tokenized.counts.rows == len(records)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("kind", list(ROWS))
def test_the_examples_are_those_of_the_encoding_in_memory(
    kind: type, jobs: int, rows_file: Callable[..., Path], chat_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon.data.tokenized.encode_source.SHARD", 2)
    monkeypatch.setattr("gnomon.data.tokenized.encode_source.BATCH", 1)
    path = rows_file(*ROWS[kind])
    for cached in (False, True):
        tokenized = tokenize_source(kind, path, OWN, chat_tokenizer, LIMIT, jobs)
        assert tokenized.cached is cached
        assert_as_in_memory(kind, path, chat_tokenizer, tokenized)


PAIRS = st.lists(
    st.builds(
        lambda prompt, sides, weight: {
            "prompt": prompt,
            "chosen": sides[0],
            "rejected": sides[1],
            "weight": weight,
        },
        st.sampled_from("abc"),
        st.lists(st.sampled_from("uvwxyz"), min_size=2, max_size=2, unique=True),
        st.sampled_from([0.5, 1.0]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=PAIRS)
def test_pairs_in_any_order_are_joined_as_in_memory(
    pairs: list[dict[str, Any]], rows_file: Callable[..., Path], chat_tokenizer: Any
) -> None:
    path = rows_file(*pairs)
    tokenized = tokenize_source(Preference, path, OWN, chat_tokenizer, LIMIT, 1)
    assert_as_in_memory(Preference, path, chat_tokenizer, tokenized)


@pytest.mark.parametrize(
    "rows",
    [
        [{"prompt": "a", "chosen": "x", "rejected": "y"}, {"prompt": "b", "chosen": "x"}],
        [{"prompt": {"id": "p", "messages": [{"role": "user", "content": one}]}, "chosen": "x", "rejected": "y"}
         for one in "ab"],
        [],
    ],
    ids=["damaged", "one id for two prompts", "empty"],
)  # fmt: skip
def test_a_fault_is_the_same_error_and_leaves_no_entry(
    rows: list[dict[str, Any]], rows_file: Callable[..., Path], chat_tokenizer: Any, own_cache: Path
) -> None:
    path = rows_file(*rows)
    with pytest.raises(DataError) as expected:
        read_records(Preference, path)
    with pytest.raises(DataError) as error:
        tokenize_source(Preference, path, OWN, chat_tokenizer, LIMIT, 1)
    assert str(error.value) == str(expected.value)
    assert not list(own_cache.iterdir())


def test_an_entry_is_used_only_for_the_same_data_limit_kind_and_template(
    rows_file: Callable[..., Path], chat_tokenizer: Any
) -> None:
    path = rows_file(*ROWS[Preference])

    def is_cached(kind: type = Preference, tokenizer: Any = chat_tokenizer, limit: int = LIMIT) -> bool:
        return tokenize_source(kind, path, OWN, tokenizer, limit, 1).cached

    assert not is_cached()
    assert is_cached()
    assert not is_cached(limit=LIMIT - 1)
    other = copy.deepcopy(chat_tokenizer)
    assert is_cached(tokenizer=other)
    other.chat_template += "{# changed #}"
    assert not is_cached(tokenizer=other)
    rows_file(*ROWS[Preference][1:])
    assert not is_cached()


def test_the_same_content_at_another_path_is_found_with_its_own_positions(
    rows_file: Callable[..., Path], chat_tokenizer: Any, tmp_path: Path
) -> None:
    path = rows_file(*ROWS[Preference])
    tokenize_source(Preference, path, OWN, chat_tokenizer, LIMIT, 1)
    copy_of = path.rename(tmp_path / "moved.jsonl")
    moved = tokenize_source(Preference, copy_of, OWN, chat_tokenizer, LIMIT, 1)
    assert moved.cached
    assert [row.where for row in moved.counts.rejected] == [f"{copy_of}, line 3", f"{copy_of}, line 4"]


@pytest.mark.parametrize(
    "damage", ["cut short", "a changed token", "gone", "other inputs", "no JSON", "other columns"]
)
def test_a_damaged_entry_is_made_again(
    damage: str, rows_file: Callable[..., Path], chat_tokenizer: Any, own_cache: Path
) -> None:
    path = rows_file(*ROWS[Preference])
    tokenize_source(Preference, path, OWN, chat_tokenizer, LIMIT, 1)
    (entry,) = own_cache.glob("*.json")
    (arrow,) = own_cache.glob("*.arrow")
    if damage == "cut short":
        arrow.write_bytes(arrow.read_bytes()[:-40])
    elif damage == "a changed token":
        content, (ids, *_) = bytearray(arrow.read_bytes()), ExampleFile(arrow)[0].completions
        at = content.index(np.array(ids, dtype=np.int32).tobytes())
        content[at : at + 4] = (2**31 - 1).to_bytes(4, "little")
        arrow.write_bytes(bytes(content))
    elif damage == "gone":
        arrow.unlink()
    elif damage == "other inputs":
        entry.write_text(entry.read_text().replace('"max_tokens": 160', '"max_tokens": 161'))
    elif damage == "no JSON":
        entry.write_text("{")
    else:
        entry.write_text(entry.read_text().replace('"rows"', '"lines"'))
    again = tokenize_source(Preference, path, OWN, chat_tokenizer, LIMIT, 1)
    assert not again.cached
    assert_as_in_memory(Preference, path, chat_tokenizer, again)
    assert tokenize_source(Preference, path, OWN, chat_tokenizer, LIMIT, 1).cached


def test_the_least_recently_used_entries_make_room(
    rows_file: Callable[..., Path], chat_tokenizer: Any, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of others in the folder stay, even JSON files that look like an entry."""
    own_cache.mkdir(parents=True)
    others = {"notes.json": json.dumps({"inputs": {"max_tokens": 1}}), "film.arrow": "x" * 10_000}
    for name, content in others.items():
        (own_cache / name).write_text(content)
    path = rows_file(*ROWS[Preference])
    tokenize_source(Preference, path, OWN, chat_tokenizer, LIMIT, 1)
    monkeypatch.setattr(cache, "LIMIT", 1)
    last = tokenize_source(Preference, path, OWN, chat_tokenizer, LIMIT + 1, 1)
    assert {file.name for file in own_cache.iterdir()} == {
        *others, last.examples.path.name, last.examples.path.with_suffix(".json").name,
    }  # fmt: skip
    assert last.examples.path.stem == digest_of(last.examples.facts)


def test_an_entry_that_can_only_be_read_is_used(
    rows_file: Callable[..., Path], chat_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = rows_file(*ROWS[Preference])
    tokenize_source(Preference, path, OWN, chat_tokenizer, LIMIT, 1)

    def refuse(*_: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.utime", refuse)
    assert tokenize_source(Preference, path, OWN, chat_tokenizer, LIMIT, 1).cached


def test_a_folder_that_cannot_be_written_is_named(
    rows_file: Callable[..., Path], chat_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GNOMON_CACHE", str(tmp_path / "file"))
    with pytest.raises(TokenCacheError, match=r"cannot be written to .*GNOMON_CACHE"):
        tokenize_source(Preference, rows_file(*ROWS[Preference]), OWN, chat_tokenizer, LIMIT, 1)


def test_the_state_of_a_call_is_no_part_of_a_tokenizer(chat_tokenizer: Any) -> None:
    """A call with padding or truncation leaves its settings in the tokenizer until the next call."""
    other = copy.deepcopy(chat_tokenizer)
    other(["a", "bc"], padding=True, truncation=True, max_length=1)
    assert other.backend_tokenizer.to_str() != chat_tokenizer.backend_tokenizer.to_str()
    assert tokenizer_digest(other) == tokenizer_digest(chat_tokenizer)
    other.add_tokens(["abc"])
    assert tokenizer_digest(other) != tokenizer_digest(chat_tokenizer)


def test_tokenizers_without_a_backend_are_digested_by_their_files(tmp_path: Path) -> None:
    """A tokenizer in Python has its vocabulary and template in the files that it saves."""

    class InPython:
        chat_template = "{{ messages }}"

        def __init__(self, vocabulary: str):
            self.vocabulary, self.special_tokens_map = vocabulary, {"eos_token": "</s>"}

        def save_pretrained(self, folder: Path) -> None:
            (folder / "vocab.txt").write_text(self.vocabulary)

    assert tokenizer_digest(InPython("a b")) == tokenizer_digest(InPython("a b"))
    assert tokenizer_digest(InPython("a b")) != tokenizer_digest(InPython("a c"))
