"""Loading of models from a catalog name, a folder, a GGUF file or a Hugging Face name; saving to a plain folder.

Weights are read from safetensors only, and no code from a model folder is run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from gnomon.core.boundary import first_line
from gnomon.core.errors import DataError, GnomonError, ModelError
from gnomon.core.progress import console
from gnomon.core.storage.files import sync_entry, sync_folder, write_json
from gnomon.core.storage.leftovers import temporary_folder
from gnomon.data.templates.chat_template import PLAIN_TEMPLATE, turn_end
from gnomon.data.templates.trial import try_template
from gnomon.models.adapters import adapter_base, make_trainable, merge_adapter, trains_all
from gnomon.models.cards.card import render_card
from gnomon.models.cards.facts import Kind, ModelCard
from gnomon.models.cards.files import put_model, write_card
from gnomon.models.config_limits import check_config
from gnomon.models.embedding_rows import fit_embeddings
from gnomon.models.engine.device import Compute
from gnomon.models.library_patches import quiet_transformers, set_score_head, train_padding_embedding
from gnomon.models.resolve import base_info, resolve
from gnomon.models.reward_ensemble import (
    ENSEMBLE_KEY,
    MEMBERS_FOLDER,
    EnsembleRecord,
    RewardEnsemble,
    RewardPanel,
    adapter_ensemble,
    load_head_stack,
    load_member_weights,
    panel_record,
    read_record,
)
from gnomon.models.roles import Critic, Model, Policy, RewardModel
from gnomon.models.scalar_head import (
    ScalarHead,
    as_scalar_head,
    choose_head,
    keep_head,
    load_head,
    new_head,
    save_with_head,
    start_at_zero,
)
from gnomon.models.score_parts.files import (
    add_parts,
    drop_parts,
    load_parts,
    parts_of,
    remember_parts,
    save_parts,
    without_parts,
)
from gnomon.models.score_parts.settings import PartSettings
from gnomon.models.settings import FROZEN, PLAIN_HEAD, VALUE_HEAD, HeadSettings, Trainable
from gnomon.models.special_tokens import with_end_tokens
from gnomon.models.verify_forward import verified

M = TypeVar("M", bound=Model)


def load_tokenizer(name: str, chat_template: str | None = None) -> Any:
    """Load the tokenizer of a model, with a chat template that is saved with it.

    Args:
        name: of the model.
        chat_template: `plain` (turns as `Human: …` and `Assistant: …`), the path of a Jinja file, or `None` for
            the tokenizer's own; one that has none is refused.
    """
    with loading(name):
        tokenizer = AutoTokenizer.from_pretrained(_tokenizer_home(name), trust_remote_code=False)
        tokenizer("gnomon", add_special_tokens=False)  # a broken configuration may show only here
    if chat_template is not None:
        set_template(tokenizer, chat_template)
    if tokenizer.chat_template is None:
        raise ModelError(
            f"the tokenizer of model '{name}' has no chat template; set chat_template of the model to plain, or "
            "to the path of a Jinja file."
        )
    try_template(tokenizer, f"model '{name}'")
    return tokenizer


def _tokenizer_home(name: str) -> str:
    """Return the source of a model's tokenizer: the model's own, or that of an adapter's base model."""
    source = resolve(name)
    known = ("tokenizer*", "vocab*", "*.model")
    if not Path(source).is_dir() or any(file for pattern in known for file in Path(source).glob(pattern)):
        return source
    if base := adapter_base(source):
        return _tokenizer_home(base)
    raise ModelError(
        f"model folder '{name}' holds no tokenizer; copy the files that its tokenizer's save_pretrained writes "
        "(tokenizer.json, tokenizer_config.json) into it."
    )


def set_template(tokenizer: Any, chat_template: str) -> None:
    """Give a tokenizer the chat template `plain`, or that of a Jinja file, which must render an answer."""
    try:
        plain = chat_template == "plain"
        tokenizer.chat_template = PLAIN_TEMPLATE if plain else Path(chat_template).expanduser().read_text("utf-8")
        try_template(tokenizer, chat_template)
        turn_end(tokenizer)
    except (OSError, UnicodeDecodeError, DataError) as error:
        problem = str(error).rstrip(".")
        raise ModelError(
            f"chat_template '{chat_template}' cannot be used ({problem}); give plain, or a Jinja file in UTF-8."
        ) from None


def load_policy(
    name: str, compute: Compute, trainable: Trainable = FROZEN, *, chat_template: str | None = None
) -> Policy:
    """Load a causal language model.

    Args:
        name: of the catalog, of the hub, or a path.
        compute: device and precision.
        trainable: weights that learn; by default none.
        chat_template: as in `load_tokenizer`.
    """
    network, _ = load_network(AutoModelForCausalLM, name)
    tokenizer = load_tokenizer(name, chat_template)
    fit_embeddings(network, tokenizer, name, grow=trains_all(network, trainable))
    return _with_card(Policy(network, tokenizer, compute, make_trainable(network, trainable)), name)


def load_reward_model(
    name: str,
    compute: Compute,
    trainable: Trainable = FROZEN,
    *,
    seed: int,
    num_layers: int | None = None,
    chat_template: str | None = None,
    head: HeadSettings = PLAIN_HEAD,
    parts: PartSettings | None = None,
    trained: bool = False,
) -> RewardModel:
    """Load a reward model: one saved as such, with its own head, or a language model with a new one.

    A new head has the shape `head` and starts at N(0, 1/(d+1)) (Ziegler et al. 2019).

    Args:
        name: of the catalog, of the hub, or a path.
        compute: device and precision.
        trainable: weights that learn besides the head; by default none, and the head is frozen too.
        seed: of a new head.
        num_layers: number of lower layers to keep; by default all.
        chat_template: as in `load_tokenizer`.
        head: shape of a new head.
        parts: parts that it shall have beside the head, such as heads of named scores.
        trained: refuse a folder without a head, whose scores would be noise.

    Raises:
        ModelError: the folder's own head has another shape than `head`, or is missing.
    """
    network, saved, _ = _scalar_network(name, num_layers=num_layers)
    if record := _record_of(network, name):
        return _load_ensemble(network, record, name, compute, chat_template)
    if saved is None and trained:
        raise ModelError(
            f"reward model '{name}' lacks the weight score.weight, so it has no head that was trained; give a "
            "folder with one, as transformers' AutoModelForSequenceClassification saves it."
        )
    if saved is None:
        set_score_head(network, new_head(network.score.in_features, head, seed))
    elif not head.plain and head != saved:
        raise ModelError(
            f"reward model '{name}' has a head of its own ({saved}), not {head}; leave head out, or start from a "
            "language model."
        )
    tokenizer = load_tokenizer(name, chat_template)
    fit_embeddings(network, tokenizer, name, grow=trains_all(network, trainable))
    adapter = make_trainable(network, trainable)
    if parts is not None:
        add_parts(network, parts, name)
    own_parts = parts_of(network)
    if own_parts is not None and own_parts.gate is not None:
        set_score_head(network, as_scalar_head(network.score))  # its scores are no longer those of a plain head
    for module in (network.score, own_parts):
        if module is not None:
            module.requires_grad_(trainable != FROZEN)
    model = _with_card(RewardModel(network, tokenizer, compute, adapter), name)
    model.untrained_head = saved is None or (own_parts is not None and not own_parts.settings.overall)
    return model


def _load_ensemble(
    network: Any, record: EnsembleRecord, name: str, compute: Compute, chat_template: str | None
) -> RewardEnsemble:
    """Load the members of an ensemble on one trunk, frozen."""
    adapter = None
    if record.kind == "heads":
        load_head_stack(network, resolve(name), record)
    elif record.trainable is not None and record.kind == "adapters":
        set_score_head(network, ScalarHead(network.config.get_text_config().hidden_size, record.head))
        adapter = make_trainable(network, record.trainable)
    else:
        raise ModelError(
            f"reward model '{name}' does not state the shape of its adapters; give the folder whole."
        )
    tokenizer = load_tokenizer(name, chat_template)
    fit_embeddings(network, tokenizer, name, grow=False)
    network.requires_grad_(False)
    model = RewardModel(network, tokenizer, compute, adapter)
    if record.kind == "heads":
        return _with_card(RewardEnsemble(model, record), name)
    return _with_card(adapter_ensemble(model, load_member_weights(resolve(name), record), record), name)


def save_panel(panel: RewardPanel, folder: Path, *, steps: int | None = None) -> None:
    """Write separate reward models as one folder, each as `save_model` does; config.json holds the record.

    Args:
        panel: the models.
        folder: to write.
        steps: number of training steps, for the card.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(folder.parent) as work:
        for number, member in enumerate(panel.members):
            own = work / "model" / MEMBERS_FOLDER / str(number)
            if isinstance(member, RewardModel) and not member.whole_conversation:
                save_model(member, own, steps=steps)
            else:  # trained elsewhere: as it was loaded, so that it is scored in the same way again
                with quiet_transformers():
                    member.network.save_pretrained(own)
                member.tokenizer.save_pretrained(own)
        content = {ENSEMBLE_KEY: panel.record.model_dump(mode="json", exclude_none=True)}
        write_json(work / "model" / "config.json", content)
        base = base_info(panel.card.base)
        write_card(work / "model", render_card(panel.card, "reward", base, steps), base)
        sync_folder(work / "model")
        if aside := put_model(work / "model", folder):
            console.print(
                f"  another {folder.name} was there; it is renamed to {aside}", markup=False, soft_wrap=True
            )
        sync_entry(folder.parent)


def _record_of(network: Any, name: str) -> EnsembleRecord | None:
    """Take the record of an ensemble out of a network's configuration; `None` for a single reward model."""
    content = network.config.__dict__.pop(ENSEMBLE_KEY, None)
    return None if content is None else read_record(content, name)


def load_critic(
    name: str,
    compute: Compute,
    trainable: Trainable,
    *,
    seed: int,
    chat_template: str | None = None,
    head: HeadSettings = PLAIN_HEAD,
) -> Critic:
    """Load a critic: a saved one, or the trunk of a reward model or a language model with a new head.

    Of separate models in an ensemble it is the trunk of the first. A new head's values are all zero. A reward
    model's own head is a bad start: it was trained at the ends of turns only, and its values at other tokens
    explain less of the return than a constant. Its trunk is a good start.

    Args:
        name: of the catalog, of the hub, or a path.
        compute: device and precision.
        trainable: weights that learn besides the head.
        seed: of a new head.
        chat_template: as in `load_tokenizer`.
        head: shape of a new head.

    Raises:
        ModelError: `head` pools over tokens, while a critic has a value for each; or the saved head differs.
    """
    if panel_record(Path(name).expanduser()):
        name = str(Path(name) / MEMBERS_FOLDER / "0")
    if head.pooling != "last":
        raise ModelError(f"a critic has a value for each token, so {head.pooling} pooling cannot be; use last.")
    network, saved, is_critic = _scalar_network(name, num_layers=None)
    drop_parts(network)
    if not is_critic:
        _record_of(network, name)  # only the trunk of an ensemble is used
        set_score_head(network, new_head(network.config.get_text_config().hidden_size, head, seed))
        start_at_zero(network.score)
        network.config.score_offset = 0.0
    elif not head.plain and head != saved:
        raise ModelError(
            f"critic '{name}' has a head of its own ({saved}), not {head}; leave head out, or start from a model."
        )
    tokenizer = load_tokenizer(name, chat_template)
    fit_embeddings(network, tokenizer, name, grow=True)  # it reads the tokens that its policy draws
    adapter = make_trainable(network, trainable)
    network.score.requires_grad_(True)  # a critic's head learns even if nothing else does
    return _with_card(Critic(network, tokenizer, compute, adapter), name)


def _with_card(model: M, name: str) -> M:
    """Verify a model and set its card, which names its base model."""
    model.card = ModelCard(base=name, base_name=name)
    return verified(model)


def _scalar_network(name: str, *, num_layers: int | None) -> tuple[Any, HeadSettings | None, bool]:
    """Load a network with a scalar head; returns the head's shape, and whether it was saved as a critic's.

    The shape is `None` if the folder holds no head. Of several heads the one in `model#head` is kept.
    """
    if panel_record(Path(name).expanduser()):
        raise ModelError(
            f"reward model '{name}' is an ensemble of separate models, and one network is needed here; name one "
            f"of its members, such as {name}/{MEMBERS_FOLDER}/0."
        )
    with loading(name):
        source = resolve(name)
        check_config(Path(source), name)
        index, heads = choose_head(name, source)
    changes: dict[str, Any] = {"num_labels": 1} if len(heads) < 2 else {}
    if num_layers is not None:
        changes["num_hidden_layers"] = num_layers
    network, missing = load_network(AutoModelForSequenceClassification, name, {"score.weight"}, **changes)
    if not isinstance(getattr(network, "score", None), nn.Linear):
        raise ModelError(
            f"{network.config.model_type} models are not supported as reward models here: their head is no "
            "linear layer on the last token; encoders are scored, but not trained."
        )
    if len(heads) > 1:
        keep_head(network, index, heads[index])
    with loading(name):
        saved = load_head(network, source)
        load_parts(network, source)
    is_critic = bool(network.config.__dict__.pop(VALUE_HEAD, False))
    return network, saved or (None if missing else PLAIN_HEAD), is_critic


def load_network(kind: Any, name: str, new: Set[str] = frozenset(), **changes: Any) -> tuple[Any, set[str]]:
    """Load a network; returns which weights in `new` its folder lacks, and refuses one that lacks others.

    transformers would fill those with random numbers and only warn.

    Args:
        kind: transformers' class that loads it, such as `AutoModelForCausalLM`.
        name: of the catalog, of the hub, or a path.
        new: weights that the folder may lack.
        changes: of the configuration.
    """
    with loading(name):
        source = resolve(name)
        check_config(Path(source), name)
        if base := adapter_base(source):
            network, missing = load_network(kind, base, new, **changes)
            return network, missing - merge_adapter(network, source, partly=bool(new))
        network, facts = kind.from_pretrained(
            source,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # listed in `facts`, and refused below by name
            **changes,
        )
    # Padding is never read, and the padding token may occur in texts: its embedding learns like any other.
    train_padding_embedding(network)
    missing, misshapen = set(facts["missing_keys"]), [key for key, *_ in facts["mismatched_keys"]]
    unused = [key for key in facts["unexpected_keys"] if _built_without(network, key)]
    for keys, problem in (
        (missing - new, "lacks"),
        (misshapen, "has another shape of"),
        (unused, "holds, and would not use,"),
    ):
        if keys:
            first, more = min(keys), f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise ModelError(
                f"model '{name}' {problem} the weight {first}{more}; "
                "give a folder whose config.json fits its weights."
            )
    return network, missing


def _built_without(network: Any, key: str) -> bool:
    """Return whether a weight belongs to a layer that the configuration builds without it, such as a bias."""
    path, _, name = key.rpartition(".")
    try:
        layer = network.get_submodule(path)
    except AttributeError:  # an unrelated part: a vocabulary head in a scorer, a vision tower
        return False
    return getattr(layer, name, layer) is None


def save_model(model: Model, folder: Path, *, steps: int | None = None) -> None:
    """Write a plain `save_pretrained` folder (weights, configuration, tokenizer, card) atomically.

    With it, transformers alone computes the same outputs as `model`, and ends answers where Gnomon ends them. A
    reward model that was trained elsewhere keeps its tokens and is scored as before. An existing folder that
    differs is renamed with a number; a card that a user wrote or changed is left in place.

    Args:
        model: the model.
        folder: to write.
        steps: number of training steps, for the card.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    network = model.plain_network()
    kind: Literal["policy", "scorer"] = "policy" if isinstance(model, Policy) else "scorer"
    elsewhere = isinstance(model, RewardModel) and model.whole_conversation
    if elsewhere:
        network.config.whole_conversation = True
    elif kind == "scorer" and network.config.get_text_config().__dict__.get("score_offset") is None:
        network.config.score_offset = 0.0
    if isinstance(model, Critic):
        setattr(network.config, VALUE_HEAD, True)
    own = contextlib.nullcontext(model.tokenizer)
    ends = own if elsewhere else with_end_tokens(network, model.tokenizer, kind)
    with temporary_folder(folder.parent) as work, ends as tokenizer:
        remember_parts(network)
        with quiet_transformers(), without_parts(network) as parts:
            if isinstance(model, RewardEnsemble):
                model.save_network(work / "model")
            elif isinstance(getattr(network, "score", None), ScalarHead):
                save_with_head(network, work / "model")
            else:
                network.save_pretrained(work / "model")
            if parts is not None:
                save_parts(parts, work / "model")
        tokenizer.save_pretrained(work / "model")
        base = base_info(model.card.base)
        write_card(work / "model", render_card(model.card, _kind_of(model), base, steps), base)
        sync_folder(work / "model")
        if aside := put_model(work / "model", folder):
            console.print(
                f"  another {folder.name} was there; it is renamed to {aside}", markup=False, soft_wrap=True
            )
        sync_entry(folder.parent)


def _kind_of(model: Model) -> Kind:
    return "critic" if isinstance(model, Critic) else "policy" if isinstance(model, Policy) else "reward"


@contextlib.contextmanager
def loading(name: str) -> Iterator[None]:
    """Context manager: no progress bars, and one sentence for errors that a user can fix."""
    try:
        with quiet_transformers():
            yield
    except GnomonError:
        raise
    except (
        Exception
    ) as error:  # libraries raise all kinds of errors for a broken folder: KeyError, ZeroDivisionError, …
        first = first_line(error)
        raise ModelError(
            f"model '{name}' could not be loaded ({first}); check the name or the folder."
        ) from error
