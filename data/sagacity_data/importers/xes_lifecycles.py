"""Events of one case into the attempts that they tell of, by the lifecycle of XES's standard and of BPAF.

A work item may be scheduled, started, suspended and resumed, and ends completed, failed or cancelled. Events
of one activity belong to one item if their `concept:instance` agrees; among several open items the one of the
same resource comes first, else the one that was begun first. Every event either begins an attempt, or joins
one begun by another event, or is skipped and counted, so that these three add up to the events.

* An end without a start is an attempt without a start: it tells an order, never a duration.
* A start without an end is an attempt that is still open, and so is what was scheduled and never started.
* Events are taken in the order of their times, those of one time in the order of the file. An event without
  a time stays behind the event that precedes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, auto
from itertools import islice, pairwise
from typing import Final, NamedTuple

from sagacity_data.importers.reading import Tally
from sagacity_data.rows import AttemptOutcome

LOOKED_AT_MAX: Final = 64
"""How many open items of one activity are looked at for the resource of an event."""

JOINED: Final = "events belong to an attempt that another event began"


class Move(IntEnum):
    """What a lifecycle transition does to a work item; a number, because every event is looked up by it."""

    SCHEDULE = auto()
    ASSIGN = auto()
    START = auto()
    PAUSE = auto()  # Suspended or resumed: it stays open.
    COMPLETE = auto()
    FAIL = auto()
    CANCEL = auto()
    ABORT_CASE = auto()


_MOVES: Final = {
    Move.SCHEDULE: "schedule open open.notrunning open.notrunning.ready",
    Move.ASSIGN: "assign reassign open.notrunning.assigned open.notrunning.reserved",
    Move.START: "start open.running open.running.inprogress",
    Move.PAUSE: "suspend resume open.running.suspended open.notrunning.suspended "
    "open.notrunning.suspended.assigned open.notrunning.suspended.reserved",
    Move.COMPLETE: "complete completed completed.success closed closed.completed closed.completed.success",
    Move.FAIL: "completed.failed closed.completed.failed closed.cancelled.error",
    Move.CANCEL: "withdraw manualskip autoskip ate_abort closed.cancelled closed.cancelled.aborted "
    "closed.cancelled.exited closed.cancelled.obsolete closed.cancelled.terminated",
    Move.ABORT_CASE: "pi_abort",
}
MOVES: Final = {word: move for move, words in _MOVES.items() for word in words.split()}
"""By the transition's name in lower case."""

_OUTCOMES: Final = {
    Move.COMPLETE: AttemptOutcome.SUCCEEDED,
    Move.FAIL: AttemptOutcome.FAILED,
    Move.CANCEL: AttemptOutcome.CANCELLED,
    Move.ABORT_CASE: AttemptOutcome.CANCELLED,
}


class LogEvent(NamedTuple):
    """One event. Times in s since 1970 UTC."""

    activity: str
    at: float | None
    lifecycle: str = "complete"
    instance: str | None = None
    resource: str | None = None
    started_at: float | None = None  # Where one row tells both ends.
    outcome: AttemptOutcome | None = None  # Where the log says more than that it is complete.
    error_type: str = ""

    @property
    def when(self) -> float | None:
        """Where it stands among the others."""
        return self.started_at if self.at is None else self.at


@dataclass(slots=True)
class WorkItem:
    """One attempt, as far as the events have told."""

    activity: str
    resource: str | None = None
    outcome: AttemptOutcome = AttemptOutcome.OPEN
    scheduled_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    error_type: str = ""

    @property
    def at(self) -> float | None:
        """Where it stands among the others: by its start, else its end, else when it was scheduled."""
        if self.started_at is not None:
            return self.started_at
        return self.scheduled_at if self.ended_at is None else self.ended_at


_Queues = dict[tuple[str, str | None], deque[WorkItem]]


class WorkItems:
    """The work items of one case."""

    def __init__(self, tally: Tally, *, own_lifecycle: bool = False) -> None:
        """`own_lifecycle`: the log's transitions are none of the standard's, so each is a completion."""
        self.aborted = ""  # The activity at which the whole case was aborted.
        self._tally = tally
        self._own_lifecycle = own_lifecycle
        self._items: list[WorkItem] = []
        self._scheduled: _Queues = {}
        self._started: _Queues = {}
        self._joined = 0

    def take(self, events: Sequence[LogEvent]) -> list[WorkItem]:
        """The attempts of all events of the case, in the order of their starts."""
        for event in in_order(events):
            move = Move.COMPLETE if self._own_lifecycle else MOVES.get(event.lifecycle)
            if move is None:
                self._tally.skipped[event.lifecycle] += 1
            elif move in _OUTCOMES:
                self._end(event, move)
            else:
                self._go_on(event, move)
        if self._joined:
            self._tally.notes[JOINED] += self._joined
        return _by_start(self._items)

    def _end(self, event: LogEvent, move: Move) -> None:
        item = None
        if self._started or self._scheduled:
            item = _taken(self._started, event) or _taken(self._scheduled, event)
        if item is None:
            item = self._new(event)
            item.started_at = event.started_at
        else:
            self._joined += 1
        item.outcome = event.outcome or _OUTCOMES[move]
        if item.outcome is AttemptOutcome.OPEN:
            item.started_at = event.when if item.started_at is None else item.started_at
        else:
            item.ended_at = event.at
        item.error_type = event.error_type
        if move is Move.FAIL:
            item.error_type = item.error_type or event.lifecycle
        elif move is Move.ABORT_CASE:
            self._abort(event)

    def _abort(self, event: LogEvent) -> None:
        """Whatever is open ends with the case."""
        self.aborted = event.activity
        for queues in (self._started, self._scheduled):
            for item in (item for queue in queues.values() for item in queue):
                item.outcome, item.ended_at = AttemptOutcome.CANCELLED, event.at
            queues.clear()

    def _go_on(self, event: LogEvent, move: Move) -> None:
        key = (event.activity, event.instance)
        if move is Move.START:
            item = _taken(self._scheduled, event)
            self._joined += item is not None
            item = item or self._new(event)
            item.started_at, item.resource = event.at, event.resource or item.resource
            self._started.setdefault(key, deque()).append(item)
        elif move is not Move.SCHEDULE and (_waits(self._started, event) or _waits(self._scheduled, event)):
            self._joined += 1
        elif move is Move.PAUSE:
            self._tally.skipped[event.lifecycle] += 1  # Of nothing that is open.
        else:
            item = self._new(event)
            item.scheduled_at = event.at if move is Move.SCHEDULE else None
            self._scheduled.setdefault(key, deque()).append(item)

    def _new(self, event: LogEvent) -> WorkItem:
        item = WorkItem(event.activity, event.resource)
        self._items.append(item)
        return item


def in_order(events: Sequence[LogEvent]) -> Sequence[LogEvent]:
    """The events by time; of equal times, or without one, as they stand."""
    times = _filled(event.when for event in events)
    if all(one <= later for one, later in pairwise(times)):
        return events
    return [events[place] for place in sorted(range(len(events)), key=times.__getitem__)]


def _by_start(items: list[WorkItem]) -> list[WorkItem]:
    times = _filled(item.at for item in items)
    return [items[place] for place in sorted(range(len(items)), key=times.__getitem__)]


def _filled(times: Iterable[float | None]) -> list[float]:
    """The times, each missing one as the one before it."""
    filled, last = [], float("-inf")
    for at in times:
        last = last if at is None else at
        filled.append(last)
    return filled


def _taken(queues: _Queues, event: LogEvent) -> WorkItem | None:
    """Takes the item that an event belongs to out of the open ones."""
    for key in ((event.activity, event.instance), (event.activity, None)):
        if queue := queues.get(key):
            place = 0
            if len(queue) > 1 and event.resource is not None:
                looked_at = enumerate(islice(queue, LOOKED_AT_MAX))
                place = next((at for at, item in looked_at if item.resource == event.resource), 0)
            item = queue[place]
            del queue[place]
            return item
    return None


def _waits(queues: _Queues, event: LogEvent) -> bool:
    return bool(queues.get((event.activity, event.instance)) or queues.get((event.activity, None)))
