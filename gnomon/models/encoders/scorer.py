"""Reward models whose network is an encoder, such as OpenAssistant's DeBERTa: one score for question and answer.

The network is run as transformers defines it, on the tokenizer's own pair of texts; there is no chat template,
and nothing is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from gnomon.core.errors import ModelError
from gnomon.models.config_limits import check_config
from gnomon.models.engine.device import Compute
from gnomon.models.external import model_path, open_reward_model, require_kind
from gnomon.models.loading import load_network, loading
from gnomon.models.resolve import resolve
from gnomon.models.reward_ensemble import MEMBERS_FOLDER, EnsembleRecord, RewardPanel, panel_record
from gnomon.models.roles import RewardModel
from gnomon.models.scalar_head import choose_head
from gnomon.models.settings import split_head

ENCODERS = frozenset(
    {"albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "modernbert", "roberta"}
    | {"xlm-roberta"}
)
FROM_PADDING = frozenset({"camembert", "roberta", "xlm-roberta"})  # positions start above the padding token's id
NO_LIMIT = 10**9  # tokenizers without a length limit have one far above it


class EncoderScorer:
    """An encoder with a classifier of one or several outputs, one of which is the score.

    Attributes:
        network: the classifier, in float32.
        tokenizer: of the network, without a chat template.
        head: index of the output that is the score.
        context: length limit of a pair in tokens; `None` if there is none.
    """

    def __init__(self, network: Any, tokenizer: Any, compute: Compute, head: int):
        self.network = network.to(compute.device).eval()
        self.tokenizer = tokenizer
        self.device = compute.device
        self.head = head
        self.context = _context(network.config, tokenizer)

    def encode(self, question: str, answer: str) -> dict[str, list[int]]:
        """Tokenize a question and an answer as the tokenizer's pair; control tokens in them are plain text."""
        return dict(self.tokenizer(question, answer, split_special_tokens=True))

    @torch.no_grad()
    def scores(self, pairs: Sequence[dict[str, list[int]]]) -> Tensor:
        """Compute the score of each encoded pair, in one pass, `[N]`."""
        batch = self.tokenizer.pad(list(pairs), return_tensors="pt", padding_side="right").to(self.device)
        logits: Tensor = self.network(**batch).logits[:, self.head].float()
        return logits


def is_encoder(name: str) -> bool:
    """Return whether a model, by its configuration, is a supported encoder with a classifier."""
    source = resolve(name)
    if Path(source).is_dir() and not (Path(source) / "config.json").is_file():
        return False
    with loading(name):
        check_config(Path(source), name)
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    first = str((config.architectures or [""])[0])
    return config.model_type in ENCODERS and first.endswith("ForSequenceClassification")


def open_scorer(
    name: str, compute: Compute, *, seed: int = 0, chat_template: str | None = None
) -> RewardModel | EncoderScorer | RewardPanel:
    """Load a trained reward model of any kind: a decoder with a head, an encoder with a classifier, an ensemble.

    Args:
        name: of the hub, or a path; `model#head` for a model with several heads.
        compute: device and precision; encoders compute in float32.
        seed: unused for a model that has a head.
        chat_template: of a decoder, as in `load_tokenizer`.

    Raises:
        ModelError: it cannot be loaded, or not be scored as it was trained.
    """
    name = model_path(name)
    path, score = split_head(name)
    if record := panel_record(Path(path).expanduser()):
        return _open_panel(path, record, compute, chat_template, score)
    require_kind(name, "reward")
    if not is_encoder(name):
        return open_reward_model(name, compute, seed=seed, chat_template=chat_template)
    with loading(name):
        index, _ = choose_head(name, resolve(name))
        tokenizer = AutoTokenizer.from_pretrained(resolve(name), trust_remote_code=False)
    if tokenizer.chat_template is not None:
        raise ModelError(
            f"reward model '{path}' is an encoder with a chat template, so it does not show whether it reads a "
            "pair of texts or a rendered conversation; remove chat_template from its tokenizer if it reads pairs."
        )
    if tokenizer.pad_token_id is None:
        raise ModelError(f"the tokenizer of model '{path}' has no padding token; set pad_token in its folder.")
    network, _ = load_network(AutoModelForSequenceClassification, name)
    return EncoderScorer(network, tokenizer, compute, index)


def _open_panel(
    name: str, record: EnsembleRecord, compute: Compute, chat_template: str | None, score: str | None
) -> RewardPanel:
    """Load an ensemble of separate reward models from its folder; with `score`, that named score of each."""
    folders = [Path(name).expanduser() / MEMBERS_FOLDER / str(number) for number in range(len(record.names))]
    for folder, member in zip(folders, record.names, strict=True):
        if not (folder / "config.json").is_file():
            raise ModelError(
                f"reward model '{name}' lacks its member '{member}' at {folder}; give the folder whole, as "
                "Gnomon wrote it."
            )
    if score is not None:  # the calibration is that of the members' own scores
        record = record.model_copy(update={"calibration": None})
    mark = "" if score is None else f"#{score}"
    members = [open_scorer(f"{folder}{mark}", compute, chat_template=chat_template) for folder in folders]
    return RewardPanel(members, record)


def _context(config: Any, tokenizer: Any) -> int | None:
    """Return the number of tokens that the encoder has positions for, and that its tokenizer allows."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions and config.model_type in FROM_PADDING:
        positions -= config.pad_token_id + 1
    limits = [limit for limit in (positions, tokenizer.model_max_length) if limit and limit < NO_LIMIT]
    return min(limits) if limits else None
