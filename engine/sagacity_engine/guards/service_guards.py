"""What stands between a run and a service, shared by all runs of one process.

A breaker leaves an ill service alone, a retry budget keeps retries from multiplying its load, and a limit on
calls at a time keeps one slow service from filling the engine. All three are plain values in memory: after a
restart they begin anew, which is safe, because they only ever hold calls back. They belong to one thread, the
engine's event loop.

Undos are never refused: they skip the breaker and the budget, and go to the head of the line.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sagacity_engine.errors import FailureClass
from sagacity_engine.events import (
    Answer,
    AttemptFailed,
    AttemptSucceeded,
    AttemptUnknown,
    Event,
    ProbeAnswered,
    UnknownReason,
)
from sagacity_engine.guards.breaker import BreakerState, ServiceBreaker
from sagacity_engine.guards.call_limit import CallLimit
from sagacity_engine.guards.retry_budget import RetryBudget
from sagacity_engine.guards.turns import CallBack
from sagacity_engine.parts import Breaker
from sagacity_engine.rules.number_rules import in_range, whole_in_range

SERVICES_MAX = 10_000
"""The most services remembered; beyond them the least recently used one without calls is forgotten."""

CONCURRENCY_MAX = 1_000_000
RETRY_SHARE_MAX = 1_000.0
RETRY_BURST_MAX = 1e9
_EXAMINED = 16

OnChange = Callable[[str, BreakerState, float], object]
"""Told of a service whose breaker changed, and when; it must not raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePolicy:
    """How much of one service is asked at most. Raises `SagaRefused` for a number out of range.

    `concurrency` is the most calls at a time, undos included; None sets no limit. Retries may be at most
    `retry_share` of first attempts (counted in millionths) plus `retry_burst`; a share of None allows all.
    """

    concurrency: int | None = None
    retry_share: float | None = 0.2
    retry_burst: float = 10.0

    @property
    def binds(self) -> bool:
        """Whether it limits anything."""
        return self.concurrency is not None or self.retry_share is not None

    def __post_init__(self) -> None:
        if self.concurrency is not None:
            whole_in_range("concurrency", self.concurrency, 1, CONCURRENCY_MAX)
        if self.retry_share is not None:
            in_range("retry_share", self.retry_share, 0, RETRY_SHARE_MAX)
        in_range("retry_burst", self.retry_burst, 0, RETRY_BURST_MAX)


class ServiceGuards:
    """The guards of every service, made when first asked for."""

    def __init__(
        self,
        policies: Mapping[str, ServicePolicy] | None = None,
        default: ServicePolicy | None = None,
        *,
        on_change: OnChange | None = None,
        services_max: int = SERVICES_MAX,
    ) -> None:
        self._policies = dict(policies or {})
        self._default = default or ServicePolicy()
        self._all_bound = self._default.binds
        self._on_change = on_change
        self._services_max = services_max
        self._guards: OrderedDict[str, ServiceGuard] = OrderedDict()
        self._watched: set[str] = set()  # Services that some step has a breaker for.

    def of(self, service: str) -> ServiceGuard:
        """The service's guard. Keep it for as long as a call takes: one that is in use is never forgotten."""
        guard = self._guards.get(service)
        if guard is not None:
            self._guards.move_to_end(service)
            return guard
        self._forget_some()
        policy = self._policies.get(service, self._default)
        guard = self._guards[service] = ServiceGuard(service, policy, self._on_change)
        return guard

    def minding(self, service: str, breaker: Breaker | None) -> ServiceGuard | None:
        """The service's guard if anything is asked of it: a limit, a retry budget, or ever a breaker."""
        if breaker is not None:
            self._watched.add(service)
        elif not (self._all_bound or service in self._policies or service in self._watched):
            return None
        return self.of(service)

    def known(self) -> tuple[ServiceGuard, ...]:
        """The guards there are, least recently used first; for metrics."""
        return tuple(self._guards.values())

    def _forget_some(self) -> None:
        """Makes room for one more, unless the calls in flight are of that many services."""
        for _ in range(_EXAMINED):
            if len(self._guards) < self._services_max:
                return
            service, guard = next(iter(self._guards.items()))
            if guard.idle:
                del self._guards[service]
                self._watched.discard(service)
            else:
                self._guards.move_to_end(service)


class ServiceGuard:
    """One service's breaker, retry budget and places. `now` is in seconds since the epoch."""

    __slots__ = ("_breaker", "_budget", "_limit", "service")

    def __init__(self, service: str, policy: ServicePolicy, on_change: OnChange | None = None) -> None:
        self.service = service
        told = None if on_change is None else lambda state, now: on_change(service, state, now)
        self._breaker = ServiceBreaker(told)
        self._budget = RetryBudget(policy.retry_share, policy.retry_burst)
        self._limit = CallLimit(policy.concurrency)

    def refusal_s(self, breaker: Breaker | None, now: float) -> float | None:
        """None when the action may be called, else the seconds after which it is worth asking again.

        `breaker` is of the step's plan. In half-open, an action that may be called has taken a probe's place:
        `report` how it went, or None if it was never called. Undos do not ask.
        """
        return self._breaker.refusal_s(breaker, now)

    def report(self, healthy: bool | None, now: float) -> None:
        """How a call of any direction went, as `healthy_outcome` says."""
        self._breaker.report(healthy, now)

    def state(self, breaker: Breaker | None, now: float) -> BreakerState:
        """What an action of a step with these settings would meet now; changes nothing."""
        return self._breaker.state(breaker, now)

    def earn(self) -> None:
        """A step's first attempt is made."""
        self._budget.earn()

    def spend(self) -> bool:
        """Whether a retry, or a second call beside a slow one, may be made; it is paid for then."""
        return self._budget.spend()

    def enter(self, call_back: CallBack, *, urgent: bool = False) -> bool:
        """True when the call may be made at once; else `call_back` is called once when it is its turn.

        Those who are `urgent` (undos) come first, each line in its order. Whoever has a place must `leave`.
        """
        return self._limit.enter(call_back, urgent=urgent)

    def leave(self) -> None:
        """A call has ended, or is not waited for any more.

        The next in line is called back before this returns; if it is a call back that leaves, right after it.
        """
        self._limit.leave()

    def withdraw(self, call_back: CallBack) -> bool:
        """Waits no longer, so it is never called back. False when it did not wait any more."""
        return self._limit.withdraw(call_back)

    @property
    def idle(self) -> bool:
        """Whether no call of the service is in flight or waits. (Then nobody waits either.)"""
        return not self._limit.in_flight

    @property
    def in_flight(self) -> int:
        """Calls that have a place."""
        return self._limit.in_flight

    @property
    def waiting(self) -> int:
        """Calls that wait for a place."""
        return self._limit.waiting

    @property
    def retries_left(self) -> int | None:
        """Retries that could be paid for now; None when they are not counted."""
        return self._budget.left


def healthy_outcome(event: Event) -> bool | None:
    """Whether the end of a call shows the service well (True) or ill (False); None when it shows neither.

    Well: a success, a probe that found out, a permanent refusal, a terminal one of no known class. A service
    that says no to this request for good is alive. Ill: a timeout, any other unknown outcome, a transient or
    cascading refusal, and one of no known class. Neither: a call that our own crash cut off, a probe that
    cannot tell, and what is not the end of a call.
    """
    match event:
        case AttemptSucceeded():
            return True
        case AttemptFailed(failure_class=FailureClass.UNKNOWN):
            return event.terminal
        case AttemptFailed():
            return event.failure_class is FailureClass.PERMANENT
        case AttemptUnknown():
            return None if event.reason is UnknownReason.CRASHED else False
        case ProbeAnswered():
            return None if event.answer is Answer.CANNOT_TELL else True
        case _:
            return None
