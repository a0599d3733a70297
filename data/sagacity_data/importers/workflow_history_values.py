"""The values of workflow histories, read with tolerance: whatever is not what it should be reads as missing.

Both servers write the same things in several ways. An instant is RFC 3339 text, whole nanoseconds since 1970
(a number or its digits), or `{"seconds", "nanos"}`; a duration is `"60s"`, a number of seconds, or
`{"seconds", "nanos"}`; a number may be text; Go's zero time means that nobody told. Text is cut off at a
stated length, and characters that no table can hold (lone surrogates, NUL) are replaced.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

from sagacity_data.importers.instants import instant_of
from sagacity_data.importers.reading import Tally

Attributes = Mapping[str, Any]

NAME_MAX: Final = 300
"""Names and ids longer than this are cut off."""
WORDS_MAX: Final = 2000
"""Words of errors longer than this are cut off."""
DURATION_MAX_S: Final = 1e10
"""Durations above this (some 300 years) say that there is no limit."""

_LATEST_US: Final = 253_402_300_800 * 1_000_000  # The end of year 9999.
_WHOLE_MAX: Final = 2**63
_INSTANT_MAX: Final = 64  # The longest text that can be an instant.
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}")


def attributes_in(value: object) -> Attributes:
    """The object itself; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def member(attributes: Attributes, *names: str) -> Any:
    """The first of these members that is told; None for none."""
    return next((attributes[name] for name in names if attributes.get(name) is not None), None)


def text_in(value: object, most: int = NAME_MAX) -> str:
    """Text as a table can hold it; empty for anything else."""
    if not isinstance(value, str):
        return ""
    cut = value[:most].replace("\x00", "\ufffd")
    return cut if cut.isascii() else cut.encode("utf-8", "replace").decode("utf-8")


def name_in(value: object) -> str:
    """A type's or queue's name, which is written `{"name": ...}` or plainly."""
    return text_in(value.get("name") if isinstance(value, dict) else value).strip()


def whole_in(value: object) -> int | None:
    """A whole number, also as text or as a float without a fraction."""
    if isinstance(value, str):
        digits = value.strip().removeprefix("-")
        value = int(value) if len(digits) < 20 and digits.isascii() and digits.isdigit() else None
    if isinstance(value, float) and isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) < _WHOLE_MAX else None


def seconds_in(value: object) -> float | None:
    """A duration in s; None where there is none, no limit, or nothing readable."""
    if isinstance(value, dict):
        whole, nanos = whole_in(value.get("seconds")) or 0, whole_in(value.get("nanos")) or 0
        value = whole + nanos / 1e9
    if isinstance(value, str) and len(value) < _INSTANT_MAX:
        try:
            value = float(value.strip().removesuffix("s"))
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value < DURATION_MAX_S else None


def instant_in(value: object, tally: Tally) -> float | None:
    """An instant in s since 1970 UTC; None where it is not told, or where it cannot be, which is noted."""
    at_us = _microseconds_in(value, tally)
    if at_us is None:
        return None
    if not 0 <= at_us < _LATEST_US:
        tally.notes["times before 1970 or after 9999 are left out"] += 1
        return None
    return at_us / 1e6


def _microseconds_in(value: object, tally: Tally) -> int | None:
    if isinstance(value, dict):
        seconds, nanos = whole_in(value.get("seconds")), whole_in(value.get("nanos")) or 0
        return None if seconds is None else seconds * 1_000_000 + nanos // 1000
    if isinstance(value, str) and not value.strip().isdigit():
        return _written(value, tally)
    nanos_told = whole_in(value)
    if nanos_told is None and value is not None:
        tally.notes["unreadable times are left out"] += 1
    return nanos_told // 1000 if nanos_told else None


def _written(text: str, tally: Tally) -> int | None:
    if not text.strip() or text.startswith("0001-01-01T00:00:00"):
        return None  # Go's zero time: not told.
    try:
        at_us, zoned = instant_of(text[: _INSTANT_MAX + 1])
    except ValueError:
        tally.notes["unreadable times are left out"] += 1
        return None
    if not zoned:
        tally.notes["times without a zone are read as UTC"] += 1
    return at_us


def bytes_of(text: object) -> bytes | None:
    """What base64 text stands for; None for anything that is no base64."""
    if bytes_in_base64(text) is None:
        return None
    try:
        return base64.b64decode(str(text))
    except binascii.Error:
        return None


def bytes_in_base64(text: object) -> int | None:
    """How many bytes base64 text stands for; None for anything that is no base64."""
    if not isinstance(text, str) or len(text) % 4 or not _BASE64.fullmatch(text):
        return None
    return len(text) // 4 * 3 - text[-2:].count("=")


def json_in(text: str | bytes) -> Any:
    """The JSON value that a text holds; None for anything else."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def fingerprint(value: object) -> str:
    """Equal for equal JSON values, however their members are ordered."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()
