"""One timer for many timeouts.

Nearly every call returns long before its timeout, so a timer of its own would be made and cancelled for
nothing. Timeouts of at least `COARSE_S` share a timer per `GRAIN_S` seconds and fire at most that much late;
shorter ones have a timer of their own.
"""

from __future__ import annotations

import asyncio
import math
from typing import Protocol

GRAIN_S = 0.125
COARSE_S = 2.0


class Timed(Protocol):
    """Something whose time can be over."""

    def time_out(self) -> None:
        """Its time is over."""
        ...


class Deadlines:
    """Tells each of many, once, that its time is over; in the order in which they were added."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[int, dict[Timed, None]] = {}

    def add(self, after_s: float, timed: Timed) -> asyncio.TimerHandle | int:
        """Tells `timed` in `after_s` seconds, unless it is dropped by what is returned here."""
        if after_s < COARSE_S:
            return self._loop.call_later(after_s, timed.time_out)
        tick = math.ceil((self._loop.time() + after_s) / GRAIN_S)
        due = self._due.get(tick)
        if due is None:
            due = self._due[tick] = {}
            self._loop.call_at(tick * GRAIN_S, self._fire, tick)
        due[timed] = None
        return tick

    def drop(self, held: asyncio.TimerHandle | int, timed: Timed) -> None:
        """Leaves `timed` alone."""
        if not isinstance(held, int):
            held.cancel()
        elif due := self._due.get(held):
            due.pop(timed, None)

    def _fire(self, tick: int) -> None:
        for timed in tuple(self._due.pop(tick)):
            timed.time_out()
