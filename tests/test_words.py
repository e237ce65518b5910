"""Names and docstrings: unique class names, names of results, spelling, arguments and shapes."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import gnomon

ROOT = Path(gnomon.__file__).parent
# Names that say that there is a result, not what it is.
RETIRED = frozenset({"found", "said", "told", "asked", "place", "places", "heard", "theirs", "mine"})
BRITISH = re.compile(
    r"(optim|normal|initial|token|regular|general|summar|recogn|serial|penal|quant|minim|maxim|organ|real|util)is"
    r"(e|es|ed|er|ers|ing|ation)(_|\b)|analyse|artefact|behaviour|catalogue|centre|centring|colour|favour|"
    r"judgment|labell(ed|ing)|licence|modell(ed|ing)|neighbour",
    re.IGNORECASE,
)
FEWEST = 3  # parameters from which on a public function lists them under `Args:`
WITH_SHAPES = ("losses", "models", "rollouts", "algorithms", "training")
SHAPE = re.compile(r"\[[^\]\n]*\]")
TENSOR = re.compile(r"\bTensor\b")
STORED = {("feedback/task_types.py", "place")}  # keys of stored judgements
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
OUTSIDE_THE_PACKAGE = ("benchmarks", "tests/algorithms", "tests/rollouts", "tests/training")

Function = ast.FunctionDef | ast.AsyncFunctionDef
parse = cache(ast.parse)


def sources(package: str) -> Iterator[tuple[str, str]]:
    """Path and text of the modules of a package, without migrations."""
    for path in sorted((ROOT / package).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if "migrations" not in path.parts:
            yield name, path.read_text(encoding="utf-8")


def identifiers(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of each variable, argument, attribute, function, class and import of a module."""
    for node in ast.walk(parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Name):
            yield line, node.id
        elif isinstance(node, ast.Attribute):
            yield line, node.attr
        elif isinstance(node, ast.arg | ast.keyword) and node.arg is not None:
            yield line, node.arg
        elif isinstance(node, Function | ast.ClassDef | ast.ExceptHandler) and node.name is not None:
            yield line, node.name
        elif isinstance(node, ast.alias) and node.asname is not None:
            yield line, node.asname
        elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name is not None:
            yield line, node.name


def is_command(function: Function) -> bool:
    """Whether a function is a command of the terminal, whose options have help texts."""
    annotations = [ast.unparse(one.annotation) for one in parameters(function) if one.annotation is not None]
    decorators = map(ast.unparse, function.decorator_list)
    return any("typer." in text for text in annotations) or any(".command(" in text for text in decorators)


def public_functions(source: str) -> Iterator[Function]:
    """Public functions of a module and public methods of its public classes, without commands of the terminal."""
    tree = parse(source)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    for owner in (tree, *classes):
        for node in owner.body:
            if not isinstance(node, Function) or node.name.startswith("_"):
                continue
            if not is_command(node):
                yield node


def parameters(function: Function) -> list[ast.arg]:
    """Parameters without `self` and `cls`."""
    every = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    return [one for one in every if one.arg not in ("self", "cls")]


def unlisted(source: str) -> Iterator[tuple[int, str]]:
    """Public functions with several parameters and no `Args:` in their docstring."""
    for function in public_functions(source):
        if len(parameters(function)) >= FEWEST and "Args:" not in (ast.get_docstring(function) or ""):
            yield function.lineno, function.name


def shapeless(source: str) -> Iterator[tuple[int, str]]:
    """Public functions on tensors with no shape in the docstring or in a trailing comment of the signature."""
    lines = source.splitlines()
    for function in public_functions(source):
        annotations = [one.annotation for one in parameters(function)] + [function.returns]
        if not any(TENSOR.search(ast.unparse(one)) for one in annotations if one is not None):
            continue
        header = lines[function.lineno - 1 : function.body[0].lineno]
        comments = [line.partition("#")[2] for line in header]
        if not any(map(SHAPE.search, (ast.get_docstring(function) or "", *comments))):
            yield function.lineno, function.name


def test_no_public_class_name_occurs_twice() -> None:
    modules = defaultdict(list)
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules[node.name].append(path.relative_to(ROOT).as_posix())
    assert {name: paths for name, paths in modules.items() if len(paths) > 1} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_results_are_named_by_what_they_are(package: str) -> None:
    faults = [
        f"{path}:{line} {name}"
        for path, source in sources(package)
        for line, name in identifiers(source)
        if name.strip("_").lower() in RETIRED and (path, name) not in STORED
    ]
    assert faults == []


@pytest.mark.parametrize("folder", OUTSIDE_THE_PACKAGE)
def test_results_outside_the_package_are_named_by_what_they_are(folder: str) -> None:
    faults = [
        f"{path.relative_to(ROOT.parent)}:{line} {name}"
        for path in sorted((ROOT.parent / folder).rglob("*.py"))
        for line, name in identifiers(path.read_text(encoding="utf-8"))
        if name.strip("_").lower() in RETIRED
    ]
    assert faults == []


@pytest.mark.parametrize("package", PACKAGES)
def test_identifiers_have_american_spelling(package: str) -> None:
    faults = [
        f"{path}:{line} {name}"
        for path, source in sources(package)
        for line, name in identifiers(source)
        if BRITISH.search(name)
    ]
    assert faults == []


@pytest.mark.parametrize("package", PACKAGES)
def test_public_functions_with_several_parameters_list_them(package: str) -> None:
    faults = [f"{path}:{line} {name}" for path, source in sources(package) for line, name in unlisted(source)]
    assert faults == []


@pytest.mark.parametrize("package", WITH_SHAPES)
def test_public_functions_on_tensors_give_shapes(package: str) -> None:
    faults = [f"{path}:{line} {name}" for path, source in sources(package) for line, name in shapeless(source)]
    assert faults == []


PLANTED = '''
import json as said
class Sampler:
    def draw(self, first, second, third: Tensor) -> Tensor:
        """Draw."""
        for self._place in first:
            found = second.colour_of(asked=third)
        return normalise(found)
    def _draw(self, first, second, third): ...
def listed(
    values: Tensor,  # [N]
    weights: Tensor,
    limit: int,
) -> Tensor:
    """Weigh.

    Args:
        values: numbers.
    """
def show(first: Annotated[str, typer.Option(help="One.")], second: str, third: str):
    """Show."""
'''


def test_planted_faults_are_reported() -> None:
    names = [name for _, name in identifiers(PLANTED)]
    assert {name for name in names if name.strip("_") in RETIRED} == {"said", "_place", "found", "asked"}
    assert {name for name in names if BRITISH.search(name)} == {"colour_of", "normalise"}
    assert [name for _, name in unlisted(PLANTED)] == ["draw"]
    assert [name for _, name in shapeless(PLANTED)] == ["draw"]
