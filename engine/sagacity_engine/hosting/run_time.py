"""A run's time, which never goes backwards.

A run that was begun under a clock ahead of ours, or whose clock is set back under it, keeps the lead it had
and goes on from there. Whatever it is handed late happens when it is handed over, not before what is written
already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sagacity_engine.events import Event


class RunTime:
    """The time of one run of which something happened last at `last_at`. All in seconds since the epoch."""

    __slots__ = ("_clock", "_last_at", "_lead_s", "_written_at")

    def __init__(self, clock: Callable[[], float], last_at: float) -> None:
        self._clock = clock
        self._lead_s = 0.0
        self._last_at = last_at
        self._written_at = last_at  # The time of the latest event.

    def now(self) -> float:
        """The time now."""
        at = self._clock() + self._lead_s
        if at < self._last_at:
            self._lead_s += self._last_at - at
            at = self._last_at
        self._last_at = at
        return at

    def in_order(self, happened: list[Event], now: float) -> float:
        """Lets nothing happen before what was written already; the run's time after all of it."""
        latest = self._written_at
        for place, event in enumerate(happened):
            if event.at < latest:  # It waited for advice, or for others that came later.
                happened[place] = replace(event, at=latest)
            else:
                latest = event.at
        self._written_at = latest = max(latest, now)
        return latest
