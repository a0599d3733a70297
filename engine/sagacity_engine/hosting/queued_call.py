"""A call that waits for one of its service's places, until there is one or its time is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sagacity_engine.events import AttemptStarted, Direction
from sagacity_engine.guards.service_guards import ServiceGuard
from sagacity_engine.hosting.routes import Route


class QueuedCall:
    """An attempt that waits for one of its service's places."""

    __slots__ = ("_go", "_refuse", "_since", "_timer", "guard", "route", "started")

    def __init__(
        self,
        started: AttemptStarted,
        route: Route,
        guard: ServiceGuard,
        go: Callable[[QueuedCall, float], None],
        refuse: Callable[[QueuedCall, str], None],
    ) -> None:
        self.started = started
        self.route = route
        self.guard = guard
        self._go = go
        self._refuse = refuse
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether there is a place at once; else begins to wait for one, as long as its route allows."""
        if self.guard.enter(self.go, urgent=self.started.direction is Direction.UNDO):
            return True
        self._since = loop.time()
        limit_s = self.route.queue_s
        if limit_s is not None:
            self._timer = loop.call_later(limit_s, self.give_up, f"no place within {limit_s:g} s")
        return False

    def go(self) -> None:
        """A place is free: makes the call."""
        self._stop_timer()
        self._go(self, asyncio.get_running_loop().time() - self._since)

    def give_up(self, why: str) -> None:
        """Waits no longer: the attempt failed without a call."""
        if self.guard.withdraw(self.go):
            self._stop_timer()
            self._refuse(self, why)

    def forget(self) -> None:
        """Waits no longer, and nobody is told."""
        self.guard.withdraw(self.go)
        self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
