"""Runs out of XES event logs: one per trace, read as a stream, so that memory holds one trace at a time.

How the file is read is said in `xes_stream`, how events become attempts in `xes_lifecycles`, and what a case
is as a run in `case_runs`. What this reader decides where real files leave room:

* The type of the runs is the log's own `concept:name`, else the file's name.
* A time that is missing, unreadable or before 1970 is none; a time without a zone is read as UTC.
* An event without a name is the activity `(unnamed)`; a log in which no event has a name is refused.
* Transitions of the standard's lifecycle and of BPAF are known; others are counted and skipped. A log that
  says others in most of its first `PEEK_EVENTS` events has a lifecycle of its own (`In Progress`, `Closed`):
  there every event is taken for the completion of its activity.
* A trace's context is its attributes, but dates and ids: a date later than the launch tells of the future,
  and none is a category.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from sagacity_data.event_log import DEFAULT_LIFECYCLE, UNNAMED_ACTIVITY, ImportRefused
from sagacity_data.importers.case_runs import CaseRuns, context_of, name_of
from sagacity_data.importers.foreign_runs import ForeignRun
from sagacity_data.importers.instants import instant_of
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.xes_attributes import RawAttribute, text_of, values_of
from sagacity_data.importers.xes_lifecycles import MOVES, LogEvent
from sagacity_data.importers.xes_stream import (
    CONCEPT,
    INSTANCE,
    LIFECYCLE,
    RESOURCE,
    TIME,
    RawAttributes,
    Refuse,
    XesStream,
)

PEEK_EVENTS: Final = 10_000
"""How many events are looked at before a log is said to have a lifecycle of its own."""

KNOWN_SHARE_MIN: Final = 0.2
"""With fewer standard transitions than this among its events, it has one: a few words are in both."""

_WANTED: Final = frozenset((CONCEPT, TIME, LIFECYCLE, RESOURCE, INSTANCE))
_NO_CATEGORY: Final = ("date", "id", "list", "container")


class _Trace(NamedTuple):
    case: str
    events: list[LogEvent]
    attributes: RawAttributes


def read_runs(path: Path, hints: Hints, tally: Tally) -> Iterator[ForeignRun]:
    """The runs of the log, in file order. Raises `ImportRefused` while iterating."""
    meaning = _Events(tally)
    stream = XesStream(path, meaning, _WANTED)
    traces = stream.traces(tally.saw_bytes)
    peeked, own_lifecycle = _peek(traces)
    if own_lifecycle:
        tally.notes["the log's lifecycle is no standard one: every event was read as a completion"] += 1
    name = text_of(stream.log.get(CONCEPT)) or name_of(path)
    runs = CaseRuns(name, hints, tally, own_lifecycle=own_lifecycle)
    for trace in chain(peeked, traces):
        context = context_of(_values(trace.attributes), tally)
        yield runs.run_of(trace.case, trace.events, context)
    if meaning.events and meaning.unnamed == meaning.events:
        reason = f"none of its {meaning.events} events has a {CONCEPT}"
        raise ImportRefused(path, "", reason, "export the log with activity names")


def _peek(traces: Iterator[_Trace]) -> tuple[list[_Trace], bool]:
    """The first traces, and whether the log has a lifecycle of its own."""
    peeked: list[_Trace] = []
    events = known = 0
    for trace in traces:
        peeked.append(trace)
        events += len(trace.events)
        known += sum(event.lifecycle in MOVES for event in trace.events)
        if events >= PEEK_EVENTS:
            break
    return peeked, known < KNOWN_SHARE_MIN * events


def _values(attributes: RawAttributes) -> list[tuple[str, str | int | float | bool]]:
    kept = {key: raw for key, raw in attributes.items() if raw[0] not in _NO_CATEGORY and key != CONCEPT}
    return list(values_of(kept).items())


class _Events:
    """What events and traces mean here."""

    def __init__(self, tally: Tally) -> None:
        self.events = self.unnamed = 0
        self._tally = tally
        self._shared = lru_cache(maxsize=50_000)(_clean)

    def event(self, raw: RawAttributes, refuse: Refuse) -> LogEvent:
        del refuse  # Every event can be read here.
        self.events += 1
        shared, name = self._shared, raw.get(CONCEPT)
        activity = "" if name is None else shared(name[1])
        if not activity:
            self.unnamed += 1
            self._tally.notes["events without a name are called (unnamed)"] += 1
        lifecycle, resource, instance = raw.get(LIFECYCLE), raw.get(RESOURCE), raw.get(INSTANCE)
        return LogEvent(
            activity or UNNAMED_ACTIVITY,
            self._at(raw.get(TIME)),
            (shared(lifecycle[1]).lower() if lifecycle is not None else "") or DEFAULT_LIFECYCLE,
            None if instance is None else shared(instance[1]) or None,
            None if resource is None else shared(resource[1]) or None,
        )

    def trace(self, raw: RawAttributes, events: list[LogEvent], number: int) -> _Trace | None:
        if not events:
            self._tally.notes["traces without events were left out"] += 1
            return None
        return _Trace(text_of(raw.get(CONCEPT)) or f"trace-{number}", events, raw)

    def stray_event(self) -> None:
        self._tally.notes["events outside any trace were left out"] += 1

    def _at(self, raw: RawAttribute | None) -> float | None:
        text = "" if raw is None else raw[1]
        try:
            moment = datetime.fromisoformat(text)
            at, zoned = (moment.timestamp(), True) if moment.tzinfo is not None else _instant(text)
        except (ValueError, OverflowError):
            at, zoned = _instant(text)
        if at < 0:
            self._tally.notes["events without a readable time since 1970 have none"] += 1
            return None
        if not zoned:
            self._tally.notes["times without a zone were read as UTC"] += 1
        return at


def _instant(text: str) -> tuple[float, bool]:
    """The time of a text that is not the usual one, and whether it named its zone; -1 for what is no time."""
    try:
        at_us, zoned = instant_of(text)
    except ValueError:
        return -1.0, True
    return at_us / 1e6, zoned


def _clean(text: str) -> str:
    return text.strip()
