"""The layers of docs' one picture: each package imports only from itself and those above it, and in no circle."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gnomon

LAYERS = (
    "core", "losses", "stats", "data", "models", "rollouts", "rewards", "feedback", "algorithms", "training",
    "evaluation", "monitoring", "stages", "reporting", "pipeline", "comparison", "web", "serving", "api",
    "cli",
)  # fmt: skip
# Order inside the packages that have folders of their own. A name is a folder or a file; "" is every other file.
INNER_ORDER = {
    "core": ("", "storage", "translations"),
    "data": (
        "reading", "formats", "templates", "", "tokenized", "pairs", "augmentation", "quality", "rendering",
        "splitting", "inspection",
    ),
    "models": (
        "settings", "config_limits", "library_patches", "adapters", "cards", "engine", "score_parts", "",
        "encoders",
    ),
    "feedback": (
        "", "store", "tasks", "quality", "selection", "generation", "annotators", "importing", "planning",
        "export", "collection",
    ),
    "training": ("", "runtime", "offline", "online"),
    "rewards": ("named", ""),
    "evaluation": ("", "examination"),
    "stages": ("references", "workspace", "train_settings", "contract", "common", "", "registry"),
    "serving": ("portable", ""),
    "api": ("", "feedback"),
    "cli": ("", "feedback", "main"),
}  # fmt: skip
CROWDED = 16
LISTED = ("algorithms", "stages", "data/formats")  # one file an entry
ROOT = Path(gnomon.__file__).parent


def modules(root: Path) -> dict[str, Path]:
    """Every module below a package's folder, by dotted name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: set[str]) -> Iterator[tuple[str, int]]:
    """What a module imports, anywhere in it, with the line; names that are modules are given as such."""
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                base = f"{above}.{base}".rstrip(".")
            for alias in node.names:
                below = f"{base}.{alias.name}"
                yield (below if below in known else base), node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value, node.lineno


def layer_faults(root: Path) -> list[str]:
    """Imports of a lower package by a higher one, packages without a place, and imports of the whole package."""
    known, own = modules(root), root.name
    faults = []
    for name, path in known.items():
        parts = name.split(".")
        if len(parts) == 1 or parts == [own, "__main__"]:
            continue
        if parts[1] not in LAYERS:
            faults.append(f"{name} has no place among the layers")
            continue
        for target, line in imports(name, path, set(known)):
            there = target.split(".")
            if there[0] != own:
                continue
            if len(there) < 2 or there[1] not in LAYERS:
                faults.append(f"{name}:{line} imports {target}, which has no place among the layers")
            elif LAYERS.index(there[1]) > LAYERS.index(parts[1]):
                faults.append(f"{name}:{line} imports {target}, a later layer")
    return faults


def part_of(name: str, known: dict[str, Path]) -> str | None:
    """Which entry of its package's order a module belongs to; None where its folder is in no order."""
    _, package, *rest = name.split(".")
    order = INNER_ORDER.get(package, ("",))
    first = rest[0] if rest else ""
    if first in order:
        return first
    in_folder = len(rest) > 1 or known[name].stem == "__init__"
    return None if rest and in_folder else ""


def inner_faults(root: Path) -> list[str]:
    """Imports of what comes later in the same package, and folders that have no place in its order."""
    known = modules(root)
    faults = []
    for name, path in known.items():
        package = name.split(".")[1] if "." in name else ""
        if package not in LAYERS:
            continue
        order, own = INNER_ORDER.get(package, ("",)), part_of(name, known)
        if own is None:
            faults.append(f"{name} has no place in the order of {package}")
            continue
        for target, line in imports(name, path, set(known)):
            if target not in known or not target.startswith(f"{root.name}.{package}."):
                continue
            other = part_of(target, known)
            if other is not None and order.index(other) > order.index(own):
                faults.append(f"{name}:{line} imports {target}, which comes later in {package}")
    return faults


def crowded(root: Path, most: int) -> list[str]:
    """Folders with more Python files than that, but for those that list one file an entry."""
    folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
    counts = {path.relative_to(root.parent).as_posix(): len(list(path.glob("*.py"))) for path in folders}
    exempt = {f"{root.name}/{package}" for package in LISTED}
    return [f"{name} has {n} files" for name, n in counts.items() if n > most and name not in exempt]


def cycle(root: Path) -> list[str]:
    """One circle of imports, function-level ones included; empty where there is none."""
    known = modules(root)
    graph = {
        n: sorted({t for t, _ in imports(n, p, set(known)) if t in known and t != n}) for n, p in known.items()
    }
    done: set[str] = set()

    def walk(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for target in graph[name]:
            if found := walk(target, [*trail, name]):
                return found
        done.add(name)
        return []

    return next((found for name in graph if (found := walk(name, []))), [])


def outside(root: Path, package: str) -> set[str]:
    """Top-level packages other than the standard library that a package imports."""
    known = modules(root)
    inside = f"{root.name}.{package}"
    found = {
        target
        for name, path in known.items()
        if name == inside or name.startswith(inside + ".")
        for target, _ in imports(name, path, set(known))
    }
    own = {t for t in found if t == inside or t.startswith(inside + ".")}
    return {t if t.split(".")[0] == root.name else t.split(".")[0] for t in found - own} - sys.stdlib_module_names


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A small package of the same shape without a fault."""
    root = tmp_path / "little"
    for package in ("core", "losses", "data", "cli"):
        (root / package).mkdir(parents=True)
        (root / package / "__init__.py").write_text("", encoding="utf-8")
    (root / "__init__.py").write_text("", encoding="utf-8")
    (root / "core" / "types.py").write_text("import json\n", encoding="utf-8")
    (root / "losses" / "kl.py").write_text("import math\nfrom torch import Tensor\n", encoding="utf-8")
    (root / "data" / "records.py").write_text("from little.core.types import json\n", encoding="utf-8")
    (root / "cli" / "main.py").write_text("from ..data import records\n", encoding="utf-8")
    return root


def test_every_package_imports_only_from_those_above_it() -> None:
    assert layer_faults(ROOT) == []


def test_inside_a_package_imports_follow_its_order() -> None:
    assert inner_faults(ROOT) == []


def test_the_order_inside_packages_names_what_is_there() -> None:
    for package, order in INNER_ORDER.items():
        for name in filter(None, order):
            path = ROOT / package / name
            assert path.is_dir() or path.with_suffix(".py").is_file(), path


def test_no_folder_is_crowded() -> None:
    assert crowded(ROOT, CROWDED) == []


def test_no_package_has_the_name_of_a_call() -> None:
    """Importing `gnomon.x` would put the package where `import gnomon` offers the call `gnomon.x(…)`."""
    assert {name for name in gnomon.__all__ if (ROOT / name).exists() or (ROOT / f"{name}.py").exists()} == set()


def test_no_circle_of_imports() -> None:
    assert cycle(ROOT) == []


def test_losses_need_torch_and_nothing_else() -> None:
    assert outside(ROOT, "losses") <= {"torch", "gnomon.core.lazy"}  # torch itself, imported late


def test_the_checks_see_the_real_imports() -> None:
    known = modules(ROOT)
    pipeline = {t for t, _ in imports("gnomon.pipeline.run", known["gnomon.pipeline.run"], set(known))}
    assert {"gnomon.pipeline.recipe", "gnomon.core.errors"} & pipeline
    assert "gnomon.models.roles" in {
        t for t, _ in imports("gnomon.algorithms.contract", known["gnomon.algorithms.contract"], set(known))
    }


def test_a_sound_tree_passes(planted: Path) -> None:
    assert layer_faults(planted) == []
    assert inner_faults(planted) == []
    assert cycle(planted) == []
    assert outside(planted, "losses") == {"torch"}


@pytest.mark.parametrize(
    "text",
    [
        "import little.cli.main\n",
        "from little.cli import main\n",
        "from little.cli.main import main\n",
        "from ..cli import main\n",
        "from ..cli.main import main\n",
        "from .. import cli\n",
        "def late() -> None:\n    from little.cli.main import main\n",
        "if True:\n    import little.cli.main as hidden\n",
        "import importlib\n\nfound = importlib.import_module('little.cli.main')\n",
    ],
)
def test_an_upward_import_is_found(planted: Path, text: str) -> None:
    (planted / "data" / "upward.py").write_text(text, encoding="utf-8")
    found = layer_faults(planted)
    assert len(found) == 1
    assert "little.data.upward" in found[0]
    assert "little.cli" in found[0]


def test_an_unplaced_package_and_the_whole_package_are_found(planted: Path) -> None:
    (planted / "extra").mkdir()
    (planted / "extra" / "thing.py").write_text("", encoding="utf-8")
    (planted / "data" / "all.py").write_text("import little\n", encoding="utf-8")
    assert layer_faults(planted) == [
        "little.data.all:1 imports little, which has no place among the layers",
        "little.extra.thing has no place among the layers",
    ]


@pytest.fixture
def with_folders(planted: Path) -> Path:
    """The same with folders in two packages, in a right order."""
    for folder in ("feedback/store", "feedback/tasks", "models/engine"):
        (planted / folder).mkdir(parents=True)
        (planted / folder / "__init__.py").write_text("", encoding="utf-8")
    (planted / "feedback" / "task_types.py").write_text("", encoding="utf-8")
    (planted / "feedback" / "store" / "schema.py").write_text("from .. import task_types\n", encoding="utf-8")
    (planted / "feedback" / "tasks" / "queue.py").write_text("from ..store import schema\n", encoding="utf-8")
    (planted / "models" / "settings.py").write_text("", encoding="utf-8")
    (planted / "models" / "loading.py").write_text("from .engine import device\n", encoding="utf-8")
    (planted / "models" / "engine" / "device.py").write_text("from .. import settings\n", encoding="utf-8")
    return planted


def test_folders_in_order_pass(with_folders: Path) -> None:
    assert inner_faults(with_folders) == []


@pytest.mark.parametrize(
    ("file", "text", "target"),
    [
        ("feedback/store/schema.py", "from little.feedback.tasks import queue\n", "feedback.tasks.queue"),
        ("feedback/store/late.py", "def f() -> None:\n    from ..tasks import queue\n", "feedback.tasks.queue"),
        ("feedback/task_types.py", "import little.feedback.store.schema\n", "feedback.store.schema"),
        ("models/engine/device.py", "from little.models import loading\n", "models.loading"),
        ("models/settings.py", "from .engine import device\n", "models.engine.device"),
    ],
)
def test_an_import_of_what_comes_later_is_found(with_folders: Path, file: str, text: str, target: str) -> None:
    (with_folders / file).write_text(text, encoding="utf-8")
    (fault,) = inner_faults(with_folders)
    assert fault.startswith("little." + file.removesuffix(".py").replace("/", "."))
    assert f"imports little.{target}, which comes later in " in fault


def test_a_folder_without_a_place_in_the_order_is_found(with_folders: Path) -> None:
    for folder in ("feedback/attic", "losses/attic"):
        (with_folders / folder).mkdir()
        (with_folders / folder / "__init__.py").write_text("", encoding="utf-8")
        (with_folders / folder / "old.py").write_text("", encoding="utf-8")
    assert inner_faults(with_folders) == [
        f"little.{package}.attic{file} has no place in the order of {package}"
        for package in ("feedback", "losses")
        for file in ("", ".old")
    ]


def test_a_crowded_folder_is_found(with_folders: Path) -> None:
    (with_folders / "algorithms").mkdir()
    for n in range(3):
        (with_folders / "algorithms" / f"a{n}.py").write_text("", encoding="utf-8")
        (with_folders / "feedback" / "store" / f"s{n}.py").write_text("", encoding="utf-8")
    assert crowded(with_folders, 5) == []
    assert crowded(with_folders, 4) == ["little/feedback/store has 5 files"]
    assert crowded(with_folders, 2) == ["little/feedback/store has 5 files"]


def test_a_circle_is_found_also_inside_functions(planted: Path) -> None:
    (planted / "data" / "first.py").write_text("from little.data.second import b\n", encoding="utf-8")
    (planted / "data" / "second.py").write_text("def b() -> None:\n    from . import first\n", encoding="utf-8")
    assert cycle(planted) == ["little.data.first", "little.data.second", "little.data.first"]


@pytest.mark.parametrize(
    "text", ["import numpy\n", "from little.core import types\n", "from ..core.types import x\n"]
)
def test_losses_with_another_import_are_found(planted: Path, text: str) -> None:
    (planted / "losses" / "more.py").write_text(text, encoding="utf-8")
    assert outside(planted, "losses") - {"torch"} != set()


def too_long(folder: Path, lines: int) -> list[str]:
    """Files of a folder with more lines than that."""
    counts = {p.name: len(p.read_text(encoding="utf-8").splitlines()) for p in sorted(folder.glob("*.py"))}
    return [f"{name} has {count} lines" for name, count in counts.items() if count > lines]


def test_an_algorithm_and_what_it_shares_are_read_on_one_page() -> None:
    assert too_long(ROOT / "algorithms", 120) == []


def test_a_file_of_too_many_lines_is_found(planted: Path) -> None:
    (planted / "data" / "long.py").write_text("import json\n" * 121, encoding="utf-8")
    (planted / "data" / "fits.py").write_text("import json\n" * 120, encoding="utf-8")
    assert too_long(planted / "data", 120) == ["long.py has 121 lines"]


def undocumented(module: object, name: str) -> Iterator[str]:
    """Public functions, classes and methods of a module that say nothing of themselves."""
    for attribute, value in vars(module).items():
        public = not attribute.startswith("_") and getattr(value, "__module__", None) == name
        if not public or not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        if not value.__doc__:
            yield f"{name}.{attribute}"
        if inspect.isclass(value):
            for method, found in vars(value).items():
                plain = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
                if not method.startswith("_") and inspect.isfunction(plain) and not plain.__doc__:
                    yield f"{name}.{attribute}.{method}"


def test_everything_public_says_what_it_is() -> None:
    missing = []
    for info in pkgutil.walk_packages(gnomon.__path__, "gnomon."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        if not module.__doc__:
            missing.append(info.name)
        missing += undocumented(module, info.name)
    assert missing == []


def test_an_undocumented_function_is_found() -> None:
    class Module:
        """A stand-in."""

        class Said:
            """Says."""

            def spoken(self) -> None:
                """Says too."""

            def silent(self) -> None: ...

    Module.Said.__module__ = "m"
    assert list(undocumented(Module, "m")) == ["m.Said.silent"]
