"""The reference is asked once: later runs with the same question find its answers, others ask anew."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import LORA, offline, recorded, weights_of
from safetensors.torch import load_file, save_file
from tiny import shake, tiny_policy

from gnomon.algorithms.dpo import DPO
from gnomon.algorithms.ipo import IPO
from gnomon.algorithms.kto import KTO
from gnomon.models.roles import Policy
from gnomon.models.settings import Trainable
from gnomon.training.offline import reference_cache as reference_cache_module
from gnomon.training.runtime.model_bundle import TrainedModels

WHOLE, UPPER = Trainable(adapter="none"), Trainable(rank=4, layers=1)


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A name for each time that a reference was asked about the data."""
    times: list[str] = []
    compute = reference_cache_module.ReferenceEvaluator._compute

    def recording(self: Any, examples: Any) -> Any:
        times.append(self.label)
        return compute(self, examples)

    monkeypatch.setattr(reference_cache_module.ReferenceEvaluator, "_compute", recording)
    return times


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "cache").glob("*"))


@pytest.mark.parametrize("trainable", [LORA, WHOLE, UPPER], ids=["adapter", "whole", "upper layers"])
@pytest.mark.parametrize("algorithm", [DPO(), KTO()], ids=["dpo", "kto"])
def test_the_same_question_has_the_same_answer(
    algorithm: Any, trainable: Trainable, tmp_path: Path, evaluations: list[str]
) -> None:
    """To the last bit, with frozen lower layers too; and as without a cache."""
    weights = {}
    for name in ("plain", "first", "second"):
        cache = None if name == "plain" else tmp_path / "cache"
        models = TrainedModels(tiny_policy(trainable=trainable))
        offline(tmp_path / name, algorithm=algorithm, models=models, reference_cache=cache)
        weights[name] = weights_of(models)
        assert recorded(tmp_path / name) == recorded(tmp_path / "plain")
    assert all(torch.equal(a, b) for a, b in zip(weights["second"], weights["plain"], strict=True))
    assert len(evaluations) == 2, "the third run knew"
    assert len(files(tmp_path)) == 1


def test_another_loss_asks_nothing_new(tmp_path: Path, evaluations: list[str]) -> None:
    offline(tmp_path / "dpo", algorithm=DPO(), reference_cache=tmp_path / "cache")
    offline(tmp_path / "ipo", algorithm=IPO(), reference_cache=tmp_path / "cache", learning_rate=0.1)
    assert len(evaluations) == 1


def test_other_weights_tokens_or_batches_are_another_question(tmp_path: Path, evaluations: list[str]) -> None:
    def run(name: str, models: TrainedModels | None = None, **settings: Any) -> None:
        offline(tmp_path / name, algorithm=DPO(), models=models, reference_cache=tmp_path / "cache", **settings)

    run("first")
    run("batches", micro_batch_tokens=30)
    policy = tiny_policy(trainable=WHOLE)
    run("whole", TrainedModels(policy))
    assert len(evaluations) == 2, "the same weights, however they learn"
    moved = tiny_policy(trainable=WHOLE)
    shake(moved, by=1e-6)
    run("moved", TrainedModels(moved))
    padded = tiny_policy(trainable=LORA)
    padded.layout = "plain"
    run("layout", TrainedModels(padded))
    run("some of the data", epochs=0.5)
    assert len(evaluations) == len(files(tmp_path)) == 5


def test_what_an_adapter_that_is_off_has_learned_is_no_part_of_it(tmp_path: Path, evaluations: list[str]) -> None:
    for name in ("first", "second"):
        models = TrainedModels(tiny_policy(trainable=LORA))
        if name == "second":
            shake(models.trained)
        offline(tmp_path / name, algorithm=DPO(), models=models, reference_cache=tmp_path / "cache")
    assert len(evaluations) == 1


def test_a_damaged_or_renamed_file_answers_nothing(
    tmp_path: Path, evaluations: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, **settings: Any) -> list[dict[str, Any]]:
        offline(tmp_path / name, algorithm=DPO(), reference_cache=tmp_path / "cache", **settings)
        return recorded(tmp_path / name)

    first = run("first")
    (file,) = (tmp_path / "cache").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-7])
    assert run("cut") == first
    assert "cannot be read" in capsys.readouterr().err
    assert file.read_bytes() == whole, "asked again, and mended"
    run("batches", micro_batch_tokens=30)
    (other,) = set((tmp_path / "cache").iterdir()) - {file}
    shutil.copy(other, file)
    assert run("renamed") == first
    assert len(evaluations) == 4


def test_a_folder_that_cannot_be_written_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").write_text("a file where the folder would be")
    offline(tmp_path / "run", algorithm=DPO(), reference_cache=tmp_path / "cache")
    assert "could not be cached" in capsys.readouterr().err


def test_the_longest_unused_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluations: list[str]
) -> None:
    def run(tokens: int) -> set[str]:
        offline(
            tmp_path / f"{tokens}", algorithm=DPO(), reference_cache=tmp_path / "cache", micro_batch_tokens=tokens
        )
        return set(files(tmp_path))

    size = len((tmp_path / "cache" / next(iter(run(10_000)))).read_bytes())
    monkeypatch.setattr(reference_cache_module, "LIMIT", 2 * size + size // 2)
    first = run(10_000)
    second = run(30) - first
    run(10_000)  # used again
    assert run(40) >= first
    assert not second & set(files(tmp_path))


def test_the_newest_answers_stay_however_large_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_cache_module, "LIMIT", 1)
    offline(tmp_path / "one", algorithm=DPO(), reference_cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_only_its_own_answers_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither somebody's weights in that folder nor a file that was renamed."""
    cache = tmp_path / "cache"
    offline(tmp_path / "one", algorithm=DPO(), reference_cache=cache)
    (own,) = cache.iterdir()
    save_file({"weight": torch.zeros(100)}, cache / "model.safetensors")
    own.rename(cache / "mine.safetensors")
    monkeypatch.setattr(reference_cache_module, "LIMIT", 1)
    offline(tmp_path / "two", algorithm=DPO(), reference_cache=cache)
    offline(tmp_path / "three", algorithm=DPO(), reference_cache=cache, micro_batch_tokens=30)
    left = {path.name for path in cache.iterdir()}
    assert {"model.safetensors", "mine.safetensors"} <= left
    assert own.name not in left
    assert len(left) == 3


def test_what_is_kept_is_what_the_policy_says(tmp_path: Path) -> None:
    policy: Policy = tiny_policy(trainable=LORA)
    offline(tmp_path / "run", algorithm=DPO(), models=TrainedModels(policy), reference_cache=tmp_path / "cache")
    cached = load_file(tmp_path / "cache" / files(tmp_path)[0])
    assert cached["logprobs"].dtype == torch.float32
    assert int(cached["lengths"].sum()) == len(cached["logprobs"])
    assert cached["logprobs"].max() < 0
