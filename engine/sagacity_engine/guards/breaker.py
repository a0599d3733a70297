"""A service's circuit breaker: after failures in a row it is left alone, then a few calls probe it.

    closed     calls pass; failures in a row are counted, and as many as the threshold open it
    open       no call passes until `open_s` seconds after the failure that opened it
    half-open  at most `probes` calls pass at a time; one success closes it, one failure opens it again

A service has one breaker, whichever saga's step asks it. The numbers are those of the asking step's plan, so
steps may differ in patience: the first that asks when the failures have reached *its* threshold opens the
breaker for all, and each probes after *its* `open_s`. A step without a breaker always passes, and so does
every undo; how their calls went is reported all the same. A success closes the breaker, whoever had it; a
failure opens it again only while a probe is out, so that a stubborn undo never keeps the probes away.

A probe that never reports keeps its place for `open_s`. An ill service is thus asked at most `probes` times
in any `open_s` seconds, undos and steps without a breaker apart. Times are seconds on one clock, handed in;
a time ahead of it costs at most one more `open_s`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import StrEnum

from sagacity_engine.parts import Breaker


class BreakerState(StrEnum):
    """Whether calls of a service are made."""

    CLOSED = "closed"  # Calls pass.
    OPEN = "open"  # No call passes but undos.
    HALF_OPEN = "half_open"  # A few calls pass, to find out whether the service is well again.


class ServiceBreaker:
    """The breaker of one service. `on_change` is told each state that a call has met, and since when."""

    __slots__ = ("_failed_at", "_failures", "_on_change", "_opened_at", "_probes", "_told")

    def __init__(self, on_change: Callable[[BreakerState, float], object] | None = None) -> None:
        self._on_change = on_change
        self._told = BreakerState.CLOSED
        self._failures = 0  # In a row.
        self._failed_at = 0.0
        self._opened_at: float | None = None
        self._probes: deque[float] = deque()  # When each probe that is out was let through.

    def refusal_s(self, breaker: Breaker | None, now: float) -> float | None:
        """None when the call may be made, else the seconds after which it is worth asking again.

        In half-open, a call that may be made has taken a probe's place.
        """
        if breaker is None:
            return None
        if self._opened_at is None:
            if self._failures < breaker.failure_threshold:
                return None
            self._opened_at = self._failed_at
        self._opened_at = min(self._opened_at, now)
        left_s = self._opened_at + breaker.open_s - now
        if left_s > 0:
            self._tell(BreakerState.OPEN, now)
            return left_s
        return self._probe(breaker, now)

    def report(self, healthy: bool | None, now: float) -> None:
        """Notes how a call went. None says nothing about the service, and gives a probe's place back."""
        if healthy:
            self._failures = 0
            if self._opened_at is not None:
                self._opened_at = None
                self._probes.clear()
                self._tell(BreakerState.CLOSED, now)
        elif healthy is None:
            if self._probes:
                self._probes.popleft()
        else:
            self._failures += 1
            self._failed_at = now
            if self._probes:
                self._opened_at = now
                self._probes.clear()
                self._tell(BreakerState.OPEN, now)

    def state(self, breaker: Breaker | None, now: float) -> BreakerState:
        """What a call of a step with these settings would meet now."""
        if breaker is None:
            return BreakerState.CLOSED
        opened_at = self._opened_at
        if opened_at is None:
            if self._failures < breaker.failure_threshold:
                return BreakerState.CLOSED
            opened_at = self._failed_at
        left_s = min(opened_at, now) + breaker.open_s - now
        return BreakerState.OPEN if left_s > 0 else BreakerState.HALF_OPEN

    def _probe(self, breaker: Breaker, now: float) -> float | None:
        probes = self._probes
        while probes and (probes[0] + breaker.open_s - now <= 0 or probes[0] > now):
            probes.popleft()  # It never reported, or was let through by a clock that is ahead.
        if len(probes) >= breaker.probes:
            return probes[0] + breaker.open_s - now
        probes.append(now)
        self._tell(BreakerState.HALF_OPEN, now)
        return None

    def _tell(self, state: BreakerState, now: float) -> None:
        if state is not self._told:
            self._told = state
            if self._on_change is not None:
                self._on_change(state, now)
