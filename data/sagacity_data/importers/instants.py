"""Instants as logs write them: ISO 8601 text in, whole microseconds since 1970 in UTC out.

Every form that `datetime.fromisoformat` knows is read (`Z`, offsets with or without colon, any number of
fraction digits), and `24:00:00` besides. Digits beyond the sixth are cut off, never rounded, so that two
instants never change their order. A text without a zone is read as UTC, and the caller is told.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sagacity_data.event_log import microseconds_of


def instant_of(text: str) -> tuple[int, bool]:
    """Microseconds since 1970 in UTC of an ISO 8601 timestamp, and whether it named its zone.

    Raises `ValueError`, naming the text, for anything else.

    >>> instant_of("1970-01-01T01:00:00.5+01:00")
    (500000, True)
    >>> instant_of("1970-01-01T00:00:01")
    (1000000, False)
    """
    try:
        moment = _moment_of(text.strip())
        zoned = moment.tzinfo is not None
        return microseconds_of(moment if zoned else moment.replace(tzinfo=UTC)), zoned
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no ISO 8601 instant") from None


def _moment_of(written: str) -> datetime:
    if len(written) < len("1970-01-01") or not written.isascii():
        raise ValueError(written)
    if written[10:19] not in ("T24:00:00", " 24:00:00"):
        return datetime.fromisoformat(written)
    midnight = datetime.fromisoformat(f"{written[:11]}00{written[13:]}")
    if midnight.microsecond:
        raise ValueError(written)
    return midnight + timedelta(days=1)
