"""Each kind of bad input on each command that accepts it: one sentence, no traceback, no files left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from project import Ran

Ask = Callable[..., Ran]
LONG = "a" * 5000
PAIR = {"prompt": "How was it?", "chosen": "Good.", "rejected": "Bad."}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a data file, without access to the hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    Path("data.jsonl").write_text(json.dumps(PAIR) + "\n", encoding="utf-8")
    return tmp_path


def refused(ask: Ask, *arguments: str, typed: str = "") -> str:
    """Runs a command that must be refused without changing any file; returns its error."""
    before = sorted(Path().rglob("*"))
    code, _, err = ask(*arguments, typed=typed)
    assert code == 2, (code, err)
    assert "Traceback" not in err
    assert len(err) < 1000
    assert sorted(Path().rglob("*")) == before
    return err


NAMES = {
    "too long": LONG,
    "long parts": "b/" * 2500,
    "through a file": "data.jsonl/x",
    "nobody's home": "~nobody/x",
}
COMMANDS = [
    ["run", "NAME"],
    ["check", "NAME"],
    ["report", "NAME"],
    ["train", "NAME", "--model", "m", "--data", "data.jsonl"],
    ["train", "sft", "--model", "NAME", "--data", "data.jsonl"],
    ["train", "dpo", "--model", "MODEL", "--data", "NAME"],
    ["train", "dpo", "--model", "MODEL", "--data", "data.jsonl", "--out", "data.jsonl/NAME"],
    ["evaluate", "NAME", "--prompts", "data.jsonl"],
    ["compare", "NAME", "--algorithms", "dpo"],
    ["score", "NAME", "data.jsonl"],
    ["score", "vader", "NAME"],
    ["score", "vader", "data.jsonl", "--out", "data.jsonl/NAME"],
    ["sample", "NAME", "--prompt", "hi"],
    ["sample", "m", "--prompts", "NAME"],
    ["chat", "NAME"],
    ["data", "inspect", "NAME"],
    ["data", "inspect", "data.jsonl", "--model", "NAME"],
    ["feedback", "status", "NAME"],
    ["feedback", "init", "data.jsonl/NAME", "--project", "p", "--title", "t"],
    ["feedback", "init", "s.db", "--project", "p", "--title", "t", "--guidelines", "NAME"],
    ["feedback", "export", "NAME", "--out", "o"],
    ["feedback", "serve", "data.jsonl/NAME"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("kind", NAMES)
def test_an_impossible_file_name_is_one_sentence(
    ask: Ask, tiny_model: Path, command: list[str], kind: str
) -> None:
    refused(ask, *(part.replace("NAME", NAMES[kind]).replace("MODEL", str(tiny_model)) for part in command))


@pytest.mark.parametrize("address", ["https://[::1", "postgresql://host:port/db", "sqlite://[", "nosuch://x"])
def test_an_invalid_database_address_is_one_sentence(ask: Ask, address: str) -> None:
    refused(ask, "feedback", "init", address, "--project", "p", "--title", "t")


def test_an_invalid_host_is_one_sentence(ask: Ask) -> None:
    assert ask("feedback", "init", "s.db", "--project", "p", "--title", "t")[0] == 0
    assert "cannot listen on" in refused(
        ask, "feedback", "serve", "s.db", "--host", "\N{SLIGHTLY SMILING FACE}" * 80
    )


@pytest.mark.parametrize(
    "name", ["a--b..c", "a" * 97 + "/b", "org/", "-x", "a b/c", "org/na:me", ".x/y", "a/b.git"]
)
def test_an_invalid_hub_name_is_one_sentence(ask: Ask, name: str) -> None:
    refused(ask, "sample", "--prompt", "hi", "--", name)
    refused(ask, "train", "sft", "--data", "data.jsonl", "--model", name)


ROWS = {
    "an integer beyond 64 bits": '{"prompt": "a", "chosen": "b", "rejected": "c", "margin": 1%s}' % ("0" * 30),
    "an id beyond 64 bits": '{"id": 1%s, "prompt": "a", "chosen": "b", "rejected": 5}' % ("0" * 30),
    "digits without end": '{"prompt": "a", "chosen": "b", "rejected": "c", "margin": %s}' % ("9" * 5000),
    "half a pair in a text": r'{"prompt": "a", "chosen": "\ud800", "rejected": "c"}',
    "half a pair in a key": r'{"prompt": "a", "chosen": "b", "rejected": "c", "\udfff": 1}',
    "half a pair in an id": r'{"id": "\ud800", "prompt": "a", "chosen": "b", "rejected": "c"}',
    "nesting": '{"prompt": "a", "chosen": "b", "rejected": "c", "x": ' + "[" * 600 + "]" * 600 + "}",
    "deep nesting": '{"prompt": "a", "x": ' + '{"a":' * 100_000 + "1" + "}" * 100_001,
    "NaN": '{"prompt": "a", "chosen": "b", "rejected": "c", "margin": NaN}',
    "a number for a prompt": '{"prompt": 1e999, "chosen": "b", "rejected": "c"}',
}
UNUSABLE = (
    "an id beyond 64 bits",
    "digits without end",
    "half a pair in a text",
    "deep nesting",
    "a number for a prompt",
)
IMPORTS = [
    ["score", "vader", "bad.jsonl"],
    ["train", "dpo", "--model", "MODEL", "--data", "bad.jsonl"],
    ["feedback", "import", "s.db", "bad.jsonl"],
    ["feedback", "gold", "s.db", "bad.jsonl"],
]


@pytest.mark.parametrize("reader", IMPORTS, ids=" ".join)
@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_row_that_cannot_be_used_is_refused_with_its_line(
    ask: Ask, tiny_model: Path, reader: list[str], kind: str
) -> None:
    Path("bad.jsonl").write_text(f"{json.dumps(PAIR)}\n{ROWS[kind]}\n", encoding="utf-8")
    if reader[0] == "feedback":
        ask("feedback", "init", "s.db", "--project", "p", "--title", "t")
    message = refused(ask, *(part.replace("MODEL", str(tiny_model)) for part in reader))
    assert "2" in message


@pytest.mark.parametrize("kind", ROWS)
def test_invalid_rows_end_in_no_traceback(ask: Ask, kind: str) -> None:
    Path("bad.jsonl").write_text(f"{json.dumps(PAIR)}\n{ROWS[kind]}\n", encoding="utf-8")
    ask("feedback", "init", "s.db", "--project", "p", "--title", "t")
    for command in (["data", "inspect"], ["feedback", "import", "s.db"], ["score", "vader"]):
        code, _, err = ask(*command, "bad.jsonl")
        assert code in (0, 2)
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("def f(prompt, completion):\n    raise SystemExit(7)\n", "SystemExit: 7"),
        ("def f(prompt, completion):\n    raise GeneratorExit\n", "GeneratorExit"),
        ("class Odd(BaseException): pass\ndef f(prompts, completions):\n    raise Odd('no')\n", "Odd: no"),
        ("import sys\nsys.exit(0)\n", "SystemExit: 0"),
    ],
)
def test_a_reward_that_would_end_the_program_is_a_failure(ask: Ask, file: str, sentence: str) -> None:
    Path("brief.py").write_text(file, encoding="utf-8")
    assert sentence in refused(ask, "score", "brief.py:f", "data.jsonl")


@pytest.mark.parametrize("value", [".nan", "-1", "1e308", str(10**23), "true", "5e-324"])
def test_a_setting_out_of_range(ask: Ask, tiny_model: Path, value: str) -> None:
    message = refused(
        ask, "train", "dpo", "--model", str(tiny_model), "--data", "data.jsonl", f"learning_rate={value}"
    )
    assert "learning_rate: must be" in message


def test_training_no_layers_is_refused(ask: Ask, tiny_model: Path) -> None:
    message = refused(ask, "train", "dpo", "--model", str(tiny_model), "--data", "data.jsonl", "layers=0")
    assert "layers is 0, so nothing of the policy would be trained" in message


def test_betas_outside_of_their_range(ask: Ask, tiny_model: Path) -> None:
    message = refused(ask, "train", "dpo", "--model", str(tiny_model), "--data", "data.jsonl", "betas=[0.9, 1]")
    assert "betas.1: must be at least 0 and below 1, not 1, since a moment is a moving average" in message


def test_an_empty_export_leaves_no_folder(ask: Ask) -> None:
    ask("feedback", "init", "s.db", "--project", "p", "--title", "t")
    ask("feedback", "import", "s.db", "data.jsonl")
    assert "project 'p' has no judgements yet" in refused(
        ask, "feedback", "export", "s.db", "--out", "new/folder"
    )
