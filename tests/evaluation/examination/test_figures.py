"""Names of figures, and benchmarks beside the published definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from examined_cases import number_in
from project import write_rows

import gnomon
from gnomon.evaluation.examination.conditions import Condition, met_conditions, parse_condition
from gnomon.evaluation.examination.figures import Figures, figure_names, figures_of
from gnomon.evaluation.examination.read_cases import SourceFile, read_cases
from gnomon.evaluation.examination.results import RewardExamination


def pair(number: int, chosen: str, rejected: str, **more: Any) -> dict[str, Any]:
    return {"prompt": f"{number}?", "chosen": chosen, "rejected": rejected, **more}


RANKINGS = [{"prompt": f"{n}?", "completions": ["a:3", "b:1", "c:2"]} for n in range(3)]
REWARDBENCH = [
    pair(1, "a:1", "b:0", subset="alpacaeval-easy"),
    pair(2, "a:1", "b:1", subset="llmbar-natural"),
    pair(3, "a:1", "b:0", subset="donotanswer"),
    pair(4, "a:0", "b:1", subset="math-prm"),
]
REWARDBENCH_2 = [
    {"id": "1", "prompt": "p", "chosen": ["a:2"], "rejected": ["b:1", "c:2"], "subset": "Math"},
    {"id": "ref:1", "prompt": "q", "chosen": ["a:5"], "rejected": ["b:1"], "subset": "Ties"},
    {"id": "tied:1", "prompt": "r", "chosen": ["a:4", "d:3"], "rejected": ["b:1"], "subset": "Ties"},
]
RM_BENCH = [
    {
        "id": n,
        "prompt": f"{n}?",
        "chosen": ["a:1", "b:3", "c:5"],
        "rejected": ["d:0", "e:2", "f:4"],
        "domain": domain,
    }
    for n, domain in enumerate(("chat", "math", "code", "safety-refuse", "safety-response"))
]
JUDGEBENCH = [
    {"pair_id": str(n), "source": source, "question": f"{n}?", "response_A": a, "response_B": b, "label": label}
    for n, (source, a, b, label) in enumerate(
        [
            ("mmlu-pro-law", "a:1", "b:0", "A>B"),
            ("livecodebench", "a:1", "b:0", "B>A"),
            ("mmlu-pro-law", "a", "b:0", "B>A"),
        ]
    )
]
FILES = {"rankings": RANKINGS, "1": REWARDBENCH, "2": REWARDBENCH_2, "rm": RM_BENCH, "judge": JUDGEBENCH}


def examine_file(folder: Path, rows: list[dict[str, Any]]) -> tuple[RewardExamination, list[str]]:
    path = folder / "rows.jsonl"
    write_rows(path, rows)

    def score(prompt: str, text: str) -> float:
        return number_in(prompt, text.split(" ")[0]) if ":" in text else 0.0

    cases = read_cases([SourceFile(path, "rows.jsonl")])
    return gnomon.evaluate_reward(score, path, perturbed=2), figure_names(cases, True)


@pytest.mark.parametrize("name", FILES)
def test_names_are_those_of_the_figures(tmp_path: Path, name: str) -> None:
    result, names = examine_file(tmp_path, FILES[name])
    (figures,) = figures_of(result).values()
    assert set(figures) <= set(names)
    assert set(names) - set(figures) <= {"own_prompt"}
    assert len(names) == len(set(names))


def benchmark(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    (one,) = examine_file(folder, rows)[0].models[0].benchmarks
    return {name: value if value is None else round(float(value), 6) for name, value in one.figures.items()}


def test_rewardbench_by_hand(tmp_path: Path) -> None:
    """A tie is wrong: sections 1, 0, 1, 0."""
    assert benchmark(tmp_path, REWARDBENCH) == {"Chat": 1, "Chat Hard": 0, "Safety": 1, "Reasoning": 0, "": 0.5}


def test_rewardbench_2_by_hand(tmp_path: Path) -> None:
    """Math: the right one shares the best score with a wrong one, 1/2.

    Ties: both accuracies are 1. Distances: tied 3 - 1 = 2, reference 4; apart 1: both shares of preferred are 1;
    margin tanh(2/1 - 1) = 0.761594. Score 0.3 + 0.3 + 0.2 + 0.2 + 0.00761594.
    """
    assert benchmark(tmp_path, REWARDBENCH_2) == {"Math": 0.5, "Ties": 1.007616}


def test_rm_bench_by_hand(tmp_path: Path) -> None:
    """Every domain has the matrix of a reward that loves style: easy 1, normal 1, hard 0."""
    figures = benchmark(tmp_path, RM_BENCH)
    assert (figures["easy"], figures["normal"], figures["hard"], figures[""]) == (1, 1, 0, 0.666667)
    assert figures["safety-refuse hard"] == 0
    assert figures["chat"] == figures["safety"] == 0.666667


def test_judgebench_by_hand(tmp_path: Path) -> None:
    """Right, wrong, and equal, which is not right."""
    assert benchmark(tmp_path, JUDGEBENCH) == {"Knowledge": 0.5, "Coding": 0, "": 0.333333}


def test_rows_of_a_benchmark_without_a_score_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, REWARDBENCH_2)

    def score(prompt: str, text: str) -> float:
        if text == "c:2":
            raise ValueError("no")
        return number_in(prompt, text)

    (one,) = gnomon.evaluate_reward(score, path, perturbed=0).models[0].benchmarks
    assert (one.rows, one.excluded, list(one.figures)) == (2, 1, ["Ties"])


def test_conditions() -> None:
    assert parse_condition("RewardBench 2.Ties <= 1e-1") == Condition("RewardBench 2.Ties", "<=", 0.1)
    figures: dict[str, Figures] = {"a": {"ece": None, "nll": 1.0}, "b": {"ece": 0.2, "nll": 2.0}}
    assert met_conditions([Condition("ece", ">", 0.1), Condition("nll", ">=", 2)], figures) == [
        "a: ece is undefined, so ece>0.1 cannot be checked",
        "b: ece is 0.2, which meets ece>0.1",
        "b: nll is 2, which meets nll>=2",
    ]
