"""Scripts of texts."""

from __future__ import annotations

import pytest
from quality_rows import pair, reasons

from gnomon.core.errors import ConfigError
from gnomon.data.scripts import script_counts


def test_letters_are_counted_by_script() -> None:
    assert script_counts("Tea 茶 чай 2x!") == {"Latin": 4, "Han": 1, "Cyrillic": 3}


def test_a_text_mostly_in_another_script_is_found() -> None:
    row = pair("Wie geht es?", chosen="今天天气很好 OK", rejected="Всё хорошо")
    assert reasons("scripts", row, wanted=["Latin"]) == ["chosen is mostly Han", "rejected is mostly Cyrillic"]
    assert reasons("scripts", row, wanted=["Latin", "Han", "Cyrillic"]) == []
    assert reasons("scripts", pair("1 + 1 = ?", "2", "3"), wanted=["Han"]) == []


def test_an_unknown_script_is_refused_with_a_hint() -> None:
    with pytest.raises(ConfigError, match="'Hans' is no script"):
        reasons("scripts", pair(), wanted=["Hans"])
