from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import Project, Run

from gnomon.comparison.data_sets import compare_sets, read_sets
from gnomon.comparison.design import ComparisonPlan, plan_comparison
from gnomon.comparison.subprocess_runs import ForwardedStop, run_in_subprocess
from gnomon.comparison.variants import AlgorithmBudget, needs_of
from gnomon.core.errors import ConfigError, Interrupted, RunError
from gnomon.pipeline.recipe import build_recipe
from gnomon.reporting.comparison_of_data_sets import read_sets as read_written_sets
from gnomon.stages.train import TrainStage

ROOT = Path(__file__).parents[2]
FILMS = ROOT / "recipes" / "film-reviews.yaml"


def plan(*names: str, recipe: Path = FILMS, overrides: tuple[str, ...] = (), **budget: Any) -> ComparisonPlan:
    return plan_comparison(recipe, names, AlgorithmBudget(**budget), overrides)


# --- What each algorithm's stage is made of ------------------------------------------------------------------


def test_online_variants_keep_the_template() -> None:
    template = yaml.safe_load(FILMS.read_text(encoding="utf-8"))["stages"][3]
    rows = plan("ppo", "rloo", "grpo").rows
    assert rows["ppo"] == template
    assert rows["rloo"] == {**template, "algorithm": "rloo"} == {**rows["grpo"], "algorithm": "rloo"}


@pytest.mark.parametrize(
    ("name", "part"),
    [("dpo", "preferences"), ("kto", "labels"), ("plackett_luce", "rankings"), ("sft", "demonstrations")],
)
def test_offline_variants_take_their_kind_of_data(name: str, part: str) -> None:
    row = plan(name).rows[name]
    assert row == {
        "name": "aligned",
        "algorithm": name,
        "model": "sft",
        "training": {},
        "data": f"feedback/{part}",
    }


def test_an_online_variant_of_an_offline_template_keeps_model_and_machine_settings(tmp_path: Path) -> None:
    content = yaml.safe_load(FILMS.read_text(encoding="utf-8"))
    content["stages"][3] = {
        "name": "aligned", "algorithm": "dpo", "model": "sft", "data": "feedback/preferences",
        "training": {"learning_rate": 1e-4, "micro_batch_tokens": 99}, "settings": {"beta": 0.3},
    }  # fmt: skip
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(content), encoding="utf-8")
    rows = plan("dpo", "ipo", "rloo", recipe=recipe).rows
    assert rows["ipo"] == {
        "name": "aligned", "algorithm": "ipo", "model": "sft", "data": "feedback/preferences",
        "training": {"learning_rate": 1e-4, "micro_batch_tokens": 99},
    }  # fmt: skip
    assert rows["dpo"]["settings"] == {"beta": 0.3}
    assert rows["rloo"] == {
        "name": "aligned", "algorithm": "rloo", "model": "sft", "training": {"micro_batch_tokens": 99},
        "prompts": "feedback/prompts", "reward": "judge",
    }  # fmt: skip


def test_critic_settings_remain_only_where_needed() -> None:
    rows = plan("ppo", "rloo", overrides=("aligned.critic=judge", "aligned.sampling.completions=1")).rows
    assert rows["ppo"]["critic"] == "judge"
    assert "critic" not in rows["rloo"]
    assert rows["ppo"]["sampling"]["completions"] == 1
    assert "completions" not in rows["rloo"]["sampling"]  # needs several completions, so it uses the default


def test_unusable_settings_are_dropped() -> None:
    names = ("ppo", "rloo", "online_dpo")
    rows = plan(
        *names, overrides=("aligned.head.head=mlp", "aligned.training.kl={placement: loss, target: 3}")
    ).rows
    assert [rows[name].get("head") for name in names] == [{"head": "mlp"}, None, None]
    assert rows["rloo"]["training"]["kl"] == {"placement": "loss", "target": 3}
    assert rows["online_dpo"]["training"]["kl"] == {"target": 3}


def test_best_of_n_names_the_judge_by_path() -> None:
    variants = plan("ppo", overrides=("report.best_of={n: 4, judge: judge}",))
    (evaluated,) = build_recipe(
        variants.variant_content("ppo", Path("out/ppo"), Path("out/shared"), 0), "test"
    ).stages[1:]
    assert evaluated.best_of.judge == "out/shared/judge"
    other = plan("ppo", overrides=("report.best_of={n: 4, judge: vader}",))
    assert other.variant_content("ppo", Path("o"), Path("s"), 0)["stages"][1]["best_of"] == {
        "n": 4,
        "judge": "vader",
    }


def test_overrides_for_all_algorithms_and_for_one() -> None:
    variants = plan(
        "ppo", "rloo", overrides=("aligned.training.steps=5", "rloo.training.steps=7", "sft.model=base")
    )
    assert [variants.rows[name]["training"]["steps"] for name in ("ppo", "rloo")] == [5, 7]
    with pytest.raises(ConfigError, match=r"rloo, stage 1: value|unknown key 'stepz'"):
        plan("rloo", overrides=("rloo.training.stepz=7",))
    with pytest.raises(ConfigError, match="names no setting"):
        plan("rloo", overrides=("rloo=7",))


FOCAL = """
from gnomon.algorithms.reward_model import RewardModeling
from gnomon.algorithms.sft import SFT


class Focal(SFT):
    gamma: float = 1.0


class Judge(RewardModeling):
    pass
"""


def test_an_algorithm_of_a_file_is_named_by_its_class(tmp_path: Path) -> None:
    file = tmp_path / "focal.py"
    file.write_text(FOCAL, encoding="utf-8")
    spec = f"{file}:Focal"
    variants = plan("dpo", spec, overrides=("Focal.training.epochs=2", "aligned.training.learning_rate=1e-4"))
    assert variants.rows["Focal"] == {
        "name": "aligned", "algorithm": spec, "model": "sft", "data": "feedback/demonstrations",
        "training": {"epochs": 2},
    }  # fmt: skip
    stage = variants.variant_content("Focal", Path("o"), Path("s"), 0)["stages"][0]
    assert stage["algorithm"] == spec
    assert needs_of(variants.rows["Focal"])["consumes"] == "demonstrations"


def test_the_recipes_own_algorithm_keeps_its_stage_however_its_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "focal.py").write_text(FOCAL, encoding="utf-8")
    content = yaml.safe_load(FILMS.read_text(encoding="utf-8"))
    content["stages"][3] = {
        "name": "aligned", "algorithm": "focal.py:Focal", "model": "sft", "data": "feedback/demonstrations",
        "training": {"epochs": 3},
    }  # fmt: skip
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(content), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert plan("./focal.py:Focal", recipe=recipe).rows["Focal"]["training"] == {"epochs": 3}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("focal.py:Focal", "focal.py:Focal"), "names 'Focal' twice"),
        (("focal.py:Focal", "again/focal.py:Focal"), "names two classes 'Focal'"),
        (("focal.py:Judge",), "'focal.py:Judge' is no algorithm for policies"),
        (("focal.py:Nothing",), "has no class 'Nothing'"),
        (("other.py:Focal",), "there is no file other.py"),
    ],
)
def test_unusable_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], words: str
) -> None:
    (tmp_path / "again").mkdir()
    for folder in (tmp_path, tmp_path / "again"):
        (folder / "focal.py").write_text(FOCAL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=words):
        plan(*names)


def test_token_rewards_are_trained_once_for_all() -> None:
    variants = plan("rto", "ppo", overrides=("token_reward.training.epochs=0.25",))
    assert variants.shared[-1] == {
        "name": "token_reward", "algorithm": "dpo", "model": "sft", "training": {"epochs": 0.25},
        "data": "feedback/preferences",
    }  # fmt: skip
    assert variants.rows["rto"]["token_reward"] == "token_reward"
    assert "token_reward" not in variants.rows["ppo"]
    assert len(plan("ppo").shared) == 3


def test_the_budget_ends_every_variant() -> None:
    rows = plan("dpo", "ppo", seconds=300.0, overrides=("ppo.training.steps=9",)).rows
    assert {row["training"]["budget_seconds"] for row in rows.values()} == {300.0}
    assert rows["dpo"]["training"]["epochs"] > 1000
    assert rows["ppo"]["training"]["steps"] == 9
    assert "budget_tokens" not in rows["dpo"]["training"]


def test_variants_name_shared_stages_by_path() -> None:
    content = plan("ppo", "dpo", "rto").variant_content("rto", Path("out/rto"), Path("out/shared"), 4)
    recipe = build_recipe(content, "test")
    trained, evaluated = recipe.stages
    assert isinstance(trained, TrainStage)
    assert (recipe.seed, recipe.run) == (4, "out/rto")
    assert (trained.model, trained.reward, trained.token_reward) == (
        "out/shared/sft", "out/shared/judge", "out/shared/token_reward",
    )  # fmt: skip
    assert trained.prompts == "out/shared/feedback/prompts.jsonl"
    assert evaluated.evaluate == ["out/shared/sft", "aligned"]
    assert evaluated.judges == ["out/shared/judge", "vader", "ridge"]
    assert evaluated.judge_holdout == "out/shared/feedback/judge_holdout.jsonl"


def test_a_judge_that_a_variant_learned_from_is_not_independent() -> None:
    assert [plan("ppo").independent(judge) for judge in ("judge", "vader", "ridge")] == [False, True, True]
    assert not plan("dpo", "ppo", overrides=("ppo.reward=vader",)).independent("vader")


def test_needs_follow_the_contract() -> None:
    variants = {name: needs_of(row) for name, row in plan("dpo", "simpo", "ppo", "grpo", "kto").rows.items()}
    assert {name: need["reference"] for name, need in variants.items()} == {
        "dpo": True, "simpo": False, "ppo": True, "grpo": True, "kto": True,
    }  # fmt: skip
    assert [name for name, need in variants.items() if need["critic"]] == ["ppo"]
    assert [name for name, need in variants.items() if need["reward"]] == ["ppo", "grpo"]
    assert [need["completions"] for need in variants.values()] == [2, 2, 1, 2, 1]
    assert [need["consumes"] for need in variants.values()][3:] == ["samples", "labels"]


@pytest.mark.parametrize(
    ("names", "overrides", "words"),
    [
        (("pppo",), (), "did you mean 'ppo'"),
        (("reward_model",), (), "no algorithm for policies"),
        (("ppo", "ppo"), (), "names 'ppo' twice"),
        ((), (), "is empty"),
        (("ppo",), ("report.candidate=base",), "not a stage with one algorithm"),
        (("ppo",), ("report.reference=aligned",), "reference and candidate"),
        (("ppo",), ("judge.model=aligned",), "not earlier|no earlier stage"),
    ],
)
def test_invalid_comparisons_are_refused(names: tuple[str, ...], overrides: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        plan(*names, overrides=overrides)


def test_missing_data_is_one_sentence(project: Project) -> None:
    with pytest.raises(ConfigError, match=r"kto is trained on labels.*add kto\.data=FILE"):
        plan("kto", recipe=project.recipe)
    rows = plan("dpo", "kto", recipe=project.recipe, overrides=("kto.data=labels.jsonl",)).rows
    assert rows["kto"]["data"] == "labels.jsonl"
    assert rows["dpo"]["data"] == str(project.folder / "preferences.jsonl")  # the reward model's


# --- Running them --------------------------------------------------------------------------------------------


def test_a_stop_is_forwarded_to_the_subprocess(tmp_path: Path) -> None:
    stop = ForwardedStop()
    code = "    print('up', flush=True)\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    raise SystemExit(7)"
    # A shell that starts tests in the background has SIGINT ignored, and children inherit that.
    waiting = "import signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\ntry:\n" + code
    with subprocess.Popen([sys.executable, "-c", waiting], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        stop.child = child
        stop._handle()
        assert child.wait(30) == 7
    assert stop
    with pytest.raises(Interrupted, match="run the same command again"):
        run_in_subprocess({"run": str(tmp_path / "run")}, stop)
    assert not (tmp_path / "run" / "log.txt").exists()  # stopped before the start, so nothing is started


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_comparison_end_to_end(project: Project, gnomon: Run, tmp_path: Path) -> None:
    """Two seeds of DPO and PPO; RLOO's reward fails on every row, and the comparison continues."""
    broken = tmp_path / "broken.py"
    broken.write_text("def score(prompt, completion):\n    raise ValueError('no opinion')\n", encoding="utf-8")
    arguments = [
        "compare", str(project.recipe), "--algorithms", "dpo,ppo,rloo", "--seeds", "2", "--tokens", "400",
        "--out", "bench", f"rloo.reward={broken}:score",
    ]  # fmt: skip
    done = gnomon(*arguments)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "bench" / "compare.json").read_text(encoding="utf-8"))
    runs = {(run["algorithm"], run["seed"]): run for run in result["runs"]}
    assert list(runs) == [(name, seed) for seed in (3, 4) for name in ("dpo", "ppo", "rloo")]
    for (name, _), run in runs.items():
        assert ("failed on every completion" in run["error"]) == (name == "rloo")
        if name != "rloo":
            assert run["tokens"] >= 400
            assert run["steps"] > 1
            assert set(run["scores"]) == set(run["win_rates"]) == {"judge", "vader"}
            assert run["memory"] > 0.1
            assert bool(run["course"]) == (name == "ppo")
    # Both seeds of an algorithm start from different shared stages; both algorithms of a seed from the same.
    scores = {row["seed"]: row["scores"]["judge"] for row in result["references"]}
    assert scores[3] != scores[4]
    samples = [
        (tmp_path / "bench" / "seed-3" / name / "report" / "samples.jsonl")
        .read_text(encoding="utf-8")
        .splitlines()
        for name in ("dpo", "ppo")
    ]
    first = [[json.loads(row)["text"] for row in rows][:4] for rows in samples]
    assert first[0] == first[1]
    page = (tmp_path / "bench" / "compare.html").read_text(encoding="utf-8")
    assert page.count("failed on every completion") == 2 * 2  # seeds, languages


def test_data_sets_by_name_and_settings() -> None:
    comparisons = read_sets(
        ["films: judge.data='my films.jsonl' aligned.data=f.jsonl", "食谱:judge.data=r.jsonl"]
    )
    assert comparisons == {
        "films": ["judge.data=my films.jsonl", "aligned.data=f.jsonl"],
        "食谱": ["judge.data=r.jsonl"],
    }


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["films"], "is no data set; give NAME: key=value"),
        (["films:"], "is no data set"),
        (["../films: a=b"], "is no data set"),
        (["a: b=c", "a: b=d"], "names 'a' twice"),
        (["a: b='c"], "close its quotation marks"),
    ],
)
def test_invalid_data_sets_are_refused(texts: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_sets(texts)


def test_a_folder_with_other_files_is_refused_before_the_first_run(tmp_path: Path) -> None:
    """Also inside a data set's folder; a page that the user wrote stays."""
    sets = {"good": ["report.judges=[vader]"], "bad": ["report.judges=[vader]"]}
    for name in ("compare.html", "notes.txt", "bad/photo.jpg"):
        out = tmp_path / name.replace("/", "-")
        (out / name).parent.mkdir(parents=True)
        (out / name).write_text("mine", encoding="utf-8")
        with pytest.raises(RunError, match=r"which no comparison wrote|is not as Gnomon wrote it"):
            compare_sets(FILMS, ["dpo"], sets, seeds=1, budget=AlgorithmBudget(), out=out)
        assert [path.read_text(encoding="utf-8") for path in out.rglob("*.*")] == ["mine"]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_comparison_on_two_data_sets_end_to_end(project: Project, gnomon: Run, tmp_path: Path) -> None:
    """Real trainings; the second data set lacks one pair. The same command again only reads results."""
    rows = (project.folder / "preferences.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (project.folder / "fewer.jsonl").write_text("".join(rows[:-1]), encoding="utf-8")
    sets = {"films": "preferences.jsonl", "食谱": "fewer.jsonl"}
    arguments = ["compare", str(project.recipe), "--algorithms", "dpo,ipo", "--seeds", "1", "--out", "bench"]
    for name, file in sets.items():
        path = project.folder / file
        arguments += ["--data", f"{name}: judge.data='{path}' dpo.data='{path}' ipo.data='{path}'"]
    done = gnomon(*arguments)
    assert done.returncode == 0, done.stderr
    bench = tmp_path / "bench"
    comparisons = read_written_sets(bench)
    assert (list(comparisons.sets), comparisons.waiting, comparisons.algorithms) == (
        list(sets),
        [],
        ["dpo", "ipo"],
    )
    for algorithm in ("dpo", "ipo"):
        rates = [comparisons.sets[name].win_rate(algorithm, "judge").value for name in sets]
        assert comparisons.together(algorithm, "judge").value == pytest.approx(
            sum(r for r in rates if r is not None) / 2
        )
        assert all(
            run.error == "" and run.steps for one in comparisons.sets.values() for run in one.of(algorithm)
        )
    assert comparisons.sets["films"].runs[0].scores != comparisons.sets["食谱"].runs[0].scores
    page = bench / "compare.html"
    assert 'href="%E9%A3%9F%E8%B0%B1/compare.html"' in page.read_text(encoding="utf-8")
    assert (bench / "食谱" / "compare.html").is_file()
    before = page.read_bytes(), (bench / "sets.json").read_bytes()
    again = gnomon(*arguments)
    assert again.returncode == 0, again.stderr
    assert (page.read_bytes(), (bench / "sets.json").read_bytes()) == before


def test_every_data_set_is_checked_before_the_first_run(tmp_path: Path) -> None:
    sets = {"good": ["report.judges=[vader]"], "bad": ["report.judgs=[vader]"]}
    with pytest.raises(ConfigError, match="judgs"):
        compare_sets(FILMS, ["dpo"], sets, seeds=1, budget=AlgorithmBudget(), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
