"""The contract of kinds of stages: one file each, found by listing, and checked for nowhere else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import gnomon
from gnomon.stages.contract import Result, Stage
from gnomon.stages.registry import stage_kinds

ROOT = Path(gnomon.__file__).parent


def instance_checks(path: Path, names: set[str]) -> list[str]:
    """Checks whether something is one of these classes: by `isinstance`, `issubclass`, `type` or a pattern."""
    faults = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            looked_at: list[ast.AST] = list(node.args[1:])
        elif isinstance(node, ast.MatchClass):
            looked_at = [node.cls]
        elif isinstance(node, ast.Compare) and any("type(" in ast.unparse(one) for one in [node.left]):
            looked_at = list(node.comparators)
        else:
            continue
        words = {one.id for part in looked_at for one in ast.walk(part) if isinstance(one, ast.Name)}
        words |= {one.attr for part in looked_at for one in ast.walk(part) if isinstance(one, ast.Attribute)}
        faults += [f"{path.name}:{node.lineno} {word}" for word in sorted(words & names)]
    return faults


def test_nothing_outside_a_stages_file_checks_for_its_kind() -> None:
    names = {kind.__name__ for kind in stage_kinds().values()}
    faults = [
        fault
        for path in sorted(ROOT.rglob("*.py"))
        if path.parent != ROOT / "stages" or path.stem not in stage_kinds()
        for fault in instance_checks(path, names)
    ]
    assert faults == []


@pytest.mark.parametrize(
    "text",
    [
        "isinstance(stage, TrainStage)",
        "isinstance(stage, (int, stages.TrainStage))",
        "isinstance(stage, FeedbackStage | TrainStage)",
        "issubclass(kind, TrainStage)",
        "type(stage) is TrainStage",
        "match stage:\n    case TrainStage():\n        pass",
    ],
)
def test_a_check_for_a_kind_is_detected(text: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(text, encoding="utf-8")
    assert [fault.split()[1] for fault in instance_checks(tmp_path / "module.py", {"TrainStage"})] == [
        "TrainStage"
    ]
    (tmp_path / "module.py").write_text(
        "isinstance(stage, Stage)\nrows = TrainStage.model_fields\n", encoding="utf-8"
    )
    assert instance_checks(tmp_path / "module.py", {"TrainStage"}) == []


def test_kinds_are_listed_by_their_files() -> None:
    assert list(stage_kinds()) == [
        "augment", "clean", "ensemble", "evaluate", "evaluate_reward", "feedback", "hybrid", "train",
    ]  # fmt: skip
    assert [kind.key for kind in stage_kinds().values()] == [
        "augment", "clean", "reward_models", "evaluate", "evaluate_reward", "feedback", "phases", "algorithm",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", stage_kinds().values())
def test_the_report_finds_the_result_and_the_template_of_each_kind(kind: type[Stage]) -> None:
    result = kind.result_type
    assert issubclass(result, Result)
    assert result.model_fields["kind"].default
    assert (ROOT / "reporting" / "templates" / "stages" / f"{result.view}.html.j2").is_file()
