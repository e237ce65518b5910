"""The key of checked rows: other for everything that changes them, and for nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from project import write_rows
from quality_rows import pair

from gnomon.core.types import Preference
from gnomon.data.formats.registry import RowLayout
from gnomon.data.quality.registry import build_filters
from gnomon.data.quality.work.work_key import work_key
from gnomon.data.record_kinds import FileRecognition, recognize_kind


def key(path: Path, filters: dict[str, Any] | None = None, tokenizer: Any = None, **layout: Any) -> str:
    recognition = recognize_kind(path, layout=RowLayout.of(**layout))
    active = [one for one in build_filters(filters or {}) if one.applies_to(Preference)]
    return work_key(path, recognition, active, tokenizer)


def test_everything_that_changes_checked_rows_changes_the_key(
    tmp_path: Path, chat_tokenizer: Any, bare_tokenizer: Any
) -> None:
    path, words = tmp_path / "rows.jsonl", tmp_path / "words.txt"
    write_rows(path, [pair(other="Because.")])
    words.write_text("damn\n")
    lexicon = {"lexicon": {"files": [str(words)]}}
    columns = {"prompt": "prompt", "chosen": "other", "rejected": "rejected"}
    keys = [
        key(path),
        key(path, {"near_duplicates": {"similarity": 0.9}}),
        key(path, {"refusals": "drop"}),
        key(path, columns=columns),
        key(path, tokenizer=chat_tokenizer),
        key(path, tokenizer=bare_tokenizer),
        key(path, lexicon),
    ]
    words.write_text("darn\n")
    keys.append(key(path, lexicon))
    recognition = recognize_kind(path)
    keys.append(work_key(path, FileRecognition(str, recognition.match, recognition.layout), []))
    write_rows(path, [pair(other="Since.")])
    keys.append(key(path))
    assert len(set(keys)) == len(keys)


def test_the_same_content_and_settings_have_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, [pair()])
    first = key(path)
    path.unlink()
    write_rows(path, [pair()])
    assert key(path) == key(path, {"near_duplicates": "drop"}) == key(path, name="gnomon") == first
