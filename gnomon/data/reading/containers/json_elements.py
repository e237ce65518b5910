"""Rows that stand one after another, in a list or not. A broken one does not hide those after it."""

from __future__ import annotations

from collections.abc import Iterator

from gnomon.core.errors import DataError
from gnomon.data.reading.containers.json_layout import JsonLayout
from gnomon.data.reading.containers.json_stream import JsonFault, JsonStream
from gnomon.data.reading.rows import Row
from gnomon.data.reading.text_encodings import not_utf8


def elements(stream: JsonStream, layout: JsonLayout) -> Iterator[Row | DataError]:
    """Yield the rows of a file that does not hold one a line.

    Args:
        stream: the file, from its start.
        layout: its layout.
    """
    if layout.kind == "object":
        _enter(stream, layout.key)
    elif layout.kind == "list":
        stream.skip("[")
    listed = layout.kind != "sequence"
    while True:
        next_character = stream.peek()
        if not next_character:
            if stream.damage is not None or listed:
                yield stream.damage or DataError(
                    "not valid JSON (the list has no end); the file is cut short here."
                )
            return
        if listed and stream.skip("]"):
            if layout.kind == "list" and stream.peek():
                yield DataError("there is more text after the end of the list; remove it.")
            return
        if stream.skip(","):
            continue
        indent = stream.indent
        try:
            yield _element(stream)
        except JsonFault as fault:
            if stream.skip_broken(indent):
                yield DataError(f"not valid JSON ({fault}); fix it.")
            else:
                yield DataError(f"not valid JSON ({fault}), and nothing after it can be read; fix it.")
                return


def _element(stream: JsonStream) -> Row | DataError:
    value, text = stream.value()
    try:
        if not text.isascii():
            text.encode("utf-8")
        return stream.decoder.row(value, text)
    except UnicodeEncodeError:
        return DataError(not_utf8(text.encode("utf-8", "surrogateescape")))
    except DataError as error:
        return error


def _enter(stream: JsonStream, key: str) -> None:
    """Skip to the first element of the list with that key in an object."""
    stream.skip("{")
    while stream.value()[0] != key:
        stream.skip(":")
        stream.value()
        stream.skip(",")
    stream.skip(":")
    stream.skip("[")
