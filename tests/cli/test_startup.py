"""What a command imports: libraries that take seconds only where they are needed."""

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
    """Which of the heavy libraries a command has imported when it ends; it must succeed."""
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
    """Rows to score, and a feedback store whose items a rule judged."""
    found = tmp_path_factory.mktemp("start")
    rows = [{"prompt": "How was it?", "completion": text} for text in ("A fine film.", "A bad film.")]
    write_jsonl(found / "rows.jsonl", rows)
    write_jsonl(found / "items.jsonl", [{"prompt": "Name a film.", "completions": ["Alien.", "I cannot."]}])
    store = found / "judged.db"
    gnomon.feedback_init(store, Project("films", "Which is better?", "pair"))
    gnomon.feedback_import(store, None, found / "items.jsonl")
    gnomon.feedback_auto_annotate(store, None, ["rule:longer"])
    (found / "run").mkdir()
    (found / "run" / "config.yaml").write_text(Path(RECIPE).read_text("utf-8"), "utf-8")
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("algorithms",),
        ("check", RECIPE),
        ("score", "vader", "rows.jsonl"),
        ("data", "inspect", "rows.jsonl"),
        ("feedback", "init", "new.db", "--project", "films", "--title", "Which is better?"),
        ("feedback", "auto-annotate", "judged.db", "--annotator", "rule:shorter"),
        ("feedback", "status", "judged.db"),
        ("feedback", "agreement", "judged.db"),
        ("feedback", "export", "judged.db", "--out", "exported"),
        ("report", "run"),
    ],
    ids=lambda arguments: arguments[0] if arguments[0] != "feedback" else arguments[1],
)
def test_what_needs_no_model_imports_no_library_for_models(arguments: tuple[str, ...], folder: Path) -> None:
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


@pytest.mark.slow
def test_peft_is_imported_for_an_adapter_and_bitsandbytes_not_even_then() -> None:
    assert importlib.util.find_spec("bitsandbytes") is not None
    subprocess.run([sys.executable, "-c", ADAPTED], check=True)
