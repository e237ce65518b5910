"""Shared prefixes of prompts, and the number of times they are prefilled."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import tiny_policy
from torch import Tensor

from gnomon.rollouts import decoding
from gnomon.rollouts.decoding import SlotDecoder, TokenIds, shared_prefix_length


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
def test_shared_prefix_length_counts_common_ids(prompts: list[TokenIds], expected: int) -> None:
    assert shared_prefix_length(prompts) == expected


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_prompts_with_a_common_start_are_read_as_if_alone(kind: str) -> None:
    policy = tiny_policy(kind=kind)
    prompts: list[TokenIds] = [(1, 2, 3, 4), (1, 2, 3), (1, 2, 3, 9, 8, 7, 6)]
    with torch.no_grad():
        result = SlotDecoder(policy).enter([prompts[i] for i in (0, 1, 1, 2)])
        for row, prompt in zip(result, [prompts[i] for i in (0, 1, 1, 2)], strict=True):
            alone = policy.trunk(input_ids=torch.tensor([prompt])).last_hidden_state[0, -1]
            torch.testing.assert_close(row, alone, atol=1e-5, rtol=0)


def test_each_token_of_a_prompt_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Completions of one prompt that enter one after another, and prompts that share their start."""
    read: list[int] = []
    plain = decoding.run_trunk

    def counting(policy: Any, ids: Tensor, *rest: Any, **layout: Any) -> Tensor:
        read.append(ids.numel())
        return plain(policy, ids, *rest, **layout)

    monkeypatch.setattr(decoding, "run_trunk", counting)
    decoder = SlotDecoder(tiny_policy())
    with torch.no_grad():
        decoder.enter([(1, 2, 3, 4), (1, 2, 3, 5)])
        assert read == [3, 2]
        decoder.enter([(1, 2, 3, 5), (1, 2, 3, 5)])
        assert read == [3, 2]
        decoder.enter([(1, 2, 3, 5), (6, 7)])
        assert read == [3, 2, 2]
