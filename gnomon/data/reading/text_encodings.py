"""Encodings of text files: the mark at their start, and a guess where a text is not UTF-8."""

from __future__ import annotations

import codecs
import re

MARKS = (  # UTF-32 first: its mark starts with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8"),
)
# The most frequent characters of running text, by which encodings that share byte ranges are told apart.
_FREQUENT = {
    "GB18030": "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过后作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运影请问答",  # noqa: E501
    "Big5": "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過後作裡用道行所然家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心她本前開但因只從想實請問答電影",  # noqa: E501
    "Shift_JIS": "のにはをたがでてとしれさいるあなっらもりすこうだかよくきまけんえおそつちせみめどろ",
    "EUC-JP": "のにはをたがでてとしれさいるあなっらもりすこうだかよくきまけんえおそつちせみめどろ",
    "EUC-KR": "이다는을가에하고지의로기도사한리어자나대시은인것를그아과서해있수일",
}
_SINGLE = re.compile(rb"(?<![\x80-\xff])[\x80-\xff](?![\x80-\xff])")


def encoding_by_mark(start: bytes) -> str | None:
    """Return the encoding that the byte-order mark at the start of a file names; `None` without a mark."""
    return next((name for mark, name in MARKS if start.startswith(mark)), None)


def likely_encoding(data: bytes) -> str | None:
    """Guess the encoding of a text that is not UTF-8; `None` if there is nothing to guess by."""
    if (wide := _utf16(data)) is not None:
        return wide
    high = sum(byte >= 0x80 for byte in data)
    if not high:
        return None
    if 2 * len(_SINGLE.findall(data)) > high:  # letters with accents stand alone between ASCII letters
        return "WINDOWS-1252"
    scores = {name: _score(data, name, frequent) for name, frequent in _FREQUENT.items()}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] > 0 else None


def _utf16(data: bytes) -> str | None:
    """Return which UTF-16 a text is by its zero bytes, which are every second one of ASCII letters."""
    even, odd = data[::2].count(0), data[1::2].count(0)
    if max(even, odd) < len(data) // 8 or max(even, odd) <= 8 * min(even, odd):
        return None
    return "UTF-16LE" if odd > even else "UTF-16BE"


def _score(data: bytes, encoding: str, frequent: str) -> float:
    """Return the share of frequent characters among those that are not ASCII."""
    try:
        # The end of a sample may cut a character.
        text = codecs.getincrementaldecoder(encoding)("strict").decode(data)
    except UnicodeDecodeError:
        return 0.0
    foreign = [character for character in text if not character.isascii()]
    return sum(character in frequent for character in foreign) / max(1, len(foreign))


def not_utf8(data: bytes) -> str:
    """Return the sentence that refuses a text in another encoding, with a likely one and how to convert it."""
    if (encoding := likely_encoding(data)) is None:
        return "not UTF-8; save the file as UTF-8."
    return f"not UTF-8, probably {encoding}; convert the file with iconv -f {encoding} -t UTF-8."
