"""Each patch of a library still has its effect, and no other file patches a library."""

from __future__ import annotations

import ast
import copy
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import CPU, byte_tokenizer, tiny_network, tiny_policy, tiny_scorer
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    GenerationConfig,
    modeling_gguf_pytorch_utils as gguf_reading,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.utils import logging

import gnomon
from gnomon.core.errors import ModelError
from gnomon.models import library_patches as patches
from gnomon.models.adapters import adapted_layers
from gnomon.models.loading import load_policy, save_model
from gnomon.models.settings import Trainable

ROOT = Path(gnomon.__file__).parent
IDS = torch.tensor([[3, 5, 7, 11]])
LORA = Trainable(adapter="lora", rank=2, alpha=4, layers=2)


def logits(network: Any) -> Tensor:
    with torch.no_grad():
        result: Tensor = network(input_ids=IDS).logits
    return result


def lora_layers() -> tuple[Any, list[Any]]:
    """A network, and its LoRA layers with products that are not zero."""
    policy = tiny_policy(trainable=LORA)
    layers = adapted_layers(policy.adapter)
    for layer in layers:
        nn.init.normal_(layer.lora_B["default"].weight, generator=torch.Generator().manual_seed(1))
    return policy.network, layers


def test_a_layer_of_a_model_runs_the_forward_that_replaces_its_own() -> None:
    network = tiny_network()
    layer, plain, calls = network.model.layers[0], logits(network), list[str]()

    def forward(*args: Any, **kwargs: Any) -> Any:
        calls.append("replaced")
        return type(layer).forward(layer, *args, **kwargs)

    with patches.replace_forward({layer: forward}):
        assert patches.has_own_forward(layer)
        assert torch.equal(logits(network), plain)
    assert calls == ["replaced"]
    assert not patches.has_own_forward(layer)
    logits(network)
    assert calls == ["replaced"]


def test_an_earlier_forward_is_back_after_an_error() -> None:
    module = nn.Linear(2, 2, bias=False)
    module.forward = earlier = lambda states: states + 1  # type: ignore[method-assign]
    with (
        pytest.raises(ZeroDivisionError),
        patches.replace_forward({module: lambda states: states / 0 if states.any() else 1 // 0}),
    ):
        module(torch.zeros(2))
    assert module.forward is earlier
    assert module(torch.zeros(2)).tolist() == [1.0, 1.0]


def test_a_module_of_another_class_keeps_its_parameters_and_runs_that_class() -> None:
    network = tiny_network()
    norm, names = network.model.norm, set(network.state_dict())

    class Doubled(type(norm)):  # type: ignore[misc]
        def forward(self, states: Tensor) -> Tensor:
            return 2 * super().forward(states)  # type: ignore[no-any-return]

    plain = logits(network)
    patches.change_class(norm, Doubled)
    assert set(network.state_dict()) == names
    torch.testing.assert_close(logits(network), 2 * plain)


def test_a_norm_has_the_fields_that_the_fused_one_reads() -> None:
    norm = tiny_network().model.norm
    assert type(norm).__name__.endswith("RMSNorm")
    assert isinstance(norm.weight, nn.Parameter)
    assert isinstance(norm.variance_epsilon, float)


def test_layers_read_the_attention_of_the_configuration_in_each_call() -> None:
    calls = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return sdpa_attention_forward(*args, **kwargs)

    AttentionInterface.register("counted_by_a_test", counted)
    network = tiny_network(layers=3)
    before = network.config._attn_implementation
    plain = logits(network)
    with patches.use_attention(network.config, "counted_by_a_test"):
        torch.testing.assert_close(logits(network), plain)
    assert len(calls) == 3
    assert network.config._attn_implementation == before
    patches.set_attention(network.config, "counted_by_a_test")
    logits(network)
    assert len(calls) == 6


def test_the_embedding_of_padding_learns_only_under_the_patch() -> None:
    network = tiny_network(pad_token_id=5)
    for learns in (False, True):
        if learns:
            patches.train_padding_embedding(network)
        network.zero_grad()
        network(input_ids=IDS).logits.sum().backward()
        gradient = network.get_input_embeddings().weight.grad
        assert bool(gradient[5].any()) is learns
        assert gradient[7].any()


def test_a_sequence_classifier_calls_the_head_that_it_was_given() -> None:
    network = tiny_scorer()
    head = nn.Linear(32, 1)
    nn.init.zeros_(head.weight)
    nn.init.constant_(head.bias, 4.0)
    patches.set_score_head(network, head)
    network.config.pad_token_id = 0
    assert logits(network).tolist() == [[4.0]]


def test_a_sequence_classifier_reads_the_trunk_that_it_was_given() -> None:
    network, other = tiny_scorer(seed=0), tiny_scorer(seed=1)
    trunk = other.base_model
    patches.set_trunk(network, trunk)
    assert network.base_model is trunk
    for one in (network, other):
        one.config.pad_token_id = 0
        patches.set_score_head(one, other.score)
    assert torch.equal(logits(network), logits(other))


def test_a_folder_has_the_configuration_of_the_moment(tmp_path: Path) -> None:
    trunk = tiny_network().base_model
    own, other = trunk.config, copy.deepcopy(trunk.config)
    other.reward_head = {"pooling": "last"}
    with patches.use_config(trunk, other):
        trunk.save_pretrained(tmp_path)
    assert trunk.config is own
    assert json.loads((tmp_path / "config.json").read_text("utf-8"))["reward_head"] == {"pooling": "last"}
    assert AutoConfig.from_pretrained(tmp_path).reward_head == {"pooling": "last"}
    assert torch.equal(AutoModel.from_pretrained(tmp_path)(IDS)[0], trunk(IDS)[0])


def test_the_content_of_a_configuration_is_in_its_dict() -> None:
    config, ends = tiny_network().config, GenerationConfig(eos_token_id=3)
    before = (config.to_dict(), ends.to_dict())
    with patches.restore_configs([config, ends]):
        config.eos_token_id, config.vocab_size, config.extra = 7, 99, "new"
        ends.eos_token_id = [1, 2]
        assert config.to_dict() != before[0]
        assert ends.to_dict() != before[1]
    assert (config.to_dict(), ends.to_dict()) == before


def test_generation_settings_from_a_configuration_are_marked_until_they_are_a_model_s_own(tmp_path: Path) -> None:
    settings = GenerationConfig.from_model_config(tiny_network().config)
    for marked in (True, False):
        if not marked:
            patches.save_as_generation_config(settings)
        settings.save_pretrained(tmp_path)
        saved = json.loads((tmp_path / "generation_config.json").read_text("utf-8"))
        assert bool(saved.get("_from_model_config")) is marked


def test_a_saved_tokenizer_pads_where_it_was_told_only_under_the_patch(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer(chat=True)
    assert "padding_side" not in tokenizer.init_kwargs
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(tmp_path / "field")
    patches.save_padding_side(tokenizer, "left")
    tokenizer.save_pretrained(tmp_path / "patch")
    sides = [AutoTokenizer.from_pretrained(tmp_path / name).padding_side for name in ("field", "patch")]
    assert sides == ["right", "left"]


def test_a_shared_adapter_is_what_a_layer_multiplies_with() -> None:
    _, layers = lora_layers()
    same = [layer for layer in layers if layer.get_base_layer().weight.shape == (32, 32)]
    one, other = same[:2]
    states = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    patches.share_adapter(one, other)
    product = other.lora_B["default"](other.lora_A["default"](states)) * other.scaling["default"]
    torch.testing.assert_close(one(states), one.get_base_layer()(states) + product)


def test_an_adapter_marked_as_merged_is_not_added_to_the_weight() -> None:
    _, layers = lora_layers()
    weight = layers[0].get_base_layer().weight.clone()
    patches.mark_merged(layers[0])
    assert layers[0].merged
    with pytest.warns(UserWarning, match="All adapters are already merged"):
        layers[0].merge()
    assert torch.equal(layers[0].get_base_layer().weight, weight)
    layers[1].merge()
    assert not torch.equal(layers[1].get_base_layer().weight, weight)


def test_the_inputs_of_adapters_pass_through_the_module_in_place_of_dropout() -> None:
    network, layers = lora_layers()
    plain, before = logits(network), [dict(layer.lora_dropout.items()) for layer in layers]
    base = tiny_network()
    names = []

    class Zero(nn.Module):
        def forward(self, states: Tensor) -> Tensor:
            return torch.zeros_like(states)

    def module_for(number: int, name: str) -> nn.Module:
        names.append((number, name))
        return Zero()

    assert not network.training
    with patches.replace_adapter_dropout(layers, module_for):
        torch.testing.assert_close(logits(network), logits(base))  # nothing of an adapter is left
    assert names == [(number, "default") for number in range(len(layers))]
    assert [dict(layer.lora_dropout.items()) for layer in layers] == before
    assert torch.equal(logits(network), plain)


def state() -> tuple[Any, ...]:
    return logging.get_verbosity(), logging.is_progress_bar_enabled(), gguf_reading.tqdm


def test_saving_and_loading_draw_nothing(
    tmp_path: Path, chat_tokenizer: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    before = state()
    assert before[1]
    save_model(tiny_policy(chat_tokenizer), tmp_path / "model")
    load_policy(str(tmp_path / "model"), CPU)
    assert capfd.readouterr() == ("", "")
    assert state() == before
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(ModelError):
        load_policy(str(tmp_path / "model"), CPU)
    assert state() == before


def test_the_reader_of_gguf_files_draws_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with patches.quiet_transformers():
        assert list(gguf_reading.tqdm([1, 2], desc="Converting")) == [1, 2]
    assert capfd.readouterr() == ("", "")
    assert list(gguf_reading.tqdm([1, 2], desc="Converting")) == [1, 2]
    assert "Converting" in capfd.readouterr().err


def test_bars_that_were_off_stay_off() -> None:
    logging.disable_progress_bar()
    try:
        with patches.quiet_transformers():
            pass
        assert not logging.is_progress_bar_enabled()
    finally:
        logging.enable_progress_bar()


def test_each_patch_names_the_versions_that_the_constraints_pin() -> None:
    public = {
        name
        for name, function in inspect.getmembers(patches, inspect.isfunction)
        if function.__module__ == patches.__name__ and not name.startswith("_")
    }
    assert set(patches.PATCHES) == public - {"tried_on", "has_own_forward"}
    pinned = set((ROOT.parent / "constraints.txt").read_text("utf-8").splitlines())
    assert {version for versions in patches.PATCHES.values() for version in versions} <= pinned


PATCHED = {
    *("__class__", "forward", "padding_idx", "base_model_prefix", "merged_adapters", "init_kwargs"),
    *("lora_A", "lora_B", "lora_dropout", "_attn_implementation", "_from_model_config", "score"),
}


def written(node: ast.AST) -> Iterator[ast.expr]:
    """What a statement assigns to or deletes, tuples taken apart."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        targets = list(node.targets)
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    for target in targets:
        yield from target.elts if isinstance(target, ast.Tuple | ast.List) else [target]


def library_patches_in(source: str) -> list[int]:
    """Lines that write a field of another library's object, set one by a computed name, or write into modules."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        for target in written(node):
            holder = target.value if isinstance(target, ast.Subscript) else target
            if not isinstance(holder, ast.Attribute) or ast.unparse(holder.value) == "self":
                continue
            if holder.attr in PATCHED or ast.unparse(holder) == "sys.modules":
                lines.append(target.lineno)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("setattr", "delattr"):
            lines.append(node.lineno)
    return lines


def test_no_other_file_patches_a_library() -> None:
    allowed = {
        "models/library_patches.py": None,
        "models/loading.py": 1,  # a field of a configuration, by the name in VALUE_HEAD
        "models/score_parts/files.py": 3,  # a module of its own in a network, and its settings
        "core/extensions.py": 1,  # the module made of a user's file, under its own name
    }
    result = {
        path.relative_to(ROOT).as_posix(): len(lines)
        for path in sorted(ROOT.rglob("*.py"))
        if (lines := library_patches_in(path.read_text("utf-8")))
    }
    assert {name: count for name, count in result.items() if allowed.get(name, 0) not in (None, count)} == {}


@pytest.mark.parametrize(
    "line",
    [
        "layer.forward = other",
        "del layer.forward",
        "module.__class__ = Other",
        "network.score = head",
        "layer.lora_A, layer.lora_B = one.lora_A, one.lora_B",
        "layer.lora_dropout['default'] = other",
        "config._attn_implementation = 'mine'",
        "setattr(network, name, trunk)",
        "sys.modules['peft'] = None",
        "del sys.modules['peft']",
    ],
)
def test_a_patch_is_noticed(line: str) -> None:
    assert set(library_patches_in(f"def f():\n    {line}\n")) == {2}


@pytest.mark.parametrize("line", ["self.score = 1", "x = layer.forward", "config.eos_token_id = 1", "score = 2"])
def test_other_assignments_are_no_patch(line: str) -> None:
    assert library_patches_in(line) == []
