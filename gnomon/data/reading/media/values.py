"""Values of images, sounds and videos: a path, an address, a `data:` URL, or an object as `datasets` stores it.

A value is kept as one text. Bytes become a `data:` URL in base64, since JSON has no bytes; nothing is opened.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import MediaKind
from gnomon.data.reading.row_fields import brief, text

Options = dict[str, Any]
NOUNS: dict[MediaKind, str] = {"image": "images", "audio": "sounds", "video": "videos"}
_NOUN: dict[MediaKind, str] = {kind: noun.removesuffix("s") for kind, noun in NOUNS.items()}
EXPECTED_VALUE = "give a path, a URL or base64 data"
_LINES = re.compile(r"[\x00-\x1f]")  # control characters, which no path and no URL has
_SIGNATURES: tuple[tuple[bytes, str], ...] = (  # first bytes of the content, at which `.` is any byte
    (rb"\x89PNG", "image/png"),
    (rb"\xff\xd8\xff", "image/jpeg"),
    (rb"GIF8", "image/gif"),
    (rb"BM", "image/bmp"),
    (rb"(II\*\x00|MM\x00\*)", "image/tiff"),
    (rb"RIFF....WEBP", "image/webp"),
    (rb"RIFF....WAVE", "audio/wav"),
    (rb"RIFF....AVI ", "video/x-msvideo"),
    (rb"(ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb])", "audio/mpeg"),
    (rb"fLaC", "audio/flac"),
    (rb"OggS", "audio/ogg"),
    (rb"\x1a\x45\xdf\xa3", "video/webm"),
    (rb"....ftyp", "video/mp4"),
)


def media_source(value: Any, kind: MediaKind, key: str) -> tuple[str, Options]:
    """Return the text that a value is kept as, and what else the value says.

    Args:
        value: a path, a URL, a `data:` URL, `{"bytes", "path"}` as `datasets` stores it, `{"url", …}` or
            `{"data", "format"}` as OpenAI's chat API has them.
        kind: what it is.
        key: name of its cell, for messages.

    Raises:
        DataError: it is something else.
    """
    if isinstance(value, str):
        if value.strip() and not _LINES.search(value):
            return text(value, key), {}
    elif isinstance(value, Mapping):
        own = {str(name): one for name in value if (one := value[name]) is not None}
        if own.get("bytes") is not None:
            name = own.pop("path", None)
            return data_url(own.pop("bytes"), kind, key), {**own, **({"name": name} if name else {})}
        if own.get("data") is not None and "format" in own:
            data, form = own.pop("data"), text(own.pop("format"), f"the format of {key}")
            return f"data:{kind}/{form};base64,{_checked(data, key)}", own
        if set(own) == {"base64"}:
            return data_url(own, kind, key), {}
        for name in ("url", "path"):
            if isinstance(own.get(name), str):
                source, _ = media_source(own.pop(name), kind, key)
                return source, own
    elif isinstance(value, list):
        raise DataError(f"{key} has a list in it; {EXPECTED_VALUE} for each of the {NOUNS[kind]}")
    shown = "null" if value is None else brief(value)
    raise DataError(f"{key} has {shown} in it, which is no {_NOUN[kind]}; {EXPECTED_VALUE}")


def data_url(value: Any, kind: MediaKind, key: str) -> str:
    """Return bytes, as base64 or `{"base64": …}`, as a `data:` URL, whose type the first bytes decide.

    Args:
        value: the bytes.
        kind: what they are.
        key: name of the cell, for messages.

    Raises:
        DataError: they are not base64.
    """
    data = _checked(value["base64"] if isinstance(value, Mapping) and set(value) == {"base64"} else value, key)
    start = base64.b64decode(data[:32])
    types = (name for pattern, name in _SIGNATURES if re.match(pattern, start, re.DOTALL))
    return f"data:{next(types, f'{kind}/octet-stream')};base64,{data}"


def _checked(data: Any, key: str) -> str:
    """Return base64, after a check that it is.

    Raises:
        DataError: it is not.
    """
    try:
        empty = not base64.b64decode(data.encode("ascii"), validate=True)
    except (AttributeError, UnicodeEncodeError, binascii.Error):
        empty = True
    if empty:
        raise DataError(f"{key} has {brief(data)} in it as bytes, which is not base64")
    return str(data)
