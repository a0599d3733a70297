"""Files of traces: one JSON document, or several one after the other, as exporters append them by line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.json_documents import read_json
from sagacity_data.importers.reading import Tally
from sagacity_data.importers.stored_bytes import stored_bytes


def documents(path: Path, tally: Tally) -> Iterator[Any]:
    """The documents of the file, one at a time. Raises `ImportRefused` as `read_json` does."""
    try:
        yield read_json(path, tally)
    except ImportRefused as refusal:
        if "Extra data" not in refusal.reason:
            raise
        yield from _one_after_the_other(path, tally)


def _one_after_the_other(path: Path, tally: Tally) -> Iterator[Any]:
    """`read_json` found the first document whole and the file within its bounds."""
    try:
        text = b"".join(stored_bytes(path, tally.saw_bytes)).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ImportRefused(path, f"byte {error.start}", "is not UTF-8 text", "save it as UTF-8") from None
    decoder, at = json.JSONDecoder(), _after_space(text, 0)
    while at < len(text):
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            place = f"line {text.count(chr(10), 0, at) + 1}"
            said = (
                error.msg
                if isinstance(error, json.JSONDecodeError)
                else "nested too deeply, or a number too long"
            )
            raise ImportRefused(path, place, f"is no JSON ({said})", "export the traces again") from None
        yield value
        at = _after_space(text, end)


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
