"""Rows in slots: what is written where, who moves when others leave, and what prompts share."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import tiny_policy
from torch import Tensor

from gnomon.rollouts import kv_cache
from gnomon.rollouts.kv_cache import Ids, SlotCache, SlotDecoder, shared_start


def states(*rows: float, width: int = 1) -> Tensor:
    """Keys or values `[B, 1, width, 2]` that hold one number a row."""
    return torch.tensor(rows, dtype=torch.float32)[:, None, None, None].expand(-1, 1, width, 2).clone()


def write(cache: SlotCache, *rows: float) -> tuple[Tensor, Tensor]:
    """One step of all rows; returns what each row may see, and the positions."""
    positions, mask = cache.open(torch.device("cpu"))
    keys, values = cache.update(states(*rows), states(*(-row for row in rows)), 0)
    assert torch.equal(keys, -values)
    return keys[:, 0, :, 0].masked_fill(~mask[:, 0, 0], torch.nan), positions[:, 0]


def seen(rows: Tensor) -> list[list[float]]:
    return [row[~row.isnan()].tolist() for row in rows]


def test_rows_of_all_lengths_side_by_side_by_hand() -> None:
    cache = SlotCache(torch.float32)
    prompts = states(1.0, 2.0, width=3)
    cache.enter([(prompts, -prompts)], source=[0, 1, 1], lengths=[3, 1, 1])
    found, positions = write(cache, 10.0, 20.0, 30.0)
    assert seen(found) == [[1, 1, 1, 10], [2, 20], [2, 30]]
    assert positions.tolist() == [3, 1, 1]
    assert cache.keep([1, 2]) == [2, 1]  # the last row moves into the gap
    assert seen(write(cache, 31.0, 21.0)[0]) == [[2, 30, 31], [2, 20, 21]]
    late = states(7.0, width=2)
    cache.enter([(late, -late)], source=[0], lengths=[2])
    found, positions = write(cache, 32.0, 22.0, 70.0)
    assert seen(found) == [[2, 30, 31, 32], [2, 20, 21, 22], [7, 7, 70]]
    assert positions.tolist() == [3, 3, 2]
    assert cache.keep([]) == []


def test_states_of_any_precision_are_held_in_the_one_of_attention() -> None:
    """Under autocast turned keys are float32 and values bfloat16."""
    cache = SlotCache(torch.bfloat16)
    prompt = states(1.0)
    cache.enter([(prompt, -prompt.bfloat16())], source=[0, 0], lengths=[1, 1])
    cache.open(torch.device("cpu"))
    keys, values = cache.update(states(2.0, 3.0), states(-2.0, -3.0).bfloat16(), 0)
    assert keys.dtype == values.dtype == torch.bfloat16
    assert keys[:, 0, :, 0].tolist() == [[1, 2], [1, 3]]
    assert torch.equal(keys, -values)


def test_a_cache_grows_in_slots_and_tokens_and_keeps_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv_cache, "ROOM", 0)
    cache = SlotCache(torch.float32)
    for prompt in (1.0, 2.0, 3.0):
        one = states(prompt)
        cache.enter([(one, -one)], source=[0], lengths=[1])
    for step in range(10, 20):
        found, _ = write(cache, step, step, step)
    assert seen(found) == [[prompt, *range(10, 20)] for prompt in (1, 2, 3)]
    assert cache.stores[0][0].isfinite().all()


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ([(1, 2, 3), (1, 2, 4, 5)], 2),
        ([(1, 2), (1, 2, 4, 5)], 1),  # one token of the shorter is left to read
        ([(1,), (1, 2)], 0),
        ([(1, 2, 3), (9, 2, 3)], 0),
        ([(1, 2, 9, 4), (1, 2, 8, 4)], 2),
    ],
)
def test_what_prompts_share_at_their_start(prompts: list[Ids], expected: int) -> None:
    assert shared_start(prompts) == expected


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_prompts_with_a_common_start_are_read_as_if_alone(kind: str) -> None:
    policy = tiny_policy(kind=kind)
    prompts: list[Ids] = [(1, 2, 3, 4), (1, 2, 3), (1, 2, 3, 9, 8, 7, 6)]
    with torch.no_grad():
        found = SlotDecoder(policy).enter([prompts[i] for i in (0, 1, 1, 2)])
        for row, prompt in zip(found, [prompts[i] for i in (0, 1, 1, 2)], strict=True):
            alone = policy.trunk(input_ids=torch.tensor([prompt])).last_hidden_state[0, -1]
            torch.testing.assert_close(row, alone, atol=1e-5, rtol=0)


def test_each_token_of_a_prompt_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Completions of one prompt that enter one after another, and prompts that share their start."""
    read: list[int] = []
    plain = kv_cache.run_trunk

    def counting(policy: Any, ids: Tensor, *rest: Any, **layout: Any) -> Tensor:
        read.append(ids.numel())
        return plain(policy, ids, *rest, **layout)

    monkeypatch.setattr(kv_cache, "run_trunk", counting)
    decoder = SlotDecoder(tiny_policy())
    with torch.no_grad():
        decoder.enter([(1, 2, 3, 4), (1, 2, 3, 5)])
        assert read == [3, 2]
        decoder.enter([(1, 2, 3, 5), (1, 2, 3, 5)])
        assert read == [3, 2]
        decoder.enter([(1, 2, 3, 5), (6, 7)])
        assert read == [3, 2, 2]
