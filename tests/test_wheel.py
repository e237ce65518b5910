"""The wheel holds everything that the package reads, and works outside a checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from project import environment

ROOT = Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "gnomon", "recipes")  # all that a build may need
Outside = Callable[..., str]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from a copy: a build leaves files beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    sources.mkdir()
    ignored = shutil.ignore_patterns("__pycache__")
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, sources / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(path, sources / name)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder, sources)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def outside(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Outside:
    """Run a program of a fresh environment, which has this one's libraries and the wheel, in an empty folder."""
    folder = tmp_path_factory.mktemp("outside")
    home, work = folder / "venv", folder / "work"
    work.mkdir()
    run(sys.executable, "-m", "venv", "--without-pip", home)
    python = home / "bin" / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    # A folder named in a .pth file is searched, but its own .pth files (an editable install) are not read.
    (Path(site) / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    install = ("install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", wheel)
    run(sys.executable, "-m", "pip", "--python", python, *install)

    def run_program(name: str, *arguments: object) -> str:
        return run(home / "bin" / name, *arguments, cwd=work, cache=folder / "cache")

    return run_program


def run(*command: object, cwd: Path | None = None, cache: Path | None = None) -> str:
    """What a program prints; the test fails where it does not end well."""
    own = {key: value for key, value in environment().items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    own |= {"GNOMON_CACHE": str(cache)} if cache else {}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, encoding="utf-8", cwd=cwd, env=own, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.split("/")[0].endswith(".dist-info")}
    # `glob` does not enter links to folders, and `recipes` is one.
    paths = [*(ROOT / "gnomon").glob("**/*"), *(ROOT / "recipes").glob("**/*")]
    files = [path for path in paths if path.is_file() and "__pycache__" not in path.parts]
    named = {path.relative_to(ROOT).as_posix() for path in files}
    assert held == {name if name.startswith("gnomon/") else f"gnomon/{name}" for name in named}
    assert {"gnomon/recipes/smoke.yaml", "gnomon/recipes/data/smoke-ratings.jsonl", "gnomon/py.typed"} <= held


def test_the_program_of_the_wheel_is_the_one_that_runs(outside: Outside) -> None:
    assert str(ROOT) not in outside("python", "-c", "import gnomon; print(gnomon.__file__)")


@pytest.mark.long
def test_shipped_recipes_run_by_name_outside_a_checkout(outside: Outside) -> None:
    assert outside("gnomon", "check", "film-reviews").splitlines()[0] == "feedback: feedback"
    outside("gnomon", "run", "smoke")
    page = outside("python", "-c", "print(open('runs/smoke/report.html', encoding='utf-8').read())")
    assert "<svg" in page
    assert outside("gnomon", "report", "runs/smoke", "--language", "zh").strip() == "runs/smoke/report.html"


def test_a_store_is_made_and_migrated_outside_a_checkout(outside: Outside) -> None:
    outside("gnomon", "feedback", "init", "votes.db", "--project", "films", "--title", "Which is better?")
