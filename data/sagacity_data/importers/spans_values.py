"""The values that traces are written in: whole numbers as numbers or text, ids, tags with a declared type."""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any, Final

from sagacity_data.importers.reading import Tally
from sagacity_data.rows import Scalar

TAGS_MAX: Final = 1_000
"""Tags of one span or process beyond this number are passed over."""

TAG_CHARACTERS_MAX: Final = 2_000
_YEAR_10000_US: Final = 253_402_300_800_000_000
_DIGITS_MAX: Final = 20
_HEX: Final = frozenset("0123456789abcdef")


def whole_of(value: object) -> int | None:
    """The whole number that a value is or spells; None for anything else.

    >>> [whole_of(value) for value in (7, "7", 7.0, 7.5, True, "seven")]
    [7, 7, 7, None, None, None]
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() else None
    if isinstance(value, str) and len(value) <= _DIGITS_MAX and value.removeprefix("-").isdecimal():
        return int(value)
    return None


def text_of(value: object) -> str:
    """A text without the space around it; empty for anything that is no text."""
    return value.strip() if isinstance(value, str) else ""


def instant_us(value: object, per_us: int, tally: Tally) -> int | None:
    """Whole microseconds since 1970 of a time that counts `per_us` to each; None where it is no time."""
    told = whole_of(value)
    if told is None or not 0 < told // per_us < _YEAR_10000_US:
        if value not in (None, 0, "", "0"):
            tally.notes["times of spans that are no times were left out"] += 1
        return None
    return told // per_us


def id_of(value: object) -> str:
    """An id in one spelling: of hexadecimal ones lower case with leading zeros, of base64 its hexadecimal.

    >>> id_of("4SeviP+PsHQ="), id_of("E127AF"), id_of("span-1")
    ('e127af88ff8fb074', '0000000000e127af', 'span-1')
    """
    text = text_of(value)
    if isinstance(value, int) and not isinstance(value, bool):
        text = str(value)
    lower = _from_base64(text).lower()
    if not lower or not _HEX.issuperset(lower) or len(lower) > 32:
        return text
    short = lower.lstrip("0")
    if not short:
        return ""  # All zeros mean that there is none.
    return short.zfill(16 if len(short) <= 16 else 32)


def _from_base64(text: str) -> str:
    if (len(text), text[-1:]) not in ((12, "="), (24, "=")):
        return text
    try:
        return base64.b64decode(text, validate=True).hex()
    except (binascii.Error, ValueError):
        return text


def tag_of(value: Any, declared: str = "") -> Scalar | None:
    """A tag's value by its declared type, as far as it is one; None for lists, maps and nothing."""
    if isinstance(value, str):
        kind = declared.lower()
        if kind in ("bool", "boolean"):
            return value.strip().lower() in ("true", "1")
        if kind in ("int64", "long", "int"):
            number = whole_of(value)
            return value[:TAG_CHARACTERS_MAX] if number is None else number
        return value[:TAG_CHARACTERS_MAX]
    if isinstance(value, bool | int):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else None
