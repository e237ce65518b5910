"""Personal data: addresses of e-mail, phone numbers, payment cards, identity numbers, bank accounts."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from gnomon.data.quality.contract import Action, Part, RecordFilter
from gnomon.data.quality.identity_numbers import is_card, is_chinese_id, is_iban
from gnomon.data.quality.texts import named_texts, turn_texts
from gnomon.data.records import prompt_of_record

Sort = Literal["email", "phone", "card", "chinese_id", "us_ssn", "iban"]
Check = Callable[[str], bool]
WIDE = str.maketrans("０１２３４５６７８９Ｘｘ＋－（）＠．", "0123456789Xx+-()@.")  # one character for one
NOT_IN_NUMBER = r"(?<!\d)(?<!\d[.\-])"
NUMBER_ENDS = r"(?!\d)(?!\.\d)"
_CHINESE_ID = r"\d{17}[\dXx]"
_CARD = (
    r"(?:\d{4}(?:[ ./\-]{1,3}\d{4}){3}|\d{4}[ ./\-]{1,3}\d{6}[ ./\-]{1,3}\d{5}"  # groups as on the card
    r"|\d(?:[ \-]?\d){12,18})"
)
_PHONE = (
    r"\+\d{1,3}(?:[ .\-]?\(\d{1,4}\))?(?:[ .\-]?\d{2,4}){2,4}"  # international
    r"|(?:\+?86[ \-]?)?1[3-9]\d[ \-]?\d{4}[ \-]?\d{4}"  # Chinese mobile
    r"|0\d{2,3}-\d{7,8}"  # Chinese landline
    r"|(?:1[ .\-])?(?:\(\d{3}\) ?|\d{3}[.\-])\d{3}[.\-]\d{4}"  # North American
)


def _plain(text: str) -> str:
    """The ASCII letters and digits of a match."""
    return "".join(character for character in text if character.isalnum())


def _is_phone(text: str) -> bool:
    return 7 <= len(_plain(text)) <= 15


def _is_ssn(text: str) -> bool:
    area, group, serial = re.split(r"\D", text)
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


# In this order: what one sort matches, the later ones do not see.
SORTS: dict[Sort, tuple[str, re.Pattern[str], Check]] = {
    "email": (
        "an e-mail address",
        re.compile(
            r"[A-Za-z0-9][\w.+%\-]{0,63}@(?:[A-Za-z0-9\-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w\-])", re.ASCII
        ),
        lambda _: True,
    ),
    "iban": (
        "a bank account (IBAN)",
        re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", re.ASCII),
        lambda text: 15 <= len(_plain(text)) <= 34 and is_iban(_plain(text)),
    ),
    "chinese_id": (
        "a Chinese identity number",
        re.compile(NOT_IN_NUMBER + _CHINESE_ID + r"(?![\dA-Za-z])", re.ASCII),
        lambda text: is_chinese_id(_plain(text)),
    ),
    "card": (
        "a payment card",
        re.compile(NOT_IN_NUMBER + _CARD + NUMBER_ENDS, re.ASCII),
        lambda text: is_card(_plain(text)),
    ),
    "us_ssn": (
        "a US social security number",
        re.compile(NOT_IN_NUMBER + r"\d{3}[- ]\d{2}[- ]\d{4}" + NUMBER_ENDS, re.ASCII),
        _is_ssn,
    ),
    "phone": ("a phone number", re.compile(NOT_IN_NUMBER + f"(?:{_PHONE})" + NUMBER_ENDS, re.ASCII), _is_phone),
}
_HINT = re.compile(r"@|\d{3}|\d[ .\-]\d", re.ASCII)


class PersonalData(RecordFilter):
    """Finds personal data in prompts and completions by patterns, with check digits where there are any.

    Names, addresses and whatever else has no pattern are not found.

    Attributes:
        sorts: sorts of data to look for.
    """

    name: ClassVar[str] = "personal_data"
    part: ClassVar[Part] = "private"
    actions: ClassVar[tuple[Action, ...]] = ("off", "report", "drop", "mask")
    when_named: ClassVar[Action] = "report"
    sorts: list[Sort] = Field(default_factory=lambda: list(SORTS))

    def check(self, record: Any, tokenizer: Any) -> Iterator[str]:
        """Search the prompt and each completion."""
        prompt = prompt_of_record(record)
        texts = [("prompt", text) for text in turn_texts(prompt.messages)] if prompt is not None else []
        if prompt is not None and prompt.answer is not None:
            texts.append(("answer", prompt.answer))
        reasons: dict[str, None] = {}
        for name, text in (*texts, *named_texts(record, calls=True)):
            for sort, _, _ in self.matches(text):
                reasons.setdefault(f"{name} holds {SORTS[sort][0]}")
        yield from reasons

    def mask(self, text: str) -> str:
        """Replace each match by its sort, as in `[EMAIL]`."""
        pieces, last = [], 0
        for sort, start, end in self.matches(text):
            pieces += [text[last:start], f"[{sort.upper()}]"]
            last = end
        return "".join([*pieces, text[last:]])

    def matches(self, text: str) -> list[tuple[Sort, int, int]]:
        """Return the sort, start and end of each match, in their order and without overlaps."""
        text = text.translate(WIDE)
        if not _HINT.search(text):
            return []
        taken: dict[int, tuple[Sort, int, int]] = {}
        starts: list[int] = []  # of the sorts before, in order
        for sort, (_, pattern, check) in SORTS.items():
            if sort not in self.sorts:
                continue
            for match in pattern.finditer(text):
                start, end = match.span()
                before = bisect_left(starts, end) - 1  # the last match that starts before this one ends
                if check(match[0]) and (before < 0 or taken[starts[before]][2] <= start):
                    taken[start] = (sort, start, end)
            starts = sorted(taken)
        return [taken[start] for start in starts]
