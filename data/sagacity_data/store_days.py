"""The days of a dataset: a run's rows lie under the UTC day of its launch, whatever day they ended.

A launch that is missing, or that no calendar has (before the year 1 or after 9999), lies under `unknown`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Final

from sagacity_data.errors import DatasetRefused

UNKNOWN_DAY: Final = "unknown"
DAY_S: Final = 86_400.0


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


def day_start(day: str) -> float:
    """The first second of a day that is known. Raises `DatasetRefused` for what names no day."""
    try:
        return datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp()
    except ValueError:
        raise DatasetRefused(f"the dataset has a folder 'day={day}' that names no day; remove it") from None


def day_within(day: str, since: float | None, until: float | None) -> bool:
    """Whether a run launched in [since, until) may lie under the day; no bound asks for everything."""
    if day == UNKNOWN_DAY:
        return since is None and until is None
    start = day_start(day)
    return (until is None or start < until) and (since is None or start + DAY_S > since)
