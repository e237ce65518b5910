"""The random model: the same bytes each time, any text, and no effect on the process's random numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import CPU, prompts_of, render_completion

from gnomon.data.templates.chat_template import turn_end
from gnomon.data.templates.rendering import decode, render_prompt
from gnomon.models.loading import load_policy
from gnomon.models.resolve import resolve
from gnomon.models.tiny_random import RandomModel, byte_tokenizer


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_it_is_the_same_each_time_and_leaves_random_numbers_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    RandomModel().write(tmp_path / "first")
    assert torch.equal(torch.rand(3), expected)
    RandomModel().write(tmp_path / "second")
    RandomModel(seed=1).write(tmp_path / "other")
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    weights = "model.safetensors"
    assert contents(tmp_path / "first")[weights] != contents(tmp_path / "other")[weights]


@pytest.mark.parametrize("text", ["a good film", "一部好电影。", "👍🏽 ok", "tab\tand\nline", "nul\x00byte"])
def test_one_token_a_byte(text: str) -> None:
    tokenizer = byte_tokenizer()
    ids = render_completion(tokenizer, text, "row 1")
    assert len(ids) == len(text.encode()) + 1
    assert ids[-1] == turn_end(tokenizer) == tokenizer.eos_token_id
    assert decode(tokenizer, ids) == text


def test_every_id_is_a_byte_or_special() -> None:
    tokenizer = byte_tokenizer()
    assert len(tokenizer) == 256 + 2
    [prompt] = prompts_of("hi")
    written = tokenizer.decode(render_prompt(tokenizer, prompt))
    assert written == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def test_the_catalogue_builds_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GNOMON_CACHE", str(tmp_path))
    folder = Path(resolve("tiny-random"))
    assert folder.is_relative_to(tmp_path)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert resolve("tiny-random") == str(folder)
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    policy = load_policy("tiny-random", CPU)
    assert policy.network.config.num_hidden_layers == 3
