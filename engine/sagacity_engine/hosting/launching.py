"""From a durable intent to a call: through the service's guards, and back with what the call came to.

A call of an action may be refused by an open breaker, or wait for one of the service's places; an undo goes
first and is never refused. What never was called definitely failed. What is said of failures is `failures`'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sagacity_engine.errors import FailureClass
from sagacity_engine.events import (
    AttemptFailed,
    AttemptHedged,
    AttemptStarted,
    AttemptSucceeded,
    Direction,
    Event,
)
from sagacity_engine.guards.breaker import BreakerState
from sagacity_engine.guards.service_guards import ServiceGuard, ServiceGuards, healthy_outcome
from sagacity_engine.hosting.attempts import NEVER_CALLED, Attempt, Surroundings
from sagacity_engine.hosting.calls import call_of
from sagacity_engine.hosting.counsel import Counsel
from sagacity_engine.hosting.failures import CIRCUIT_OPEN, Failures
from sagacity_engine.hosting.inner_runs import InnerRuns
from sagacity_engine.hosting.outcomes import Outcomes
from sagacity_engine.hosting.queued_call import QueuedCall
from sagacity_engine.hosting.routes import Route, Routes
from sagacity_engine.machine.machine import Launch
from sagacity_engine.machine.run_state import in_flight
from sagacity_engine.parts import Breaker

if TYPE_CHECKING:
    from sagacity_engine.hosting.driver import RunDriver

SPREAD = 0.2
"""How much longer than the breaker asks, at most, a refused call waits: a share of that time."""


@dataclass(frozen=True, slots=True)
class Launching:
    """What all launchers of one engine share."""

    around: Surroundings
    guards: ServiceGuards
    inner: InnerRuns
    counsel: Counsel | None
    routes: Routes = field(default_factory=Routes)


class Launcher:
    """Makes the calls of one run."""

    __slots__ = ("_driver", "_failures", "_open", "_queued", "_routes", "_shared", "now")

    def __init__(self, shared: Launching, driver: RunDriver) -> None:
        self._shared = shared
        self._driver = driver
        self._open: dict[str, Attempt] = {}  # By step: a step has at most one attempt at a time.
        self._queued: dict[str, QueuedCall] = {}
        self._routes: Mapping[str, Route] | None = None  # Not needed by a run that never calls anything.
        self._failures: Failures | None = None  # Before the first one.
        self.now = driver.now  # The run's time, in seconds since the epoch.

    @property
    def is_busy(self) -> bool:
        """Whether the end of any call is still to come."""
        return bool(self._open or self._queued or (self._failures is not None and self._failures.asking))

    def launch(self, launch: Launch) -> None:
        """Makes the call of an attempt whose intent is durable; returns at once."""
        if self._routes is None:
            self._routes = self._shared.routes.of(self._driver.bound)
        route = self._routes[launch.step]
        if isinstance(launch, AttemptHedged):
            attempt = self._open.get(launch.step)
            if attempt is not None and (attempt.guard is None or attempt.guard.spend()):
                attempt.hedge()
        elif route.is_sub_saga:
            self._shared.inner.begin(self._driver, launch)
        else:
            breaker = self._driver.state.plan.by_name[launch.step].breaker
            guard = self._shared.guards.minding(route.service, breaker)
            if guard is None:
                self._call(launch, route, None)
            else:
                self._pass(launch, route, guard, breaker)

    def recovered(self) -> Iterator[Event]:
        """What is known of the attempts that a former process left behind; inner runs are taken up again."""
        for attempt in in_flight(self._driver.state):
            if self._driver.state.saga.by_name[attempt.step].sub_saga is not None:
                self._shared.inner.begin(self._driver, attempt)
            else:
                yield Outcomes(attempt, self.now(), self._shared.around.draw).crashed()

    def turn_back(self) -> None:
        """The run turns back: actions not called yet will not be, and inner runs are cancelled."""
        for queued in tuple(self._queued.values()):
            if queued.started.direction is Direction.FORWARD:
                queued.give_up("the run turned back")
        self._shared.inner.turn_back(self._driver)

    def stop_waiting(self) -> None:
        """The engine closes: what has not been called will not be."""
        for queued in tuple(self._queued.values()):
            queued.give_up("the engine closed")

    def abandon(self) -> None:
        """Leaves every call alone; nobody is told how it ends."""
        for queued in self._queued.values():
            queued.forget()
        self._queued.clear()
        for attempt in self._open.values():
            attempt.abandon()
            if attempt.guard is not None:
                attempt.guard.leave()
        self._open.clear()
        self._shared.inner.leave(self._driver)
        if self._failures is not None:
            self._failures.leave()
        del self._driver

    def _pass(
        self, started: AttemptStarted, route: Route, guard: ServiceGuard, breaker: Breaker | None
    ) -> None:
        if started.direction is Direction.FORWARD:
            is_open = guard.state(breaker, self.now()) is BreakerState.OPEN
            if is_open and self._is_refused(started, guard):
                return  # Before it waits for a place in vain.
        queued = QueuedCall(started, route, guard, self._go, self._give_up)
        if queued.enter(self._shared.around.loop):
            self._enter(started, route, guard)
        else:
            self._queued[started.step] = queued

    def _go(self, queued: QueuedCall, waited_s: float) -> None:
        if self._queued.pop(queued.started.step, None) is None:
            queued.guard.leave()  # It was given up just as its turn came.
            return
        self._enter(queued.started, queued.route, queued.guard, waited_s)

    def _enter(
        self, started: AttemptStarted, route: Route, guard: ServiceGuard, waited_s: float = 0.0
    ) -> None:
        """The service has a place for the call: makes it, unless the breaker is open by now."""
        if started.direction is Direction.FORWARD:
            if self._is_refused(started, guard):
                guard.leave()
                return
            step = self._driver.state.steps[started.step]
            if step.attempts == step.base + 1:
                guard.earn()
        self._call(started, route, guard, waited_s)

    def _is_refused(self, started: AttemptStarted, guard: ServiceGuard) -> bool:
        """Whether the breaker lets nothing through; then the attempt has failed."""
        breaker = self._driver.state.plan.by_name[started.step].breaker
        wait_s = guard.refusal_s(breaker, self.now())
        if wait_s is None:
            return False
        # Those who were refused together shall not come back together.
        spread_s = wait_s * (1 + SPREAD * self._shared.around.draw())
        self._refuse(started, CIRCUIT_OPEN, f"the breaker of {guard.service!r} is open", spread_s)
        return True

    def _give_up(self, queued: QueuedCall, why: str) -> None:
        del self._queued[queued.started.step]
        self._refuse(queued.started, NEVER_CALLED, f"{why}; the function was not called")

    def _call(
        self, started: AttemptStarted, route: Route, guard: ServiceGuard | None, waited_s: float = 0.0
    ) -> None:
        state, function = self._driver.state, route.functions[started.direction]
        attempt = self._open[started.step] = Attempt(
            self._shared.around, started, function, call_of(state, started), self, guard=guard
        )
        if not route.is_watched or started.direction is not Direction.FORWARD:
            attempt.begin()
        else:
            limit_s = None if route.queue_s is None else max(0.0, route.queue_s - waited_s)
            attempt.begin(limit_s, route.silence_s)

    def settle(self, attempt: Attempt, outcome: Event) -> None:
        """An attempt has ended just now."""
        del self._open[attempt.started.step]
        guard = attempt.guard
        if guard is not None:
            never_called = isinstance(outcome, AttemptFailed) and outcome.error_type == NEVER_CALLED
            guard.report(None if never_called else healthy_outcome(outcome), self.now())
        if isinstance(outcome, AttemptSucceeded):
            self._driver.put(outcome, outcome.at)
        else:
            self._deliver(outcome)
        if guard is not None:  # Last: whose turn it is next may be the last this run waited for.
            guard.leave()

    def _refuse(
        self, started: AttemptStarted, error_type: str, message: str, retry_after_s: float | None = None
    ) -> None:
        outcomes = Outcomes(started, self.now(), self._shared.around.draw)
        self._deliver(
            outcomes.failed(error_type, message, FailureClass.CASCADING, retry_after_s=retry_after_s)
        )

    def _deliver(self, outcome: Event) -> None:
        if self._failures is None:
            self._failures = Failures(self._shared.guards, self._shared.counsel, self._driver)
        self._failures.deliver(outcome)
