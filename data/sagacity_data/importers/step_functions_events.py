"""One event of an AWS Step Functions execution, however it was written down, and the order of many.

The same event reaches users in several dialects: `getExecutionHistory` in camel case (ISO text, or seconds or
milliseconds since 1970), other tools in capitals, the log group of an Express workflow in snake case with one
`details`. Keys are compared without case and underscores, so all of them are one.

Ids give the order where every event has one: they count up, whatever the file's own order. Where recorded
tests masked them, the file's order holds, turned round if it runs backwards; and where that order is
impossible too (a task ended before any was begun), a stretch of masked events is put in the order in which a
task lives. Masked times are None, and events then have an order but no duration.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from sagacity_data.importers.instants import instant_of

DISORDER: Final = "events without an id were put in the order in which a task lives"
_YEAR_10000_S: Final = 253_402_300_800.0
_NUMBER_MAX: Final = 2**53
_UNITS: Final = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))  # From so much on, a number counts ns, us or ms.
_NO_DETAILS: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One event; `number` and `previous` are None where masked, `at` is in s since 1970 UTC or None."""

    type: str
    number: int | None
    previous: int | None
    at: float | None
    details: Mapping[str, Any]  # Its own, by plain key.
    execution: str = ""  # The execution's ARN, where each event names it.

    def words(self, key: str) -> str:
        """A text of its details; empty where there is none."""
        value = self.details.get(key)
        return value if isinstance(value, str) else ""


def plain(key: object) -> str:
    """A key without case and underscores.

    >>> plain("previous_event_id") == plain("PreviousEventId") == "previouseventid"
    True
    """
    return str(key).replace("_", "").replace("-", "").lower()


def is_event(value: object) -> bool:
    """Whether a JSON value looks like an event of a history."""
    if not isinstance(value, dict):
        return False
    kinds = {plain(key) for key in value}
    return "type" in kinds and bool(kinds & {"id", "previouseventid", "timestamp", "eventtimestamp"})


def event_of(value: Mapping[Any, Any], notes: Counter[str]) -> HistoryEvent:
    """The event that a JSON object tells of; what is unreadable in it is None."""
    told = {plain(key): item for key, item in value.items()}
    written = told.get("timestamp", told.get("eventtimestamp"))
    arn = told.get("executionarn")
    return HistoryEvent(
        type=_type(told.get("type")),
        number=_number(told.get("id")),
        previous=_number(told.get("previouseventid")),
        at=instant(written, notes),
        details=_details(told),
        execution=arn if isinstance(arn, str) else "",
    )


def instant(written: object, notes: Counter[str]) -> float | None:
    """Seconds since 1970 UTC of ISO text or a number of s, ms, us or ns; None, noted, for anything else."""
    if isinstance(written, str):
        written = _number_in(written)
    if isinstance(written, str):
        return _iso(written, notes)
    if written is None or isinstance(written, bool) or not isinstance(written, int | float):
        notes["times that are missing"] += 1
        return None
    return _of_number(written, notes)


def in_order(events: Sequence[HistoryEvent], notes: Counter[str]) -> list[HistoryEvent]:
    """The events in the order in which they happened, each once."""
    if all(event.number is not None for event in events):
        ordered = sorted(events, key=lambda event: event.number or 0)
        return _each_once(ordered, notes)
    forward = list(reversed(events)) if _backwards(events) else list(events)
    return _possible(forward, notes)


def _type(value: object) -> str:
    if isinstance(value, dict):  # Enumerations as some tools write them: {"Value": "TaskScheduled"}.
        value = next((item for key, item in value.items() if plain(key) == "value"), "")
    return value if isinstance(value, str) else ""


def _number(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, float) and value.is_integer():
        value, whole = int(value), True
    return value if whole and isinstance(value, int) and 0 <= value < _NUMBER_MAX else None


def _details(told: Mapping[str, Any]) -> Mapping[str, Any]:
    for key, value in told.items():
        if key.endswith("details") and isinstance(value, dict):
            return {plain(inner): item for inner, item in value.items()}
    return _NO_DETAILS


def _number_in(text: str) -> str | float:
    bare = text.strip()
    digits = bare.replace(".", "", 1)
    return float(bare) if len(bare) > 8 and len(bare) < 32 and digits.isascii() and digits.isdigit() else text


def _iso(text: str, notes: Counter[str]) -> float | None:
    try:
        at_us, zoned = instant_of(text)
    except ValueError:
        notes["times that are masked or unreadable"] += 1
        return None
    if not zoned:
        notes["times without a zone, read as UTC"] += 1
    return _of_number(at_us / 1e6, notes, scaled=True)


def _of_number(value: float, notes: Counter[str], *, scaled: bool = False) -> float | None:
    try:
        at = float(value)
    except OverflowError:
        at = math.inf
    if not scaled:
        at /= next((unit for least, unit in _UNITS if at >= least), 1.0)
    if not 0 <= at < _YEAR_10000_S:  # Also what is no number in particular.
        notes["times outside the years 1970 to 9999"] += 1
        return None
    return at


def _each_once(ordered: Iterable[HistoryEvent], notes: Counter[str]) -> list[HistoryEvent]:
    kept: list[HistoryEvent] = []
    for event in ordered:
        same = kept and kept[-1].number == event.number and kept[-1].type == event.type
        if same:
            notes["events that the file holds twice"] += 1
        else:
            kept.append(event)
    return kept


def _backwards(events: Sequence[HistoryEvent]) -> bool:
    for values in ([each.number for each in events], [each.at for each in events]):
        known = [value for value in values if value is not None]
        if known and known[0] != known[-1]:
            return known[0] > known[-1]
    starts = [place for place, event in enumerate(events) if event.type == "ExecutionStarted"]
    return bool(starts) and starts[0] == len(events) - 1 and len(events) > 1


def _possible(events: Iterable[HistoryEvent], notes: Counter[str]) -> list[HistoryEvent]:
    ordered: list[HistoryEvent] = []
    under_way = 0
    for masked, stretch in groupby(events, key=lambda event: event.number is None):
        here = list(stretch)
        if masked and _ends_too_early(here, under_way):
            here.sort(key=lambda event: _phase(event.type))
            notes[DISORDER] += 1
        under_way += sum(_balance(event.type) for event in here)
        ordered += here
    return ordered


def _ends_too_early(stretch: Iterable[HistoryEvent], under_way: int) -> bool:
    for event in stretch:
        under_way += _balance(event.type)
        if under_way < 0:
            return True
    return False


def _balance(kind: str) -> int:
    return 1 if kind.endswith("Scheduled") else -1 if _ends_task(kind) else 0


def _ends_task(kind: str) -> bool:
    family = kind.startswith(("Task", "Activity", "LambdaFunction"))
    return family and kind.endswith(("Succeeded", "Failed", "TimedOut"))


def _phase(kind: str) -> int:
    """How late in the life of a task an event of this type comes."""
    if kind.endswith(("Entered", "IterationStarted", "StateStarted")):
        return 0
    if kind.endswith("Scheduled"):
        return 1
    if kind.endswith("Started"):
        return 2
    if kind.endswith("Submitted"):
        return 3
    return 4 if _ends_task(kind) else 5
