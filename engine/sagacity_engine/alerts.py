"""What of a run's events somebody should hear about at once: the alerts, as values.

`alerts` is a pure function of an event and the state after it; `AlertListener` hands what it yields to a
callback. A person who is told what happened is told what may be done about it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypedDict

from sagacity_engine.events import (
    Action,
    AttemptFailed,
    AttemptUnknown,
    DeadlineReached,
    Direction,
    Event,
    RunEnded,
    Status,
)
from sagacity_engine.guards.breaker import BreakerState
from sagacity_engine.machine.endings import troubles
from sagacity_engine.machine.operations import next_actions
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.machine.verdict import TIMEOUTS, describe
from sagacity_engine.strategy import OnTimeout


class AlertKind(StrEnum):
    """What an alert is about."""

    STEP_TIMED_OUT = "step_timed_out"  # An attempt's timeout fired; `action` is what followed.
    COMPENSATION_FAILED = "compensation_failed"  # An undo's attempts ran out.
    DEADLINE_PASSED = "deadline_passed"  # The saga's deadline passed while the run was going on.
    NEEDS_ATTENTION = "needs_attention"  # A person must decide; `next_actions` may be taken.
    BREAKER_CHANGED = "breaker_changed"  # A service is left alone, probed, or asked again as usual.


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something that somebody should hear about. `at` is in seconds since the epoch.

    An alert is about a run and, mostly, one of its steps; or, when a breaker changed, about a service alone.
    `action` says what followed a timeout: the step is tried again, left out, or given up (what is done then
    is in `reason`); None while that is not decided, because the participant is asked what happened first.
    """

    kind: AlertKind
    at: float
    reason: str
    run_id: str = ""
    saga: str = ""
    step: str = ""
    service: str = ""
    direction: Direction = Direction.FORWARD
    action: OnTimeout | None = None
    next_actions: tuple[Action, ...] = ()
    breaker: BreakerState | None = None


def alerts(event: Event, state: RunState) -> tuple[Alert, ...]:
    """The alerts that an event gives cause for; `state` is the run's state after it."""
    match event:
        case AttemptFailed() | AttemptUnknown():
            return (*_timed_out(event, state), *_undo_failed(event, state))
        case DeadlineReached():
            return (_deadline_passed(event, state),)
        case RunEnded(status=Status.NEEDS_ATTENTION):
            return tuple(_attention(event, state))
        case _:
            return ()


def breaker_changed(service: str, breaker: BreakerState, at: float) -> Alert:
    """The alert of a breaker's change, in the order of `ServiceGuards`' `on_change`."""
    words = {
        BreakerState.OPEN: "is left alone: its calls failed in a row",
        BreakerState.HALF_OPEN: "is probed: a few calls are made again",
        BreakerState.CLOSED: "is well again: its calls are made as usual",
    }[breaker]
    return Alert(
        kind=AlertKind.BREAKER_CHANGED,
        at=at,
        reason=f"service {service!r} {words}",
        service=service,
        breaker=breaker,
    )


class AlertListener:
    """Hands every alert to `callback`; an engine's listener, and a `ServiceGuards`' `on_change` too.

    Listeners are called in a thread of their own, and `on_change` in the engine's: a callback that serves
    both must bear being called from two threads, and must not wait.
    """

    def __init__(self, callback: Callable[[Alert], object]) -> None:
        self._callback = callback

    def __call__(self, state: RunState, event: Event) -> None:
        """Told of a durable event."""
        for alert in alerts(event, state):
            self._callback(alert)

    def breaker_changed(self, service: str, breaker: BreakerState, at: float) -> None:
        """Told of a breaker's change."""
        self._callback(breaker_changed(service, breaker, at))


def _deadline_passed(event: DeadlineReached, state: RunState) -> Alert:
    follows = "the run is taken back" if state.aborting else "the run goes on, for its pivot has succeeded"
    return Alert(
        kind=AlertKind.DEADLINE_PASSED,
        at=event.at,
        reason=f"the deadline passed; {follows}",
        run_id=state.started.run_id,
        saga=state.saga.name,
    )


def _timed_out(event: AttemptFailed | AttemptUnknown, state: RunState) -> Iterator[Alert]:
    if isinstance(event, AttemptFailed) or event.reason not in TIMEOUTS:
        return
    action, follows = (_after_undo if event.direction is Direction.UNDO else _after_action)(event, state)
    yield Alert(
        kind=AlertKind.STEP_TIMED_OUT,
        at=event.at,
        reason=f"{describe(event)}; {follows}",
        direction=event.direction,
        action=action,
        **_where(state, event.step),
    )


def _after_action(event: AttemptUnknown, state: RunState) -> tuple[OnTimeout | None, str]:
    """What followed a timeout of the step's action, in a word and in words.

    The next attempt may have been started in the same breath.
    """
    step = state.steps[event.step]
    if step.phase is StepPhase.BACKING_OFF or step.attempts > event.attempt:
        return OnTimeout.RETRY, "it is tried again"
    if step.phase in (StepPhase.DOUBTFUL, StepPhase.PROBING):
        return None, "the participant is asked whether it took effect"
    if step.phase is StepPhase.SKIPPED:
        return OnTimeout.SKIP, "the run goes on without it"
    return OnTimeout.COMPENSATE, f"it is given up; {_afterwards(state, event.step)}"


def _after_undo(event: AttemptUnknown, state: RunState) -> tuple[OnTimeout | None, str]:
    if state.steps[event.step].phase is StepPhase.COMPENSATION_FAILED:
        return None, "its undo has no attempt left; a person must decide"
    return OnTimeout.RETRY, "its undo is tried again"


def _afterwards(state: RunState, name: str) -> str:
    if state.steps[name].replaced:
        return f"{state.saga.alternatives[name]!r} takes its place"
    if state.saga.by_name[name].optional:
        return "the run goes on without it"
    if state.rollback is not None:
        return f"the run goes back to {state.rollback.savepoint!r}"
    if state.aborting:
        return "the run is taken back"
    return "a person must decide"


def _undo_failed(event: AttemptFailed | AttemptUnknown, state: RunState) -> Iterator[Alert]:
    step = state.steps[event.step]
    if event.direction is Direction.UNDO and step.phase is StepPhase.COMPENSATION_FAILED:
        yield Alert(
            kind=AlertKind.COMPENSATION_FAILED,
            at=event.at,
            reason=f"its compensation failed for good: {step.error}",
            direction=event.direction,
            **_where(state, event.step),
        )


def _attention(event: RunEnded, state: RunState) -> Iterator[Alert]:
    """One alert per step that a person must look at, the one that the run's end names first."""
    reasons = {event.step: event.reason}
    for name, reason in troubles(state):
        reasons.setdefault(name, reason)
    actions = dict(next_actions(state))
    for name, reason in reasons.items():
        yield Alert(
            kind=AlertKind.NEEDS_ATTENTION,
            at=event.at,
            reason=reason,
            next_actions=actions.get(name, (Action.ABANDON,)),
            **_where(state, name),
        )


class _Where(TypedDict):
    run_id: str
    saga: str
    step: str
    service: str


def _where(state: RunState, step: str) -> _Where:
    service = state.saga.by_name[step].service if step else ""
    return _Where(run_id=state.started.run_id, saga=state.saga.name, step=step, service=service)
