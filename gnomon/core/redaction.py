"""Redaction of passwords and tokens in everything shown or recorded: messages, tracebacks, commands, settings.

A mistyped address is the one that ends up in an error, so the rule does not need an address that can be parsed:
text between a colon and a later `@` counts as a password, and a query value by its key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

HIDDEN = "***"
SECRET_KEY = r"[\w-]*(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|signature)"
_QUERY = re.compile(rf"(?i)([?&;](?:{SECRET_KEY}|key|sig)=)[^&;\s'\"]+")
_NO_PORT = re.compile(r"(:/+[^\s/:@\[]+):(?!\*|\d+(?:\D|$))[^\s/'\"]+")  # name:password, and no @ behind it
_WORD = re.compile(r"\S+")
_SCHEME = re.compile(r":/+")
_TOKEN_SCHEMES = ("http", "https", "git+https")  # a lone user name in their addresses is mostly a token


def redact(text: str) -> str:
    """Replace passwords and tokens of addresses by `***`, however the address is written.

    >>> redact("no store at postgresql://ann:pass/w@rd@host/db.")
    'no store at postgresql://ann:***@host/db.'
    """
    if "@" in text:
        text = "\n".join(_without_user_info(line) for line in text.split("\n"))
    if ":/" in text:
        text = _NO_PORT.sub(rf"\1:{HIDDEN}", text)
    return _QUERY.sub(rf"\1{HIDDEN}", text) if "=" in text else text


def redact_values(value: Any) -> Any:
    """Redact every text of a JSON value; keys stay."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: redact_values(one) for key, one in value.items()}
    return [redact_values(one) for one in value] if isinstance(value, list | tuple) else value


def redact_arguments(arguments: Sequence[str]) -> list[str]:
    """Redact the arguments of a command, for a record."""
    return [redact(argument) for argument in arguments]


def _without_user_info(line: str) -> str:
    """Remove the passwords in front of an `@` from a line.

    A password may hold blanks, so after `scheme://user:` it reaches to the line's last `@`. Without a scheme
    (`user:password@host`) it reaches to the last `@` of the same word.
    """
    if (scheme := _SCHEME.search(line)) and (at := line.rfind("@")) > scheme.end():
        user, colon, _ = line[scheme.end() : at].partition(":")
        blank = any(character.isspace() for character in user)
        if colon and not blank:
            name = line[: scheme.start()]
            user_info = HIDDEN if name.lower().endswith(_TOKEN_SCHEMES) else f"{user}:{HIDDEN}"
            return line[: scheme.end()] + user_info + line[at:]
    return _WORD.sub(lambda word: _redacted_word(word[0]), line)


def _redacted_word(word: str) -> str:
    """Remove the text in front of the last `@` from a word, if it is a password or a token."""
    at = word.rfind("@")
    scheme = _SCHEME.search(word)
    start = scheme.end() if scheme else 0
    if at <= start:
        return word
    user, colon, _ = word[start:at].partition(":")
    if scheme and word[: scheme.start()].lower().endswith(_TOKEN_SCHEMES):
        return word[:start] + HIDDEN + word[at:]
    return f"{word[:start]}{user}:{HIDDEN}{word[at:]}" if colon else word
