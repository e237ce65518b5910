"""Samples of a policy that learns from stored data."""

from __future__ import annotations

from pathlib import Path

import torch
from loops import LORA, offline, weights_of
from project import Project
from tiny import byte_tokenizer, prompts_of, tiny_policy

from gnomon.core.storage.files import read_jsonl
from gnomon.training.offline.sample_logging import SampleLogger
from gnomon.training.runtime.model_bundle import TrainedModels


def test_a_recipes_stage_shows_samples_and_learns_as_if_it_had_not(project: Project, finished: Project) -> None:
    """12 demonstrations of 4 prompts, twice, 4 a step: steps 2, 4 and 6 are looked at. Same numbers without."""
    project.go("sft.training.log_samples_every=2")
    assert project.metrics("aligned") == finished.metrics("aligned")
    rows = list(read_jsonl(project.run / "sft" / "samples.jsonl"))
    assert [row["step"] for row in rows] == [2] * 4 + [4] * 4 + [6] * 4
    assert len({row["prompt"] for row in rows}) == 4
    assert all(row["text"] for row in rows)
    assert not (project.run / "judge" / "samples.jsonl").exists(), "a reward model writes nothing"


def test_looking_changes_no_number(tmp_path: Path) -> None:
    plain = offline(
        tmp_path / "plain", models=TrainedModels(tiny_policy(byte_tokenizer(chat=True), trainable=LORA))
    )
    policy = tiny_policy(byte_tokenizer(chat=True), trainable=LORA)
    showing = SampleLogger(policy, prompts_of("a", "b", "a"), 1, tmp_path / "watched")
    steps = iter(range(1, 100))

    def look(_: int) -> None:
        showing(next(steps), {})

    watched = offline(tmp_path / "watched", models=TrainedModels(policy), before=look)
    for one, other in zip(weights_of(plain), weights_of(watched), strict=True):
        assert torch.equal(one, other)
    rows = list(read_jsonl(tmp_path / "watched" / "samples.jsonl"))
    assert [row["prompt"] for row in rows[:4]] == ["a", "b", "a", "b"], "each prompt once a look"
    assert rows[0]["text"] != rows[-2]["text"], "the policy has changed, the random numbers have not"


def test_resumed_it_goes_on_after_the_checkpoint(tmp_path: Path) -> None:
    """What was sampled after the step that a run goes on from is drawn again, and stands once."""
    policy = tiny_policy(byte_tokenizer(chat=True), trainable=LORA)
    first = SampleLogger(policy, prompts_of("a"), 1, tmp_path)
    for step in (1, 2, 3):
        first(step, {})
    again = SampleLogger(policy, prompts_of("a"), 1, tmp_path)
    again(2, {})
    assert [row["step"] for row in read_jsonl(tmp_path / "samples.jsonl")] == [1, 2]
