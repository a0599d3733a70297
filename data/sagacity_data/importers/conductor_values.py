"""Values of Conductor's JSON, read with tolerance: whatever is not what it should be reads as missing.

Times are whole milliseconds since 1970, and 0 says "not yet"; searches write them as ISO 8601 text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Final, TypeVar

from sagacity_data.importers.instants import instant_of
from sagacity_data.importers.reading import Tally

Object = Mapping[str, Any]

TIMEOUT_MAX_S: Final = 1e10
"""Timeouts above this (some 300 years) say that there is none."""

T = TypeVar("T")
_LATEST_MS: Final = 253_402_300_800_000  # The end of year 9999.
_WHOLE_MAX: Final = 2**63
_ISO_MAX: Final = 40  # No instant is written longer.


def object_in(value: object) -> Object:
    """The object itself; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def objects_in(value: object) -> list[Object]:
    """The objects of a list; none for anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def text_in(*values: object) -> str:
    """The first of the values that is text with something in it, or a whole number; else nothing."""
    for value in values:
        if isinstance(value, str) and value.strip():
            return value.strip()
        if (number := whole_in(value)) is not None and not isinstance(value, str):
            return str(number)
    return ""


def whole_in(value: object) -> int | None:
    """A whole number of ordinary size, also as digits or as a float without a fraction."""
    if isinstance(value, str):
        digits = value.strip()
        return int(digits) if len(digits) < 19 and digits.isascii() and digits.isdigit() else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_WHOLE_MAX < value < _WHOLE_MAX:
        return None
    return int(value) if value == int(value) else None


def seconds_in(value: object) -> float | None:
    """A timeout in s; None for none, which Conductor writes as 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value < TIMEOUT_MAX_S else None


def instant_in(value: object, tally: Tally) -> float | None:
    """An instant in s since 1970 UTC; None where it is not told, or where it cannot be, which is noted."""
    if value is None or value in (0, "", "0"):
        return None
    ms = _written_ms(value) if isinstance(value, str) else value
    if (
        isinstance(ms, bool)
        or not isinstance(ms, int | float)
        or (isinstance(ms, float) and not isfinite(ms))
    ):
        tally.notes["unreadable times are left out"] += 1
        return None
    if not 0 < ms < _LATEST_MS:
        tally.notes["times before 1970 or after 9999 are left out"] += 1
        return None
    return ms / 1000


def _written_ms(text: str) -> float | None:
    if (number := whole_in(text)) is not None:
        return number
    try:
        return instant_of(text)[0] / 1000 if len(text) <= _ISO_MAX else None
    except ValueError:
        return None


def bytes_in(value: object) -> int | None:
    """The size of a payload as JSON in UTF-8; None where there is none."""
    if value is None:
        return None
    written = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return len(written.encode("utf-8", "surrogatepass"))


def in_order(items: Iterable[tuple[float | None, T]]) -> list[T]:
    """The items by their key; one without a key stays behind those that came before it."""
    keyed, latest = [], float("-inf")
    for key, item in items:
        keyed.append((latest if key is None else key, item))
        latest = max(latest, keyed[-1][0])
    return [item for _, item in sorted(keyed, key=lambda pair: pair[0])]
