"""Times as people give them on the command line."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from sagacity_api.cli.errors import BadInput


def instant(option: str, text: str) -> float:
    """Seconds since 1970 UTC of a date, a date and time (UTC unless it says so), or that number itself.

    Raises `BadInput` naming the option and the way out.

    >>> instant("--before", "1970-01-02"), instant("--before", "1970-01-01T01:00:00+01:00")
    (86400.0, 0.0)
    >>> instant("--before", "1.5")
    1.5
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = _of_calendar(text)
    if not math.isfinite(seconds):
        raise BadInput(
            f"{option} {text[:40]!r} is no time; give a date such as 2026-01-31, "
            "2026-01-31T12:00:00Z, or seconds since 1970"
        )
    return seconds


def _of_calendar(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return math.nan
