"""Models of different vocabularies in one recipe: texts cross between them, ids do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from project import Project
from tiny import tiny_network

import gnomon
from gnomon.core.errors import ModelError
from gnomon.core.storage.files import read_json, read_jsonl


@pytest.fixture
def stranger(tmp_path: Path, chat_tokenizer: Any) -> Path:
    """A language model whose tokenizer writes whole words where the project's writes bytes."""
    folder = tmp_path / "stranger"
    tiny_network(vocab=len(chat_tokenizer)).save_pretrained(folder)
    chat_tokenizer.save_pretrained(folder)
    return folder


def test_a_judge_of_another_vocabulary_scores_the_texts(project: Project, stranger: Path) -> None:
    project.go(f"judge.model={stranger}", "aligned.critic=sft", "aligned.training.steps=1")
    judge = gnomon.load_reward_model(project.run / "judge", device="cpu", precision="float32")
    rows = list(read_jsonl(project.run / "aligned" / "samples.jsonl"))
    scores = gnomon.score(judge, [row["prompt"] for row in rows], [row["text"] for row in rows])
    assert [row["score"] for row in rows] == pytest.approx(scores, abs=1e-4)
    assert len({round(score, 3) for score in scores}) > 1
    shown = list(read_jsonl(project.run / "report" / "samples.jsonl"))
    scores = gnomon.score(judge, [row["prompt"] for row in shown], [row["text"] for row in shown])
    assert [row["scores"]["judge"] for row in shown] == pytest.approx(scores, abs=1e-4)


def test_the_kl_between_vocabularies_is_not_made_up(
    copied: Project, stranger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied.go(f"report.evaluate=[sft, {stranger}, aligned]")
    assert "has another vocabulary than sft" in " ".join(capsys.readouterr().err.split())
    rows = read_json(copied.run / "report" / "result.json")["table"]
    assert [row["kl"] is None for row in rows] == [True, True, False]
    judge = gnomon.load_reward_model(copied.run / "judge", device="cpu", precision="float32")
    shown = [r for r in read_jsonl(copied.run / "report" / "samples.jsonl") if r["model"] == str(stranger)]
    scores = gnomon.score(judge, [row["prompt"] for row in shown], [row["text"] for row in shown])
    assert [row["scores"]["judge"] for row in shown] == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize(
    ("key", "override"), [("critic", "aligned.settings={}"), ("token_reward", "aligned.algorithm=rto")]
)
def test_what_reads_the_policys_ids_has_its_vocabulary(
    copied: Project, stranger: Path, key: str, override: str
) -> None:
    said = f"stage 'aligned': {key} '.*' has another vocabulary than 'sft', whose tokens it reads; set {key} to"
    with pytest.raises(ModelError, match=said):
        copied.go(override, f"aligned.{key}={stranger}")
