"""What a command imports: libraries that take seconds only where they are needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("accelerate", "bitsandbytes", "datasets", "matplotlib", "peft", "sklearn", "torch", "transformers")
RUN = f"""
import atexit, sys
atexit.register(lambda: print("imported:", *[name for name in {HEAVY} if name in sys.modules]))
from gnomon.app.cli import main
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


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("algorithms",), ("check", RECIPE)],
    ids=["help", "algorithms", "check"],
)
def test_what_needs_no_model_imports_no_library_for_models(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert imported(tmp_path, *arguments) == []
