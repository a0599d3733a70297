"""The way a table writes its times: found in its first values, then applied to all of them.

Known are ISO 8601 in all its forms, numeric dates in any order with any of `-/.` and a time of day that may
have a fraction (after a dot or a comma), AM or PM and a zone, and whole or broken seconds, milliseconds,
microseconds or nanoseconds since 1970. Which of the first two numbers is the day is decided by evidence: a
number above 12 is no month, and dots are written day first. Where nothing tells, the user has to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from sagacity_data.event_log import microseconds_of
from sagacity_data.importers.instants import instant_of

MISFITS_MAX: Final = 0.1
"""A format has to fit all but this share of the values looked at."""

CHARACTERS_MAX: Final = 64
_YEAR_10000_US: Final = 253_402_300_800_000_000
_NUMERIC: Final = re.compile(
    r"(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})"
    r"(?:[ T,]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*([AaPp][Mm])?\s*(Z|[+-]\d{2}:?\d{2})?)?"
)
_NUMBER: Final = re.compile(r"(\d{1,19})(?:[.,](\d{1,9}))?")

Reading = Callable[[str], tuple[int, bool]]
"""Microseconds since 1970 of a text, and whether it named its zone; raises ValueError."""


class TimesRefused(ValueError):
    """No format fits, or more than one does: the reason and the way out."""

    def __init__(self, reason: str, way_out: str) -> None:
        self.reason = reason
        self.way_out = way_out
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """One way of writing times; `name` is how a user asks for it."""

    name: str
    read: Reading

    def at(self, text: str) -> tuple[int, bool] | None:
        """Microseconds since 1970, and whether the zone was named; None for what is no time since then."""
        try:
            at_us, zoned = self.read(text.strip()[:CHARACTERS_MAX])
        except (ValueError, OverflowError):
            return None
        return (at_us, zoned) if 0 <= at_us < _YEAR_10000_US else None


def format_called(name: str) -> TimeFormat:
    """The format of this name, or the one that `strptime` codes spell. Raises `TimesRefused`."""
    if name in _FORMATS:
        return _FORMATS[name]
    if "%" not in name:
        known = ", ".join(_FORMATS)
        raise TimesRefused(
            f"knows no time format {name[:40]!r}", f"say one of {known}, or codes like %d.%m.%Y %H:%M"
        )
    try:
        _by_codes(datetime(2001, 12, 31, 23, 59, 58, tzinfo=UTC).strftime(name), name)
    except (ValueError, re.error):
        raise TimesRefused(
            f"cannot read times as {name[:40]!r}", "use codes like %d.%m.%Y %H:%M:%S"
        ) from None
    return TimeFormat(name, lambda text: _by_codes(text, name))


def format_of(texts: Iterable[str]) -> TimeFormat:
    """The format that fits the texts. Raises `TimesRefused` where none does, or day and month look alike."""
    values = [text.strip() for text in texts if text.strip()]
    if not values:
        raise TimesRefused("holds no time in its first rows", "name the column that does")
    misfits = {each.name: sum(each.at(value) is None for value in values) for each in _FORMATS.values()}
    best = min(misfits, key=misfits.__getitem__)
    if misfits[best] > MISFITS_MAX * len(values):
        raise TimesRefused(
            f"holds times like {values[0][:40]!r}", f"say how to read them: {_OPTION}%d.%m.%Y %H:%M"
        )
    if best in (_DAY_FIRST, _MONTH_FIRST) and not _told_apart(misfits):
        if all("." in value[:6] for value in values):
            return _FORMATS[_DAY_FIRST]
        reason = f"holds times like {values[0][:40]!r}, in which day and month cannot be told apart"
        raise TimesRefused(reason, f"say {_OPTION}{_DAY_FIRST} or {_OPTION}{_MONTH_FIRST}")
    return _FORMATS[best]


def _told_apart(misfits: Mapping[str, int]) -> bool:
    """Whether one order of day and month fits far better: a few bad values fit neither."""
    fewer, more = sorted((misfits[_DAY_FIRST], misfits[_MONTH_FIRST]))
    return more > 10 * fewer


def _by_order(text: str, year: int, month: int, day: int) -> tuple[int, bool]:
    """A numeric date; `year`, `month` and `day` are the places of its numbers."""
    match = _NUMERIC.fullmatch(text)
    if match is None:
        raise ValueError(text)
    numbers = match.group(1, 3, 4)
    if (
        len(numbers[year]) not in ((2, 4) if year else (4,))
        or len(numbers[day]) > 2
        or len(numbers[month]) > 2
    ):
        raise ValueError(text)
    written = int(numbers[year])
    if len(numbers[year]) == 2:
        written += 2000 if written < 69 else 1900
    moment = datetime(written, int(numbers[month]), int(numbers[day]), tzinfo=_zone(match[10]))
    return microseconds_of(moment) + _of_day_us(match), match[10] is not None


def _of_day_us(match: re.Match[str]) -> int:
    """Microseconds since midnight."""
    hour, minute, second = (int(match[place] or 0) for place in (5, 6, 7))
    if match[9]:
        if not 1 <= hour <= 12:
            raise ValueError(match[0])
        hour = hour % 12 + (12 if match[9].lower() == "pm" else 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(match[0])
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + int((match[8] or "0")[:6].ljust(6, "0"))


def _zone(told: str | None) -> timezone:
    if told is None or told == "Z":
        return UTC
    minutes = int(told[1:3]) * 60 + int(told[-2:])
    return timezone(timedelta(minutes=-minutes if told[0] == "-" else minutes))


def _since_1970(text: str, lowest_s: int, per_s: int) -> tuple[int, bool]:
    """A number of seconds or of parts of one; `lowest_s` and a thousandfold of it bound what it may be."""
    match = _NUMBER.fullmatch(text)
    if match is None or not lowest_s * per_s <= int(match[1]) < lowest_s * per_s * 1000:
        raise ValueError(text)
    whole, fraction = int(match[1]), int((match[2] or "0")[:9].ljust(9, "0"))
    return (whole * 1_000_000_000 + fraction) * 1_000_000 // (per_s * 1_000_000_000), True


def _iso(text: str) -> tuple[int, bool]:
    if text.isdecimal():
        raise ValueError(text)  # Some numbers look like dates without their dashes.
    return instant_of(text)


def _by_codes(text: str, codes: str) -> tuple[int, bool]:
    moment = datetime.strptime(text, codes)  # noqa: DTZ007  codes without a zone mean UTC
    zoned = moment.tzinfo is not None
    return microseconds_of(moment if zoned else moment.replace(tzinfo=UTC)), zoned


_OPTION: Final = "--column time_format="
_DAY_FIRST: Final = "day_first"
_MONTH_FIRST: Final = "month_first"
_LOWEST_S: Final = 30_000_000  # December 1970: smaller numbers are counters, not times.

_FORMATS: Final = {
    each.name: each
    for each in (
        TimeFormat("iso", _iso),
        TimeFormat("year_first", lambda text: _by_order(text, 0, 1, 2)),
        TimeFormat(_DAY_FIRST, lambda text: _by_order(text, 2, 1, 0)),
        TimeFormat(_MONTH_FIRST, lambda text: _by_order(text, 2, 0, 1)),
        TimeFormat("epoch_s", lambda text: _since_1970(text, _LOWEST_S, 1)),
        TimeFormat("epoch_ms", lambda text: _since_1970(text, _LOWEST_S, 1_000)),
        TimeFormat("epoch_us", lambda text: _since_1970(text, _LOWEST_S, 1_000_000)),
        TimeFormat("epoch_ns", lambda text: _since_1970(text, _LOWEST_S, 1_000_000_000)),
    )
}
