"""Personal data: what is found, what only looks like it, and masks. All numbers are made up."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from quality_rows import cleaned, pair, reasons

from gnomon.data.quality.identity_numbers import is_card, is_chinese_id, is_iban, luhn
from gnomon.data.quality.record_filters.personal_data import PersonalData

CHINESE_ID = "11010519491231002X"  # the example of GB 11643


def test_check_digits_by_hand() -> None:
    assert luhn("79927398713")
    assert not luhn("79927398710")
    assert is_card("4111111111111111")
    assert not is_card("4111111111111112")
    assert not is_card("0000000000000000")
    assert is_chinese_id(CHINESE_ID)
    assert is_chinese_id(CHINESE_ID.lower())
    assert not is_chinese_id("110105194912310021")
    assert not is_chinese_id("110105194913310020")  # no month 13
    assert not is_chinese_id("99" + CHINESE_ID[2:])
    assert is_iban("GB82WEST12345698765432")
    assert not is_iban("GB82WEST12345698765433")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to ann.lee+x@mail.example.org.", "Write to [EMAIL]."),
        ("我的邮箱是ann@example.com，谢谢", "我的邮箱是[EMAIL]，谢谢"),
        ("Call +44 20 7946 0958 now", "Call [PHONE] now"),
        ("Call (212) 555-0147 now", "Call [PHONE] now"),
        ("手机13812345678，谢谢", "手机[PHONE]，谢谢"),
        ("手机１３８１２３４５６７８", "手机[PHONE]"),
        ("电话：+86 138-1234-5678", "电话：[PHONE]"),
        ("座机010-62345678", "座机[PHONE]"),
        (f"身份证号{CHINESE_ID}。", "身份证号[CHINESE_ID]。"),
        ("card 4111 1111 1111 1111 expires", "card [CARD] expires"),
        ("card 4111.1111.1111.1111, or 3782 - 822463 - 10005", "card [CARD], or [CARD]"),
        ("SSN 078-05-1120", "SSN [US_SSN]"),
        ("IBAN GB82 WEST 1234 5698 7654 32", "IBAN [IBAN]"),
    ],
)
def test_personal_data_is_found_and_masked(text: str, masked: str) -> None:
    assert PersonalData().mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "In 2024 there were 1,234,567 visitors, 12.5% more than in 2023.",
        "The ISBN is 978-3-16-148410-0.",
        "π is 3.14159265358979323846",
        "See RFC 2822 and issue 12345678901.",
        "2024-05-17 12:30:45",
        "at 2024-01-15 12 and 4.111111111111111",
        "Order 4111111111111112 was shipped.",
        "IP 192.168.100.200",
        "@handle and a@b",
        "000-12-3456 is no number of that kind",
        "共有12345678901234567890人次",
    ],
)
def test_other_numbers_are_not(text: str) -> None:
    assert PersonalData().mask(text) == text


def test_a_reason_names_the_sort_and_never_the_data() -> None:
    row = pair("My mail is ann@example.org", chosen="Call 13812345678.")
    assert reasons("personal_data", row) == ["prompt holds an e-mail address", "chosen holds a phone number"]
    assert reasons("personal_data", row, sorts=["email"]) == ["prompt holds an e-mail address"]


def test_a_long_text_with_many_matches_is_masked_in_linear_time() -> None:
    """An address within an address is masked once; 40,000 matches take well under a second of processor time."""
    text = "Write to ann@example.org or +44 20 7946 0958. " * 20_000
    started = time.process_time()
    assert PersonalData().mask(text) == "Write to [EMAIL] or [PHONE]. " * 20_000
    assert time.process_time() - started < 5
    assert PersonalData().mask("13812345678@example.org") == "[EMAIL]"


def test_columns_that_rewards_read_are_masked_too(tmp_path: Path) -> None:
    row = {
        "prompt": "Who?",
        "completion": "Me.",
        "contact": {"mail": "ann@example.org"},
        "answer": "ann@example.org",
    }
    (masked,) = cleaned(tmp_path, [row], {"personal_data": "mask"}).clean
    assert masked["contact"] == {"mail": "[EMAIL]"}
    assert "example.org" not in (tmp_path / "clean.jsonl").read_text("utf-8")


def test_masking_changes_the_texts_the_other_columns_and_ids_and_nothing_else(tmp_path: Path) -> None:
    row = pair("Mail ann@example.org", chosen="  Sure \n", rejected="No", meta={"from": "bo@example.org", "n": 3})
    result = cleaned(tmp_path, [row, pair("Other")], {"personal_data": "mask"})
    masked, other = result.clean
    assert masked["prompt"]["messages"] == [{"role": "user", "content": "Mail [EMAIL]"}]
    assert masked["chosen"]["text"] == "  Sure \n"
    assert masked["meta"] == {"from": "[EMAIL]", "n": 3}
    assert "example.org" not in (tmp_path / "clean.jsonl").read_text("utf-8")
    assert other["prompt"]["messages"] == [{"role": "user", "content": "Other"}]
    assert result.report.filters["personal_data"].records == 1
    again = cleaned(tmp_path, [pair("Mail [EMAIL]")])
    assert masked["prompt"]["id"] == again.clean[0]["prompt"]["id"]  # the old id was a digest of the address
