"""Numbers with a check digit: payment cards, Chinese identity numbers, IBAN."""

from __future__ import annotations

from datetime import date

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS = "10X98765432"
# First two digits of the place of registration (GB/T 2260): provinces, Taiwan, Hong Kong, Macau.
_REGIONS = frozenset(
    str(code)
    for code in (
        *range(11, 16),
        *range(21, 24),
        *range(31, 38),
        *range(41, 47),
        *range(50, 55),
        *range(61, 66),
        71,
        81,
        82,
        83,
    )
)


def luhn(number: str) -> bool:
    """Return whether digits pass the check of ISO/IEC 7812: every second digit from the right is doubled."""
    total = 0
    for position, digit in enumerate(map(int, reversed(number))):
        value = digit * (1 + position % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_card(number: str) -> bool:
    """Return whether digits are a payment card's: issued first digits and length, and the check digit."""
    issued = (
        (number[0] == "4" and len(number) in (13, 16, 19))
        or (number[:2] in {"51", "52", "53", "54", "55"} and len(number) == 16)
        or (2221 <= int(number[:4]) <= 2720 and len(number) == 16)
        or (number[:2] in {"34", "37"} and len(number) == 15)
        or (number[:2] == "62" and 16 <= len(number) <= 19)
        or ((number[:2] in {"35", "60", "65"} or 644 <= int(number[:3]) <= 649) and len(number) == 16)
        or (number[:2] in {"30", "36", "38"} and len(number) == 14)
    )
    return issued and len(set(number)) > 1 and luhn(number)


def is_chinese_id(number: str) -> bool:
    """Return whether 18 characters are a resident's identity number: region, date of birth, check (GB 11643)."""
    if number[:2] not in _REGIONS:
        return False
    try:
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, number[:17], strict=True))
    return 1850 <= born.year <= 2100 and _CHECKS[total % 11] == number[17].upper()


def is_iban(number: str) -> bool:
    """Return whether letters and digits pass the check of ISO 13616: 1 modulo 97."""
    moved = number[4:] + number[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1
