"""Event logs as values: a case is a list of events, in the order of the file it came from.

What this file knows: one `Case` is one run of some long process (a loan application, a ticket), one
`CaseEvent` is one recorded event of any lifecycle. Instants are whole microseconds since 1970 in UTC, because
"strictly earlier" is asked of them and floating point would answer it wrongly.

What it refuses to know: which case succeeded (`outcomes.py`), where events come from (`importers/`), and any
order other than the file's. Nothing here or above sorts the events of a case: many logs write several events
with one instant, and any other order among those (by name, say) can tell the outcome before it happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from sagacity_data.errors import DataError

AttributeValue = str | int | float | bool
NO_ATTRIBUTES: Mapping[str, AttributeValue] = MappingProxyType({})
DEFAULT_LIFECYCLE = "complete"
UNNAMED_ACTIVITY = "(unnamed)"
WORDS_MAX = 400
"""The most characters of a refusal's place, and of its reason."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class CaseEvent:
    """One event of a case. `attributes` holds what the event carried beyond the four named fields."""

    activity: str
    at_us: int
    lifecycle: str = DEFAULT_LIFECYCLE
    resource: str | None = None
    attributes: Mapping[str, AttributeValue] = field(default_factory=lambda: NO_ATTRIBUTES)


@dataclass(frozen=True, slots=True)
class Case:
    """One run of a process: at least one event, in file order, and what the log says of the whole case."""

    case_id: str
    events: tuple[CaseEvent, ...]
    attributes: Mapping[str, AttributeValue] = field(default_factory=lambda: NO_ATTRIBUTES)

    @property
    def start_us(self) -> int:
        """The earliest instant of the case; in a log with clock trouble not always the first event's."""
        return min(event.at_us for event in self.events)

    @property
    def end_us(self) -> int:
        """The latest instant of the case: the log knows no other sign that a case has ended."""
        return max(event.at_us for event in self.events)


class ImportRefused(DataError):
    """A file cannot be imported. Says which file, where in it, why, and what to do about it, on one line."""

    def __init__(self, path: object, place: str, reason: str, way_out: str) -> None:
        place, reason = _one_line(place), _one_line(reason)
        self.path = str(path)
        self.place = place
        self.reason = reason
        self.way_out = way_out
        where = f"{path}, {place}" if place else str(path)
        super().__init__(f"{where}: {reason}; {way_out}")


def _one_line(words: str) -> str:
    """What a refusal quotes may be the file's own words, of any length."""
    told = " ".join(words.split())
    return told if len(told) <= WORDS_MAX else f"{told[:WORDS_MAX]}..."


def microseconds_of(moment: datetime) -> int:
    """Whole microseconds since 1970 in UTC of an aware `moment`, exactly (no floating point).

    >>> microseconds_of(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC))
    1000005
    """
    return (moment - _EPOCH) // _MICROSECOND


def iso_instant(at_us: int) -> str:
    """The instant as ISO 8601 text in UTC.

    >>> iso_instant(1_000_005)
    '1970-01-01T00:00:01.000005+00:00'
    """
    return (_EPOCH + at_us * _MICROSECOND).isoformat()
