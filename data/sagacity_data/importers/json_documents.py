"""JSON files of unknown origin: bounded in bytes, values and depth, every refusal in one line with its place.

Whoever reads the value need not fear its numbers and texts: what JSON can write and Python or a table cannot
hold well is replaced here. NaN and infinities, written out or as 1e999, become None; a whole number of more
than `DIGITS_MAX` digits stays text; half of a surrogate pair becomes a question mark.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from pathlib import Path
from typing import Any, Final

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.reading import Tally
from sagacity_data.importers.stored_bytes import stored_bytes

JSON_BYTES_MAX: Final = 64 * 1024 * 1024
"""A file with more than this, decompressed, is refused."""

VALUES_MAX: Final = 4_000_000
"""A file with more values than this is refused: small values take many times the memory of their text."""

DEPTH_MAX: Final = 200
"""Values nested deeper than this are refused."""

DIGITS_MAX: Final = 20

_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(path: Path, tally: Tally) -> Any:
    """The value that a JSON file (plain or gzip; UTF-8, or UTF-16 and UTF-32 with a mark) holds.

    Raises `ImportRefused` for anything that is no JSON, too large, or nested too deeply.
    """
    try:
        return _value(path, _text(path, _whole(path, tally)))
    except MemoryError:
        reason = "needs more memory than there is"
        raise ImportRefused(path, "", reason, "split it into one file per history") from None


def _value(path: Path, text: str) -> Any:
    if not text.strip():
        raise ImportRefused(path, "byte 0", "is empty", "export the history again")
    if text.count(",") + text.count("{") + text.count("[") > VALUES_MAX:
        raise ImportRefused(path, "", f"holds more than {VALUES_MAX:,} values", "split it")
    try:
        value = json.loads(text, parse_constant=_nothing, parse_float=_finite, parse_int=_whole_number)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ImportRefused(path, place, f"is no JSON ({error.msg})", "export the history again") from None
    except RecursionError:
        raise _too_deep(path) from None
    if _deeper_than(value, DEPTH_MAX):
        raise _too_deep(path)
    return _without_halves(value) if _SURROGATE.search(text) else value


def _nothing(_constant: str) -> None:
    return None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _whole_number(text: str) -> int | str:
    return int(text) if len(text) <= DIGITS_MAX else text


def _without_halves(value: Any) -> Any:
    """The value with every text one that UTF-8 can write; its depth is bounded by now."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_without_halves(each) for each in value]
    if isinstance(value, dict):
        return {_without_halves(key): _without_halves(each) for key, each in value.items()}
    return value


def _whole(path: Path, tally: Tally) -> bytearray:
    content = bytearray()
    for chunk in stored_bytes(path, tally.saw_bytes):
        content += chunk
        if len(content) > JSON_BYTES_MAX:
            reason = f"holds more than {JSON_BYTES_MAX:,} bytes of JSON"
            raise ImportRefused(path, "", reason, "split it into one file per history")
    return content


def _text(path: Path, content: bytearray) -> str:
    try:
        return content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        place = f"byte {error.start}"
        raise ImportRefused(path, place, f"is not {error.encoding} text", "save it as UTF-8") from None


def _encoding(content: bytearray) -> str:
    for mark, name in _MARKS:
        if content.startswith(mark):
            return name
    return "utf-8"


_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _deeper_than(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [each for each in level if isinstance(each, list | dict)]
        if not level:
            return False
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return any(isinstance(each, list | dict) for each in level)


def _too_deep(path: Path) -> ImportRefused:
    return ImportRefused(path, "", f"nests values more than {DEPTH_MAX} deep", "it is no history; check it")
