"""Model folders with a broken config.json, broken adapters and sizes that exceed memory are refused quickly."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import ConfigError, DataError, ModelError
from gnomon.data.templates.chat_template import turn_end
from gnomon.models.engine.device import Compute, find_compute
from gnomon.models.loading import load_policy, load_reward_model, load_tokenizer
from gnomon.models.settings import HeadSettings, Trainable
from gnomon.training.runtime.optimizer import Optimizer
from gnomon.training.settings import OfflineSettings

PARTS: dict[str, Any] = {
    "no heads": {"num_attention_heads": 0},
    "a width below 0": {"hidden_size": -1},
    "a width in words": {"hidden_size": "x"},
    "a million layers": {"num_hidden_layers": 10**6},
    "no layers": {"num_hidden_layers": 0},
    "layers by half": {"num_hidden_layers": 1.5},
    "true layers": {"num_hidden_layers": True},
    "words without end": {"vocab_size": 10**30},
    "an embedding without end": {"vocab_size": 10**8, "hidden_size": 10**7},
    "another type": {"model_type": 5},
    "an unknown type": {"model_type": "no-such-type"},
    "a list of a type": {"model_type": ["llama"]},
    "other heads": {"num_attention_heads": 3},
    "an activation": {"hidden_act": "no-such-activation"},
    "positions": {"max_position_embeddings": "many"},
    "gptq": {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}},
    "bitsandbytes": {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
    "awq": {"quantization_config": {"quant_method": "awq", "bits": 4}},
    "a quantization that is none": {"quantization_config": 5},
    "a rope that is none": {"rope_scaling": 5},
    "an epsilon": {"rms_norm_eps": "small"},
    "a text configuration": {"text_config": {"num_hidden_layers": -5}},
}
WHOLE = {"a list": "[]", "a number": "5", "nothing": "", "half": '{"a": ', "deep": "[" * 100_000, "bytes": "\0\0"}


@pytest.fixture(scope="module")
def compute() -> Compute:
    return find_compute("cpu", "float32")


def broken(model: Path, folder: Path, changes: dict[str, Any] | str) -> str:
    shutil.copytree(model, folder)
    file = folder / "config.json"
    text = changes if isinstance(changes, str) else json.dumps({**json.loads(file.read_text()), **changes})
    file.write_text(text, encoding="utf-8")
    return str(folder)


def refused_at_once(name: str, compute: Compute) -> str:
    started = time.monotonic()
    with pytest.raises(ModelError) as excinfo:
        load_policy(name, compute)
    assert time.monotonic() - started < 10
    assert "\n" not in str(excinfo.value)
    return str(excinfo.value)


@pytest.mark.parametrize("kind", [*PARTS, *WHOLE])
def test_a_broken_config_is_refused_at_once(
    tiny_model: Path, tmp_path: Path, compute: Compute, kind: str
) -> None:
    name = broken(tiny_model, tmp_path / "m", PARTS[kind] if kind in PARTS else WHOLE[kind])
    assert name in refused_at_once(name, compute)


TOKENIZERS: dict[str, Any] = {
    "a length that is none": {"model_max_length": [5]},
    "a class nobody has": {"tokenizer_class": 5},
    "an end that is a number": {"eos_token": 5},
    "a template that is a number": {"chat_template": 5},
}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_broken_tokenizer_is_refused_as_it_is_loaded(tiny_model: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "m"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **TOKENIZERS[kind]}), encoding="utf-8")
    with pytest.raises((ModelError, DataError)):
        turn_end(load_tokenizer(str(folder)))


def test_the_sentence_has_the_key_the_value_and_the_reason(
    tiny_model: Path, tmp_path: Path, compute: Compute
) -> None:
    name = broken(tiny_model, tmp_path / "m", {"num_hidden_layers": 10**6})
    assert refused_at_once(name, compute) == (
        f"model '{name}': config.json: num_hidden_layers must be at least 1 and at most 10000, not 1000000, "
        "since a model has some layers, and building so many would take minutes."
    )


ADAPTERS: dict[str, Any] = {
    "a list": [],
    "no type": {"base_model_name_or_path": "BASE"},
    "another type": {"peft_type": "NOTHING", "base_model_name_or_path": "BASE"},
    "a number for a type": {"peft_type": 5, "base_model_name_or_path": "BASE"},
    "a rank in words": {
        "peft_type": "LORA",
        "base_model_name_or_path": "BASE",
        "r": "x",
        "target_modules": ["q_proj"],
    },
    "a rank below 0": {
        "peft_type": "LORA",
        "base_model_name_or_path": "BASE",
        "r": -1,
        "target_modules": ["q_proj"],
    },
    "modules that are none": {"peft_type": "LORA", "base_model_name_or_path": "BASE", "target_modules": 5},
    "modules nobody has": {"peft_type": "LORA", "base_model_name_or_path": "BASE", "target_modules": ["nothing"]},
    "a base that is a number": {"peft_type": "LORA", "base_model_name_or_path": 5},
    "itself": {"peft_type": "LORA", "base_model_name_or_path": "SELF"},
}


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_broken_adapter_is_refused_at_once(
    tiny_model: Path, tmp_path: Path, compute: Compute, kind: str
) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    text = json.dumps(ADAPTERS[kind]).replace("BASE", str(tiny_model)).replace("SELF", str(folder))
    (folder / "adapter_config.json").write_text(text, encoding="utf-8")
    refused_at_once(str(folder), compute)


def test_an_adapter_that_fits_no_memory_is_refused_before_it_is_made(
    tiny_model: Path, compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "gnomon.models.config_limits.psutil.virtual_memory", lambda: type("M", (), {"total": 10**8})
    )
    with pytest.raises(ModelError, match="for an adapter of rank 65536; lower rank"):
        load_policy(str(tiny_model), compute, Trainable(rank=2**16))
    with pytest.raises(ModelError, match="for a head with hidden: 1048576; lower hidden"):
        load_reward_model(str(tiny_model), compute, seed=0, head=HeadSettings(head="mlp", hidden=2**20))


def test_an_optimizer_without_weights_is_refused() -> None:
    with pytest.raises(ConfigError, match="no weights are trainable; set layers to 1 or more"):
        Optimizer([({}, 1e-3)], OfflineSettings(), 10)
