"""A circuit breaker: after failures in a row the service is left alone, then probed by one call.

    closed     every call passes; `failures_max` failures in a row open it
    open       no call passes until `cool_down_s` have gone by
    half-open  one call passes, the probe; its success closes the breaker, its failure opens it again

The clock is monotonic seconds and is handed in. The breaker decides and counts; it neither calls nor sleeps.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Circuit(StrEnum):
    """The breaker's state."""

    CLOSED = "closed"  # The service is believed to be well; every call passes.
    OPEN = "open"  # The service failed repeatedly; no call passes until the cool-down is over.
    HALF_OPEN = "half_open"  # One probe is under way; no other call passes until it has ended.


class Breaker:
    """Counts consecutive failures of one service. Not for use from several threads."""

    def __init__(
        self, *, clock: Callable[[], float], failures_max: int = 5, cool_down_s: float = 10.0
    ) -> None:
        if failures_max < 1 or cool_down_s < 0:
            raise ValueError(
                f"failures_max {failures_max} must be at least 1, cool_down_s {cool_down_s} at least 0"
            )
        self._clock = clock
        self._failures_max = failures_max
        self._cool_down_s = cool_down_s
        self._failures = 0
        self._opened_at = 0.0
        self._state = Circuit.CLOSED

    @property
    def state(self) -> Circuit:
        """The state that the next call would meet; an open breaker whose time is up still reads open."""
        return self._state

    def admit(self) -> bool:
        """Whether a call may be made now; whoever is admitted must report `succeeded` or `failed`."""
        if self._state is Circuit.OPEN and self._clock() - self._opened_at >= self._cool_down_s:
            self._state = Circuit.HALF_OPEN
            return True
        return self._state is Circuit.CLOSED

    def wait_s(self) -> float:
        """Seconds until the next probe may pass; 0 unless open."""
        if self._state is not Circuit.OPEN:
            return 0.0
        return max(0.0, self._opened_at + self._cool_down_s - self._clock())

    def succeeded(self) -> None:
        """An admitted call was answered."""
        self._failures = 0
        self._state = Circuit.CLOSED

    def failed(self) -> None:
        """An admitted call failed."""
        self._failures += 1
        if self._state is Circuit.HALF_OPEN or self._failures >= self._failures_max:
            self._state = Circuit.OPEN
            self._opened_at = self._clock()
