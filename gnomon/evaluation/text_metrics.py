"""Diversity of a set of texts, in any language.

Both measures detect a policy that repeats one sentence its judge likes: `distinct_n` falls and `self_bleu`
rises. Neither measures quality, and both depend on the length and number of texts, so compare models only on the
same prompts with the same number of completions.

`distinct_n`: Li et al. 2016, arXiv:1510.03055. `self_bleu`: Zhu et al. 2018 (Texygen), arXiv:1802.01886.
"""

from __future__ import annotations

import math
import random
import unicodedata
from collections.abc import Sequence
from typing import Literal

from sacrebleu.metrics import BLEU

# Scripts written without spaces between words: there a character is the unit. Hangul is spaced.
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # CJK radicals
    (0x3005, 0x3007),  # 々, 〆, 〇
    (0x3040, 0x312F),  # kana, bopomofo
    (0x31A0, 0x31FF),  # more bopomofo and kana
    (0x3400, 0x4DBF),  # CJK extension A
    (0x4E00, 0x9FFF),  # CJK
    (0xF900, 0xFAFF),  # CJK compatibility
    (0xFF66, 0xFF9F),  # half-width kana
    (0x1B000, 0x1B16F),  # historic kana
    (0x20000, 0x3FFFF),  # CJK extensions B and later
)

_Kind = Literal["space", "mark", "word", "single"]


def _kind(character: str) -> _Kind:
    if character.isspace():
        return "space"
    category = unicodedata.category(character)
    # Vowel signs, accents and joiners belong to the character they follow and are never a token.
    if category[0] == "M" or category == "Cf":
        return "mark"
    if any(low <= ord(character) <= high for low, high in _UNSPACED):
        return "single"
    return "word" if category[0] in "LN" else "single"


def tokenize(text: str) -> list[str]:
    """Split a text into words, and scripts without spaces into single characters.

    Every punctuation mark and symbol is a token of its own. Case is preserved.
    """
    tokens: list[str] = []
    previous: _Kind = "space"
    for character in unicodedata.normalize("NFC", text):
        kind = _kind(character)
        if kind == "mark" and previous != "space":
            tokens[-1] += character  # `previous` stays, since the word or character continues
            continue
        if kind == "word" and previous == "word":
            tokens[-1] += character
        elif kind in ("word", "single"):
            tokens.append(character)
        previous = kind if kind != "mark" else "space"
    return tokens


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Compute the share of n-grams, pooled over all texts, that are unique; NaN if there are none."""
    if n < 1:
        raise ValueError(f"n is {n}; it counts tokens and must be 1 or more")
    total = 0
    unique: set[tuple[str, ...]] = set()
    for text in texts:
        tokens = tokenize(text)
        grams = [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
        total += len(grams)
        unique.update(grams)
    return len(unique) / total if total else math.nan


def self_bleu(texts: Sequence[str], *, max_references: int = 32, max_texts: int = 256, seed: int = 0) -> float:
    """Compute the mean sentence BLEU, in [0, 1], of each text against the others: 1 if all are the same.

    More references can only raise a BLEU, so figures compare only at equal `max_references`. Texts without a
    token are left out; NaN if fewer than two remain.

    Args:
        texts: the completions of one model.
        max_references: largest number of other texts, drawn at random, that each text is compared with.
        max_texts: largest number of texts, drawn at random, that are scored; both bound the cost.
        seed: seed of both draws.
    """
    # BLEU gets these tokens, joined: its own tokenizers each suit one language.
    tokenized = [" ".join(tokens) for tokens in map(tokenize, texts) if tokens]
    count = len(tokenized)
    if count < 2:
        return math.nan
    draw = random.Random(seed)
    bleu = BLEU(tokenize="none", effective_order=True)
    scored = draw.sample(range(count), min(max_texts, count))
    total = 0.0
    for index in scored:
        # Draw from one fewer and step over `index`: the others, without listing them for every text.
        others = draw.sample(range(count - 1), min(max_references, count - 1))
        references = [tokenized[other + (other >= index)] for other in others]
        total += bleu.sentence_score(tokenized[index], references).score / 100
    return total / len(scored)
