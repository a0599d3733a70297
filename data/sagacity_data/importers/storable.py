"""What of a foreign value the dataset can hold: the last gate, whatever a history brought this far.

Readers take care of the same things where they can say more about them; here nothing is said, so that one
odd value never costs a whole file.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Final

from sagacity_data.rows import NO_CONTEXT, ContextValues, Scalar

NAME_MAX: Final = 300
"""Characters of a name (a step, a run, a service); of a longer one the start stays, and a hash of all."""

WORDS_MAX: Final = 1_000
"""Characters of what is written for people."""

CONTEXT_MAX: Final = 64
"""Keys of a context."""

_WHOLE_MAX: Final = 2**63 - 1
_YEAR_10000_S: Final = 253_402_300_800.0


@lru_cache(maxsize=8192)
def name(text: str) -> str:
    """The name, as text that every store takes.

    >>> name("book\\x00flight")
    'book?flight'
    """
    clean = _clean(text)
    if len(clean) <= NAME_MAX:
        return clean
    return f"{clean[: NAME_MAX - 17]}-{sha256(clean.encode()).hexdigest()[:16]}"


def words(text: str) -> str:
    """The words, cut where they are many."""
    return _clean(text[:WORDS_MAX])


def instant(at: float | None) -> float | None:
    """The time if it is one between 1970 and the year 9999; else None.

    >>> instant(-1.0)
    """
    return at if at is not None and 0 <= at < _YEAR_10000_S else None


def seconds(span: float | None) -> float | None:
    """The duration if it is one."""
    return span if span is not None and 0 <= span < _YEAR_10000_S else None


def whole(number: int | None) -> int | None:
    """The number if a column of 64 bits holds it."""
    return number if number is not None and 0 <= number <= _WHOLE_MAX else None


def context(told: ContextValues) -> ContextValues:
    """The first keys whose values are finite numbers, truth values or text."""
    if not told:
        return NO_CONTEXT
    return dict(list(_kept(told).items())[:CONTEXT_MAX])


def _kept(told: Mapping[str, Scalar]) -> dict[str, Scalar]:
    kept: dict[str, Scalar] = {}
    for key, value in told.items():
        if isinstance(value, str):
            kept[name(key)] = name(value)
        elif abs(value) <= _WHOLE_MAX:  # Neither infinite nor NaN.
            kept[name(key)] = value
    return kept


def _clean(text: str) -> str:
    """Without halves of surrogate pairs, which UTF-8 has no bytes for, and NUL, which PostgreSQL refuses."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\x00", "?")
