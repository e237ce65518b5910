"""Paraphrases by embeddings; the real model is tried where it can be fetched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from quality_rows import cleaned, pair
from tiny import tiny_network

from gnomon.core.errors import ConfigError
from gnomon.data.quality.contract import Tools
from gnomon.stages.common.sentence_embeddings import MINILM, load_embedder


def by_first_letter(texts: Sequence[str]) -> NDArray[np.float32]:
    """Texts with the same first letter have the same vector, all others orthogonal ones."""
    return np.eye(128, dtype=np.float32)[[ord(text[0]) % 128 if text else 0 for text in texts]]


def test_all_parts_have_to_mean_the_same(tmp_path: Path) -> None:
    rows = [pair("a1", "b1", "c1"), pair("a2", "b2", "c2"), pair("a3", "b3", "d3"), pair("a4", "b4", "c4")]
    filters = {"embeddings": {"model": "made-up"}, "near_duplicates": "off"}
    result = cleaned(tmp_path, rows, filters, Tools(embed=by_first_letter))
    assert result.why("embeddings") == {
        "line 2": "it means the same as line 1, cosine 1.00",
        "line 4": "it means the same as line 1, cosine 1.00",
    }


def test_rankings_of_several_lengths_are_compared(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "completions": list(one)} for one in ("bc", "bcd", "bc", "bd")]
    filters = {"embeddings": {"model": "made-up"}, "near_duplicates": "off", "duplicates": "off"}
    result = cleaned(tmp_path, rows, filters, Tools(embed=by_first_letter))
    assert result.why("embeddings").keys() == {"line 3"}


def test_a_model_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"filters\.embeddings needs a model"):
        cleaned(tmp_path, [pair()], {"embeddings": {"model": "x"}})


def test_loading_a_model_draws_nothing(tmp_path: Path, words: Any, capfd: pytest.CaptureFixture[str]) -> None:
    tiny_network(vocab=len(words)).model.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    capfd.readouterr()
    embed = load_embedder(str(tmp_path))
    assert capfd.readouterr() == ("", "")
    assert embed(["a b", "c"]).shape == (2, 32)


@pytest.mark.slow
def test_the_packaged_model_finds_a_paraphrase() -> None:
    embed = load_embedder(MINILM)
    texts = ["How do I bake bread?", "What is the way to bake bread?", "Who wrote this symphony?"]
    one, same, other = embed(texts)
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-4)
    assert one @ same > 0.8
    assert one @ other < 0.3


@pytest.mark.slow
def test_the_packaged_model_knows_few_chinese_characters() -> None:
    shares = load_embedder(MINILM).unknown_shares(["How do I bake bread?", "怎样避开故宫的人流？", ""])
    assert (shares[0], shares[1] > 0.2, shares[2]) == (0, True, 0)
