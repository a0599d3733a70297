"""XES event logs (IEEE 1849), plain or gzip, read as a stream: memory holds one case at a time.

An XES file is `<log>`, in it `<trace>` (a case), in it `<event>`; all of them carry typed attributes as
`<string key="..." value="..."/>`. What this reader decides where real files leave room:

* Only direct children of a trace or an event are its attributes. Attributes nested in attributes say
  something about the attribute, not about the event, and are passed over.
* Namespaces and prefixes of elements do not matter; a renamed extension prefix
  (`<extension name="Time" prefix="t">`) is followed.
* An event needs a readable `time:timestamp`, or the file is refused: an event at an invented instant would
  put events into prefixes they do not belong to. A timestamp without a zone is read as UTC and counted.
* An event without `concept:name` becomes the activity `(unnamed)` and is counted: it still tells time. A file
  in which no event has a name is refused. A trace without a name is called `trace-<position>`.
* An event without `lifecycle:transition` has lifecycle `complete`. Declared `<global>` defaults are not
  filled in.
* Document type declarations are refused before they are read, and with them every entity attack.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn
from xml.parsers import expat

from sagacity_data.event_log import (
    DEFAULT_LIFECYCLE,
    UNNAMED_ACTIVITY,
    Case,
    CaseEvent,
    ImportRefused,
)
from sagacity_data.importers.instants import instant_of
from sagacity_data.importers.stored_bytes import stored_bytes
from sagacity_data.importers.xes_attributes import RawAttribute, text_of, values_of

DEPTH_MAX: Final = 64
"""Elements nested deeper than this are refused."""
TOKEN_BYTES_MAX: Final = 8 * 1024 * 1024
"""A single tag or comment longer than this is refused: it would have to be held in memory whole."""
CASE_EVENTS_MAX: Final = 1_000_000
"""A trace with more events than this is refused: a case has to fit into memory."""

_CASE, _EVENT = "trace", "event"
_CONCEPT, _TIME = "concept:name", "time:timestamp"
_LIFECYCLE, _RESOURCE = "lifecycle:transition", "org:resource"
_EXTENSIONS: Final = {"concept": "concept", "time": "time", "lifecycle": "lifecycle", "organizational": "org"}


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
    reader = _Reader(source, counts)
    for chunk in stored_bytes(source, counts.saw_bytes):
        reader.feed(chunk)
        yield from reader.finished_cases()
    reader.close()
    yield from reader.finished_cases()
    if counts.events and counts.unnamed_events == counts.events:
        reason = f"none of its {counts.events} events has a {_CONCEPT}"
        raise ImportRefused(source, "", reason, "export the log with activity names")


class _Reader:
    """One parse: expat calls `_start` and `_end`, finished cases wait in a queue."""

    def __init__(self, source: Path, tally: XesTally) -> None:
        self._source = source
        self._tally = tally
        self._finished: deque[Case] = deque()
        self._depth = 0
        self._traces = 0
        self._seen_root = False
        self._fed_bytes = 0
        self._aliases: dict[str, str] = {}
        self._case: dict[str, RawAttribute] | None = None
        self._event: dict[str, RawAttribute] | None = None
        self._event_place = (0, 0)
        self._events: list[CaseEvent] = []
        self._texts: dict[str, str] = {}
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.StartDoctypeDeclHandler = self._doctype
        self._parser = parser

    def finished_cases(self) -> Iterator[Case]:
        while self._finished:
            yield self._finished.popleft()

    def feed(self, chunk: bytes) -> None:
        self._fed_bytes += len(chunk)
        self._parse(chunk, final=False)
        if self._fed_bytes - max(self._parser.CurrentByteIndex, 0) > TOKEN_BYTES_MAX:
            self._refuse(f"has a tag of more than {TOKEN_BYTES_MAX:,} bytes", "check that it is an XES log")

    def close(self) -> None:
        if not self._fed_bytes:
            raise ImportRefused(self._source, "byte 0", "is empty", "export the log again")
        self._parse(b"", final=True)

    def _parse(self, chunk: bytes, *, final: bool) -> None:
        try:
            self._parser.Parse(chunk, final)
        except expat.ExpatError as error:
            said = expat.ErrorString(error.code)
            if final and self._seen_root:
                self._refuse(f"ends inside the XML ({said})", "it was cut off: copy or export it again")
            if not self._seen_root:
                self._refuse(f"is not XML ({said})", "give an XES file, .xes or .xes.gz")
            self._refuse(f"is not well-formed XML ({said})", "export the log again")
        except (ValueError, LookupError) as error:
            if self._seen_root:
                raise  # a bug of ours; an encoding that nobody knows shows before the first element
            self._refuse(f"cannot be decoded ({error})", "save it as UTF-8")

    def _start(self, name: str, xml: dict[str, str]) -> None:
        depth = self._depth
        self._depth = depth + 1
        if depth == 3:
            if self._event is not None:
                self._keep(self._event, name, xml)
        elif depth == 2:
            if self._case is None:
                return
            if _local(name) == _EVENT:
                self._event = {}
                self._event_place = (self._parser.CurrentLineNumber, self._parser.CurrentByteIndex)
            else:
                self._keep(self._case, name, xml)
        elif depth < 2:
            self._start_outer(depth, _local(name), xml)
        elif depth >= DEPTH_MAX:
            self._refuse(f"nests elements deeper than {DEPTH_MAX}", "flatten its nested attributes")

    def _start_outer(self, depth: int, name: str, xml: dict[str, str]) -> None:
        if depth == 0:
            self._seen_root = True
            if name != "log":
                self._refuse(f"has the root <{name}>, not <log>", "give an XES event log")
        elif name == _CASE:
            self._traces += 1
            self._case, self._events = {}, []
        elif name == _EVENT:
            self._tally.events_outside_cases += 1
        elif name == "extension":
            meant, written = _EXTENSIONS.get(xml.get("name", "").lower()), xml.get("prefix")
            if meant and written and meant != written:
                self._aliases[written] = meant

    def _end(self, _name: str) -> None:
        self._depth -= 1
        if self._depth == 2 and self._event is not None:
            self._finish_event(self._event)
            self._event = None
        elif self._depth == 1 and self._case is not None:
            self._finish_case(self._case)
            self._case = None

    def _keep(self, into: dict[str, RawAttribute], name: str, xml: dict[str, str]) -> None:
        key, value = xml.get("key"), xml.get("value")
        if key is None or value is None:
            return  # a list, a container, or an attribute without content
        if self._aliases:
            prefix, colon, rest = key.partition(":")
            key = f"{self._aliases.get(prefix, prefix)}{colon}{rest}"
        into[self._texts.setdefault(key, key)] = (_local(name), value)

    def _finish_event(self, raw: dict[str, RawAttribute]) -> None:
        tally = self._tally
        if len(self._events) >= CASE_EVENTS_MAX:
            self._refuse(f"has a trace of more than {CASE_EVENTS_MAX:,} events", "split that trace")
        activity = text_of(raw.pop(_CONCEPT, None))
        tally.events += 1
        tally.unnamed_events += activity is None
        at_us = self._instant(raw.pop(_TIME, None), activity)
        lifecycle = text_of(raw.pop(_LIFECYCLE, None)) or DEFAULT_LIFECYCLE
        resource = text_of(raw.pop(_RESOURCE, None))
        if self._events and at_us < self._events[-1].at_us:
            tally.backward_steps += 1
        self._events.append(
            CaseEvent(
                self._shared(activity or UNNAMED_ACTIVITY),
                at_us,
                self._shared(lifecycle),
                None if resource is None else self._shared(resource),
                values_of(raw),
            )
        )

    def _instant(self, raw: RawAttribute | None, activity: str | None) -> int:
        named = f"the event {activity!r}" if activity else "an event without a name"
        if raw is None:
            self._refuse(f"{named} has no {_TIME}", "every event needs one: add it or leave the event out")
        try:
            at_us, zoned = instant_of(raw[1])
        except ValueError:
            reason = f"{named} has the unreadable {_TIME} {raw[1][:80]!r}"
            self._refuse(reason, "write it as 2012-03-31T14:05:00.000+02:00")
        self._tally.naive_timestamps += not zoned
        return at_us

    def _finish_case(self, raw: dict[str, RawAttribute]) -> None:
        if not self._events:
            self._tally.empty_cases += 1
            return
        case_id = text_of(raw.pop(_CONCEPT, None))
        if case_id is None:
            self._tally.unnamed_cases += 1
            case_id = f"trace-{self._traces}"
        self._tally.cases += 1
        self._finished.append(Case(case_id, tuple(self._events), values_of(raw)))

    def _shared(self, text: str) -> str:
        """One copy of a text that recurs; the cache is bounded for logs that never repeat themselves."""
        if len(self._texts) > 50_000:
            self._texts.clear()
        return self._texts.setdefault(text, text)

    def _doctype(self, *_declaration: object) -> None:
        self._refuse(
            "declares a document type (DTD), which XES does not need and entity attacks do",
            "remove the <!DOCTYPE ...> declaration",
        )

    def _refuse(self, reason: str, way_out: str) -> NoReturn:
        line, byte = self._parser.CurrentLineNumber, max(self._parser.CurrentByteIndex, 0)
        if self._event is not None:
            line, byte = self._event_place
        place = f"line {line}, byte {byte}"
        if self._case is not None:
            name = text_of(self._case.get(_CONCEPT))
            place += f", case {self._traces}" + (f" ({name[:80]!r})" if name else "")
        raise ImportRefused(self._source, place, reason, way_out) from None


def _local(name: str) -> str:
    return name.rpartition(":")[2] if ":" in name else name
