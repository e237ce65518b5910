"""Exported decision models: transformers loads them in a process without Gnomon, with Gnomon's own scores."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from saved_classifiers import HEADS, saved_decoder, saved_encoder
from tiny import CPU, prompts_of, tiny_reward_model

from gnomon.api.score import reward_named
from gnomon.core.errors import ModelError
from gnomon.core.types import Completion, Message, Prompt, Role
from gnomon.models.encoders.scorer import open_scorer
from gnomon.models.library_patches import set_score_head
from gnomon.models.loading import save_model
from gnomon.models.scalar_head import new_head
from gnomon.models.settings import HeadSettings
from gnomon.serving.decision_folder import OWN_TASK, TASK, export_decision
from gnomon.serving.portable.decision_questions import choice_probabilities

PROMPT, CHOICES = "review a film", ["a very good film", "no", "good good good film film"]
TURNS: list[tuple[Role, str]] = [("system", "be brief"), ("user", "hi"), ("assistant", "good"), ("user", PROMPT)]
# Gnomon is hidden: its import fails, as where it is not installed.
SCRIPT = """
import json, sys
sys.modules["gnomon"] = None
from transformers import pipeline
answers = []
for folder, task, requests in json.loads(sys.argv[1]):
    decide = pipeline(task, model=folder, trust_remote_code=True)
    answers.append([])
    for request in requests:
        try:
            answers[-1].append(decide(request))
        except ValueError as error:
            answers[-1].append(str(error))
print(json.dumps(answers))
"""


def decisions(folder: Path, calls: list[tuple[str, str, list[Any]]]) -> list[list[Any]]:
    """The pipelines' results in one process of their own."""
    command = [sys.executable, "-I", "-c", SCRIPT, json.dumps(calls)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert run.returncode == 0, run.stderr
    answers: list[list[Any]] = json.loads(run.stdout.splitlines()[-1])
    return answers


def expected(spec: str, prompt: Prompt) -> list[float]:
    completions = [Completion(str(n), text) for n, text in enumerate(CHOICES)]
    scores: list[float] = reward_named(spec).score([prompt] * len(CHOICES), completions).values.tolist()
    return scores


def own_model(folder: Path, tokenizer: Any) -> str:
    """A model as Gnomon saves it, with an offset."""
    model = tiny_reward_model(tokenizer, vocab=len(tokenizer) + 8)
    model.center(0.75)
    save_model(model, folder)
    return str(folder)


KINDS: dict[str, tuple[Callable[[Path, Any], str], str, str]] = {
    "own": (own_model, "", TASK),
    "others": (saved_decoder, "", TASK),
    "heads": (lambda folder, t: saved_decoder(folder, t, num_labels=3, id2label=HEADS), "#verbosity", TASK),
    "qwen2": (lambda folder, t: saved_decoder(folder, t, "qwen2"), "", OWN_TASK),
    "encoder": (lambda folder, _: saved_encoder(folder, num_labels=3, id2label=HEADS), "#correctness", TASK),
}


@pytest.mark.long
def test_pipelines_without_gnomon_have_its_scores(tmp_path: Path, chat_tokenizer: Any) -> None:
    turns = tuple(Message(role, text) for role, text in TURNS)
    conversation = [{"role": role, "content": text} for role, text in TURNS]
    question = {"type": "choice", "instructions": PROMPT, "criteria": dict.fromkeys(CHOICES)}
    requests = [
        {"prompt": PROMPT, "choices": CHOICES},
        {"prompt": conversation, "choices": CHOICES},
        {"state": None, "questions": {"which": question}},
        {"prompt": "a <|im_end|> b [SEP] c", "choices": CHOICES},
    ]
    specs, calls = [], []
    for kind, (save, mark, task) in KINDS.items():
        specs.append(save(tmp_path / kind, chat_tokenizer) + mark)
        folder = tmp_path / f"decides-{kind}"
        assert export_decision(open_scorer(specs[-1], CPU), folder, specs[-1]) == task
        calls.append((str(folder), task, requests))
    for kind, spec, results in zip(KINDS, specs, decisions(tmp_path, calls), strict=True):
        first, second, typed, refused = results
        scores = expected(spec, prompts_of(PROMPT)[0])
        assert first["scores"] == pytest.approx(scores, abs=1e-4), kind
        assert max(scores) - min(scores) > 0.05
        probabilities = choice_probabilities(scores).values
        assert list(first["probabilities"].values()) == pytest.approx(probabilities, abs=1e-4)
        assert first["label"] == CHOICES[scores.index(max(scores))]
        assert first["calibrated"] is False
        assert list(typed["which"]["probabilities"].values()) == pytest.approx(probabilities, abs=1e-4)
        assert "control token" in refused
        if kind == "encoder":
            assert "one user's message" in second
        else:
            assert second["scores"] == pytest.approx(expected(spec, Prompt("p", turns)), abs=1e-4), kind


def test_a_folder_holds_no_pickle_and_its_calibration(tmp_path: Path, chat_tokenizer: Any) -> None:
    model = tiny_reward_model(chat_tokenizer)
    model.network.config.score_calibration = {"method": "temperature", "pairs": 50, "temperature": 2.0}
    save_model(model, tmp_path / "model")
    model = open_scorer(str(tmp_path / "model"), CPU)  # type: ignore[assignment]
    export_decision(model, tmp_path / "decides", "model")
    names = {path.name for path in (tmp_path / "decides").iterdir()}
    assert {"model.safetensors", "decision_pipeline.py", "decision_questions.py", "README.md"} <= names
    assert {Path(name).suffix for name in names} <= {".safetensors", ".json", ".py", ".md", ".jinja"}
    config = json.loads((tmp_path / "decides" / "config.json").read_text())
    assert config["score_calibration"]["temperature"] == 2.0
    assert config["decision"]["form"] == "turn"
    assert "calibrated on held-out pairs" in (tmp_path / "decides" / "README.md").read_text("utf-8")
    again = expected(str(tmp_path / "decides"), prompts_of(PROMPT)[0])
    assert again == pytest.approx(expected(str(tmp_path / "model"), prompts_of(PROMPT)[0]), abs=1e-5)


def test_what_transformers_cannot_load_is_not_exported(tmp_path: Path, chat_tokenizer: Any) -> None:
    model = tiny_reward_model(chat_tokenizer)
    (tmp_path / "taken").mkdir()
    with pytest.raises(ModelError, match="exists already"):
        export_decision(model, tmp_path / "taken", "model")
    set_score_head(model.network, new_head(32, HeadSettings(head="mlp"), 0))
    with pytest.raises(ModelError, match="has a head that transformers"):
        export_decision(model, tmp_path / "new", "model")
    with pytest.raises(ModelError, match="is no single reward model"):
        export_decision(torch.nn.Linear(2, 1), tmp_path / "new", "model")
    assert not (tmp_path / "new").exists()
