"""What a source names: several files, pipes, data sets of the hub; and paths that name no data."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration
from gnomon.data.conversion import convert_file
from gnomon.data.inspection import inspect
from gnomon.data.reading import standard_input
from gnomon.data.reading.containers import hub_datasets
from gnomon.data.reading.content import Content
from gnomon.data.reading.readers import read_rows, scan_rows, source_title
from gnomon.data.reading.sources import check_source, digest_source, files_of, is_source
from gnomon.data.records import read_records


def row(prompt: str) -> str:
    return json.dumps({"prompt": prompt, "completion": "Yes."}) + "\n"


def prompts(path: Path) -> list[str]:
    return [row["prompt"] for _, row in read_rows(path)]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A pattern of three files, one of them compressed."""
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "b.jsonl.gz").write_bytes(gzip.compress(row("3").encode()))
    (tmp_path / "shards" / "a.jsonl").write_text(row("1") + row("2"))
    (tmp_path / "shards" / "c.csv").write_text("prompt,completion\n4,Yes.\n")
    return tmp_path / "shards" / "*"


def test_files_of_a_pattern_are_read_in_the_order_of_their_names(shards: Path) -> None:
    assert prompts(shards) == ["1", "2", "3", "4"]
    wheres = [where for where, _ in scan_rows(shards)]
    assert wheres[0] == f"line 1 of {shards.parent}/a.jsonl"
    assert wheres[3] == f"line 2 of {shards.parent}/c.csv"
    assert source_title(shards) == "3 files: CSV; JSON lines; JSON lines, gzip"
    assert len(inspect(shards).records) == 4


def test_a_broken_row_or_file_of_a_pattern_is_named_and_takes_none_along(shards: Path) -> None:
    (shards.parent / "a.jsonl").write_text(row("1") + "{\n" + row("2"))
    (shards.parent / "b.jsonl.gz").write_bytes(b"\x1f\x8b")
    result = inspect(shards)
    assert [one.prompt.messages[0].content for one in result.records] == ["1", "2", "4"]
    folder = shards.parent
    assert result.container == "3 files: CSV; JSON lines; not readable"
    assert [one.where for one in result.refused] == [f"line 2 of {folder}/a.jsonl", f"{folder}/b.jsonl.gz"]
    assert convert_file(shards, folder.parent / "out.jsonl", "gnomon").rejected.total() == 2
    with pytest.raises(DataError, match=r"\*, line 2 of .*a\.jsonl: not valid JSON"):
        read_records(Demonstration, shards)


def test_the_digest_of_a_pattern_covers_content_names_and_number(shards: Path) -> None:
    digests = [digest_source(shards)]
    (shards.parent / "b.jsonl.gz").write_bytes(gzip.compress(row("5").encode()))
    digests.append(digest_source(shards))
    (shards.parent / "c.csv").rename(shards.parent / "d.csv")
    digests.append(digest_source(shards))
    (shards.parent / "d.csv").unlink()
    digests.append(digest_source(shards))
    assert len(set(digests)) == 4
    moved = shards.parent.rename(shards.parent.with_name("moved"))
    assert digest_source(moved / "*") == digests[-1]


def test_a_file_that_several_names_lead_to_is_read_once(shards: Path) -> None:
    (shards.parent / "z.jsonl").symlink_to(shards.parent / "a.jsonl")
    (shards.parent / "circle").symlink_to(shards.parent)
    assert [path.name for path in files_of(shards.parent / "**" / "*.jsonl")] == ["a.jsonl"]


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "a[1].jsonl").write_text(row("1"))
    (tmp_path / "a1.jsonl").write_text(row("2"))
    assert prompts(tmp_path / "a[1].jsonl") == ["1"]
    assert prompts(tmp_path / "a[1-2].jsonl") == ["2"]
    assert source_title(tmp_path / "a[1-2].jsonl") == "1 file: JSON lines"


def test_a_list_in_an_object_of_json_is_a_split(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"train": [{"prompt": "1"}], "test": [{"prompt": "2"}, {"prompt": "3"}]}))
    assert prompts(Path(f"{path}#test")) == ["2", "3"]
    assert source_title(Path(f"{path}#train")) == "a JSON object with the list 'train'"
    with pytest.raises(DataError, match=r"a\.json#dev: it has no list 'dev'; it has train, test"):
        prompts(Path(f"{path}#dev"))
    (tmp_path / "b.jsonl").write_text(row("1") + row("2"))
    with pytest.raises(DataError, match="it is JSON lines, without a list 'train'; leave '#train' away"):
        prompts(Path(f"{tmp_path}/b.jsonl#train"))
    (tmp_path / "c.csv").write_text("prompt\n1\n")
    with pytest.raises(DataError, match="a table has no splits; leave '#train' away"):
        prompts(Path(f"{tmp_path}/c.csv#train"))


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ('{"conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}]}', "JSON lines"),
        ('{"messages": [{"role": "user", "content": "x"}]}', "JSON lines"),
        ('{"instruction": "x", "instances": [{"input": "", "output": "y"}]}', "JSON lines"),
        ('{"id": 1, "tags": ["x"], "prompt": "y"}', "JSON lines"),
        ('{"rows": [{"prompt": "x"}], "count": 1}', "a JSON object with the list 'rows'"),
    ],
)
def test_a_single_row_with_a_list_is_no_list_of_rows(tmp_path: Path, line: str, title: str) -> None:
    (tmp_path / "a.jsonl").write_text(line)
    assert source_title(tmp_path / "a.jsonl") == title


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that sets standard input."""

    def pipe(content: bytes) -> None:
        monkeypatch.setattr(standard_input, "_copies", {})
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return pipe


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ((row("1") + row("2")).encode(), "JSON lines"),
        (gzip.compress((row("1") + row("2")).encode(), mtime=0), "JSON lines, gzip"),
        (b'[{"prompt": "1"},\n{"prompt": "2"}]', "a JSON list"),
        (b"prompt,completion\n1,Yes.\n2,No.\n", "CSV"),
        (b"prompt\tcompletion\n1\tYes, no.\n2\tNo.\n", "CSV"),
    ],
)
def test_standard_input_is_read_several_times_and_recognized(piped: Any, content: bytes, title: str) -> None:
    piped(content)
    path = Path("-")
    assert source_title(path) == title
    assert prompts(path) == prompts(path) == ["1", "2"]
    assert is_source(path)
    assert len(digest_source(path)) == 64
    assert next(where for where, _ in scan_rows(path)) in ("line 1", "line 2", "row 1")


def test_errors_in_standard_input_name_it_by_its_mark(piped: Any) -> None:
    piped((row("1") + "{\n").encode())
    with pytest.raises(DataError, match=r"^-, line 2: not valid JSON"):
        read_records(Demonstration, Path("-"))


def test_a_terminal_is_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standard_input, "_copies", {})
    terminal = SimpleNamespace(buffer=SimpleNamespace(closed=False, isatty=lambda: True))
    for stdin in (terminal, None, io.StringIO("text of a notebook")):
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(DataError, match="nothing is piped into standard input"):
            prompts(Path("-"))


def test_a_named_pipe_is_read_several_times(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(row("1") + row("2")))
    writer.start()
    assert prompts(pipe) == prompts(pipe) == ["1", "2"]
    writer.join()


def test_paths_that_name_no_data_are_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.jsonl.gz").write_bytes(b"")
    (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
    (tmp_path / "nowhere.jsonl").symlink_to(tmp_path / "gone.jsonl")
    for name, sentence in [
        ("empty", "it is a folder that save_to_disk did not write; give a file that ends in"),
        ("full", r"did not write; name the files in it, as in '.*full/\*\.jsonl\.gz'"),
        ("loop.jsonl", "a symbolic link that leads nowhere"),
        ("nowhere.jsonl", "a symbolic link that leads nowhere"),
        ("absent.jsonl", "no such file"),
        ("absent/*.jsonl", "no file matches .*; give a pattern of existing files, in quotes"),
        ("x" * 300 + ".jsonl", "no such file"),
    ]:
        with pytest.raises(DataError, match=sentence) as excinfo:
            list(scan_rows(tmp_path / name))
        assert "\n" not in str(excinfo.value)
    with pytest.raises(DataError, match="neither a file nor a folder"):
        list(scan_rows(Path("/dev/null")))
    with pytest.raises(DataError, match=r"no data at .*absent; give one"):
        check_source(tmp_path / "absent", "give one.")


def test_a_file_is_read_up_to_its_size_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(map(row, "12")))
    rows = scan_rows(path)
    next(rows)
    with path.open("a") as file:
        file.write(row("3"))
    assert [one["prompt"] for _, one in rows if isinstance(one, dict)] == ["2"]
    assert prompts(path) == ["1", "2", "3"]


def test_a_line_that_is_still_written_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(row("1") + row("2")[:-5])
    rows = scan_rows(path)
    next(rows)
    with path.open("a") as file:
        file.write(row("2")[-5:])
    (_, error), *_ = rows
    assert str(error).endswith("line 2: the line is incomplete: the file is still written.")


def test_a_file_that_shrinks_while_it_is_read_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(row("1") * 30_000)
    with Content(path, "a") as content:
        lines = content.lines()
        next(lines)
        os.truncate(path, 1000)
        assert isinstance([line for _, line in lines][-1], DataError)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A hub with the data set `owner/films`, whose subsets and splits a test sets."""
    import datasets
    import huggingface_hub

    state: dict[str, Any] = {"subsets": {"default": ["train", "test"]}, "revisions": []}

    def load_dataset(name: str, subset: str, *, split: str, revision: str, streaming: bool) -> Any:
        assert streaming
        assert name == "owner/films"
        state["revisions"].append(revision)
        rows = [{"prompt": f"{subset} {split} {n}", "completion": "Yes."} for n in range(3)]
        return datasets.Dataset.from_list(rows).to_iterable_dataset()

    class Api:
        def dataset_info(self, name: str, timeout: float) -> Any:
            if state.get("error"):
                raise state["error"]
            return SimpleNamespace(sha="0f" * 20)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda name, revision: list(state["subsets"]))
    monkeypatch.setattr(
        datasets, "get_dataset_split_names", lambda name, subset, revision: state["subsets"][subset]
    )
    caches = (hub_datasets.hub_revision, hub_datasets._open)
    for one in caches:
        one.cache_clear()
    yield state
    for one in caches:
        one.cache_clear()


def test_a_split_of_a_data_set_on_the_hub_is_streamed_at_one_commit(hub: dict[str, Any]) -> None:
    assert prompts(Path("owner/films#test")) == ["default test 0", "default test 1", "default test 2"]
    assert len(inspect(Path("owner/films#test")).records) == 3
    assert set(hub["revisions"]) == {"0f" * 20}
    assert digest_source(Path("owner/films#test")) == digest_source(Path("owner/films#train"))
    check_source(Path("owner/films#test"), "give one.")
    with pytest.raises(
        DataError, match=r"owner/films: it has the splits train, test; .* as in owner/films#train"
    ):
        prompts(Path("owner/films"))
    with pytest.raises(DataError, match="it has no split 'dev'; it has train, test"):
        prompts(Path("owner/films#dev"))


def test_a_subset_on_the_hub_is_named_before_the_split(hub: dict[str, Any]) -> None:
    hub["subsets"] = {"en": ["train"], "zh": ["train", "test"]}
    assert prompts(Path("owner/films#en/train"))[0] == "en train 0"
    with pytest.raises(DataError, match=r"it has the subsets en, zh; name one, as in owner/films#en/train"):
        prompts(Path("owner/films"))
    with pytest.raises(DataError, match=r"as in owner/films#zh/train"):
        prompts(Path("owner/films#zh/"))
    with pytest.raises(DataError, match="it has no subset 'fr'; it has en, zh"):
        prompts(Path("owner/films#fr/train"))


@pytest.mark.parametrize("offline", [True, False])
def test_without_a_network_a_name_of_the_hub_is_one_sentence(
    hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    if offline:
        monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: True)
    hub["error"] = ConnectionError("no route\nto host")
    with pytest.raises(DataError, match="there is no file or folder owner/films here, and") as excinfo:
        prompts(Path("owner/films"))
    assert "\n" not in str(excinfo.value)


def test_a_name_below_an_existing_folder_is_a_missing_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="no such file"):
        prompts(Path("data/films"))


def test_what_gnomon_works_in_inside_a_folder_is_no_part_of_its_data(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "rows.arrow").write_bytes(b"rows")
    before = digest_source(tmp_path)
    for name in (".gnomon-0123456789ab.work/000000.rows", ".gnomon-abcdefgh.part"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"rows")
    assert digest_source(tmp_path) == before
    (tmp_path / "part" / ".hidden").write_bytes(b"rows")
    assert digest_source(tmp_path) != before
