"""Alerts: what of a real run's events somebody hears about, in which words, with what may be done."""

from collections.abc import Sequence
from typing import Any

import pytest

from sagacity_engine.advisor import Advice, Launch
from sagacity_engine.alerts import Alert, AlertKind, AlertListener, alerts
from sagacity_engine.errors import FailureClass
from sagacity_engine.events import Action, Answer, Direction, RunEnded, RunStarted, Status
from sagacity_engine.guards.breaker import BreakerState
from sagacity_engine.guards.service_guards import ServiceGuards
from sagacity_engine.machine.run_state import RunState, begin
from sagacity_engine.parts import Breaker, Compensation, Kind, Probe
from sagacity_engine.plan import author_plan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step
from sagacity_engine.strategy import OnFailure, OnTimeout, Strategy
from sagacity_engine.testing import Script, ScriptedServices
from sagacity_engine.virtual.host import Reply, VirtualHost

FORWARD, UNDO, PROBE = Direction.FORWARD, Direction.UNDO, Direction.PROBE
SLOW = Reply(duration_s=1_000.0)
FINE = Reply(duration_s=1.0)
REFUSED = Reply(duration_s=1.0, error_type="No", failure_class=FailureClass.PERMANENT)
ONCE = RetryPolicy(maximum_attempts=1)
TWICE = RetryPolicy(maximum_attempts=2, initial_interval_s=5.0)
AT_ONCE = RetryPolicy(maximum_attempts=2, initial_interval_s=0.0)
PIVOT = Step(name="pay", kind=Kind.PIVOT, retry=ONCE)


def heard(saga: Saga, script: Script) -> tuple[list[Alert], RunState]:
    """The alerts of a run of the saga whose participants answer from the script, and its end."""
    told: list[Alert] = []
    host = VirtualHost(ScriptedServices(script), lambda *_: 1.0, AlertListener(told.append))
    host.launch(saga, Launch(run_id="r", context={}, at=0.0), lambda saga, _: Advice(plan=author_plan(saga)))
    return told, host.run()["r"]


def timeouts(told: Sequence[Alert]) -> list[tuple[OnTimeout | None, str]]:
    return [(alert.action, alert.reason) for alert in told if alert.kind is AlertKind.STEP_TIMED_OUT]


def book(**fields: Any) -> Step:
    return Step(name="book", service="hotel", **{"retry": ONCE, "compensation": Compensation(), **fields})


TIMED_OUT = "outcome unknown (timed out)"


@pytest.mark.parametrize(
    ("steps", "action", "follows"),
    [
        ((book(idempotent=True, retry=TWICE),), OnTimeout.RETRY, "it is tried again"),
        ((book(idempotent=True, retry=AT_ONCE),), OnTimeout.RETRY, "it is tried again"),
        (
            (book(kind=Kind.READ_ONLY, compensation=None, optional=True),),
            OnTimeout.SKIP,
            "the run goes on without it",
        ),
        ((book(),), OnTimeout.COMPENSATE, "it is given up; the run is taken back"),
        ((book(optional=True),), OnTimeout.COMPENSATE, "it is given up; the run goes on without it"),
        (
            (book(), Step(name="other", alternative_to="book", compensation=Compensation())),
            OnTimeout.COMPENSATE,
            "it is given up; 'other' takes its place",
        ),
        (
            (
                Step(name="start", savepoint=True, compensation=Compensation()),
                book(on_failure=OnFailure.all(Strategy.ROLLBACK_TO_SAVEPOINT), after=("start",)),
            ),
            OnTimeout.COMPENSATE,
            "it is given up; the run goes back to 'start'",
        ),
        (
            (book(kind=Kind.PIVOT, compensation=None),),
            OnTimeout.COMPENSATE,
            "it is given up; a person must decide",
        ),
        ((book(probe=Probe()),), None, "the participant is asked whether it took effect"),
    ],
)
def test_a_timeout_says_what_followed(
    steps: tuple[Step, ...], action: OnTimeout | None, follows: str
) -> None:
    """The alert of a timeout carries RETRY, SKIP or COMPENSATE as it was decided, and says it in words."""
    script = {
        ("book", FORWARD): (SLOW, FINE),
        ("book", PROBE): (Reply(duration_s=1.0, answer=Answer.HAPPENED),),
    }
    told, _ = heard(Saga(name="trip", steps=steps), script)
    assert timeouts(told) == [(action, f"{TIMED_OUT}; {follows}")]
    alert = told[0]
    assert (alert.run_id, alert.saga, alert.step, alert.service) == ("r", "trip", "book", "hotel")
    assert (alert.at - alert.at % 10, alert.direction) == (10.0, FORWARD)


def test_an_undo_that_times_out_is_told_too() -> None:
    """Each timeout of an undo is an alert; the last one says that a person must decide; so does the end."""
    saga = Saga(name="trip", steps=(book(compensation=Compensation(retry=TWICE)), PIVOT))
    told, state = heard(saga, {("book", UNDO): (SLOW,), ("pay", FORWARD): (REFUSED,)})
    assert state.status is Status.NEEDS_ATTENTION
    assert timeouts(told) == [
        (OnTimeout.RETRY, f"{TIMED_OUT}; its undo is tried again"),
        (None, f"{TIMED_OUT}; its undo has no attempt left; a person must decide"),
    ]
    failed, attention = told[-2:]
    words = f"its compensation failed for good: {TIMED_OUT}"
    assert (failed.kind, failed.step, failed.direction) == (AlertKind.COMPENSATION_FAILED, "book", UNDO)
    assert failed.reason == attention.reason == words
    assert (attention.kind, attention.step) == (AlertKind.NEEDS_ATTENTION, "book")
    assert attention.next_actions == (Action.RETRY, Action.RESOLVE, Action.ABANDON)


def test_a_refused_undo_is_a_failed_compensation() -> None:
    """A compensation that is refused for good is told once, when its attempts ran out."""
    saga = Saga(name="trip", steps=(book(compensation=Compensation(retry=TWICE)), PIVOT))
    told, _ = heard(saga, {("book", UNDO): (REFUSED,), ("pay", FORWARD): (REFUSED,)})
    kinds = [alert.kind for alert in told]
    assert kinds == [AlertKind.COMPENSATION_FAILED, AlertKind.NEEDS_ATTENTION]


def test_every_step_that_needs_a_person_is_told() -> None:
    """Two compensations failed side by side: two alerts at the end, each with its reason and its actions."""
    way = OnFailure.all(Strategy.IMMEDIATE_FULL_COMPENSATION)
    steps = tuple(Step(name=name, compensation=Compensation(retry=ONCE)) for name in "ab")
    pay = Step(name="pay", kind=Kind.PIVOT, retry=ONCE, on_failure=way)
    saga = Saga(name="trip", steps=(*steps, pay), stages=(("a", "b"), ("pay",)))
    told, _ = heard(saga, {("a", UNDO): (REFUSED,), ("b", UNDO): (SLOW,), ("pay", FORWARD): (REFUSED,)})
    attention = [alert for alert in told if alert.kind is AlertKind.NEEDS_ATTENTION]
    assert {(alert.step, alert.reason) for alert in attention} == {
        ("a", "its compensation failed for good: No"),
        ("b", f"its compensation failed for good: {TIMED_OUT}"),
    }
    assert all(Action.RETRY in alert.next_actions for alert in attention)


def test_a_savepoint_that_cannot_be_reached_needs_a_person() -> None:
    """What stands after a savepoint and cannot be undone is named, with at least one thing to do about it."""
    way = OnFailure.all(Strategy.ROLLBACK_TO_SAVEPOINT)
    steps = (
        Step(name="start", savepoint=True, compensation=Compensation()),
        Step(name="tell", kind=Kind.RETRIABLE, retry=ONCE),
        Step(name="book", on_failure=way, retry=ONCE, compensation=Compensation()),
    )
    told, _ = heard(Saga(name="trip", steps=steps), {("book", FORWARD): (REFUSED,)})
    alert = told[0]
    assert (alert.kind, alert.step) == (AlertKind.NEEDS_ATTENTION, "tell")
    assert alert.reason == "its effect stands and has no compensation"
    assert Action.ABANDON in alert.next_actions


@pytest.mark.parametrize(
    ("slow", "follows"),
    [("book", "the run is taken back"), ("send", "the run goes on, for its pivot has succeeded")],
)
def test_a_deadline_says_what_follows(slow: str, follows: str) -> None:
    """Before the pivot the run is taken back, after it the run goes on; the alert says which."""
    send = Step(name="send", kind=Kind.RETRIABLE, start_to_close_timeout_s=100.0)
    saga = Saga(name="trip", steps=(book(start_to_close_timeout_s=100.0), PIVOT, send), deadline_s=20.0)
    told, _ = heard(saga, {(slow, FORWARD): (Reply(duration_s=50.0),)})
    (alert,) = told
    assert (alert.kind, alert.at, alert.step) == (AlertKind.DEADLINE_PASSED, 20.0, "")
    assert alert.reason == f"the deadline passed; {follows}"


def test_a_run_that_goes_well_is_silent() -> None:
    """No alert for a run that completes, nor for one whose refused step is undone as planned."""
    saga = Saga(name="trip", steps=(book(), PIVOT))
    assert heard(saga, {})[0] == []
    told, state = heard(saga, {("pay", FORWARD): (REFUSED,)})
    assert (told, state.status) == ([], Status.COMPENSATED)


def test_an_end_that_names_no_step_is_told() -> None:
    """An end that needs attention is told even when it names no step."""
    saga = Saga(name="trip", steps=(book(),))
    started = RunStarted(run_id="r", at=0, definition_hash=saga.definition_hash, plan=author_plan(saga))
    ended = RunEnded(at=1.0, status=Status.NEEDS_ATTENTION, reason="somebody must look")
    (alert,) = alerts(ended, begin(saga, started))
    assert (alert.reason, alert.step, alert.next_actions) == ("somebody must look", "", (Action.ABANDON,))


def test_a_breakers_changes_are_alerts() -> None:
    """The listener hears of breakers where it is their guards' `on_change`: which service, and what now."""
    told: list[Alert] = []
    guard = ServiceGuards(on_change=AlertListener(told.append).breaker_changed).of("hotel")
    breaker = Breaker(failure_threshold=1, open_s=5.0)
    guard.report(False, 0.0)
    for at in (1.0, 5.0):
        guard.refusal_s(breaker, at)
    guard.report(True, 6.0)
    assert {(alert.kind, alert.service, alert.run_id) for alert in told} == {
        (AlertKind.BREAKER_CHANGED, "hotel", "")
    }
    assert [(alert.at, alert.breaker, alert.reason) for alert in told] == [
        (1.0, BreakerState.OPEN, "service 'hotel' is left alone: its calls failed in a row"),
        (5.0, BreakerState.HALF_OPEN, "service 'hotel' is probed: a few calls are made again"),
        (6.0, BreakerState.CLOSED, "service 'hotel' is well again: its calls are made as usual"),
    ]
