"""What every algorithm over stored judgements keeps to: slopes, directions, and what must not matter."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cases import batch_for, models_for, select
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from gnomon.algorithms.contract import algorithms, needs_step_statistics
from gnomon.core.batches import Labels, Preferences, Rankings
from gnomon.core.types import Label, Preference, Ranking

EVERY = {
    name: kind
    for name, kind in algorithms().items()
    if kind.consumes in (Preference, Label, Ranking) and kind.trains == "policy"  # type: ignore[attr-defined]
}
PAIRED = [name for name, kind in EVERY.items() if kind.consumes is Preference]  # type: ignore[attr-defined]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"label_smoothing": 0.1},
    {"label_smoothing": 0.2, "robust": True},
    {"margin_weight": 0.5},
    {"ld_alpha": 0.3},
    {"sft_coef": 0.7},
    {"soft_labels": False},
]


def case(algorithm: Any) -> tuple[Any, Tensor]:
    """A ragged batch, and log-probabilities in double precision."""
    models = models_for(algorithm)
    batch = batch_for(algorithm, models)
    with torch.no_grad():
        return batch, models.policy.logprobs(batch.tokens).double()


def loss_of(algorithm: Any, batch: Any, logprobs: Tensor) -> Tensor:
    models = SimpleNamespace(policy=SimpleNamespace(logprobs=lambda tokens: logprobs), temperature=1.0)
    loss: Tensor = algorithm.loss(models, batch)[0]
    return loss


def test_all_are_here() -> None:
    expected = {"dpo", "ipo", "hinge", "kto", "orpo", "simpo", "cpo", "bco", "plackett_luce"}
    assert expected <= set(EVERY)


@pytest.mark.parametrize("name", EVERY)
def test_gradients_are_finite_differences(name: str) -> None:
    algorithm = EVERY[name]()
    batch, logprobs = case(algorithm)
    settings = SETTINGS if name in PAIRED else [{}, {"sft_coef": 0.7}]
    for changes in settings:
        chosen = replace(algorithm, **changes)
        assert torch.autograd.gradcheck(lambda x: loss_of(chosen, batch, x), logprobs.requires_grad_())  # noqa: B023


@pytest.mark.parametrize("name", EVERY)
def test_what_is_better_is_raised_and_what_is_worse_is_lowered(name: str) -> None:
    """The loss falls with each log-prob of the better side and rises with the worse one's (unless imitated)."""
    algorithm = EVERY[name]()
    batch, logprobs = case(algorithm)
    if isinstance(batch, Preferences):
        batch = replace(select(batch, [0]), probability=torch.tensor([1.0]))
        better, worse, logprobs = batch.chosen, batch.rejected, logprobs[:2, : batch.tokens.mask.shape[1]]
    elif isinstance(batch, Labels):
        better, worse = batch.good.nonzero().squeeze(1), (~batch.good).nonzero().squeeze(1)
    else:
        assert isinstance(batch, Rankings)
        better, worse = batch.order[0][:1], batch.order[0][-1:]
        batch = replace(batch, order=batch.order[:1], weight=batch.weight[:1])
    logprobs = logprobs.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss_of(algorithm, batch, logprobs), logprobs)
    mask = batch.tokens.mask
    assert (slope[better][mask[better]] < 0).all()
    assert (slope[worse][mask[worse]] > 0).all()


@pytest.mark.parametrize("name", PAIRED)
@pytest.mark.parametrize("changes", SETTINGS)
def test_a_pair_the_other_way_round_is_the_same_pair(name: str, changes: dict[str, Any]) -> None:
    """Sides exchanged, p to 1 − p, the margin to its negative."""
    algorithm = replace(EVERY[name](), **changes)
    batch, logprobs = case(algorithm)
    flipped = replace(
        batch,
        chosen=batch.rejected,
        rejected=batch.chosen,
        probability=1 - batch.probability,
        margin=-batch.margin,
    )
    one, other = loss_of(algorithm, batch, logprobs), loss_of(algorithm, flipped, logprobs)
    assert float(one) == pytest.approx(float(other), rel=1e-6)


ABSOLUTE = ("kto", "bco", "chi_po")  # the size of a ratio counts, not only that of one beside another


@pytest.mark.parametrize("name", [n for n in EVERY if n not in ABSOLUTE])
def test_what_two_sides_share_does_not_matter(name: str) -> None:
    """A constant on the reference's log-prob of every completion: on one token where values are summed, on all
    where they are averaged. Without a reference nothing is read of it at all."""
    algorithm = EVERY[name]()
    batch, logprobs = case(algorithm)
    shift = torch.zeros_like(batch.reference_logprobs)
    shift[:, slice(None) if getattr(algorithm, "average", False) else 0] = 1.7
    moved = replace(batch, reference_logprobs=batch.reference_logprobs + shift)
    assert float(loss_of(algorithm, moved, logprobs)) == pytest.approx(float(loss_of(algorithm, batch, logprobs)))


@pytest.mark.parametrize("name", [n for n in EVERY if n in ("kto", "bco")])
def test_surveys_of_micro_batches_add_up(name: str) -> None:
    algorithm = EVERY[name]()
    assert needs_step_statistics(algorithm)
    models = models_for(algorithm)
    batch = batch_for(algorithm, models)
    whole = {key: float(value) for key, value in algorithm.step_statistics(models, batch, batch).items()}
    parts = [select(batch, rows) for rows in ([0, 3], [1], [5, 2, 4])]
    statistics = [algorithm.step_statistics(models, part, part) for part in parts]
    assert whole == pytest.approx({key: sum(float(f[key]) for f in statistics) for key in whole}, rel=1e-5)
    assert not any(value.requires_grad for value in statistics[0].values())


def test_settings_out_of_range_are_refused() -> None:
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("dpo", {"beta": 0.0}),
        ("dpo", {"label_smoothing": 0.5}),
        ("ipo", {"tau": -1.0}),
        ("hinge", {"ld_alpha": 1.1}),
        ("kto", {"bad_weight": -1.0}),
        ("simpo", {"gamma": -0.1}),
    ]
    for name, settings in wrong:
        with pytest.raises(ValidationError):
            TypeAdapter(EVERY[name]).validate_python(settings)
