"""What a micro-batch takes, from a trial: against hand counts, and against what larger ones really take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from loops import examples_for, offline, online, recorded, weights_of
from tiny import shake, tiny_critic, tiny_policy, tiny_reward_model, word_tokenizer

from gnomon.algorithms.dpo import DPO
from gnomon.core.errors import ConfigError
from gnomon.core.storage.files import read_json, write_json
from gnomon.models.engine.lm_head import CHUNK
from gnomon.models.settings import Trainable
from gnomon.training.runtime import memory_profile as module
from gnomon.training.runtime.memory_profile import (
    Shape,
    fit,
    footprint,
    held_bytes,
    peak_bytes,
    random_groups,
    shape_of,
    weight_bytes,
)
from gnomon.training.runtime.model_bundle import TrainedModels

SHAPE = Shape(prompt=12, completion=8, together=2)


def real_peak(models: TrainedModels, tokens: int) -> tuple[int, int]:
    """Tokens, and the bytes that a pass over them takes, gradients being there."""
    groups = random_groups(tokens, SHAPE, models.trained)
    module._pass(models, groups)
    learning = list(models.trained.trainable().values())
    known = [*module._tensors([models.trained]), *(p.grad for p in learning if p.grad is not None)]
    peak = peak_bytes(lambda: module._pass(models, groups), known, torch.device("cpu"))
    for parameter in learning:
        parameter.grad = None
    return groups.cost, peak


@pytest.mark.parametrize("make", [tiny_policy, tiny_reward_model])
@pytest.mark.parametrize(
    "trainable", [Trainable(adapter="none"), Trainable(rank=4, layers=1)], ids=["all", "lora"]
)
def test_it_tells_what_larger_micro_batches_take(make: Any, trainable: Trainable) -> None:
    models = TrainedModels(make(trainable=trainable, layers=4))
    profile = footprint(models, SHAPE)
    for tokens in (1000, 3000):
        cost, real = real_peak(models, tokens)
        assert profile.activations(cost) == pytest.approx(real, rel=0.1)
    assert profile.tokens_per_second > 0


def test_what_weights_gradients_and_moments_take() -> None:
    whole = TrainedModels(tiny_policy(trainable=Trainable(adapter="none")))
    count = whole.policy.parameter_counts()["total"]
    profile = footprint(whole, SHAPE)
    buffers = sum(b.nbytes for b in whole.policy.network.buffers())
    assert (profile.weights - buffers, profile.gradients, profile.moments) == (4 * count, 4 * count, 8 * count)
    part = TrainedModels(tiny_policy(trainable=Trainable(rank=4, layers=1)))
    assert footprint(part, SHAPE).gradients == 4 * part.policy.parameter_counts()["trainable"]


def test_weights_that_two_models_share_count_once() -> None:
    judge, critic = tiny_reward_model(), tiny_critic()
    apart = weight_bytes([judge, critic])
    critic.share_trunk(judge)
    assert weight_bytes([judge, critic]) < 0.6 * apart
    assert footprint(TrainedModels(tiny_policy(), critic), SHAPE).gradients == 4 * 32


def test_a_trial_leaves_no_trace() -> None:
    models = TrainedModels(tiny_policy(trainable=Trainable(rank=4)))
    shake(models.policy)
    before, state = (
        weight_bytes([models.policy]),
        [p.detach().clone() for p in models.policy.trainable().values()],
    )
    footprint(models, SHAPE)
    assert weight_bytes([models.policy]) == before
    for parameter, value in zip(models.policy.trainable().values(), state, strict=True):
        assert parameter.grad is None
        assert torch.equal(parameter, value)


def test_recomputed_layers_take_less() -> None:
    models = TrainedModels(tiny_policy(trainable=Trainable(adapter="none"), layers=6))
    plain = footprint(models, SHAPE)
    models.policy.checkpoint_gradients(True)
    profile = footprint(models, SHAPE)
    assert profile.per_token < 0.7 * plain.per_token
    cost, real = real_peak(models, 3000)
    assert profile.activations(cost) == pytest.approx(real, rel=0.15)


def test_bytes_are_counted_while_somebody_holds_them() -> None:
    """Three tensors of 4 kB, of which two at most are there at once, and one that was there before."""
    before = torch.ones(1000)

    def work() -> None:
        first = before + 1
        second = first * 2
        del first
        third = second.view(10, 100) + second.view(10, 100)
        del second, third

    assert peak_bytes(work, [before], torch.device("cpu")) == 8000


@pytest.mark.parametrize(
    "shape", [Shape(1, 1), Shape(10_000, 50), Shape(5, 10_000, 8), Shape(100, 20, 64)], ids=str
)
def test_made_up_groups_are_as_large_as_the_trial(shape: Shape) -> None:
    groups = random_groups(512, shape, tiny_policy())
    assert 256 <= groups.cost <= 512


def test_the_shape_of_examples() -> None:
    assert shape_of(examples_for(DPO())).together == 3


def test_memory_sets_the_micro_batch() -> None:
    models = TrainedModels(tiny_policy(trainable=Trainable(adapter="none")))
    profile, held = footprint(models, SHAPE), held_bytes(torch.device("cpu"))
    expected_bytes = held + profile.gradients + profile.moments + profile.activations(1000)
    chosen = fit(models, expected_bytes / 1e9, SHAPE, "sft")
    assert chosen.tokens == pytest.approx(800, rel=0.5)  # a fifth is for frozen states; the process breathes
    assert fit(models, expected_bytes / 1e9 + 1, SHAPE, "sft").tokens > 10 * chosen.tokens
    with pytest.raises(
        ConfigError, match=r"stage 'sft': training.memory_gb: 0.01 leaves no room .* at least \d\.\d"
    ):
        fit(models, 0.01, SHAPE, "sft")


@pytest.mark.parametrize("kind", ["offline", "online"])
def test_a_loop_asks_once_and_its_numbers_are_the_same(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, **settings: Any) -> Any:
        if kind == "offline":
            return weights_of(offline(tmp_path / name, algorithm=DPO(), **settings))
        loop = online(tmp_path / name, word_tokenizer(), steps=2, **settings)
        loop.run()
        return weights_of(loop.models)

    expected, gigabytes = run("plain"), held_bytes(torch.device("cpu")) / 1e9 + 0.5
    fitted = run("fitted", memory_gb=gigabytes)
    for one, other in zip(fitted, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    saved = read_json(tmp_path / "fitted" / "token_budget.json")
    assert f"micro-batches of {saved['tokens']} tokens fit into" in " ".join(capsys.readouterr().err.split())
    assert 0 < saved["states_gb"] <= 0.1
    write_json(tmp_path / "again" / "token_budget.json", {**saved, "tokens": 20})
    run("again", memory_gb=gigabytes)
    assert read_json(tmp_path / "again" / "token_budget.json")["tokens"] == 20, (
        "a loop that goes on cuts as before"
    )
    assert "fit into" not in capsys.readouterr().err
    if kind == "offline":
        rows = recorded(tmp_path / "again"), recorded(tmp_path / "plain")
        assert rows[0][-1]["loss"] == pytest.approx(rows[1][-1]["loss"], rel=1e-4)


def test_what_passes_is_bounded_by_what_no_micro_batch_is_without() -> None:
    """Three times a matrix's gradient and twice a chunk of the vocabulary, beside the scores of attention.

    Where layers are computed again, most of what passes grows with the tokens, and only the scores are left.
    """
    models = TrainedModels(tiny_policy(trainable=Trainable(adapter="none"), layers=4))
    groups, learning = (
        random_groups(module.TRIAL, SHAPE, models.trained),
        list(models.trained.trainable().values()),
    )
    plain = module._constant(models, learning, groups)
    assert 0 < footprint(models, SHAPE).fixed <= plain
    models.trained.checkpoint_gradients(True)
    again = module._constant(models, learning, groups)
    assert plain - again == 3 * max(p.nbytes for p in learning) + 2 * CHUNK * 61 * 4
    assert again > 0
