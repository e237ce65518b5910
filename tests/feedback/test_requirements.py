"""What items require and what annotators can judge, compared by names."""

from __future__ import annotations

import pytest

from gnomon.core.errors import DataError
from gnomon.feedback.requirements import Profile, profile, requirement, stored_profile


def test_all_that_is_required_must_be_met() -> None:
    needed = requirement("zh", "Law", ["contracts", "courts"])
    assert profile(["zh"], ["law"], ["courts", "contracts", "cooking"]).meets(needed)
    assert not profile(["en"], ["law"], ["courts", "contracts"]).meets(needed)
    assert not profile(["zh"], [], ["courts", "contracts"]).meets(needed)
    assert not profile(["zh"], ["law"], ["courts"]).meets(needed)


def test_nothing_required_is_met_by_anybody() -> None:
    assert Profile().meets(requirement())
    assert requirement(" ", "", [""]).key is None


@pytest.mark.parametrize(("own", "needed"), [("zh-TW", "zh"), ("zh", "zh_Hans_CN"), ("EN-gb", "en-US")])
def test_languages_are_compared_by_their_main_part(own: str, needed: str) -> None:
    assert profile([own]).meets(requirement(needed))
    assert not profile(["fr"]).meets(requirement(needed))


def test_names_are_compared_without_case_and_spaces() -> None:
    """A decomposed é is the composed one; Chinese names stay as they are."""
    assert requirement(domain="  Cafe\u0301   Noir ") == requirement(domain="caf\u00e9 noir")
    assert requirement(skills=["b", "a", "B "]).skills == ("a", "b")
    assert str(requirement("zh", "法律", ["诉讼"])) == "language zh, domain 法律, skill 诉讼"


def test_equal_requirements_have_one_key_and_different_ones_several() -> None:
    zh, also_zh = requirement("zh"), requirement("ZH")
    assert zh.key == also_zh.key
    others = [requirement(domain="zh"), requirement(skills=["zh"]), requirement("zh", "zh"), zh]
    assert len({one.key for one in others}) == 4


def test_a_profile_is_stored_and_read_back() -> None:
    known = profile(["zh", "en"], ["law"])
    assert stored_profile(known.row()) == known
    assert Profile().row() is None
    assert stored_profile(None) == Profile()
    assert (known | profile(["fr"], [], ["sql"])) == profile(["en", "fr", "zh"], ["law"], ["sql"])


def test_a_name_of_a_text_is_refused() -> None:
    with pytest.raises(DataError, match="has 101 characters; use at most 100"):
        requirement(domain="x" * 101)
