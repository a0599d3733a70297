"""The guards of every service: one per service, bounded in number, and what shows a service well."""

import math
from typing import Any

import pytest

from sagacity_engine.errors import FailureClass, SagaRefused
from sagacity_engine.events import (
    Answer,
    AttemptFailed,
    AttemptSucceeded,
    AttemptUnknown,
    Direction,
    Event,
    ProbeAnswered,
    RunEnded,
    Status,
    UnknownReason,
)
from sagacity_engine.guards.breaker import BreakerState
from sagacity_engine.guards.service_guards import ServiceGuards, ServicePolicy, healthy_outcome
from sagacity_engine.parts import Breaker


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"concurrency": 0}, "concurrency is 0; it must be at least 1"),
        ({"concurrency": 2.5}, "concurrency is 2.5; it must be a whole number"),
        ({"concurrency": True}, "concurrency is True; it must be a whole number"),
        ({"retry_share": -0.1}, "retry_share is -0.1; it must be at least 0"),
        ({"retry_share": math.nan}, "retry_share is .*; it must be at least 0 and at most 1000"),
        ({"retry_share": "all"}, "retry_share is 'all'; it must be a number"),
        ({"retry_burst": math.inf}, "retry_burst is .*; it must be at least 0 and at most 1e"),
        ({"retry_burst": True}, "retry_burst is True; it must be a number"),
        ({"retry_burst": None}, "retry_burst is None; it must be a number"),
    ],
)
def test_a_policy_with_odd_numbers_is_refused(numbers: dict[str, Any], words: str) -> None:
    """The refusal names the number, its value and what it may be."""
    with pytest.raises(SagaRefused, match=words):
        ServicePolicy(**numbers)


def test_every_service_has_one_guard_of_its_own() -> None:
    """Asked twice, the same guard comes; services do not share one; each has its policy, or the default."""
    guards = ServiceGuards({"bank": ServicePolicy(concurrency=1)}, ServicePolicy(concurrency=2))
    bank, hotel = guards.of("bank"), guards.of("hotel")
    assert guards.of("bank") is bank
    assert bank.service == "bank"
    assert [bank.enter(print), bank.enter(print)] == [True, False]
    assert [hotel.enter(print), hotel.enter(list), hotel.enter(print)] == [True, True, False]
    assert (bank.in_flight, bank.waiting, hotel.in_flight) == (1, 1, 2)


def test_a_guard_is_all_three() -> None:
    """A service's guard answers for its breaker, its budget and its places."""
    guard = ServiceGuards(default=ServicePolicy(concurrency=1, retry_share=1.0, retry_burst=0)).of("bank")
    breaker = Breaker(failure_threshold=1, open_s=5.0)
    guard.report(False, 0.0)
    assert guard.refusal_s(breaker, 1.0) == 4.0
    assert guard.state(breaker, 1.0) is BreakerState.OPEN
    guard.report(True, 2.0)
    assert guard.refusal_s(breaker, 2.0) is None
    assert (guard.retries_left, guard.spend()) == (0, False)
    guard.earn()
    assert (guard.retries_left, guard.spend()) == (1, True)
    called: list[str] = []
    assert guard.enter(print)
    assert guard.idle is False
    assert guard.enter(lambda: called.append("a")) is False
    assert guard.enter(lambda: called.append("undo"), urgent=True) is False
    assert guard.withdraw(print) is False
    guard.leave()
    assert called == ["undo"]


def test_changes_of_all_breakers_are_told_with_the_service() -> None:
    """One callback hears of every service's breaker, by name; without one nobody is told."""
    told: list[tuple[str, BreakerState, float]] = []
    guards = ServiceGuards(on_change=lambda *change: told.append(change))
    breaker = Breaker(failure_threshold=1, open_s=5.0)
    for service in ("bank", "hotel"):
        guards.of(service).report(False, 0.0)
        guards.of(service).refusal_s(breaker, 1.0)
    assert told == [("bank", BreakerState.OPEN, 1.0), ("hotel", BreakerState.OPEN, 1.0)]


def test_a_service_of_which_nothing_is_asked_has_no_guard() -> None:
    """No limit, no retry budget, no breaker: nothing is kept. Once a step brings one, all calls count."""
    guards = ServiceGuards({"bank": ServicePolicy()}, ServicePolicy(retry_share=None), services_max=2)
    breaker = Breaker(failure_threshold=1)
    assert guards.minding("hotel", None) is None
    assert guards.minding("bank", None) is guards.of("bank")
    hotel = guards.minding("hotel", breaker)
    assert hotel is guards.minding("hotel", None) is guards.of("hotel")
    for name in ("car", "train"):
        guards.of(name)
    assert guards.minding("hotel", None) is None, "it was forgotten, with its breaker"


@pytest.mark.parametrize(
    ("policy", "binds"),
    [
        (ServicePolicy(), True),
        (ServicePolicy(retry_share=None), False),
        (ServicePolicy(retry_share=None, concurrency=1), True),
    ],
)
def test_a_policy_binds_when_it_limits_anything(policy: ServicePolicy, binds: bool) -> None:
    """A policy without a limit on calls and without a retry budget costs nothing."""
    guards = ServiceGuards(default=policy)
    assert policy.binds is binds
    assert (guards.minding("hotel", None) is not None) is binds


def test_the_least_recently_used_are_forgotten() -> None:
    """There are never more idle guards than allowed; who was asked for lately stays."""
    guards = ServiceGuards(services_max=3)
    first = guards.of("a")
    for name in "bc":
        guards.of(name)
    assert guards.of("a") is first
    guards.of("d")
    assert [guard.service for guard in guards.known()] == ["c", "a", "d"]
    for number in range(10_000):
        guards.of(str(number))
    assert len(guards.known()) == 3


def test_a_service_in_use_is_never_forgotten() -> None:
    """A guard with calls in flight stays, however many others come; when they end, room is made again."""
    guards = ServiceGuards(services_max=2)
    in_use = []
    for number in range(40):
        guard = guards.of(f"in use {number}")
        guard.enter(print)
        in_use.append(guard)
        guards.of("passing by")
    assert [guards.of(guard.service) for guard in in_use] == in_use
    for guard in in_use:
        guard.leave()
    for number in range(20):
        guards.of(f"later {number}")
    assert len(guards.known()) == 2


def test_one_in_use_is_in_nobodys_way() -> None:
    """A long call of the least recently used service does not keep the others from being forgotten."""
    guards = ServiceGuards(services_max=2)
    guards.of("in use").enter(print)
    for number in range(100):
        guards.of(f"passing by {number}")
    assert [guard.service for guard in guards.known()] == ["in use", "passing by 99"]


def outcome(event: type, **fields: Any) -> Event:
    made: Event = event(at=0.0, step="a", attempt=1, **fields)
    return made


FORWARD: dict[str, Any] = {"direction": Direction.FORWARD}
REFUSED: dict[str, Any] = {**FORWARD, "error_type": "No"}


@pytest.mark.parametrize(
    ("event", "healthy"),
    [
        (outcome(AttemptSucceeded, **FORWARD), True),
        (outcome(AttemptSucceeded, direction=Direction.UNDO), True),
        (outcome(AttemptFailed, **REFUSED, failure_class=FailureClass.PERMANENT), True),
        (outcome(AttemptFailed, **REFUSED, failure_class=FailureClass.TRANSIENT), False),
        (outcome(AttemptFailed, **REFUSED, failure_class=FailureClass.TRANSIENT, terminal=True), False),
        (outcome(AttemptFailed, **REFUSED, failure_class=FailureClass.CASCADING), False),
        (outcome(AttemptFailed, **REFUSED, failure_class=FailureClass.UNKNOWN), False),
        (outcome(AttemptFailed, **REFUSED, failure_class=FailureClass.UNKNOWN, terminal=True), True),
        (outcome(AttemptUnknown, **FORWARD, reason=UnknownReason.TIMED_OUT), False),
        (outcome(AttemptUnknown, **FORWARD, reason=UnknownReason.HEARTBEAT_LOST), False),
        (outcome(AttemptUnknown, **FORWARD, reason=UnknownReason.LOST_REPLY), False),
        (outcome(AttemptUnknown, **FORWARD, reason=UnknownReason.CRASHED), None),
        (outcome(ProbeAnswered, answer=Answer.HAPPENED), True),
        (outcome(ProbeAnswered, answer=Answer.DID_NOT_HAPPEN), True),
        (outcome(ProbeAnswered, answer=Answer.CANNOT_TELL), None),
        (RunEnded(at=0.0, status=Status.COMPLETED), None),
    ],
)
def test_what_shows_a_service_well(event: Event, healthy: bool | None) -> None:
    """A success, an answer and a refusal for good show it well; timeouts and other refusals ill."""
    assert healthy_outcome(event) is healthy
