"""Settings of sampling: refused values, and settings that change the model's distribution."""

from __future__ import annotations

import pytest

from gnomon.core.config import validate
from gnomon.core.errors import ConfigError
from gnomon.rollouts.sampling_params import Sampling


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("min_tokens", 1),
        ("repetition_penalty", 1.1),
        ("no_repeat_ngram", 3),
        ("temperature", 0),
        ("top_p", 0.9),
        ("top_k", 50),
    ],
)
def test_settings_that_change_the_distribution_are_named(key: str, value: float) -> None:
    sampling = validate(Sampling, {key: value}, "sampling")
    assert sampling.off_policy == [key]
    assert not sampling.on_policy


def test_settings_that_only_end_completions_keep_the_distribution() -> None:
    content = {"temperature": 0.7, "stop": ["\n", "完"], "stop_ids": [3], "max_tokens": 5, "completions": 4}
    sampling = validate(Sampling, content, "sampling")
    assert sampling.on_policy
    assert sampling.stop == ("\n", "完")
    assert sampling.model_dump(mode="json")["stop"] == ["\n", "完"]
    assert Sampling().on_policy


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"min_tokens": 9, "max_tokens": 8}, r"min_tokens \(9\) is above max_tokens \(8\)\.$"),
        ({"stop": ["a", ""]}, "stop.1"),
        ({"stop_ids": [-1]}, "stop_ids.0"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"temperature": -0.1}, "temperature"),
        ({"stops": ["a"]}, "did you mean 'stop'"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(content: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(Sampling, content, "sampling")
