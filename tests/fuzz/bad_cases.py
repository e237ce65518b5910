"""Commands with bad input, each a function of a seed: what is typed, and the files that lie in the folder."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml
from bad_values import JSON, NUMBERS, TEXTS, as_json, damaged, mutated

from gnomon.algorithms.contract import algorithms
from gnomon.training.settings import KLSettings, OfflineSettings, OnlineSettings


@dataclass
class Case:
    """A command with bad input.

    Attributes:
        kind: what is bad.
        arguments: what follows `gnomon`.
        typed: standard input.
        powerless: run as a user who owns nothing.
    """

    kind: str
    arguments: list[str] = field(default_factory=list)
    typed: str = ""
    powerless: bool = False


PAIR = {"prompt": "How was it?", "chosen": "Good.", "rejected": "Bad."}
ROWS: dict[str, list[dict[str, Any]]] = {
    "preferences": [PAIR, {**PAIR, "prompt": "And that?", "probability": 0.8, "margin": 1.0}],
    "demonstrations": [
        {"prompt": "Hi", "completion": "Hello."},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    ],
    "labels": [
        {"prompt": "Hi", "completion": "Hello.", "label": True},
        {"prompt": "Hi", "completion": "No.", "label": False},
    ],
    "rankings": [{"prompt": "Hi", "completions": ["a", "b", "c"], "ranks": [1, 2, 2]}],
    "prompts": [{"prompt": "Hi"}, {"id": "7", "prompt": [{"role": "user", "content": "x"}], "answer": "4"}],
    "ratings": [{"id": "1", "text": "Film", "ratings": [1, 0]}, {"text": "Film", "rater": "a", "rating": 3}],
}
ENDINGS = (".jsonl", ".jsonl", ".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt", "")


def recipe_tree(model: str) -> dict[str, Any]:
    tiny = {"steps": 1, "prompts_per_step": 1, "minibatches": 1}
    return {
        "run": "run",
        "seed": 1,
        "model": {"name": model, "rank": 2, "device": "cpu", "precision": "float32"},
        "training": {"learning_rate": 1e-3},
        "stages": [
            {
                "name": "sft",
                "algorithm": "sft",
                "data": "demonstrations.jsonl",
                "training": {"epochs": 1, "batch_size": 1},
            },
            {
                "name": "judge",
                "algorithm": "reward_model",
                "data": {"preferences.jsonl": 1.0},
                "head": {"head": "mlp", "hidden": 4},
            },
            {
                "name": "ppo",
                "algorithm": "ppo",
                "model": "sft",
                "prompts": "prompts.jsonl",
                "critic": "judge",
                "reward": [{"of": "judge", "weight": 0.5}, {"rule": "format", "pattern": "a.*"}],
                "training": {
                    **tiny,
                    "kl": {"coef": 0.1},
                    "curriculum": {"width": 0.2},
                    "betas": [0.9, 0.95],
                },
                "settings": {"clip_low": 0.2, "gamma": 1.0},
                "sampling": {"completions": 2, "max_tokens": 2, "stop": ["x"]},
            },
            {
                "name": "mix",
                "model": "sft",
                "phases": [
                    {"algorithm": "dpo", "data": "preferences.jsonl", "until": {"metric": "loss", "below": 0.1}}
                ],
            },
            {
                "name": "report",
                "evaluate": ["base", "ppo"],
                "judges": ["judge", "vader"],
                "prompts": "prompts.jsonl",
                "best_of": {"n": 2, "judge": "vader"},
                "sampling": {"completions": 2},
            },
        ],
    }


def write_rows(folder: Path, chance: random.Random, name: str, rows: list[Any], ending: str = ".jsonl") -> str:
    """Rows of a file, spoiled as values or as bytes; its name."""
    file = folder / f"{name}{ending}"
    content = b"\n".join(map(as_json, rows)) + b"\n"
    if ending == ".json":
        content = as_json(rows)
    if ending in (".csv", ".tsv"):
        keys = list(rows[0]) if isinstance(rows[0], dict) else ["prompt"]
        mark = "," if ending == ".csv" else "\t"
        lines = [mark.join(map(str, row.values() if isinstance(row, dict) else [row])) for row in rows]
        content = "\n".join([mark.join(map(str, keys)), *lines]).encode("utf-8", "surrogatepass")
    file.write_bytes(damaged(chance, content) if chance.random() < 0.35 else content)
    return file.name


def bad_rows(folder: Path, model: str, chance: random.Random) -> Case:
    """A file of data with bad rows, read by each command that reads one."""
    kind = chance.choice(list(ROWS))
    ending = chance.choice(ENDINGS)
    rows = [mutated(chance, row) for row in ROWS[kind]] + [chance.choice(JSON)] * (chance.random() < 0.2)
    chance.shuffle(rows)
    file = write_rows(folder, chance, "bad", rows, ending)
    store = ["feedback", "import", "store.db", file]
    commands = [
        *[["data", "inspect", file]] * 3,
        ["data", "inspect", file, "--model", model],
        ["score", "vader", file],
        ["check", "recipe.yaml", f"sft.data={file}"],
        ["check", "recipe.yaml", f"ppo.prompts={file}", f"judge.data={file}"],
        store,
        [*store, "--prompts"],
        [*store, "--ratings"],
        ["feedback", "gold", "store.db", file],
        ["sample", model, "--prompts", file, "--max-tokens", "1"],
        ["train", "sft", "--model", model, "--data", file, "batch_size=1"],
    ]
    return Case("rows", chance.choice(commands))


def bad_recipe(folder: Path, model: str, chance: random.Random) -> Case:
    """A recipe with odd values, or spoiled bytes."""
    tree = recipe_tree(model)
    if chance.random() < 0.7:
        text = yaml.safe_dump(mutated(chance, tree), sort_keys=False).encode()
    else:
        text = damaged(chance, yaml.safe_dump(tree).encode())
    (folder / "bad.yaml").write_bytes(text)
    if chance.random() < 0.35:
        return Case("recipe", ["run", "bad.yaml", "training.budget_seconds=1"])
    return Case("recipe", ["check", "bad.yaml"])


def settings_keys(name: str) -> list[str]:
    """Each setting of an algorithm, its loop, its sampling and the model, by its bare name."""
    kind = algorithms()[name]
    online = kind.consumes.__name__ == "Experience"  # type: ignore[attr-defined]
    loop = OnlineSettings if online else OfflineSettings
    keys = [
        *loop.model_fields,
        *(f.name for f in fields(kind)),
        "seed",
        "rank",
        "alpha",
        "layers",
        "num_layers",
        "head",
        "critic_trainable_layers",
    ]
    keys += [f"kl.{key}" for key in KLSettings.model_fields] + [
        "replay.share",
        "exploration.temperatures",
        "curriculum.width",
    ]
    return keys + (["completions", "max_tokens", "temperature", "top_p", "stop_ids", "batch"] if online else [])


def bad_setting(folder: Path, model: str, chance: random.Random) -> Case:
    """One odd value for one setting of one algorithm, with what it needs beside it."""
    name = chance.choice(list(algorithms()))
    kind = algorithms()[name].consumes.__name__  # type: ignore[attr-defined]
    value = chance.choice(NUMBERS if chance.random() < 0.8 else TEXTS)
    bad = f"{chance.choice(settings_keys(name))}={value}"
    if kind == "Experience":
        given = [
            "--prompts",
            "prompts.jsonl",
            "--reward",
            "vader",
            "steps=1",
            "prompts_per_step=2",
            "max_tokens=2",
        ]
        given += ["token_reward=" + model] if name == "rto" else []
    else:
        files = {
            "Demonstration": "demonstrations",
            "Preference": "preferences",
            "Label": "labels",
            "Ranking": "rankings",
        }
        given = ["--data", f"{files[kind]}.jsonl", "epochs=0.5"]
    return Case("setting", ["train", name, "--model", model, *given, "rank=2", "budget_seconds=1", bad])


MODEL_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "model.safetensors",
)


def bad_model(folder: Path, model: str, chance: random.Random) -> Case:
    """A model folder with a broken, missing or strange file, or an adapter with a broken configuration."""
    import json

    bad = folder / "bad-model"
    shutil.copytree(model, bad)
    if chance.random() < 0.25:
        shutil.rmtree(bad)
        bad.mkdir()
        plain = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": model,
            "r": 2,
            "lora_alpha": 4,
            "target_modules": ["q_proj"],
        }
        (bad / "adapter_config.json").write_bytes(as_json(mutated(chance, plain)))
        if chance.random() < 0.5:
            (bad / "adapter_model.safetensors").write_bytes(chance.randbytes(100))
    else:
        file = bad / chance.choice(MODEL_FILES)
        content = file.read_bytes() if file.exists() else b"{}"
        act = chance.random()
        if act < 0.15:
            file.unlink(missing_ok=True)
        elif act < 0.5 and file.suffix == ".json":
            file.write_bytes(as_json(mutated(chance, json.loads(content))))
        elif act < 0.6 and file.suffix == ".json":
            odd = {
                "quantization_config": chance.choice(
                    (
                        {"quant_method": "gptq", "bits": 4},
                        {"quant_method": "awq"},
                        {"quant_method": "bitsandbytes", "load_in_4bit": True},
                        5,
                        [],
                    )
                ),
                "architectures": chance.choice((["X"], 5, ["LlamaForSequenceClassification"])),
                "auto_map": {"AutoConfig": "x.Y"},
                "chat_template": chance.choice(
                    (
                        "{% for i in range(99999999) %}{% endfor %}",
                        "{{ 1/0 }}",
                        "{% for %}",
                        5,
                        "x",
                        "{{ messages }}",
                    )
                ),
                "model_type": chance.choice(("mamba", "bert", "t5", "gpt2", "", 5)),
                "num_labels": chance.choice(JSON),
                "eos_token": chance.choice(JSON),
            }
            key = chance.choice(list(odd))
            file.write_bytes(as_json({**json.loads(content), key: odd[key]}))
        else:
            file.write_bytes(damaged(chance, content))
    name = str(bad)
    commands = [
        ["sample", name, "--prompt", "hi", "--max-tokens", "1"],
        ["score", name, "preferences.jsonl"],
        ["data", "inspect", "demonstrations.jsonl", "--model", name],
        ["check", "recipe.yaml", f"model.name={name}"],
        ["train", "reward_model", "--model", name, "--data", "preferences.jsonl"],
        ["chat", name, "--max-tokens", "1"],
    ]
    return Case("model", chance.choice(commands), typed="hello\n")


COMMANDS: list[list[str]] = [
    ["check", "RECIPE"],
    ["run", "RECIPE", "--dry-run"],
    ["run", "RECIPE"],
    ["report", "TEXT"],
    ["report", "TEXT", "--language", "TEXT"],
    ["train", "TEXT", "--model", "TEXT", "--data", "TEXT"],
    ["train", "sft", "--model", "TEXT", "--data", "demonstrations.jsonl"],
    ["train", "ppo", "--model", "MODEL", "--prompts", "TEXT", "--reward", "TEXT"],
    ["train", "dpo", "--model", "MODEL", "--data", "preferences.jsonl", "--out", "TEXT"],
    ["evaluate", "TEXT", "--prompts", "TEXT"],
    ["evaluate", "MODEL", "--prompts", "prompts.jsonl", "--judges", "TEXT"],
    ["compare", "RECIPE", "--algorithms", "TEXT"],
    ["compare", "RECIPE", "--algorithms", "dpo", "--seeds", "NUMBER", "--seconds", "NUMBER"],
    ["score", "TEXT", "TEXT"],
    ["score", "vader", "preferences.jsonl", "--out", "TEXT"],
    ["score", "code.py:raises", "preferences.jsonl"],
    ["score", "code.py:exits", "preferences.jsonl"],
    ["score", "broken.py:f", "preferences.jsonl"],
    ["score", "code.py:TEXT", "preferences.jsonl"],
    ["sample", "TEXT", "--prompt", "TEXT"],
    ["sample", "MODEL", "--prompt", "TEXT", "--max-tokens", "1"],
    ["sample", "MODEL", "--prompts", "TEXT"],
    ["sample", "MODEL", "--prompt", "x", "--max-tokens", "NUMBER"],
    ["sample", "MODEL", "--prompt", "x", "--temperature", "NUMBER", "--max-tokens", "1"],
    ["sample", "MODEL", "--prompt", "x", "-k", "NUMBER", "--max-tokens", "1"],
    ["sample", "MODEL", "--prompt", "x", "--seed", "NUMBER", "--max-tokens", "1", "--out", "TEXT"],
    ["sample", "MODEL", "--prompt", "x", "--best-of", "NUMBER", "--reward", "TEXT", "--max-tokens", "1"],
    ["chat", "TEXT", "--top-p", "NUMBER", "--top-k", "NUMBER"],
    ["data", "inspect", "TEXT"],
    ["data", "inspect", "demonstrations.jsonl", "--rows", "NUMBER"],
    ["data", "inspect", "demonstrations.jsonl", "--model", "TEXT"],
    ["data", "inspect", "demonstrations.jsonl", "--model", "MODEL", "--chat-template", "TEXT"],
    ["feedback", "init", "TEXT", "--project", "TEXT", "--title", "TEXT"],
    ["feedback", "init", "new.db", "--project", "p", "--title", "t", "--task", "TEXT"],
    [
        "feedback",
        "init",
        "new.db",
        "--project",
        "p",
        "--title",
        "t",
        "--votes-per-item",
        "NUMBER",
        "--max-votes",
        "NUMBER",
    ],
    ["feedback", "init", "new.db", "--project", "p", "--title", "t", "--task", "rating", "--criteria", "TEXT"],
    ["feedback", "init", "new.db", "--project", "p", "--title", "t", "--guidelines", "TEXT"],
    ["feedback", "init", "new.db", "--project", "p", "--title", "t", "--min-reason-chars", "NUMBER"],
    ["feedback", "import", "TEXT", "TEXT"],
    ["feedback", "import", "store.db", "TEXT", "--ratings", "--scale", "NUMBER"],
    ["feedback", "import", "store.db", "TEXT", "--project", "TEXT"],
    ["feedback", "select-prompts", "store.db", "--count", "NUMBER", "--out", "TEXT"],
    ["feedback", "select-prompts", "store.db", "--count", "1", "--out", "o.jsonl", "--mix", "TEXT"],
    ["feedback", "select-prompts", "store.db", "--count", "1", "--out", "o.jsonl", "--mix", "random=NUMBER"],
    ["feedback", "status", "TEXT"],
    ["feedback", "status", "store.db", "--project", "TEXT"],
    ["feedback", "gold", "store.db", "TEXT"],
    ["feedback", "agreement", "TEXT"],
    ["feedback", "agreement", "store.db", "--json"],
    ["feedback", "export", "TEXT", "--out", "TEXT"],
    ["feedback", "export", "store.db", "--out", "TEXT"],
    ["feedback", "export", "store.db", "--out", "o", "--aggregation", "TEXT"],
    ["feedback", "export", "store.db", "--out", "o", "--format", "TEXT"],
    [
        "feedback",
        "export",
        "store.db",
        "--out",
        "o",
        "--kinds",
        "TEXT",
        "--exclude-annotator",
        "TEXT",
        "--criterion",
        "TEXT",
    ],
    ["feedback", "invite", "store.db", "--name", "TEXT"],
    ["feedback", "invite", "TEXT", "--annotator", "TEXT"],
    ["feedback", "set-annotator", "store.db", "TEXT", "TEXT"],
    ["feedback", "generate", "store.db", "--from", "TEXT"],
    ["feedback", "generate", "store.db", "--from", "MODEL", "--prompts", "TEXT", "--max-tokens", "1"],
    [
        "feedback",
        "generate",
        "store.db",
        "--from",
        "MODEL",
        "--max-tokens",
        "1",
        "--temperature",
        "NUMBER",
        "--similarity",
        "NUMBER",
    ],
    [
        "feedback",
        "generate",
        "store.db",
        "--from",
        "http://127.0.0.1:9/v1#m",
        "--timeout",
        "NUMBER",
        "--key",
        "TEXT",
    ],
    ["feedback", "auto-annotate", "store.db", "--annotator", "TEXT"],
    ["feedback", "auto-annotate", "store.db", "--annotator", "simulated:careful,ties=NUMBER"],
    ["feedback", "auto-annotate", "store.db", "--annotator", "rule:longer", "--tie", "NUMBER"],
    ["feedback", "power", "--effect", "NUMBER", "--kappa", "NUMBER"],
    ["feedback", "power", "--votes", "NUMBER", "--power", "NUMBER"],
    ["feedback", "power", "--ci-halfwidth", "NUMBER", "--accuracy", "NUMBER"],
    ["feedback", "power", "--alpha", "NUMBER", "--per-annotator", "NUMBER", "--ties", "NUMBER"],
    ["feedback", "serve", "TEXT", "--port", "70000"],
    ["feedback", "serve", "broken.db", "--host", "TEXT"],
    ["TEXT"],
    ["TEXT", "TEXT", "TEXT"],
    ["feedback", "TEXT"],
    ["data", "TEXT"],
    ["algorithms", "TEXT"],
]


def bad_command(folder: Path, model: str, chance: random.Random) -> Case:
    """A command whose arguments are odd."""
    found = []
    for part in chance.choice(COMMANDS):
        part = part.replace("RECIPE", "recipe.yaml").replace("MODEL", model)
        part = part.replace("NUMBER", chance.choice(NUMBERS[:20])).replace("TEXT", chance.choice(TEXTS))
        found.append(part)
    if chance.random() < 0.1:
        found.insert(chance.randrange(1, len(found) + 1), chance.choice(TEXTS))
    if found[:2] == ["check", "recipe.yaml"] or (found[0] == "run" and "--dry-run" not in found):
        keys = [
            "run",
            "seed",
            "model.name",
            "model.rank",
            "language",
            "track",
            "sft.data",
            "sft.model",
            "ppo.reward",
            "ppo.critic",
            "report.judges",
            "x",
            "ppo.training.kl",
            "judge.num_layers",
        ]
        found += [f"{chance.choice(keys)}={chance.choice((*TEXTS, *NUMBERS))}"]
    return Case("command", found, typed=chance.choice(("", "hi\n", "\udcff\n", "/reset\n/help\n")))


def bad_permission(folder: Path, model: str, chance: random.Random) -> Case:
    """Files and folders that may not be read or written, or that are the other of the two."""
    target = chance.choice(
        ("demonstrations.jsonl", "preferences.jsonl", "prompts.jsonl", "recipe.yaml", "store.db", ".")
    )
    path = folder / target
    commands = [
        ["check", "recipe.yaml"],
        ["data", "inspect", "demonstrations.jsonl"],
        ["score", "vader", "preferences.jsonl", "--out", "out.jsonl"],
        ["feedback", "status", "store.db"],
        ["feedback", "init", "new.db", "--project", "p", "--title", "t"],
        ["feedback", "export", "store.db", "--out", "o"],
        ["train", "sft", "--model", model, "--data", "demonstrations.jsonl"],
        ["report", "run"],
        ["sample", model, "--prompts", "prompts.jsonl", "--max-tokens", "1", "--out", "o.jsonl"],
        ["feedback", "import", "store.db", "preferences.jsonl"],
        ["feedback", "select-prompts", "store.db", "--count", "1", "--out", "o.jsonl"],
    ]
    case = Case("permission", chance.choice(commands), powerless=True)
    act = chance.random()
    if act < 0.55:
        os.chmod(path, chance.choice((0o000, 0o444, 0o222, 0o111, 0o555)))
    elif target != "." and act < 0.75:
        path.unlink()
        path.mkdir()
    elif target != ".":
        path.unlink()
        path.symlink_to(chance.choice((target, "/root/x", "/dev/full", "absent", "data.jsonl/x")))
    else:
        for name in ("o", "run", "runs", "out.jsonl", "o.jsonl", "new.db"):
            (folder / name).write_bytes(b"someone else's")
    return case


def bad_store(folder: Path, model: str, chance: random.Random) -> Case:
    """A database that is broken or is none."""
    file = folder / "store.db"
    content = file.read_bytes()
    file.write_bytes(
        damaged(chance, content)
        if chance.random() < 0.8
        else content[:100] + chance.randbytes(len(content) - 100)
    )
    commands = [
        ["status", "store.db"],
        ["agreement", "store.db"],
        ["export", "store.db", "--out", "o"],
        ["import", "store.db", "preferences.jsonl"],
        ["auto-annotate", "store.db", "--annotator", "rule:longer"],
        ["link", "store.db", "--name", "Ann"],
        ["pick", "store.db", "--count", "1", "--out", "o.jsonl"],
    ]
    return Case("store", ["feedback", *chance.choice(commands)])


KINDS: list[tuple[Callable[[Path, str, random.Random], Case], int]] = [
    (bad_rows, 28),
    (bad_recipe, 18),
    (bad_setting, 14),
    (bad_model, 10),
    (bad_command, 22),
    (bad_permission, 5),
    (bad_store, 3),
]


def make_case(folder: Path, model: str, seed: str) -> Case:
    """The case of a seed, its files in `folder`."""
    chance = random.Random(seed)
    (make,) = chance.choices([kind for kind, _ in KINDS], [share for _, share in KINDS])
    return make(folder, model, chance)
