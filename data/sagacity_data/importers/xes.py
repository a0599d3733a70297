"""Cases out of XES event logs: every event with all its attributes, in the order of the file.

How the file is read is said in `xes_stream`. What this reader decides where real files leave room:

* An event needs a readable `time:timestamp`, or the file is refused: an event at an invented instant would
  put events into prefixes they do not belong to. A timestamp without a zone is read as UTC and counted.
* An event without `concept:name` becomes the activity `(unnamed)` and is counted: it still tells time. A file
  in which no event has a name is refused. A trace without a name is called `trace-<position>`.
* An event without `lifecycle:transition` has lifecycle `complete`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sagacity_data.event_log import (
    DEFAULT_LIFECYCLE,
    UNNAMED_ACTIVITY,
    Case,
    CaseEvent,
    ImportRefused,
)
from sagacity_data.importers.instants import instant_of
from sagacity_data.importers.xes_attributes import RawAttribute, text_of, values_of
from sagacity_data.importers.xes_stream import (
    CONCEPT,
    LIFECYCLE,
    RESOURCE,
    TIME,
    TOKEN_BYTES_MAX,
    RawAttributes,
    Refuse,
    XesStream,
)

__all__ = ["TOKEN_BYTES_MAX", "XesTally", "read_cases"]

TEXTS_SHARED_MAX: Final = 50_000


@dataclass(slots=True)
class XesTally:
    """What a reading met, counted as it goes; the caller owns it and may look at any time."""

    cases: int = 0
    events: int = 0
    naive_timestamps: int = 0
    unnamed_events: int = 0
    unnamed_cases: int = 0
    empty_cases: int = 0
    events_outside_cases: int = 0
    backward_steps: int = 0
    bytes_read: int = 0
    """Bytes of the file as stored (compressed, where it is)."""

    def saw_bytes(self, bytes_read: int) -> None:
        """Note how far the reading has come."""
        self.bytes_read = bytes_read


def read_cases(path: str | os.PathLike[str], tally: XesTally | None = None) -> Iterator[Case]:
    """The cases of an XES file in file order, each with its events in file order.

    Traces without events are passed over and counted. Raises `ImportRefused` while iterating; cases handed
    out before that are sound in themselves, but the file as a whole is not.
    """
    counts = XesTally() if tally is None else tally
    source = Path(path)
    yield from XesStream(source, _Cases(counts)).traces(counts.saw_bytes)
    if counts.events and counts.unnamed_events == counts.events:
        reason = f"none of its {counts.events} events has a {CONCEPT}"
        raise ImportRefused(source, "", reason, "export the log with activity names")


class _Cases:
    """What events and traces mean as cases."""

    def __init__(self, tally: XesTally) -> None:
        self._tally = tally
        self._texts: dict[str, str] = {}
        self._last_us: int | None = None  # Of the event before, in the same trace.

    def event(self, raw: RawAttributes, refuse: Refuse) -> CaseEvent:
        tally = self._tally
        activity = text_of(raw.pop(CONCEPT, None))
        tally.events += 1
        tally.unnamed_events += activity is None
        at_us = self._instant(raw.pop(TIME, None), activity, refuse)
        lifecycle = text_of(raw.pop(LIFECYCLE, None)) or DEFAULT_LIFECYCLE
        resource = text_of(raw.pop(RESOURCE, None))
        if self._last_us is not None and at_us < self._last_us:
            tally.backward_steps += 1
        self._last_us = at_us
        return CaseEvent(
            self._shared(activity or UNNAMED_ACTIVITY),
            at_us,
            self._shared(lifecycle),
            None if resource is None else self._shared(resource),
            values_of({self._shared(key): raw[key] for key in raw}),
        )

    def trace(self, raw: RawAttributes, events: list[CaseEvent], number: int) -> Case | None:
        self._last_us = None
        if not events:
            self._tally.empty_cases += 1
            return None
        case_id = text_of(raw.pop(CONCEPT, None))
        if case_id is None:
            self._tally.unnamed_cases += 1
            case_id = f"trace-{number}"
        self._tally.cases += 1
        return Case(case_id, tuple(events), values_of(raw))

    def stray_event(self) -> None:
        self._tally.events_outside_cases += 1

    def _instant(self, raw: RawAttribute | None, activity: str | None, refuse: Refuse) -> int:
        named = f"the event {activity[:80]!r}" if activity else "an event without a name"
        if raw is None:
            refuse(f"{named} has no {TIME}", "every event needs one: add it or leave the event out")
        try:
            at_us, zoned = instant_of(raw[1])
        except ValueError:
            reason = f"{named} has the unreadable {TIME} {raw[1][:80]!r}"
            refuse(reason, "write it as 2012-03-31T14:05:00.000+02:00")
        self._tally.naive_timestamps += not zoned
        return at_us

    def _shared(self, text: str) -> str:
        """One copy of a text that recurs; the cache is bounded for logs that never repeat themselves."""
        if len(self._texts) > TEXTS_SHARED_MAX:
            self._texts.clear()
        return self._texts.setdefault(text, text)
