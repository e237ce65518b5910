"""The alarm where sampler and trainer do not speak of one distribution; the stop where that is not rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import online, recorded
from tiny import ragged_groups

from gnomon.algorithms.rloo import RLOO
from gnomon.core.batches import StepTotals
from gnomon.core.errors import RunError
from gnomon.core.experience import Experience, Rollout
from gnomon.rollouts.choice import DECODERS
from gnomon.rollouts.decoding import SlotDecoder
from gnomon.training.online.exploration import sample_group_mix
from gnomon.training.online.sampler_mismatch import check_mismatch, compare_logprobs
from gnomon.training.settings import Exploration, Replay

WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "recomputed": {"recompute_logprobs": True},
    "replayed": {"replay": Replay(share=1.0), "learning_rate": 0.05},
    "explored": {"exploration": Exploration(reference_share=0.5, temperatures=(0.9, 2.0)), "learning_rate": 0.05},
}


def shifted(by: float, *, after: int = 0) -> Any:
    """`explore` with a sampler that says of every token, after some rounds, that it is `by` nats likelier."""
    before = iter(range(after))

    def draw(*args: Any, **settings: Any) -> list[list[Rollout]]:
        groups = sample_group_mix(*args, **settings)
        if next(before, None) is not None:
            return groups
        return [[replace(r, logprobs=tuple(p + by for p in r.logprobs)) for r in group] for group in groups]

    return draw


def run(folder: Path, words: Any, **settings: Any) -> list[dict[str, Any]]:
    online(
        folder, words, algorithm=RLOO(), sampling={"completions": 4}, epochs=1, minibatches=1, **settings
    ).run()
    return recorded(folder)


@pytest.mark.parametrize("way", WAYS)
def test_a_planted_gap_is_said(
    way: str, tmp_path: Path, words: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the second round each token is 0.06 nats off, which costs e^−0.06 − 1 + 0.06, whoever computes it."""
    monkeypatch.setattr("gnomon.training.online.loop.sample_group_mix", shifted(0.06, after=1))
    rows = run(tmp_path, words, **WAYS[way])
    err = capsys.readouterr().err
    assert err.count("sampler and trainer disagree") == len(rows) - 1 == 3
    assert ("recompute_logprobs" in err) == (way == "plain")
    assert rows[0]["sampler_trainer_kl"] < 1e-6
    for row in rows[1:]:
        assert row["sampler_trainer_kl"] == pytest.approx(math.expm1(-0.06) + 0.06, rel=1e-3)
        assert row["sampler_trainer_prob_abs_diff"] > 1e-4


@pytest.mark.parametrize("way", WAYS)
def test_a_gap_in_the_first_round_stops_the_run_before_anything_is_learned(
    way: str, tmp_path: Path, words: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.06 nats cost 0.0018, more than float32 explains."""
    monkeypatch.setattr("gnomon.training.online.loop.sample_group_mix", shifted(0.06))
    settings = {"algorithm": RLOO(), "sampling": {"completions": 4}, "epochs": 1, "minibatches": 1, **WAYS[way]}
    loop = online(tmp_path, words, **settings)
    before = {name: p.detach().clone() for name, p in loop.models.policy.trainable().items()}
    with pytest.raises(
        RunError, match=r"disagree in the first round: mean .* KL 0.0018 a token, where float32 expl"
    ):
        loop.run()
    assert recorded(tmp_path) == []
    assert all(torch.equal(before[name], p) for name, p in loop.models.policy.trainable().items())


def test_a_sampler_that_reads_its_neighbors_states_stops_the_run(
    tmp_path: Path, words: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Neighbors(SlotDecoder):
        def decode(self, tokens: Sequence[int]) -> torch.Tensor:
            return super().decode(tokens).roll(1, 0)

    monkeypatch.setitem(DECODERS, "slots", Neighbors)
    with pytest.raises(RunError, match="sampler and trainer disagree in the first round"):
        run(tmp_path, words)


@pytest.mark.parametrize(
    ("dtype", "nats", "stops"),
    [
        (torch.float32, 1e-3, False),  # a recurrence step by step: 5e-7
        (torch.float32, 0.02, True),  # 2e-4
        (torch.bfloat16, 0.1, False),  # 0.005
        (torch.bfloat16, 0.3, True),  # 0.041
    ],
)
def test_precision_explains_so_much_and_no_more(dtype: torch.dtype, nats: float, stops: bool) -> None:
    """Each token `nats` likelier than the trainer says, at ¼: its KL is e^−δ − 1 + δ, and |Δp| ¼·(e^δ − 1)."""
    mismatch = {"approx_kl": math.expm1(-nats) + nats, "prob_abs_diff": 0.25 * math.expm1(nats)}
    context = pytest.raises(RunError, match="disagree in the first round") if stops else nullcontext()
    with context:
        check_mismatch(mismatch, dtype)
    check_mismatch({}, dtype)


@pytest.mark.parametrize("way", WAYS)
def test_without_a_gap_it_is_silent_whoever_else_drew(
    way: str, tmp_path: Path, words: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Replayed completions, the reference's and those of other temperatures are not the sampler's fault."""
    rows = run(tmp_path, words, **WAYS[way])
    assert "disagree" not in capsys.readouterr().err
    assert all(abs(row["sampler_trainer_kl"]) < 1e-6 for row in rows)


def test_the_two_means_by_hand() -> None:
    """One token at ½ where the trainer says ¼: |Δp| is ¼ there, and it costs ½ − 1 + ln 2 nats."""
    tokens = ragged_groups().select([0, 1])
    n, width = tokens.mask.shape
    rest = [int(count) for count in tokens.mask.sum(1)]
    drawn = Experience(
        tokens=tokens,
        old_logprobs=torch.full((n, width), math.log(0.25)),
        scores=torch.zeros(n),
        finished=torch.ones(n, dtype=torch.bool),
        totals=StepTotals(n, float(sum(rest))),
    )
    recomputed = replace(
        drawn, old_logprobs=torch.full((n, width), math.log(0.25)).masked_fill(~tokens.mask, 7.0)
    )
    sampler_logprobs = drawn.old_logprobs.clone()
    sampler_logprobs[0, 0], sampler_logprobs[1] = math.log(0.5), 3.0  # the second row is not compared
    mismatch = compare_logprobs(replace(drawn, old_logprobs=sampler_logprobs), recomputed, [0])
    assert mismatch["prob_abs_diff"] == pytest.approx(0.25 / rest[0])
    assert mismatch["approx_kl"] == pytest.approx((0.5 - 1 + math.log(2)) / rest[0])
    assert compare_logprobs(drawn, recomputed, []) == {}
