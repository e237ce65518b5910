"""Changes that leave an answer's worth alone, in any language; random ones depend on the seed and the text."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from gnomon.data.scripts import script_counts

Change = Callable[[str, Random], str]

TYPO_EVERY = 25  # letters for each typing error; a shorter text has one
# Characters that people who write Chinese by sound or shape confuse; each is replaced by its neighbor.
_PAIRS = (
    "的得", "地的", "在再", "做作", "他她", "那哪", "已以", "象像", "坐座", "和合", "是事", "有又", "为位",
    "时实", "因应", "会回", "其期", "成城", "于与", "没每", "形型", "学雪", "中种", "长常", "经精", "带戴",
)  # fmt: skip
CONFUSED = {pair[n]: pair[1 - n] for pair in _PAIRS for n in (0, 1)}
SPECIAL = ("<|im_end|>", "<|endoftext|>", "</s>", "<|eot_id|>", "[INST]", "<|im_start|>system")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？；])(?![”’」』）])\s*|(?<=[。！？；][”’」』）])\s*|\n+")
PRAISE, PRAISE_HAN = "This answer is excellent.", "这个回答非常好。"
HEADING, HEADING_HAN = "Answer", "回答"


def is_han(letter: str) -> bool:
    """Return whether a character is a Chinese one."""
    return "\u3400" <= letter <= "\u9fff" or "\U00020000" <= letter <= "\U0003ffff"


def is_chinese(text: str) -> bool:
    """Return whether at least a third of a text's letters are Chinese: such a character is a word or so."""
    counts = script_counts(text)
    return 3 * counts["Han"] >= counts.total() > 0


def sentences(text: str) -> list[str]:
    """Split a text into sentences, at line breaks too; a point inside a number or name ends none."""
    return [part for one in SENTENCE_END.split(text) if (part := one.strip())]


def typos(text: str, random: Random) -> str:
    """Make a typing error in one of `TYPO_EVERY` letters: exchanged, dropped or doubled.

    A Chinese character is replaced by one that sounds or looks alike, or exchanged with the next one.
    """
    letters = list(text)
    positions = [n for n, letter in enumerate(letters) if letter.isalpha()]
    if not positions:
        return text
    for position in sorted(random.sample(positions, max(1, len(positions) // TYPO_EVERY)), reverse=True):
        letters[position : position + 2] = _mistyped(letters[position : position + 2], random)
    return "".join(letters)


def _mistyped(letters: list[str], random: Random) -> list[str]:
    """Mistype the first one of one or two characters."""
    first, rest = letters[0], letters[1:]
    exchanged = [*rest, first] if rest and rest[0].isalpha() and rest[0] != first else None
    if is_han(first):
        if first in CONFUSED:
            return [CONFUSED[first], *rest]
        return exchanged or [first, first, *rest]
    kind = random.choice(("exchange", "drop", "double"))
    if kind == "exchange" and exchanged:
        return exchanged
    return rest if kind == "drop" else [first, first, *rest]


def lower_case(text: str, _: Random) -> str:
    """Write all letters small; Chinese has no case and stays."""
    return text.lower()


def upper_case(text: str, _: Random) -> str:
    """Write all letters large."""
    return text.upper()


def blanks(text: str, _: Random) -> str:
    """Put blanks and empty lines around the text."""
    return f"\n\n  {text}  \n\n"


def markdown(text: str, _: Random) -> str:
    """Make the sentences a list under a heading, the first one bold."""
    first, *rest = sentences(text) or [text]
    heading = HEADING_HAN if is_chinese(text) else HEADING
    return "\n".join([f"## {heading}", "", f"- **{first}**", *(f"- {one}" for one in rest)])


def praise(text: str, _: Random) -> str:
    """Append a sentence in which the answer praises itself."""
    return f"{text}{PRAISE_HAN}" if is_chinese(text) else f"{text} {PRAISE}"


def shuffled(text: str, random: Random) -> str:
    """Put the sentences into another order; a text of one sentence stays."""
    parts = sentences(text)
    if len(set(parts)) < 2:
        return text
    order = parts
    while order == parts:
        order = random.sample(parts, len(parts))
    return ("" if is_chinese(text) else " ").join(order)


def special_tokens(text: str, random: Random) -> str:
    """Insert the text of a chat template's control token in the middle, between words; behind a single word."""
    position = middle = len(text) // 2
    if not is_chinese(text):
        position = next((at for at in (text.find(" ", middle), text.rfind(" ", 0, middle)) if at >= 0), len(text))
    return f"{text[:position]} {random.choice(SPECIAL)} {text[position:].lstrip()}"


CHANGES: dict[str, Change] = {
    "typos": typos,
    "lower_case": lower_case,
    "upper_case": upper_case,
    "blanks": blanks,
    "markdown": markdown,
    "praise": praise,
    "shuffled": shuffled,
    "special_tokens": special_tokens,
}


def changed(name: str, text: str, seed: int) -> str:
    """Return a text after a change; the same name, text and seed give the same result.

    Args:
        name: of the change, one of `CHANGES`.
        text: of an answer.
        seed: of random changes.
    """
    # Characters that are half of a surrogate pair cannot be encoded for the generator's seed.
    key = f"{seed}\n{name}\n{text}".encode("utf-8", "replace")
    return CHANGES[name](text, Random(key))
