"""Saved models are plain folders: transformers alone gives the same outputs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import CPU, naive_logprobs, rows_of, shake, tiny_network, tiny_policy, tiny_reward_model
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import ModelError
from gnomon.models.loading import load_critic, load_policy, load_reward_model, save_model
from gnomon.models.settings import Trainable

LORA = Trainable(layers=1, rank=4)


def ended(tokenizer: Any) -> TokenGroups:
    """Ragged groups whose completions end with the end of turn, which also is the padding."""
    end = tokenizer.eos_token_id
    assert end == tokenizer.pad_token_id
    completions = [[40, 41, 42, end], [50, end], [60, 61, 62, 63, 64, end], [end]]
    return TokenGroups.build([[30, 31, 32], [33]], completions, [0, 1, 0, 1])


@pytest.fixture
def language_model(tmp_path: Path, chat_tokenizer: Any) -> str:
    """A saved folder, as a user would bring it."""
    folder = tmp_path / "language-model"
    tiny_network(vocab=len(chat_tokenizer), layers=3).save_pretrained(folder)
    chat_tokenizer.save_pretrained(folder)
    return str(folder)


def test_a_saved_policy_is_a_plain_model_with_its_adapter_merged(
    tmp_path: Path, language_model: str, chat_tokenizer: Any
) -> None:
    policy, groups = load_policy(language_model, CPU, LORA), ended(chat_tokenizer)
    with torch.no_grad():
        start = policy.logprobs(groups)
        shake(policy, by=0.3)
        trained = policy.logprobs(groups)
    assert (trained - start).abs().max() > 0.1
    save_model(policy, tmp_path / "model")
    assert not list((tmp_path / "model").glob("adapter*"))
    network = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    with torch.no_grad():
        for row, plain in zip(rows_of(trained, groups), naive_logprobs(network, groups), strict=True):
            torch.testing.assert_close(row, plain, atol=1e-4, rtol=0)
        again = load_policy(str(tmp_path / "model"), CPU).logprobs(groups)
    torch.testing.assert_close(again, trained, atol=1e-4, rtol=0)
    saved = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert saved.chat_template == chat_tokenizer.chat_template
    assert saved("a good film")["input_ids"] == chat_tokenizer("a good film")["input_ids"]


def test_transformers_gives_a_saved_reward_models_scores(
    tmp_path: Path, language_model: str, chat_tokenizer: Any
) -> None:
    """Its classifier, on a padded batch, minus `score_offset`, gives the same scores."""
    model, groups = load_reward_model(language_model, CPU, LORA, seed=3), ended(chat_tokenizer)
    shake(model, by=0.3)
    model.center(1.25)
    with torch.no_grad():
        scores = model.scores(groups)
    save_model(model, tmp_path / "judge")
    network = AutoModelForSequenceClassification.from_pretrained(tmp_path / "judge").eval()
    rows = [torch.cat([groups.prompts[g], c]) for g, c in zip(groups.group, groups.completions, strict=True)]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=network.config.pad_token_id)
    lengths = torch.tensor([len(row) for row in rows])
    mask = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
    with torch.no_grad():
        plain = network(input_ids=ids, attention_mask=mask).logits.squeeze(-1)
    assert network.config.score_offset == 1.25
    torch.testing.assert_close(plain - 1.25, scores, atol=1e-4, rtol=0)
    with torch.no_grad():
        again = load_reward_model(str(tmp_path / "judge"), CPU, seed=99).scores(groups)
    torch.testing.assert_close(again, scores, atol=1e-4, rtol=0)


def test_reward_scores_do_not_depend_on_company(chat_tokenizer: Any) -> None:
    model, groups = tiny_reward_model(chat_tokenizer), ended(chat_tokenizer)
    with torch.no_grad():
        together = model.scores(groups)
        for row in range(4):
            torch.testing.assert_close(
                model.scores(groups.select([row])), together[row : row + 1], atol=1e-5, rtol=0
            )
        model.layout = "plain"
        torch.testing.assert_close(model.scores(groups), together, atol=1e-5, rtol=0)
    assert together.std() > 0.01


def test_centring_twice_adds_up(chat_tokenizer: Any) -> None:
    model, groups = tiny_reward_model(chat_tokenizer), ended(chat_tokenizer)
    with torch.no_grad():
        raw = model.scores(groups)
        model.center(0.5)
        model.center(float(model.scores(groups).mean()))
        assert model.scores(groups).mean().item() == pytest.approx(0.0, abs=1e-6)
        torch.testing.assert_close(model.scores(groups) - model.scores(groups)[0], raw - raw[0])


def test_a_new_head_is_small_seeded_and_unbiased(tmp_path: Path, chat_tokenizer: Any) -> None:
    """N(0, 1/(d+1)): with d = 1024 a sample's standard deviation is within 10 % of 1/√1025 (4.5 sigma)."""
    tiny_network(vocab=len(chat_tokenizer), layers=2, hidden_size=1024).save_pretrained(tmp_path)
    chat_tokenizer.save_pretrained(tmp_path)
    heads = [load_reward_model(str(tmp_path), CPU, seed=s, num_layers=1).network for s in (0, 0, 1)]
    weights = [network.score.weight for network in heads]
    assert weights[0].std().item() == pytest.approx(1 / math.sqrt(1025), rel=0.1)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert heads[0].score.bias is None
    assert heads[0].config.num_hidden_layers == len(heads[0].model.layers) == 1


def test_a_critic_starts_at_zero_on_the_trunk_it_was_given(
    tmp_path: Path, language_model: str, chat_tokenizer: Any
) -> None:
    """Zero whatever the reward model's head and offset were, and its states are the reward model's own."""
    groups = ended(chat_tokenizer)
    judge = load_reward_model(language_model, CPU, seed=3)
    judge.center(-0.7)
    save_model(judge, tmp_path / "judge")
    frozen = Trainable(adapter="none", layers=0)
    for source in (language_model, str(tmp_path / "judge")):
        assert load_critic(source, CPU, frozen, seed=0).predict(groups).values.eq(0).all()
    critic = load_critic(str(tmp_path / "judge"), CPU, frozen, seed=0)
    shorter = TokenGroups.build([[30, 31, 32]], [[40, 41, 42], [60]], [0, 0])
    with torch.no_grad():
        critic.network.score.weight.copy_(judge.network.score.weight)
        values = critic.predict(groups).values
        expected = judge.scores(shorter) + judge.offset
    torch.testing.assert_close(torch.stack([values[0, 3], values[2, 1]]), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("adapter", ["lora", "none"])
def test_a_critic_with_a_frozen_trunk_need_not_read_twice(
    adapter: Any, chat_tokenizer: Any, language_model: str
) -> None:
    """Its head learns, so values change; the trunk's states do not."""
    groups = ended(chat_tokenizer)
    assert not load_critic(language_model, CPU, LORA, seed=0).frozen_trunk
    assert load_critic(language_model, CPU, LORA, seed=0).predict(groups).states is None
    critic = load_critic(language_model, CPU, Trainable(adapter=adapter, layers=0), seed=0)
    assert list(critic.trainable()) == ["score.weight"]
    states = critic.predict(groups).states
    shake(critic, by=0.3)
    again, kept = critic.predict(groups), critic.predict(groups, states)
    assert again.values.abs().max() > 0.1
    torch.testing.assert_close(kept.values, again.values)
    assert kept.values.requires_grad


def test_a_failed_save_leaves_the_old_model(
    tmp_path: Path, chat_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tiny_policy(chat_tokenizer)
    save_model(policy, tmp_path / "model")
    before = (tmp_path / "model" / "model.safetensors").read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(type(chat_tokenizer), "save_pretrained", full)
    with pytest.raises(OSError, match="disk full"):
        save_model(policy, tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all"])
def test_a_missing_folder_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(ModelError, match="no model folder"):
        load_policy(name, CPU)
