"""Wall time that cannot be set back: read once at the start, then carried on by the monotonic clock.

A clock that somebody sets, or that daylight or a time server moves, then changes no duration, fires no
timeout early and causes no storm of retries. A process that runs for long drifts from the wall as far as
its monotonic clock does.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class SteadyClock:
    """Seconds since the epoch, never going backwards.

    >>> wall, ticks = iter([1000.0]), iter([5.0, 6.5])
    >>> SteadyClock(wall=lambda: next(wall), monotonic=lambda: next(ticks))()
    1001.5
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._start = wall() - monotonic()

    def __call__(self) -> float:
        """The time now."""
        return self._start + self._monotonic()
