"""The trace of routes counts what runs, in order of first entry, and leaves out what an import runs."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from test_architecture import route_files

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "routes.py"
sys.path.insert(0, str(SCRIPT.parent))
routes: Any = importlib.import_module("routes")

MODULES = {
    "__init__": "",
    "helper": "def decorate(function):\n    return function\n",
    "first": "from traced import helper\n\n@helper.decorate\ndef run():\n    return second_later()\n\n"
    "def second_later():\n    from traced import second\n    return [second.Two().get() for _ in range(2)]\n",
    "second": "from traced import helper\n\n@helper.decorate\ndef unused():\n    pass\n\n"
    "class Two:\n    def get(self):\n        return (lambda: 2)()\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "traced"
    folder.mkdir()
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "traced"]:
        monkeypatch.delitem(sys.modules, name)
    return folder


def test_files_count_in_order_of_first_entry_and_not_for_what_imports_run(package: Path) -> None:
    """`helper` is called only as decorator, while `first` and, inside `run`, `second` are imported."""
    trace = routes.FileTrace(package)
    trace.record("all")
    with trace.running():
        importlib.import_module("traced.first").run()
    assert trace.parts == {"all": ["traced/first.py", "traced/second.py"]}


def test_a_part_begins_where_it_is_recorded_and_threads_count(package: Path) -> None:
    first, helper = importlib.import_module("traced.first"), importlib.import_module("traced.helper")
    trace = routes.FileTrace(package)
    with trace.running():
        helper.decorate(None)
        trace.record("whole", "end")
        thread = threading.Thread(target=first.run)
        thread.start()
        thread.join()
        trace.record("whole")
        helper.decorate(None)
        trace.record()
        first.run()
    both = ["traced/first.py", "traced/second.py"]
    assert trace.parts == {"whole": [*both, "traced/helper.py"], "end": both}


@pytest.mark.slow
def test_a_vote_reaches_the_exported_row() -> None:
    command = [sys.executable, str(SCRIPT), "--route", "vote", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    parts = json.loads(done.stdout)["vote"]
    assert list(parts) == ["vote", "export"]
    assert all(name.startswith("gnomon/") for files in parts.values() for name in files)
    assert "gnomon/__main__.py" in parts["export"]
    assert "gnomon/__main__.py" not in parts["vote"]
    assert route_files("vote") - {*parts["vote"], *parts["export"]} == set()


@pytest.mark.long
@pytest.mark.parametrize(
    ("route", "runs", "rests", "most"),
    [
        ("pair", "gnomon/algorithms/dpo.py", "gnomon/algorithms/ppo.py", 60),
        ("round", "gnomon/algorithms/ppo.py", "gnomon/__main__.py", 66),
    ],
)
def test_a_step_and_a_round_run_no_more_files_than_measured(route: str, runs: str, rests: str, most: int) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--route", route, "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    parts = json.loads(done.stdout)[route]
    assert route_files(route) - {name for part in parts.values() for name in part} == set()
    *_, files = parts.values()
    assert runs in files
    assert rests not in files
    assert len(files) <= most
