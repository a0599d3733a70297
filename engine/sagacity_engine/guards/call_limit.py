"""How many calls of one service are made at a time: the others wait in line, undos first.

A bulkhead: a slow service fills its own places, not the engine's. A place that is let go passes straight to
the next in line, so nobody overtakes and no place stands empty while somebody waits. The line is as long as
there are attempts that wait, which the engine bounds by its runs.
"""

from __future__ import annotations

from collections import OrderedDict

from sagacity_engine.guards.turns import CallBack, Turns


class CallLimit:
    """The places of one service; without a limit everybody has one. Who waits is known by the call back."""

    __slots__ = ("_line", "_places", "_turns", "_urgent", "in_flight")

    def __init__(self, places: int | None) -> None:
        self.in_flight = 0
        self._places = places
        self._urgent: OrderedDict[CallBack, None] = OrderedDict()
        self._line: OrderedDict[CallBack, None] = OrderedDict()
        self._turns = Turns()

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._urgent) + len(self._line)

    def enter(self, call_back: CallBack, *, urgent: bool = False) -> bool:
        """True when a place is taken at once; else a later `leave` takes it and calls back, once.

        Who waits already cannot wait twice: each attempt brings a call back of its own.
        """
        if self._places is None or self.in_flight < self._places:
            self.in_flight += 1
            return True
        line, other = (self._urgent, self._line) if urgent else (self._line, self._urgent)
        assert call_back not in line, "one call back, one place in line"
        assert call_back not in other, "one call back, one place in line"
        line[call_back] = None
        return False

    def leave(self) -> None:
        """Lets a place go: to whoever waits longest, those in a hurry first."""
        assert self.in_flight, "who leaves has entered"
        line = self._urgent or self._line
        if line:
            self._turns.take(line.popitem(last=False)[0])
        else:
            self.in_flight -= 1

    def withdraw(self, call_back: CallBack) -> bool:
        """Waits no longer. False when it did not wait: it has been called back, or is just about to be."""
        for line in (self._urgent, self._line):
            if call_back in line:
                del line[call_back]
                return True
        return False
