"""One timer for many timeouts.

Nearly every call returns long before its timeout, so a timer of its own would be made and cancelled for
nothing. Timeouts of at least `COARSE_S` share a timer per `GRAIN_S` seconds and fire at most that much late;
shorter ones have a timer of their own.
"""

from __future__ import annotations

import asyncio
from math import ceil
from typing import Protocol

GRAIN_S = 0.125
COARSE_S = 2.0


class Timed(Protocol):
    """Something whose time can be over."""

    def time_out(self) -> None:
        """Its time is over."""
        ...


Held = asyncio.TimerHandle | dict[Timed, None]
"""A timer of one's own, or those who share one."""


class Deadlines:
    """Tells each of many, once, that its time is over; in the order in which they were added."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._time = loop.time
        self._due: dict[int, dict[Timed, None]] = {}

    def add(self, after_s: float, timed: Timed) -> Held:
        """Tells `timed` in `after_s` seconds, unless it is dropped by what is returned here."""
        if after_s < COARSE_S:
            return self._loop.call_later(after_s, timed.time_out)
        tick = ceil((self._time() + after_s) / GRAIN_S)
        due = self._due.get(tick)
        if due is None:
            due = self._due[tick] = {}
            self._loop.call_at(tick * GRAIN_S, self._fire, tick)
        due[timed] = None
        return due

    def drop(self, held: Held, timed: Timed) -> None:
        """Leaves `timed` alone."""
        if isinstance(held, dict):
            held.pop(timed, None)
        else:
            held.cancel()

    def _fire(self, tick: int) -> None:
        for timed in tuple(self._due.pop(tick)):
            timed.time_out()
