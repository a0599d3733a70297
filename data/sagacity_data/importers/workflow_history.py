"""The events of a workflow history, whichever way it was exported: found, named alike, put in order.

What is accepted, for Temporal and Cadence alike:

* a list of events; `{events}`; `{history: {events}}`; several such objects in a list or under `items` (a
  batch without a start goes on where the one before ended); an object whose members are events; around any of
  them members that name the workflow and the run;
* event types as `ActivityTaskScheduled`, as `EVENT_TYPE_ACTIVITY_TASK_SCHEDULED`, by number, or told only by
  the name of the attributes; attributes under `activityTaskScheduledEventAttributes`, or under `attributes`;
* either order, ids as text or numbers, ids missing. Events are put in the order of their ids. One without an
  id follows its neighbour; the same event twice counts once. Ids, not times, give the order of events: a
  server writes some events later than they happened.

A type that nobody knows is counted and skipped, an entry that is no event is noted and skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.reading import Tally
from sagacity_data.importers.workflow_history_values import (
    Attributes,
    attributes_in,
    instant_in,
    member,
    text_in,
    whole_in,
)

STARTED: Final = "WorkflowExecutionStarted"
UNKNOWN_TYPES_MAX: Final = 1000
"""More unknown types than this in one file are counted together."""

_ATTRIBUTES: Final = "EventAttributes"
_ENVELOPES: Final = ("events", "history", "items", "histories")
_WRAPS_MAX: Final = 6  # Envelopes in envelopes.


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One event; `kind` is its type's name as `ActivityTaskScheduled`."""

    kind: str
    event_id: int
    at: float | None  # s since 1970 UTC.
    after: float  # The latest time told up to here: where it belongs when its own time is not told.
    attributes: Attributes


@dataclass(slots=True)
class History:
    """The events of one run in order, and what was told around them."""

    events: list[HistoryEvent]
    workflow_id: str = ""
    run_id: str = ""
    content: list[Attributes] = field(default_factory=list)  # The events as they stand, in order.


@dataclass(frozen=True, slots=True)
class EventTypes:
    """The event types of a server: names by their spelling without case and underscores, and by number."""

    names: Mapping[str, str]
    numbers: Mapping[int, str]

    @classmethod
    def of(cls, numbered: Mapping[int, str], *older: str) -> EventTypes:
        """The types by their enum's numbers, and names that were given up."""
        return cls({_spelling(name): name for name in (*numbered.values(), *older)}, numbered)

    def kind_of(self, event: Attributes) -> tuple[str, str]:
        """An event's kind, empty for one that nobody knows, and the type as it was written."""
        told = member(event, "eventType")
        number = whole_in(told)
        if number is not None:
            return self.numbers.get(number, ""), f"event type {number}"
        if told is None:
            told = next((key.removesuffix(_ATTRIBUTES) for key in _attribute_keys(event)), "")
        written = text_in(told, 100).strip() or "(no type)"
        return self.names.get(_spelling(written), ""), written


def histories_in(path: Path, document: Any, types: EventTypes, tally: Tally) -> Iterator[History]:
    """The histories that a file holds. Raises `ImportRefused` where there is none, or one without a start."""
    found = list(_joined(_found(document, _WRAPS_MAX), types))
    if not found:
        described = isinstance(document, dict) and "workflowExecutionInfo" in document
        what = "it describes a run and holds no events" if described else "it holds no history events"
        raise ImportRefused(path, "", f"has no start: {what}", "export the run's history")
    for number, told in enumerate(found, 1):
        history = _read(told, types, tally)
        if not any(event.kind == STARTED for event in history.events):
            place = f"history {number}" if len(found) > 1 else ""
            raise ImportRefused(path, place, f"has no start (no {STARTED})", "export the whole history")
        yield history


@dataclass(slots=True)
class _Told:
    """A list of events as found, with what its envelopes say."""

    events: list[Any]
    workflow_id: str = ""
    run_id: str = ""


def _found(document: Any, wraps: int) -> Iterator[_Told]:
    if isinstance(document, list):
        yield from _found_in_list(document, wraps)
    if not isinstance(document, dict) or not wraps:
        return
    inner = next((document[key] for key in _ENVELOPES if isinstance(document.get(key), list | dict)), None)
    if inner is None and any(_is_event(value) for value in document.values()):
        inner = list(document.values())
    for told in _found(inner, wraps - 1):
        workflow_id, run_id = _ids_around(document)
        told.workflow_id, told.run_id = told.workflow_id or workflow_id, told.run_id or run_id
        yield told
    if isinstance(inner, list) and not inner:
        yield _Told([])


def _found_in_list(entries: list[Any], wraps: int) -> Iterator[_Told]:
    if any(_is_event(entry) for entry in entries):
        yield _Told(entries)
        return
    for entry in entries if wraps else ():
        yield from _found(entry, wraps - 1)


def _joined(found: Iterable[_Told], types: EventTypes) -> Iterator[_Told]:
    """Batches of one history put together: one that does not begin with a start belongs to the one before."""
    whole: _Told | None = None
    for told in found:
        if whole is not None and not any(_is_start(event, types) for event in told.events):
            whole.events.extend(told.events)
            continue
        if whole is not None:
            yield whole
        whole = told
    if whole is not None:
        yield whole


def _ids_around(envelope: Attributes) -> tuple[str, str]:
    described = attributes_in(member(envelope, "workflowExecutionInfo"))
    told = attributes_in(member(envelope, "workflowExecution", "execution") or described.get("execution"))
    told = told or envelope
    return text_in(told.get("workflowId")), text_in(told.get("runId"))


def _is_event(value: object) -> bool:
    return isinstance(value, dict) and ("eventType" in value or any(_attribute_keys(value)))


def _is_start(event: object, types: EventTypes) -> bool:
    return isinstance(event, dict) and types.kind_of(event)[0] == STARTED


def _attribute_keys(event: Attributes) -> Iterator[str]:
    return (key for key in event if key.endswith(_ATTRIBUTES))


def _spelling(name: str) -> str:
    return name.upper().removeprefix("EVENT_TYPE_").replace("_", "")


def _read(told: _Told, types: EventTypes, tally: Tally) -> History:
    entries = [entry for entry in told.events if _is_event(entry)]
    if len(entries) < len(told.events):
        tally.notes["entries that are no events are left out"] += len(told.events) - len(entries)
    history = History([], told.workflow_id, told.run_id)
    seen: set[tuple[int, str]] = set()
    after = 0.0
    for event_id, id_told, entry in _in_order(entries, types, tally):
        history.content.append(entry)
        kind, written = types.kind_of(entry)
        if not kind:
            crowded = written not in tally.skipped and len(tally.skipped) >= UNKNOWN_TYPES_MAX
            tally.skipped["(other types)" if crowded else written] += 1
            continue
        if (event_id, kind) in seen and id_told:
            tally.notes["events that occur twice are counted once"] += 1
            continue
        seen.add((event_id, kind))
        at = instant_in(member(entry, "eventTime", "timestamp"), tally)
        after = after if at is None else max(after, at)
        event = HistoryEvent(kind, event_id, at, after, _attributes_of(entry, kind))
        history.events.append(event)
    return history


def _attributes_of(event: Attributes, kind: str) -> Attributes:
    named = event.get(f"{kind[:1].lower()}{kind[1:]}{_ATTRIBUTES}")
    if named is None:
        named = event.get("attributes")
    if named is None or isinstance(named, str):  # Cadence may write only which member holds them.
        named = next((event[key] for key in _attribute_keys(event)), None)
    return attributes_in(named)


def _in_order(
    entries: list[Attributes], types: EventTypes, tally: Tally
) -> list[tuple[int, bool, Attributes]]:
    """The events by id, each with its id and whether that was told."""
    ids = [whole_in(member(entry, "eventId", "id")) for entry in entries]
    if _descends(ids, entries, types):
        ids.reverse()
        entries.reverse()
    missing = sum(event_id is None for event_id in ids)
    if missing:
        tally.notes["events without an id are placed by their neighbours"] += missing
    placed: list[tuple[int, bool, Attributes]] = []
    before = 0
    for event_id, entry in zip(ids, entries, strict=True):
        before = before + 1 if event_id is None else event_id
        placed.append((before, event_id is not None, entry))
    return sorted(placed, key=lambda each: each[0])


def _descends(ids: list[int | None], entries: list[Attributes], types: EventTypes) -> bool:
    """Whether the latest event comes first: by most neighbours' ids, else by where the start is."""
    told = [event_id for event_id in ids if event_id is not None]
    steps = [(later > sooner) - (later < sooner) for sooner, later in pairwise(told)]
    if any(steps):
        return sum(steps) < 0
    start = next((at for at, entry in enumerate(entries) if _is_start(entry, types)), 0)
    return start > len(entries) // 2
