"""Users' model folders: unusable ones are refused in one sentence, and none of their code runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from gnomon.core.errors import ModelError
from gnomon.models.engine.device import Compute
from gnomon.models.external import open_reward_model
from gnomon.models.loading import load_critic, load_policy, load_reward_model
from gnomon.models.settings import Trainable

HEAD = Trainable(adapter="none", layers=0)
CPU = Compute(torch.device("cpu"), torch.float32)
Change = Callable[[Path], object]


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def reconfigure(**changes: object) -> Change:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")

    return change


def weights_as_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def without_one_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def with_a_bias(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.self_attn.q_proj.bias"] = torch.ones(
        len(weights["model.layers.1.self_attn.q_proj.weight"])
    )
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def with_code(folder: Path) -> None:
    (folder / "theirs.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n", encoding="utf-8")
    auto = {"AutoConfig": "theirs.Config", "AutoModelForCausalLM": "theirs.Model"}
    reconfigure(auto_map=auto, model_type="theirs")(folder)


def without_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-64])


WRONG: dict[str, tuple[Change, str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "holds no config.json; give a folder written by"),
    "broken config": (lambda f: (f / "config.json").write_text("{"), "config.json is no JSON"),
    "unknown kind": (reconfigure(model_type="zzz"), "model type `zzz`"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no file named model.safetensors"),
    "garbage": (lambda f: (f / "model.safetensors").write_bytes(b"garbage" * 9), "could not be loaded"),
    "empty": (lambda f: (f / "model.safetensors").write_bytes(b""), "could not be loaded"),
    "cut short": (cut, "could not be loaded"),
    "pickle": (weights_as_pickle, "no file named model.safetensors"),
    "a weight is missing": (without_one_weight, "lacks the weight model.layers.1.mlp.up_proj.weight;"),
    "more layers than weights": (reconfigure(num_hidden_layers=4), "lacks the weight model.layers.3"),
    "other shapes": (reconfigure(intermediate_size=64), "has another shape of the weight model.layers.0.mlp"),
    "a bias that nothing reads": (
        with_a_bias,
        "holds, and would not use, the weight model.layers.1.self_attn.q_proj.bias;",
    ),
    "no tokenizer": (without_tokenizer, "holds no tokenizer; copy the files"),
    "broken tokenizer": (lambda f: (f / "tokenizer.json").write_text("{"), "could not be loaded"),
    "its own code": (with_code, "custom code"),
}


@pytest.mark.parametrize("change", WRONG)
@pytest.mark.parametrize("reward", [False, True])
def test_a_folder_that_cannot_be_used_is_refused(folder: Path, change: str, reward: bool) -> None:
    spoil, sentence = WRONG[change]
    spoil(folder)
    with pytest.raises(ModelError) as excinfo:
        load_reward_model(str(folder), CPU, seed=0) if reward else load_policy(str(folder), CPU)
    assert sentence in str(excinfo.value)
    assert str(folder) in str(excinfo.value)
    assert "\n" not in str(excinfo.value)


def test_code_in_a_folder_is_not_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_code(folder)
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(ModelError, match="custom code"):
        load_policy(str(folder), CPU)
    assert not (folder / "ran").exists()
    assert "[y/N]" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("./absent", r"no model folder at \./absent; give an existing one, a hub name or smollm2-135m, "),
        ("/absent/model", "no model folder at /absent/model"),
        ("absent.gguf", r"no file absent\.gguf; give an existing GGUF file\."),
    ],
)
def test_a_missing_folder_is_reported(name: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        load_policy(name, CPU)


def test_a_broken_gguf_file_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GNOMON_CACHE", str(tmp_path / "cache"))
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and then nothing")
    with pytest.raises(ModelError, match=r"broken\.gguf' could not be loaded"):
        load_policy(str(tmp_path / "broken.gguf"), CPU)
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_a_reward_model_from_elsewhere_keeps_its_head(folder: Path) -> None:
    saved = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    saved.save_pretrained(folder)
    judge, critic = load_reward_model(str(folder), CPU, seed=5), load_critic(str(folder), CPU, HEAD, seed=5)
    assert torch.equal(judge.network.score.weight, saved.score.weight)
    assert critic.network.score.weight.eq(0).all()
    with pytest.raises(ModelError, match=r"lacks the weight lm_head\.weight"):
        load_policy(str(folder), CPU)


def test_a_classifier_of_several_labels_needs_the_name_of_one(folder: Path) -> None:
    AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2).save_pretrained(folder)
    with pytest.raises(ModelError, match=r"has 2 heads; give one as .*#HEAD, of: 'LABEL_0', 'LABEL_1'"):
        load_reward_model(str(folder), CPU, seed=0)


def test_a_reward_model_whose_head_has_another_name_gives_no_scores(folder: Path) -> None:
    """transformers makes up a head where it finds none under its own name; scores would be noise."""
    AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1).save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    weights["value_head.weight"] = weights.pop("score.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks the weight score\.weight, so it has no head that was trained"):
        open_reward_model(str(folder), CPU)
    assert load_reward_model(str(folder), CPU, seed=0).network.score.weight.any()  # to be trained, with a new one


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_an_adapter_for_scores_without_a_head_gives_no_scores(folder: Path, tmp_path: Path) -> None:
    network = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    adapted = get_peft_model(network, LoraConfig(r=2, target_modules=["q_proj"]))
    adapted.save_pretrained(tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "task_type": "SEQ_CLS"}), "utf-8")
    with pytest.raises(ModelError, match=r"lacks the weight score\.weight, so it has no head that was trained"):
        open_reward_model(str(tmp_path / "adapter"), CPU)
