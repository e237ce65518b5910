"""An export replaces only its own files: foreign files, paths in a manifest, links and edited files stay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from annotating import project, submit_choice, take
from leftover_names import is_leftover_name

from gnomon.core.errors import BusyError, DataError
from gnomon.core.storage.folder_lock import FolderLock
from gnomon.core.storage.ownership import seal
from gnomon.feedback.export.writers import write_export
from gnomon.feedback.store.store import Project, Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    feedback_store = Store(str(tmp_path_factory.mktemp("store") / "f.db"))
    queue = project(feedback_store, 1)
    task = take(queue, "ann")
    submit_choice(queue, task, "ann", "a")
    yield feedback_store
    feedback_store.close()


def export(store: Store, folder: Path, format: str = "jsonl", *, overwrite: bool = False) -> dict[str, Any]:
    return write_export(store, "films", folder, format=format, overwrite=overwrite)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, links as what they point to."""
    return {
        path.relative_to(folder).as_posix(): str(path.readlink()).encode()
        if path.is_symlink()
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


FOREIGN: dict[str, Any] = {
    "another program's": {"name": "my app", "files": ["index.html", "photos"]},
    "a mapping of its files": {"files": {"index.html": "x", "photos": "y"}},
    "the folder above": {"files": {"..": "x"}},
    "paths": {"files": {"../thesis.txt": "x", "photos/a.png": "y"}},
    "a list": [],
    "no JSON": None,
}


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
@pytest.mark.parametrize("manifest", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_manifest_replaces_nothing(store: Store, tmp_path: Path, manifest: Any, sealed: bool) -> None:
    """Not even one with the digest of a record, which could be written by hand."""
    out = tmp_path / "site"
    (out / "photos").mkdir(parents=True)
    for name in ("site/index.html", "site/photos/a.png", "thesis.txt"):
        (tmp_path / name).write_text("mine")
    if isinstance(manifest, dict) and sealed:
        absolute = {str(tmp_path / "thesis.txt"): "x"}
        manifest = seal({**manifest, "coming": absolute})
    (out / "manifest.json").write_text("{" if manifest is None else json.dumps(manifest))
    before = contents(tmp_path)
    with pytest.raises(DataError, match=r"holds index\.html, .*photos.*--overwrite"):
        export(store, out)
    assert contents(tmp_path) == before
    export(store, out, overwrite=True)
    after = contents(tmp_path)
    assert {name for name in before if after.get(name) != before[name]} == {"site/manifest.json"}
    assert "site/preferences.jsonl" in after


def test_an_edited_file_is_replaced_only_by_request(store: Store, tmp_path: Path) -> None:
    export(store, tmp_path)
    with (tmp_path / "preferences.jsonl").open("a") as file:
        file.write('{"mine": 1}\n')
    before = contents(tmp_path)
    with pytest.raises(DataError, match=r"holds preferences\.jsonl, which no export wrote or which were changed"):
        export(store, tmp_path, "parquet")
    assert contents(tmp_path) == before
    export(store, tmp_path, "parquet", overwrite=True)
    assert contents(tmp_path)["preferences.jsonl"] == before["preferences.jsonl"], "of another name: it stays"
    export(store, tmp_path, overwrite=True)
    assert b"mine" not in contents(tmp_path)["preferences.jsonl"]


def test_an_edited_manifest_is_not_trusted(store: Store, tmp_path: Path) -> None:
    export(store, tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"note": "checked by Ann"}))
    with pytest.raises(DataError, match="--overwrite"):
        export(store, tmp_path)
    assert "checked by Ann" in path.read_text()


def test_symbolic_links_are_not_followed(store: Store, tmp_path: Path) -> None:
    """A link inside the folder is not a file of an export; a folder that is itself a link is followed."""
    real, other = tmp_path / "real", tmp_path / "other"
    export(store, real)
    other.mkdir()
    rows = (real / "preferences.jsonl").read_bytes()
    (other / "data").write_bytes(rows)
    (real / "preferences.jsonl").unlink()
    (real / "preferences.jsonl").symlink_to(other / "data")
    with pytest.raises(DataError, match=r"holds preferences\.jsonl"):
        export(store, real)
    export(store, real, overwrite=True)
    assert not (real / "preferences.jsonl").is_symlink()
    assert contents(other) == {"data": rows}
    (tmp_path / "link").symlink_to(real)
    export(store, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    (real / "photo.png").write_text("mine")
    with pytest.raises(DataError, match=r"holds photo\.png"):
        export(store, tmp_path / "link")


def test_a_folder_named_like_a_file_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "preferences").mkdir()
    (tmp_path / "preferences" / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(DataError):
            export(store, tmp_path, "datasets", overwrite=overwrite)
        assert contents(tmp_path) == {"preferences/thesis.txt": b"mine"}


@pytest.mark.parametrize("moment", ["remove_entries", "rename"])
def test_an_interrupted_export_is_recognized(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    export(store, tmp_path)
    with monkeypatch.context() as patched:

        def cut(*_: object) -> None:
            raise KeyboardInterrupt

        where = "pathlib.Path" if moment == "rename" else "gnomon.feedback.export.writers"
        patched.setattr(f"{where}.{moment}", cut)
        with pytest.raises(KeyboardInterrupt):
            export(store, tmp_path, "parquet")
    assert not [name for name in contents(tmp_path) if is_leftover_name(name)]
    manifest = export(store, tmp_path, "parquet")
    assert set(contents(tmp_path)) == {*manifest["files"], "manifest.json"}
    assert "coming" not in manifest


def test_concurrent_exports_into_one_folder_are_refused(store: Store, tmp_path: Path) -> None:
    with FolderLock(tmp_path, "export folder"), pytest.raises(BusyError, match=r"export folder .* is in use by"):
        export(store, tmp_path)


def test_a_refused_export_leaves_no_folder(store: Store, tmp_path: Path) -> None:
    store.add_project(Project("empty", "?", "pair"))
    with pytest.raises(DataError, match="project 'empty' has no judgements"):
        write_export(store, "empty", tmp_path / "deep" / "out")
    assert list(tmp_path.iterdir()) == []
