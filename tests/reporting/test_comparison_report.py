from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import RunError
from gnomon.core.storage.result_model import IntervalEstimate
from gnomon.core.translations import texts_in
from gnomon.reporting import plots
from gnomon.reporting.comparison_report import render, write_comparison
from gnomon.reporting.comparison_results import Comparison, spread


def run(algorithm: str, seed: int, rate: float, **more: Any) -> dict[str, Any]:
    return {
        "algorithm": algorithm, "seed": seed, "folder": f"out/seed-{seed}/{algorithm}", "error": "",
        "seconds": 100.0 + seed, "steps": 20, "tokens": 50_000, "memory": 1.5, "grad_norm": 2.25,
        "scores": {"judge": rate, "vader": rate / 2}, "kl": 1.0 + seed, "perplexity": 61.5, "distinct_2": 0.75,
        "win_rates": {judge: {"value": rate, "low": rate - 0.1} for judge in ("judge", "vader")},
        "course": [[0.0, 0.1], [0.5, 0.3], [1.0, 0.2]] if algorithm == "ppo" else [],
        **more,
    }  # fmt: skip


def content(*runs: dict[str, Any], **more: Any) -> dict[str, Any]:
    needs = {"reference": True, "critic": False, "token_reward": False, "from_the_future": 1}
    return {
        "name": "bench", "model": "tiny", "stage": "aligned", "reference": "sft", "shared": ["feedback", "sft"],
        "algorithms": ["dpo", "ppo"], "seeds": [0, 1], "budget": {"seconds": 300, "tokens": None},
        "judges": [{"name": "judge", "independent": False}, {"name": "vader", "independent": True}],
        "needs": [
            {"algorithm": "dpo", "consumes": "preferences", "completions": 2, **needs},
            {"algorithm": "ppo", "consumes": "samples", "online": True, "reward": True, "completions": 1, **needs,
             "critic": True},
        ],
        "settings": {"dpo": "algorithm: dpo\n", "ppo": "algorithm: ppo\n"},
        "runs": list(runs),
        "references": [{"seed": n, "scores": {"judge": 0.1, "vader": 0.2}, "perplexity": 60} for n in (0, 1)],
        "environment": {"command": "gnomon compare recipe.yaml --algorithms dpo,ppo"},
        **more,
    }  # fmt: skip


ALL = [run("dpo", 0, 0.55), run("dpo", 1, 0.6), run("ppo", 0, 0.7), run("ppo", 1, 0.8)]


def read(*runs: dict[str, Any], **more: Any) -> Comparison:
    return Comparison.model_validate(content(*runs, **more))


# --- What is said over the seeds -----------------------------------------------------------------------------


def test_mean_and_range_by_hand() -> None:
    assert spread([1.0, 4.0, None, 1.0]) == IntervalEstimate(2.0, 1.0, 4.0)
    assert spread([3.0]) == IntervalEstimate(3.0)  # a single seed has no range
    assert spread([None]) == spread([]) == IntervalEstimate()
    comparison = read(*ALL)
    assert comparison.figure("dpo", "kl") == IntervalEstimate(1.5, 1.0, 2.0)
    assert comparison.figure("dpo", "tokens", 1000).value == 50
    assert comparison.win_rate("ppo", "vader") == IntervalEstimate(0.75, 0.7, 0.8)


@pytest.mark.parametrize(
    ("rates", "clear", "beats"),
    [
        ({"dpo": (0.55, 0.6), "ppo": (0.7, 0.8)}, True, True),
        ({"dpo": (0.55, 0.75), "ppo": (0.7, 0.8)}, False, True),  # dpo's best seed is above ppo's worst
        ({"dpo": (0.3, 0.4), "ppo": (0.45, 0.8)}, True, False),
        ({"dpo": (0.3,), "ppo": (0.8,)}, False, True),  # one seed is not enough
        ({"dpo": (0.9,), "ppo": (0.91, 0.95)}, True, True),
        ({"dpo": (0.92,), "ppo": (0.91, 0.95)}, False, True),  # a single seed counts as its own best
    ],
)
def test_a_leader_is_clear_only_over_all_seeds(
    rates: dict[str, tuple[float, ...]], clear: bool, beats: bool
) -> None:
    runs = [run(name, seed, rate) for name, values in rates.items() for seed, rate in enumerate(values)]
    leader = read(*runs).leader
    assert (leader.algorithm, leader.judge, leader.clear, leader.beats_reference) == (
        "ppo",
        "vader",
        clear,
        beats,
    )


def test_an_independent_judge_decides() -> None:
    """The training's own judge prefers ppo; the independent one dpo."""
    bribed = run("ppo", 0, 0.9)
    bribed["win_rates"]["vader"] = {"value": 0.4}
    assert read(run("dpo", 0, 0.6), bribed).leader.algorithm == "dpo"
    dependent = [{"name": "judge", "independent": False}]
    assert read(run("dpo", 0, 0.6), bribed, judges=dependent).leader.algorithm == "ppo"


# --- The page ------------------------------------------------------------------------------------------------


def test_the_page_shows_the_figures() -> None:
    page = render(read(*ALL))
    for figure in ("75%", "[70%, 80%]", "61.5", "50.0", "2.25", "out/seed-1/dpo", "--algorithms dpo,ppo"):
        assert figure in page
    # A frontier for each judge, the courses, win rates by each judge, time and memory.
    assert page.count("<figure>") == 2 + 1 + 2 + 2
    assert "<bdi>ppo</bdi> is ahead." in page
    assert "GPU memory" not in page
    assert "GPU memory" in render(read(run("dpo", 0, 0.6, device_memory=3.5)))


def test_requirements_come_from_the_data() -> None:
    section = render(read(*ALL)).split('id="needs-title"')[1].split("</table>")[0]
    rows = [re.findall(r"(yes|no)</", row) for row in section.split("<tr>")[2:]]
    assert rows == [["yes", "no", "no", "no"], ["yes", "yes", "yes", "no"]]


def test_failed_and_missing_runs_are_named() -> None:
    failed = {"algorithm": "ppo", "seed": 1, "folder": "f", "error": "the <b>loss</b> is not finite"}
    page = render(read(run("dpo", 0, 0.6), run("dpo", 1, 0.6), failed))
    assert "the &lt;b&gt;loss&lt;/b&gt; is not finite" in page
    assert "<bdi>ppo</bdi>: 1 seeds still to run." in page
    assert "1 of 2" in page


def test_pages_without_runs_or_values() -> None:
    assert "No run is finished yet." in render(read())
    assert "No run is finished yet." in render(Comparison())
    bare = {"algorithm": "dpo", "seed": 0, "error": ""}
    assert "—" in render(read(bare))
    tied = read(run("dpo", 0, 0.6), run("dpo", 1, 0.8), run("ppo", 0, 0.8), run("ppo", 1, 0.6))
    assert (tied.leader.algorithm, tied.leader.tied) == ("", ["dpo", "ppo"])
    assert "have the same mean win rate: none is ahead" in render(tied)
    assert "No run is finished yet." not in render(tied)
    assert "no common budget" in render(read(*ALL, budget={}))


def test_the_page_is_self_contained_and_reproducible(tmp_path: Path) -> None:
    (tmp_path / "compare.json").write_text(json.dumps(content(*ALL)), encoding="utf-8")
    first = write_comparison(tmp_path, language="zh").read_bytes()
    assert write_comparison(tmp_path, language="zh").read_bytes() == first
    page = first.decode()
    assert re.findall(r'id="language-(\w+)" checked', page) == ["zh"]
    assert "<script" not in page
    assert not re.findall(r"url\((?!#)", page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'aria-labelledby="([^"]+)"', page)) <= set(ids)
    assert "#1f5f8c" not in page  # colors are variables of the page, for light and dark mode


def test_missing_and_damaged_comparisons_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no compare\.json"):
        write_comparison(tmp_path)
    (tmp_path / "compare.json").write_text('{"runs": 3}', encoding="utf-8")
    with pytest.raises(RunError, match="is damaged"):
        write_comparison(tmp_path)


def test_every_text_of_the_template_exists() -> None:
    template = (Path(plots.__file__).parent / "templates" / "compare.html.j2").read_text(encoding="utf-8")
    assert set(re.findall(r't\("([\w.]+)"', template)) - {"compare.", "measure.", "compare.why_"} <= set(
        texts_in("en")["reports"]
    )


def test_more_algorithms_than_colors() -> None:
    names = [f"algorithm-{n}" for n in range(10)]
    svg = plots.frontier("many", [plots.Series(name, [(n, n)]) for n, name in enumerate(names)], (0.0, 1.0))
    assert all(name in svg for name in names)
    assert "var(--series-8)" in svg
