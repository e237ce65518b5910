"""train, evaluate, score, sample and chat on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import Project, Ran, Run, write_rows

from gnomon.api.score import accuracy_of
from gnomon.core.storage.files import read_json, read_jsonl
from gnomon.models.engine.device import find_compute
from gnomon.models.loading import load_policy


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A working folder for each test, without access to the hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def data(project: Project) -> Path:
    return project.folder


@pytest.mark.parametrize("command", ["train", "evaluate", "score", "sample", "chat"])
def test_help_shows_examples(ask: Callable[..., Ran], command: str) -> None:
    code, out, _ = ask(command, "--help")
    assert code == 0
    assert out.partition("Examples")[2].count(f"gnomon {command}") >= 2


def test_the_version(ask: Callable[..., Ran]) -> None:
    code, out, _ = ask("--version")
    assert code == 0
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{out.removeprefix("gnomon ").strip()}"' in project


def test_shell_completion_is_available(gnomon: Run) -> None:
    assert "--install-completion" in gnomon("--help").stdout


def test_train_runs_a_recipe_of_one_stage(ask: Callable[..., Ran], data: Path, tiny_model: Path) -> None:
    line = [
        "train",
        "sft",
        "--model",
        tiny_model,
        "--data",
        data / "demonstrations.jsonl",
        "rank=2",
        "device=cpu",
    ]
    code, out, _ = ask(*line, "epochs=2", "batch_size=4", "training.learning_rate=1e-2")
    assert (code, out) == (0, "runs/sft/sft/model\n")
    config = yaml.safe_load(Path("runs/sft/config.yaml").read_text(encoding="utf-8"))
    assert config["model"]["name"] == str(tiny_model)
    assert (config["model"]["rank"], config["model"]["device"]) == (2, "cpu")
    (stage,) = config["stages"]
    assert (stage["name"], stage["training"]["epochs"], stage["training"]["learning_rate"]) == ("sft", 2, 0.01)
    assert read_json(Path("runs/sft/sft/result.json"))["steps"] == 6
    code, _, err = ask("run", "runs/sft/config.yaml")
    assert code == 0
    assert "finished before" in err


def test_ppo_on_a_function_in_a_file(
    ask: Callable[..., Ran], data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "brief.py").write_text("def score(prompt, completion):\n    return -len(completion)\n", "utf-8")
    line = [
        "train",
        "ppo",
        "--model",
        tiny_model,
        "--prompts",
        data / "prompts.jsonl",
        "--reward",
        "brief.py:score",
    ]
    code, _, err = ask(*line, "steps=1", "prompts_per_step=2", "max_tokens=4", "truncation_score=null")
    assert code == 0, err
    (first, _) = read_jsonl(Path("runs/ppo/ppo/samples.jsonl"))
    assert first["score"] == -len(first["text"]) or "\ufffd" in first["text"] or first["score"] <= 0
    (tmp_path / "brief.py").write_text("def score(prompt, completion):\n    return 'x'\n", "utf-8")
    code, _, err = ask(*line, "steps=1", "prompts_per_step=2", "max_tokens=4")
    assert code == 2
    assert "the reward 'score' failed on every completion of a round: " in err.replace("\n", " ")
    assert not Path("runs/ppo/ppo.1").exists(), "what was done before is where it was"
    assert next(iter(read_jsonl(Path("runs/ppo/ppo/samples.jsonl")))) == first


def test_evaluate_without_texts_or_reference(
    ask: Callable[..., Ran], data: Path, tiny_model: Path, finished: Project
) -> None:
    sft, judge = finished.run / "sft", finished.run / "judge"
    code, out, err = ask(
        "evaluate", tiny_model, sft, "--prompts", data / "prompts.jsonl", "--judges", f"vader, {judge}",
        "completions=2", "max_tokens=4", "device=cpu",
    )  # fmt: skip
    assert (code, out) == (0, "runs/evaluation/report.html\n"), err
    result = read_json(Path("runs/evaluation/evaluation/result.json"))
    assert result["reference"] == str(tiny_model)
    assert result["candidate"] == str(sft)
    assert [row["perplexity"] for row in result["table"]] == [None, None]
    assert {check["name"] for check in result["checks"]} == {"win_rate", "distinct_2"}
    assert [row["judge"] for row in result["win_rates"]] == ["vader", str(judge)]
    page = Path("runs/evaluation/report.html").read_text(encoding="utf-8")
    assert "<td>—</td>" in page.partition("perplexity")[2][:400]
    assert "95%" in page


def test_evaluating_one_model_has_no_comparisons(ask: Callable[..., Ran], data: Path, tiny_model: Path) -> None:
    texts = data / "demonstrations.jsonl"  # demonstrations serve as texts
    code, _, err = ask(
        "evaluate",
        tiny_model,
        "--prompts",
        data / "prompts.jsonl",
        "--texts",
        texts,
        "max_tokens=4",
        "completions=2",
    )
    assert code == 0, err
    result = read_json(Path("runs/evaluation/evaluation/result.json"))
    assert (result["win_rates"], result["checks"]) == ([], [])
    assert result["table"][0]["perplexity"] > 1


def test_score_preferences(ask: Callable[..., Ran], data: Path, finished: Project) -> None:
    code, out, err = ask("score", finished.run / "judge", data / "preferences.jsonl", "--out", "scored.jsonl")
    assert (code, out) == (0, "")
    rows = list(read_jsonl(Path("scored.jsonl")))
    assert len(rows) == 8
    right = sum(row["chosen_score"] > row["rejected_score"] for row in rows)
    assert f"pairs right: {right / 8:.1%} of 8 (95% interval " in err
    assert ask("score", finished.run / "judge", "scored.jsonl", "--out", "again.jsonl")[0] == 0
    assert list(read_jsonl(Path("again.jsonl"))) == rows, "what score writes it can read"


def test_score_demonstrations_to_standard_output(ask: Callable[..., Ran], tmp_path: Path) -> None:
    write_rows(
        tmp_path / "d.jsonl",
        [{"prompt": "Q", "completion": "A lovely film."}, {"prompt": "Q", "completion": "Bad."}],
    )
    code, out, err = ask("score", "vader", "d.jsonl")
    assert code == 0
    good, bad = map(yaml.safe_load, out.splitlines())
    assert good["score"] > 0 > bad["score"]
    assert good["completion"]["text"] == "A lovely film."
    assert "pairs right" not in err


def test_accuracy_by_hand() -> None:
    """Right, wrong, tied, people prefer the other: 1 + 0 + ½ + 1 of 4; a human tie and a failure do not count."""
    rows = [
        {"probability": p, "chosen_score": c, "rejected_score": r}
        for p, c, r in [(1, 2, 1), (0.6, 1, 2), (1, 1, 1), (0.2, 1, 2), (0.5, 9, 1), (1, None, 1)]
    ]
    sentence = accuracy_of(rows)
    assert sentence is not None
    assert sentence.startswith("pairs right: 62.5% of 4 (95% interval ")
    assert accuracy_of([{"score": 1}]) is None


def test_sample_text_and_rows(ask: Callable[..., Ran], data: Path, tiny_model: Path) -> None:
    code, out, _ = ask("sample", tiny_model, "--prompt", "Hello?", "-k", "3", "--max-tokens", "4")
    assert code == 0
    assert out.count("# Hello?") == 1
    code, out, _ = ask("sample", tiny_model, "--prompts", data / "prompts.jsonl", "-k", "2", "--out", "s.jsonl")
    assert (code, out) == (0, "s.jsonl\n")
    rows = list(read_jsonl(Path("s.jsonl")))
    assert len(rows) == 8
    assert rows[0]["prompt"]["messages"][0]["content"] == "How was Solaris?"
    assert {"completion", "finished", "logprob"} <= rows[0].keys()
    assert ask("score", "vader", "s.jsonl")[0] == 0, "samples are rows that can be scored"
    first = Path("s.jsonl").read_bytes()
    ask("sample", tiny_model, "--prompts", data / "prompts.jsonl", "-k", "2", "--out", "s.jsonl")
    assert Path("s.jsonl").read_bytes() == first


def test_sample_keeps_the_best_of_each_n(ask: Callable[..., Ran], data: Path, tiny_model: Path) -> None:
    """Of the six samples without best-of-n, it keeps two: the best of each three."""
    Path("sums.py").write_text("def sum_of(prompt, text):\n    return float(sum(map(ord, text)) % 97)\n")
    line = ["sample", tiny_model, "--prompts", data / "prompts.jsonl", "--max-tokens", "4", "--out"]
    assert ask(*line, "all.jsonl", "-k", "6")[0] == 0
    assert ask(*line, "best.jsonl", "-k", "2", "--best-of", "3", "--reward", "sums.py:sum_of")[0] == 0
    samples, best = (list(read_jsonl(Path(name))) for name in ("all.jsonl", "best.jsonl"))
    assert (len(samples), len(best)) == (24, 8)
    worth = [float(sum(map(ord, row["completion"]["text"])) % 97) for row in samples]
    assert [row["score"] for row in best] == [max(worth[i : i + 3]) for i in range(0, 24, 3)]
    assert len(set(worth)) > 4
    for n, row in enumerate(best):
        assert {k: v for k, v in row.items() if k != "score"} in samples[3 * n : 3 * n + 3]
    assert ask("score", "vader", "best.jsonl")[0] == 0


def test_sample_chat_and_python_use_the_same_sampler(ask: Callable[..., Ran], tiny_model: Path) -> None:
    """Penalties, stops and the best of n by a judge."""
    import gnomon

    Path("sums.py").write_text("def sum_of(prompt, text):\n    return float(sum(map(ord, text)) % 97)\n")
    options: dict[str, Any] = {"max_tokens": 6, "min_tokens": 2, "repetition_penalty": 1.3, "no_repeat_ngram": 2}
    line = [str(part) for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    best = ["--best-of", "4", "--reward", "sums.py:sum_of", "--seed", "5", "--temperature", "0.9"]
    code, out, err = ask("chat", tiny_model, *line, *best, typed="hello\n")
    assert code == 0, err
    code, _, err = ask("sample", tiny_model, "--prompt", "hello", *line, *best, "--stop", "好")
    assert code == 0, err
    policy, how = gnomon.load_policy(tiny_model), {**options, "temperature": 0.9}
    (drawn,) = gnomon.sample(policy, ["hello"], seed=5, best_of=4, reward="sums.py:sum_of", **how)
    four = gnomon.sample(policy, ["hello"], seed=5, completions=4, **how)
    worth = [sum(map(ord, one.completion.text)) % 97 for one in four]
    assert drawn.completion.text == four[worth.index(max(worth))].completion.text
    talk = gnomon.chat(policy, seed=5, best_of=4, reward="sums.py:sum_of", **how)
    assert talk.answer("hello").strip() == out.strip()
    plain = gnomon.chat(policy, seed=5, **how)
    assert plain.answer("hello") != talk.history[-1].content
    code, _, err = ask("chat", tiny_model, "--best-of", "4", typed="hello\n")
    assert (code, "--best-of and --reward go together" in " ".join(err.split())) == (2, True)


def test_chat_through_a_pipe(ask: Callable[..., Ran], tiny_model: Path) -> None:
    code, out, err = ask(
        "chat", tiny_model, "--max-tokens", "4", typed="hello\n\n/help\n/reset\nhello\n/quit\nno\n"
    )
    assert code == 0
    assert len(out.splitlines()) >= 2
    assert "(cleared)" in err
    assert "/reset clears" in err
    code, _, err = ask("chat", tiny_model, "--max-tokens", "4", typed="x" * 1200 + "\nhello\n")
    assert code == 0, "a turn that is too long is refused, and the conversation goes on"
    assert "the model's context is 1024; write less, or lower --max-tokens" in err


def test_a_conversation_drops_its_oldest_turns(tiny_model: Path) -> None:
    from gnomon.api.chat import Conversation
    from gnomon.rollouts.sampling_params import Sampling

    talk = Conversation(load_policy(str(tiny_model), find_compute("cpu")), Sampling(max_tokens=4), "Be kind.")
    first = talk.answer("hello")
    assert [m.content for m in talk.history] == ["hello", first]
    for _ in range(8):
        talk.answer("and then what happened after that? " * 4)
    assert talk.history[0].content != "hello"
    assert [m.role for m in talk.history][:2] == ["user", "assistant"]
    talk.reset()
    assert talk.history == []


MISTAKES: dict[str, tuple[list[str], str]] = {
    "an algorithm": (["train", "pppo", "--model", "M"], "unknown algorithm 'pppo'; did you mean 'ppo'?"),
    "no data": (["train", "sft", "--model", "M"], "gnomon train sft, stage 1: sft needs the key 'data'"),
    "no file": (["train", "sft", "--model", "M", "--data", "absent.jsonl"], "no data at absent.jsonl"),
    "a setting": (["train", "sft", "--model", "M", "epoch=2"], "unknown setting 'epoch'; did you mean 'epochs'?"),
    "a value": (
        ["train", "sft", "--model", "M", "--data", "D", "epochs=x"],
        "epochs: input should be a valid number",
    ),
    "a reward": (
        ["train", "ppo", "--model", "M", "--prompts", "D", "--reward", "x.py:y"],
        "there is no file x.py",
    ),
    "a model": (["train", "sft", "--model", "./absent", "--data", "D"], "no model folder at ./absent"),
    "models": (
        ["evaluate", "nobody", "--prompts", "D"],
        "evaluate names 'nobody', no earlier stage and no model here",
    ),
    "twice": (["evaluate", "M", "M", "--prompts", "D"], "twice; remove one of them"),
    "a judge": (["evaluate", "M", "--prompts", "D", "--judges", "M"], "but a reward model is needed"),
    "scoring with a policy": (["score", "M", "D"], "holds a language model, but a reward model is needed"),
    "nothing to score": (["score", "vader", "absent.jsonl"], "no data at absent.jsonl"),
    "two prompts": (["sample", "M", "--prompt", "x", "--prompts", "D"], "one of the two"),
    "no prompt": (["sample", "M"], "give a prompt with --prompt or a file with --prompts"),
    "a temperature": (
        ["sample", "M", "--prompt", "x", "--temperature", "-1"],
        "--temperature must be at least 0 and at most 1000, not -1, since it divides logits",
    ),
    "no judge": (["sample", "M", "--prompt", "x", "--best-of", "4"], "--best-of and --reward go together"),
    "of what": (["sample", "M", "--prompt", "x", "--reward", "vader"], "--best-of and --reward go together"),
    "the best of one": (
        ["sample", "M", "--prompt", "x", "--best-of", "1", "--reward", "vader"],
        "--best-of is 1, but the best is taken of 2 or more",
    ),
    "the best of what is alike": (
        ["sample", "M", "--prompt", "x", "--temperature", "0", "--best-of", "4", "--reward", "vader"],
        "at temperature 0 all completions are the same",
    ),
    "no model": (["chat", "./absent"], "./absent"),
    "no run": (["report", "EMPTY"], "holds no config.yaml; give the folder of a run"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(
    ask: Callable[..., Ran], data: Path, tiny_model: Path, tmp_path: Path, mistake: str
) -> None:
    (tmp_path / "empty").mkdir()
    names = {"M": str(tiny_model), "D": str(data / "demonstrations.jsonl"), "EMPTY": str(tmp_path / "empty")}
    arguments, sentence = MISTAKES[mistake]
    code, out, err = ask(*[names.get(a, a) for a in arguments])
    assert (code, out) == (2, ""), err
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert sentence in line
    assert "Traceback" not in err
    assert not Path("runs").exists(), "no partial output"
