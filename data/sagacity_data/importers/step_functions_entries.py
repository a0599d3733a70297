"""The times that states of one execution were entered, and which of them an event without a chain is for."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from sagacity_data.importers.run_status import End
from sagacity_data.importers.step_functions_calls import Call


@dataclass(slots=True, eq=False)
class Entry:
    """One time that a state was entered; `call` is what is under way in it."""

    state: str
    task: bool
    attempts: int = 0
    scheduled: bool = False  # Whether anything was ever called in it.
    call: Call | None = None
    item: Item | None = None  # The item of a Map in which it was entered.
    is_map: bool = False
    entered_at: float | None = None  # Told of Maps only, like what follows.
    started_at: float | None = None
    items: Call | None = None  # The attempt to have all items done.


@dataclass(slots=True, eq=False)
class Item:
    """One item of a Map; `of` is the entry into the Map, `outer` are the items that this one is in."""

    of: Entry
    call: Call  # The Map's attempt that it is part of.
    index: int
    outer: tuple[Item, ...]
    began_at: float | None
    ended_at: float | None = None
    end: End = End.OPEN
    reason: str = ""
    fault: tuple[str, str] = ("", "")  # The error and words of what last went wrong in it.

    @property
    def chain(self) -> tuple[Item, ...]:
        """The item and those that it is in, the outermost first."""
        return (*self.outer, self)


class Waiting:
    """What an event without a chain may belong to, oldest first; every question takes the same short time."""

    def __init__(self) -> None:
        self._entries: OrderedDict[int, Entry] = OrderedDict()  # Tasks entered, nothing under way.
        self._named: dict[str, OrderedDict[int, Entry]] = {}  # The same, by state.
        self._calls: OrderedDict[tuple[str, str], OrderedDict[int, Entry]] = OrderedDict()

    def add(self, entry: Entry) -> None:
        """Nothing is under way in the entry."""
        self._entries[id(entry)] = entry
        self._named.setdefault(entry.state, OrderedDict())[id(entry)] = entry

    def drop(self, entry: Entry) -> None:
        """The entry waits for nothing more, or something is under way in it."""
        self._entries.pop(id(entry), None)
        self._named.get(entry.state, OrderedDict()).pop(id(entry), None)

    def call(self, fits: tuple[str, str], entry: Entry) -> None:
        """A call is under way in the entry."""
        self.drop(entry)
        self._calls.setdefault(fits, OrderedDict())[id(entry)] = entry

    def end(self, fits: tuple[str, str], entry: Entry) -> None:
        """The call has ended."""
        alike = self._calls.get(fits, OrderedDict())
        alike.pop(id(entry), None)
        if not alike:
            self._calls.pop(fits, None)
        self.add(entry)

    def oldest(self, state: str | None = None) -> Entry | None:
        """The oldest entry, of one state if it is named."""
        entries = self._entries if state is None else self._named.get(state, OrderedDict())
        return next(iter(entries.values()), None)

    def oldest_call(self, fits: tuple[str, str] | None = None) -> Entry | None:
        """The entry of the oldest call that fits."""
        alike = next(iter(self._calls.values()), None) if fits is None else self._calls.get(fits)
        return None if alike is None else next(iter(alike.values()), None)
