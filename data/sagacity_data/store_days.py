"""The days of a dataset: a run's rows lie under the UTC day of its launch, whatever day they ended.

Days of a month that have few rows may lie together, under the month. A launch that is missing, or that no
calendar has (before the year 1 or after 9999), lies under `unknown`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Final, TypeVar

from sagacity_data.errors import DatasetRefused

UNKNOWN_DAY: Final = "unknown"
DAY_S: Final = 86_400.0
APART_MIN: Final = 500
"""A day with so many rows does not lie together with others."""

_MONTH: Final = len("2026-01")
K = TypeVar("K", bound=Hashable)


def day_of(launch_at: float | None) -> str:
    """The day under which a run launched then lies.

    >>> day_of(0.0), day_of(86_400.0), day_of(None)
    ('1970-01-01', '1970-01-02', 'unknown')
    """
    if launch_at is None:
        return UNKNOWN_DAY
    try:
        return datetime.fromtimestamp(launch_at, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return UNKNOWN_DAY


def month_of(day: str) -> str:
    """The month of a day or of a month; what is unknown stays so.

    >>> month_of("2026-01-31"), month_of("2026-01"), month_of("unknown")
    ('2026-01', '2026-01', 'unknown')
    """
    return day if day == UNKNOWN_DAY else day[:_MONTH]


def lies_under(launch_at: float | None, day: str) -> bool:
    """Whether a run launched then may lie under the day, or under the month that `day` may be too."""
    told = day_of(launch_at)
    return told == day or (told != UNKNOWN_DAY and month_of(told) == day)


def day_start(day: str) -> float:
    """The first second of a day or a month. Raises `DatasetRefused` for what names neither."""
    return _span(day)[0]


def day_within(day: str, since: float | None, until: float | None) -> bool:
    """Whether a run launched in [since, until) may lie under the day or month; no bound asks for all."""
    if day == UNKNOWN_DAY:
        return since is None and until is None
    start, end = _span(day)
    return (until is None or start < until) and (since is None or end > since)


def together(days: Iterable[str]) -> dict[str, str]:
    """For each day or month the one it is read with: its month, where rows lie under that, else itself."""
    listed = set(days)
    return {day: month_of(day) if month_of(day) in listed else day for day in listed}


def divided(days: Sequence[tuple[str, K]]) -> dict[str, list[K]]:
    """What has each day of one month, under the day or, where a day has few, together under the month."""
    apart: dict[str, list[K]] = {}
    for day, each in days:
        apart.setdefault(day, []).append(each)
    few = [day for day, these in apart.items() if len(these) < APART_MIN and day != UNKNOWN_DAY]
    if len(few) > 1:
        apart[month_of(few[0])] = [each for day in sorted(few) for each in apart.pop(day)]
    return apart


def _span(day: str) -> tuple[float, float]:
    try:
        if len(day) == _MONTH:
            first = date.fromisoformat(f"{day}-01")
            start = datetime(first.year, first.month, 1, tzinfo=UTC).timestamp()
            later = first.year + first.month // 12, first.month % 12 + 1
            if later[0] > date.max.year:
                return start, start + 31 * DAY_S
            return start, datetime(*later, 1, tzinfo=UTC).timestamp()
        start = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp()
    except ValueError:
        raise DatasetRefused(f"the dataset has a folder 'day={day}' that names no day; remove it") from None
    return start, start + DAY_S
