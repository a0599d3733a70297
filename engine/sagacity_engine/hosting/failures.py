"""What is said of a failure before the machine judges it.

A failed action passes its service's retry budget, and the advisor if it is asked about failures. What they
say is part of the event, so that a replay judges alike.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sagacity_engine.events import AttemptFailed, AttemptUnknown, Direction, Event
from sagacity_engine.guards.service_guards import ServiceGuards
from sagacity_engine.hosting.counsel import Counsel
from sagacity_engine.machine.verdict import would_retry

if TYPE_CHECKING:
    from sagacity_engine.hosting.driver import RunDriver

CIRCUIT_OPEN = "CircuitOpen"
"""The error type of an attempt that an open breaker refused."""


class Failures:
    """Hands the outcomes of one run's attempts to its driver."""

    __slots__ = ("_counsel", "_driver", "_guards", "_over", "asking")

    def __init__(self, guards: ServiceGuards, counsel: Counsel | None, driver: RunDriver) -> None:
        self.asking = 0  # Failures about which the advisor is being asked.
        self._guards = guards
        self._counsel = counsel
        self._driver = driver
        self._over = False

    def deliver(self, outcome: Event) -> None:
        """Hands an outcome to the run, with what the retry budget and the advisor say of it."""
        if not isinstance(outcome, AttemptFailed | AttemptUnknown) or outcome.direction is Direction.UNDO:
            self._driver.put(outcome)
            return
        outcome, state = self._budgeted(outcome), self._driver.state
        if self._counsel is None or not self._counsel.concerns(state, outcome):
            self._driver.put(outcome)
        else:
            self.asking += 1
            self._counsel.ask(state.copy(), outcome, self._advised)

    def leave(self) -> None:
        """Hands over nothing any more."""
        self._over = True
        del self._driver

    def _advised(self, outcome: Event) -> None:
        self.asking -= 1
        if not self._over:
            self._driver.put(outcome)

    def _budgeted(self, outcome: AttemptFailed | AttemptUnknown) -> AttemptFailed | AttemptUnknown:
        state = self._driver.state
        if isinstance(outcome, AttemptFailed) and outcome.error_type == CIRCUIT_OPEN:
            return outcome  # Nothing was called.
        guard = self._guards.minding(state.saga.by_name[outcome.step].service, None)
        if guard is None or guard.retries_left is None or not would_retry(state, outcome):
            return outcome
        return outcome if guard.spend() else replace(outcome, retry_refused=True)
