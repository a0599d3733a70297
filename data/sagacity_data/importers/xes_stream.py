"""XES event logs (IEEE 1849), plain or gzip, read as a stream: memory holds one trace at a time.

An XES file is `<log>`, in it `<trace>` (a case), in it `<event>`; all of them carry typed attributes as
`<string key="..." value="..."/>`. What this reader decides where real files leave room:

* Only direct children of a log, a trace or an event are its attributes. Attributes nested in attributes say
  something about the attribute, not about the event, and are passed over.
* Namespaces and prefixes of elements do not matter; a renamed extension prefix
  (`<extension name="Time" prefix="t">`) is followed.
* Declared `<global>` defaults are not filled in.
* Document type declarations are refused before they are read, and with them every entity attack.

What the attributes mean is for the readers: of cases (`xes`) and of runs (`event_log_runs`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Generic, NoReturn, Protocol, TypeVar
from xml.parsers import expat

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.stored_bytes import stored_bytes
from sagacity_data.importers.xes_attributes import RawAttribute, text_of

DEPTH_MAX: Final = 64
"""Elements nested deeper than this are refused."""
TOKEN_BYTES_MAX: Final = 8 * 1024 * 1024
"""A single tag or comment longer than this is refused: it would have to be held in memory whole."""
CASE_EVENTS_MAX: Final = 1_000_000
"""A trace with more events than this is refused: a case has to fit into memory."""
ATTRIBUTES_MAX: Final = 10_000
"""A log, a trace or an event with more attributes than this is refused."""

CONCEPT: Final = "concept:name"
TIME: Final = "time:timestamp"
LIFECYCLE: Final = "lifecycle:transition"
RESOURCE: Final = "org:resource"
INSTANCE: Final = "concept:instance"
_CASE, _EVENT = "trace", "event"
_EXTENSIONS: Final = {"concept": "concept", "time": "time", "lifecycle": "lifecycle", "organizational": "org"}

RawAttributes = dict[str, RawAttribute]
T_co = TypeVar("T_co", covariant=True)
E = TypeVar("E")
T = TypeVar("T")
Refuse = Callable[[str, str], NoReturn]
"""Refuses the file: the reason and the way out; the place is where the reading stands."""


class Meaning(Protocol[E, T_co]):
    """What a reader makes of raw events and traces; whatever it returns as None is left out."""

    def event(self, raw: RawAttributes, refuse: Refuse) -> E:
        """One event, at its end."""
        ...

    def trace(self, raw: RawAttributes, events: list[E], number: int) -> T_co | None:
        """One trace, at its end; `number` counts the traces from 1."""
        ...

    def stray_event(self) -> None:
        """An event outside any trace was met."""
        ...


class XesStream(Generic[E, T]):
    """One parse: expat calls `_start` and `_end`, finished traces wait in a queue."""

    def __init__(self, source: Path, meaning: Meaning[E, T], wanted: frozenset[str] | None = None) -> None:
        """`wanted` names the attributes of events that the meaning looks at; all, if it is None."""
        self._source = source
        self._meaning = meaning
        self._wanted = wanted
        self.log: RawAttributes = {}  # The log's own attributes, as far as they were met.
        self._finished: deque[T] = deque()
        self._depth = 0
        self._traces = 0
        self._seen_root = False
        self._fed_bytes = 0
        self._aliases: dict[str, str] = {}
        self._case: RawAttributes | None = None
        self._event: RawAttributes | None = None
        self._event_place = (0, 0)
        self._events: list[E] = []
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.StartDoctypeDeclHandler = self._doctype
        self._parser = parser

    def traces(self, seen: Callable[[int], None]) -> Iterator[T]:
        """What the meaning made of the traces, in file order; `seen` is told the bytes read of the file.

        Raises `ImportRefused` while iterating; traces handed out before that are sound in themselves.
        """
        for chunk in stored_bytes(self._source, seen):
            self._feed(chunk)
            while self._finished:
                yield self._finished.popleft()
        if not self._fed_bytes:
            raise ImportRefused(self._source, "byte 0", "is empty", "export the log again")
        self._parse(b"", final=True)
        yield from self._finished

    def _feed(self, chunk: bytes) -> None:
        self._fed_bytes += len(chunk)
        self._parse(chunk, final=False)
        if self._fed_bytes - max(self._parser.CurrentByteIndex, 0) > TOKEN_BYTES_MAX:
            self._refuse(f"has a tag of more than {TOKEN_BYTES_MAX:,} bytes", "check that it is an XES log")

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
            self._refuse(f"cannot be decoded ({error})"[:120], "save it as UTF-8")

    def _start(self, name: str, xml: dict[str, str]) -> None:
        depth = self._depth
        self._depth = depth + 1
        if depth == 3:  # Most elements by far.
            event = self._event
            if event is None:
                return
            if self._wanted is None or self._aliases or ":" in name:
                self._keep(event, name, xml)
            elif (key := xml.get("key")) in self._wanted and (value := xml.get("value")) is not None:
                event[key] = (name, value)
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
                self._refuse(f"has the root <{name[:80]}>, not <log>", "give an XES event log")
        elif name == _CASE:
            self._traces += 1
            self._case, self._events = {}, []
        elif name == _EVENT:
            self._meaning.stray_event()
        elif name == "extension":
            meant, written = _EXTENSIONS.get(xml.get("name", "").lower()), xml.get("prefix")
            if meant and written and meant != written:
                self._aliases[written] = meant
        else:
            self._keep(self.log, name, xml)

    def _end(self, _name: str) -> None:
        self._depth -= 1
        if self._depth == 2 and self._event is not None:
            if len(self._events) >= CASE_EVENTS_MAX:
                self._refuse(f"has a trace of more than {CASE_EVENTS_MAX:,} events", "split that trace")
            self._events.append(self._meaning.event(self._event, self._refuse))
            self._event = None
        elif self._depth == 1 and self._case is not None:
            finished = self._meaning.trace(self._case, self._events, self._traces)
            if finished is not None:
                self._finished.append(finished)
            self._case, self._events = None, []

    def _keep(self, into: RawAttributes, name: str, xml: dict[str, str]) -> None:
        key, value = xml.get("key"), xml.get("value")
        if key is None or value is None:
            return  # A list, a container, or an attribute without content.
        if self._aliases:
            prefix, colon, rest = key.partition(":")
            key = f"{self._aliases.get(prefix, prefix)}{colon}{rest}"
        if len(into) >= ATTRIBUTES_MAX:
            self._refuse(f"has more than {ATTRIBUTES_MAX:,} attributes in one place", "leave some out")
        into[key] = (_local(name) if ":" in name else name, value)

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
            name = text_of(self._case.get(CONCEPT))
            place += f", case {self._traces}" + (f" ({name[:80]!r})" if name else "")
        raise ImportRefused(self._source, place, reason, way_out) from None


def _local(name: str) -> str:
    return name.rpartition(":")[2] if ":" in name else name
