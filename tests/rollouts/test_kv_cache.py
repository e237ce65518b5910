"""The key-value cache: shared prompts, positions of writes, visibility, and moves when rows leave."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gnomon.rollouts import kv_cache
from gnomon.rollouts.kv_cache import SlotCache

CPU = torch.device("cpu")


def states(*rows: float, width: int = 1) -> Tensor:
    """Keys or values `[B, 1, width, 2]` that hold one number a row."""
    return torch.tensor(rows, dtype=torch.float32)[:, None, None, None].expand(-1, 1, width, 2).clone()


def add(cache: SlotCache, *prompts: float, lengths: list[int]) -> None:
    whole = states(*prompts, width=max(lengths))
    cache.add_prompts([(whole, -whole)], lengths)


def write(cache: SlotCache, *rows: float) -> tuple[list[list[float]], list[int]]:
    """One token in all rows; returns what each row may see, and the positions."""
    positions = cache.extend(CPU)
    keys, values = cache.update(states(*rows), states(*(-row for row in rows)), 0)
    prompt_keys, prompt_values = cache.prompts.layer(0)
    assert torch.equal(keys, -values)
    assert torch.equal(prompt_keys, -prompt_values)
    whole = torch.cat([prompt_keys[cache.prompt_slots], keys], dim=2)[:, 0, :, 0]
    mask = cache.sharing.mask[:, 0, 0]
    seen = [row[visible].tolist() for row, visible in zip(whole, mask, strict=True)]
    assert cache.sharing.rows.flatten()[cache.sharing.flat_index].tolist() == list(range(len(rows)))
    return seen, positions[:, 0].tolist()


def test_rows_of_all_lengths_side_by_side_by_hand() -> None:
    cache = SlotCache(torch.float32)
    add(cache, 1.0, 2.0, lengths=[3, 1])
    cache.enter([0, 1, 1])
    assert write(cache, 10.0, 20.0, 30.0) == ([[1, 1, 1, 10], [2, 20], [2, 30]], [3, 1, 1])
    assert cache.sharing.rows.tolist() == [[0, 0], [1, 2]]
    assert cache.keep([1, 2]) == [2, 1]  # the last row moves into the gap
    assert write(cache, 31.0, 21.0) == ([[2, 30, 31], [2, 20, 21]], [2, 2])
    add(cache, 7.0, lengths=[2])
    cache.enter([0])
    expected = [[2, 30, 31, 32], [2, 20, 21, 22], [7, 7, 70]]
    assert write(cache, 32.0, 22.0, 70.0) == (expected, [3, 3, 2])
    assert cache.keep([]) == []


def test_a_prompt_stays_for_its_rows_and_the_latest_for_those_to_come() -> None:
    cache = SlotCache(torch.float32)
    add(cache, 1.0, 2.0, 3.0, lengths=[1, 2, 1])
    cache.enter([0, 1])
    assert cache.keep([1]) == [1]
    assert cache.prompts.lengths == [1, 2, 1]  # none has a row, but rows may enter on all
    cache.enter([2, 0])
    assert write(cache, 20.0, 30.0, 10.0)[0] == [[2, 2, 20], [3, 30], [1, 10]]
    assert cache.keep([1]) == [1]
    add(cache, 5.0, lengths=[2])
    assert cache.prompts.lengths == [1, 2]  # the third of those before, which has a row, and the new one
    cache.enter([0])
    assert write(cache, 31.0, 50.0)[0] == [[3, 30, 31], [5, 5, 50]]


def test_states_of_any_precision_are_held_in_the_one_of_attention() -> None:
    """Under autocast turned keys are float32 and values bfloat16."""
    cache = SlotCache(torch.bfloat16)
    prompt = states(1.0)
    cache.add_prompts([(prompt, -prompt.bfloat16())], [1])
    cache.enter([0, 0])
    cache.extend(CPU)
    own = cache.update(states(2.0, 3.0), states(-2.0, -3.0).bfloat16(), 0)
    assert {t.dtype for t in (*own, *cache.prompts.layer(0))} == {torch.bfloat16}
    assert own[0][:, 0, :, 0].tolist() == [[2], [3]]
    assert torch.equal(own[0], -own[1])


def test_a_cache_grows_in_slots_and_tokens_and_keeps_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv_cache, "SPARE_TOKENS", 0)
    cache = SlotCache(torch.float32)
    for prompt in (1.0, 2.0, 3.0):
        add(cache, prompt, lengths=[int(prompt)])
        cache.enter([0])
    for step in range(10, 20):
        result, _ = write(cache, step, step, step)
    assert result == [[prompt] * prompt + list(range(10, 20)) for prompt in (1, 2, 3)]
    for slots in (cache.prompts, cache.completions):
        assert slots.buffers[0][0].isfinite().all()


@pytest.mark.parametrize(
    ("tokens", "capacity"), [(0, 0), (1, 65), (65, 65), (66, 130), (131, 195), (195, 195), (196, 292), (293, 438)]
)
def test_memory_of_growing_rows_by_hand(tokens: int, capacity: int) -> None:
    """64 more than needed or half as many again: 1 + 64, 66 + 64, 131 + 64, then 195 · 1.5, 292 · 1.5."""
    cache = SlotCache(torch.float32)
    add(cache, 1.0, lengths=[1])
    cache.enter([0])
    for _ in range(tokens):
        write(cache, 0.0)
    assert cache.completions.buffers[0][0].shape[2] == capacity
    assert kv_cache.completion_capacity(tokens) == capacity
