"""The key of checked rows: other for everything that changes them, and for nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from project import write_rows
from quality_rows import pair

from gnomon.core.types import Preference
from gnomon.data.formats.registry import RowLayout
from gnomon.data.quality.registry import build_filters
from gnomon.data.quality.work.source_files import SourceFiles
from gnomon.data.quality.work.work_key import differences, work_key
from gnomon.data.record_kinds import FileRecognition, recognize_kind


def key(
    path: Path, filters: dict[str, Any] | None = None, tokenizer: Any = None, **layout: Any
) -> dict[str, str]:
    recognition = recognize_kind(path, layout=RowLayout.of(**layout))
    active = [one for one in build_filters(filters or {}) if one.applies_to(Preference)]
    return work_key(SourceFiles(path), recognition, active, tokenizer)


def test_everything_that_changes_checked_rows_changes_the_key(
    tmp_path: Path, chat_tokenizer: Any, bare_tokenizer: Any
) -> None:
    path, words = tmp_path / "rows.jsonl", tmp_path / "words.txt"
    write_rows(path, [pair(other="Because.")])
    words.write_text("damn\n")
    lexicon = {"lexicon": {"files": [str(words)]}}
    columns = {"prompt": "prompt", "chosen": "other", "rejected": "rejected"}
    first = key(path)

    def changed(other: dict[str, str]) -> list[str]:
        return differences(other, first)

    assert changed(key(path, {"near_duplicates": {"similarity": 0.9}})) == ["other filters"]
    assert changed(key(path, {"refusals": "drop"})) == ["other filters"]
    assert changed(key(path, columns=columns)) == ["another format"]
    assert changed(key(path, tokenizer=chat_tokenizer)) == ["another tokenizer"]
    assert differences(key(path, tokenizer=bare_tokenizer), key(path, tokenizer=chat_tokenizer)) == [
        "another tokenizer"
    ]
    with_words = key(path, lexicon)
    words.write_text("darn\n")
    assert differences(key(path, lexicon), with_words) == ["other filters"]
    recognition = recognize_kind(path)
    other_kind = FileRecognition(str, recognition.match, recognition.layout)
    assert "another format" in changed(work_key(SourceFiles(path), other_kind, []))
    write_rows(path, [pair(other="Since.")])
    assert changed(key(path)) == ["other data"]
    assert changed(key(path, {"refusals": "drop"}, chat_tokenizer)) == [
        "other data",
        "other filters",
        "another tokenizer",
    ]
    version = {**first, "another version of Gnomon or its libraries": "x"}
    assert changed(version) == ["another version of Gnomon or its libraries"] == changed({"another": "part"})
    assert differences(first, "a digest") == ["another version of Gnomon or its libraries"]


def test_the_same_content_and_settings_have_the_same_key(tmp_path: Path) -> None:
    path, copy = tmp_path / "rows.jsonl", tmp_path / "deep" / "copy.jsonl"
    write_rows(path, [pair()])
    first = key(path)
    path.unlink()
    write_rows(path, [pair()])
    assert key(path) == key(path, {"near_duplicates": "drop"}) == key(path, name="gnomon") == first
    copy.parent.mkdir()
    write_rows(copy, [pair()])
    assert key(copy) == first
