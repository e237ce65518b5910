"""Nothing is drawn over a run's lines, and nobody else's settings stay changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import CPU, tiny_policy
from transformers import modeling_gguf_pytorch_utils as gguf_reading
from transformers.utils import logging

from gnomon.core.errors import ModelError
from gnomon.models.loading import load_policy, save_model
from gnomon.models.quiet_libraries import quiet_transformers


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
    with quiet_transformers():
        assert list(gguf_reading.tqdm([1, 2], desc="Converting")) == [1, 2]
    assert capfd.readouterr() == ("", "")
    assert list(gguf_reading.tqdm([1, 2], desc="Converting")) == [1, 2]
    assert "Converting" in capfd.readouterr().err


def test_bars_that_were_off_stay_off() -> None:
    logging.disable_progress_bar()
    try:
        with quiet_transformers():
            pass
        assert not logging.is_progress_bar_enabled()
    finally:
        logging.enable_progress_bar()
