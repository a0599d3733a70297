"""Maps of one AWS Step Functions execution: which item an event belongs to, and the attempts of the Maps.

An item of a Map does what the Map's states say by itself, beside the others. So it is a run of its own inside
the Map's run, in which the Map is one step: what item 7 succeeds in is no retry of what item 3 failed at.
Which item an event belongs to is told by the chain of `previousEventId`; where that is masked, nobody knows,
and all items share the Map's own run. Items deeper than `DEPTH_MAX` Maps share that of the innermost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sagacity_data.importers.run_status import End
from sagacity_data.importers.step_functions_calls import Call
from sagacity_data.importers.step_functions_entries import Entry, Item
from sagacity_data.importers.step_functions_events import HistoryEvent
from sagacity_data.rows import AttemptOutcome

DEPTH_MAX: Final = 16

_ENDS: Final = {
    "MapIterationSucceeded": (End.COMPLETED, ""),
    "MapIterationFailed": (End.FAILED, "failed"),
    "MapIterationAborted": (End.FAILED, "aborted"),
}
_OUTCOMES: Final = {
    "MapStateSucceeded": AttemptOutcome.SUCCEEDED,
    "MapStateExited": AttemptOutcome.SUCCEEDED,
    "MapStateFailed": AttemptOutcome.FAILED,
    "MapStateAborted": AttemptOutcome.CANCELLED,
}


class Maps:
    """The items and the Maps' attempts so far; `began` is told of each attempt with the entry it is of."""

    def __init__(self, began: Callable[[Entry, Call], None], ended: Callable[[Call], None]) -> None:
        self._began, self._ended = began, ended
        self.items: list[Item] = []
        self._open: dict[int, list[Item]] = {}  # Of each attempt under way.

    def take(self, event: HistoryEvent, entry: Entry | None) -> Entry | None:
        """Takes in an event of a Map whose chain leads to `entry`; the entry that it belongs to itself."""
        name = event.words("name")
        if event.type in _ENDS:
            item = _item(entry, name)
            if item is not None:
                self._end(item, event)
                return Entry(item.of.state, task=False, item=item)
        elif event.type == "MapIterationStarted":
            return self._begin(event, _map(entry, name))
        elif event.type.startswith("MapState"):
            found = _map(entry, name)
            if found is not None:
                self._state(event, found)
                return found
        return entry

    def give_up(self, at: float | None) -> None:
        """The execution ended: so has whatever is under way."""
        for items in list(self._open.values()):
            self._settle(items[0].call, AttemptOutcome.CANCELLED, at)

    def _begin(self, event: HistoryEvent, entry: Entry | None) -> Entry | None:
        if entry is None or (entry.item is not None and len(entry.item.chain) >= DEPTH_MAX):
            return entry
        if entry.items is None or entry.items.outcome is not AttemptOutcome.OPEN:
            started_at = event.at if entry.started_at is None else entry.started_at
            entry.items = Call(
                fits=("", ""), is_map=True, scheduled_at=entry.entered_at, started_at=started_at
            )
            self._began(entry, entry.items)
        index = event.details.get("index")
        item = Item(
            of=entry,
            call=entry.items,
            index=index if isinstance(index, int) and not isinstance(index, bool) else len(self.items),
            outer=() if entry.item is None else entry.item.chain,
            began_at=event.at,
        )
        self.items.append(item)
        self._open.setdefault(id(entry.items), []).append(item)
        return Entry(entry.state, task=False, item=item)

    def _end(self, item: Item, event: HistoryEvent) -> None:
        item.end, item.reason = _ENDS[event.type]
        item.ended_at = event.at
        if item.end is End.FAILED:
            said = ": ".join(part for part in item.fault if part)
            item.reason = f"{item.reason}: {said}" if said else item.reason
            if item.reason.startswith("failed"):
                item.call.error, item.call.message = item.fault

    def _state(self, event: HistoryEvent, entry: Entry) -> None:
        if event.type == "MapStateStarted":
            entry.started_at = event.at
        elif entry.items is not None and entry.items.outcome is AttemptOutcome.OPEN:
            self._settle(entry.items, _OUTCOMES[event.type], event.at)

    def _settle(self, call: Call, outcome: AttemptOutcome, at: float | None) -> None:
        if outcome is not AttemptOutcome.FAILED:
            call.error, call.message = "", ""
        call.outcome, call.ended_at = outcome, at
        self._ended(call)
        for item in self._open.pop(id(call), ()):
            if item.end is End.OPEN:
                item.end, item.ended_at, item.reason = End.FAILED, at, "aborted"


def _item(entry: Entry | None, name: str) -> Item | None:
    """The item of the Map of that name that an entry is in; the innermost of all where no name is told."""
    chain = () if entry is None or entry.item is None else entry.item.chain
    return next((item for item in reversed(chain) if not name or item.of.state == name), None)


def _map(entry: Entry | None, name: str) -> Entry | None:
    """The entry itself if it is one into the Map of that name, else that of the Map whose item it is in."""
    if entry is None or (entry.is_map and (not name or entry.state == name)):
        return entry
    item = _item(entry, name)
    return None if item is None else item.of
