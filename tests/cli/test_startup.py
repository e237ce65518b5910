"""Imports of commands: libraries that take seconds to import are imported only where needed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import gnomon
from gnomon.core.storage.files import write_jsonl
from gnomon.feedback.store.store import Project

HEAVY = ("accelerate", "bitsandbytes", "datasets", "matplotlib", "peft", "sklearn", "torch", "transformers")
RUN = f"""
import atexit, sys
atexit.register(lambda: print("imported:", *[name for name in {HEAVY} if name in sys.modules]))
from gnomon.cli.main import main
main()
"""
RECIPE = str(Path(__file__).parents[2] / "recipes" / "film-reviews.yaml")


def imported(folder: Path, *arguments: str) -> list[str]:
    """The heavy libraries that a successful command has imported at its end."""
    run = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    last = run.stdout.splitlines()[-1]
    assert last.startswith("imported:")
    return last.split()[1:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows to score, and a feedback store with items judged by a rule."""
    path = tmp_path_factory.mktemp("start")
    rows = [{"prompt": "How was it?", "completion": text} for text in ("A fine film.", "A bad film.")]
    write_jsonl(path / "rows.jsonl", rows)
    write_jsonl(path / "pairs.jsonl", [{"prompt": "How?", "chosen": "A fine film.", "rejected": "A bad film."}])
    write_jsonl(path / "items.jsonl", [{"prompt": "Name a film.", "completions": ["Alien.", "I cannot."]}])
    store = path / "judged.db"
    gnomon.feedback_init(store, Project("films", "Which is better?", "pair", votes_per_item=1))
    gnomon.feedback_import(store, None, path / "items.jsonl")
    gnomon.feedback_auto_annotate(store, None, ["rule:longer"])
    (path / "run").mkdir()
    (path / "run" / "config.yaml").write_text(Path(RECIPE).read_text("utf-8"), "utf-8")
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("algorithms",),
        ("check", RECIPE),
        ("score", "vader", "rows.jsonl"),
        ("evaluate", "reward", "vader", "--data", "pairs.jsonl", "--perturbed", "0"),
        ("data", "inspect", "rows.jsonl"),
        ("data", "filters"),
        ("feedback", "init", "new.db", "--project", "films", "--title", "Which is better?"),
        ("feedback", "auto-annotate", "judged.db", "--annotator", "rule:shorter"),
        ("feedback", "collect", "judged.db", "--until", "1", "--annotator", "rule:longer"),
        ("feedback", "status", "judged.db"),
        ("feedback", "agreement", "judged.db"),
        ("feedback", "export", "judged.db", "--out", "exported"),
        ("report", "run"),
    ],
    ids=lambda arguments: arguments[0] if arguments[0] != "feedback" else arguments[1],
)
def test_commands_without_a_model_import_no_model_library(arguments: tuple[str, ...], folder: Path) -> None:
    drawn = ["matplotlib"] if arguments[0] == "report" else []
    assert imported(folder, *arguments) == drawn


ADAPTED = """
import sys
from gnomon.models.external import open_policy
from gnomon.models.engine.device import find_compute
from gnomon.models.settings import Trainable

policy = open_policy("tiny-random", find_compute("cpu", "float32"))
assert policy.adapter is None
assert "peft" not in sys.modules
adapted = open_policy("tiny-random", find_compute("cpu", "float32"), Trainable(rank=2))
assert adapted.adapter is not None
assert "peft" in sys.modules
assert "bitsandbytes" not in sys.modules
"""


@pytest.mark.long
def test_peft_is_imported_only_for_adapters() -> None:
    assert importlib.util.find_spec("bitsandbytes") is not None
    subprocess.run([sys.executable, "-c", ADAPTED], check=True)
