"""The saga state machine: no clock, no sleep, no log, no I/O.

`fold(state, event)` moves a state on by one event and refuses what cannot happen; `apply` does the same to a
copy. `owed.owed` says what the engine owes next, as events. `advance` joins the two for a host: it takes what
happened, and returns what must be journaled and which calls to make once the journal has it. `next_wake` is
when to ask again if nothing happens. Everything about one step is in `phases.TRANSITIONS`. Deciding *which*
turn a failure takes (retry, fail, skip) is `verdict`'s job and the only place where plan numbers matter;
giving up a step is `giving_up`'s, and what people may do `operations`'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sagacity_engine.errors import IllegalEvent
from sagacity_engine.events import (
    AttemptFailed,
    AttemptHedged,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    CancelRequested,
    DeadlineReached,
    Event,
    LocksAcquired,
    OperatorActed,
    ProbeAnswered,
    RolledBack,
    RunEnded,
    RunStarted,
    SignalReceived,
)
from sagacity_engine.machine.attempt_folds import answered, fail, hedge, start, succeed
from sagacity_engine.machine.giving_up import begin_anew, turn_back
from sagacity_engine.machine.operations import breach, operate
from sagacity_engine.machine.owed import owed
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import Abort, RunState, begin
from sagacity_engine.saga import Saga

Launch = AttemptStarted | AttemptHedged
"""A call to make once its event is durable."""

_CALLS = (AttemptStarted, AttemptHedged)


def advance(
    state: RunState,
    happened: Sequence[Event],
    now: float,
    told: list[tuple[RunState, Event]] | None = None,
) -> tuple[list[Event], list[Launch]]:
    """Folds in what happened and decides what follows; `state` moves on.

    Returns every event to journal (what happened first), and the calls to make after the journal has them.
    `told`, if given, gains every event with a copy of the state after it.
    """
    journal: list[Event] = list(happened)
    for event in journal:
        fold(state, event)
        if told is not None:
            note(told, state, event)
    launches: list[Launch] = []
    while todo := owed(state, now):
        settled = True
        for event in todo:
            fold(state, event)
            if told is not None:
                note(told, state, event)
            journal.append(event)
            if not isinstance(event, _CALLS):
                settled = False
                break  # It may have turned the run round: what was owed before need not be owed now.
            if state.steps[event.step].phase is StepPhase.AWAITING:
                settled = False  # The signal may be here already.
            else:
                launches.append(event)
        if settled:  # Making calls never makes anything else due.
            break
    return journal, launches


def note(told: list[tuple[RunState, Event]] | None, state: RunState, event: Event) -> None:
    """Adds the event, with a copy of the state as it is now, for those who will be told."""
    if told is not None:
        told.append((state.copy(), event))


def apply(state: RunState, event: Event) -> RunState:
    """The state after `event`; raises `IllegalEvent` when it cannot happen there."""
    after = state.copy()
    fold(after, event)
    return after


def fold(state: RunState, event: Event) -> None:
    """Moves `state` on by `event`; raises `IllegalEvent` when it cannot happen there."""
    if state.ended is not None and not isinstance(event, OperatorActed):
        raise IllegalEvent(f"run {state.started.run_id!r} has ended; {type(event).__name__} came after")
    _FOLDS[type(event)](state, event)


def replay(saga: Saga, events: Iterable[Event]) -> RunState:
    """The fold of a run's whole journal, which must begin with its start."""
    iterator = iter(events)
    started = next(iterator, None)
    if not isinstance(started, RunStarted):
        raise IllegalEvent("a run's journal must begin with RunStarted")
    state = begin(saga, started)
    for event in iterator:
        fold(state, event)
    return state


def _signalled(state: RunState, event: SignalReceived) -> None:
    state.signals = {**state.signals, event.name: event}


def _locked(state: RunState, event: LocksAcquired) -> None:
    del event
    state.locked = True


def _deadline(state: RunState, event: DeadlineReached) -> None:
    del event
    state.deadline_noted = True
    turn_back(state, Abort("the deadline passed"))


def _cancelled(state: RunState, event: CancelRequested) -> None:
    turn_back(state, Abort(f"cancelled by {event.who}: {event.why}".rstrip(": ")))


def _operated(state: RunState, event: OperatorActed) -> None:
    if problem := breach(state, event):
        raise IllegalEvent(f"run {state.started.run_id!r}: {problem}")
    operate(state, event)


def _ended(state: RunState, event: RunEnded) -> None:
    state.ended = event


def _started_twice(state: RunState, event: RunStarted) -> None:
    del event
    raise IllegalEvent(f"run {state.started.run_id!r} started twice")


_FOLDS: dict[type, Callable[[RunState, Any], None]] = {
    RunStarted: _started_twice,
    LocksAcquired: _locked,
    AttemptStarted: start,
    AttemptHedged: hedge,
    AttemptSucceeded: succeed,
    AttemptFailed: fail,
    AttemptUnknown: fail,
    ProbeAnswered: answered,
    SignalReceived: _signalled,
    DeadlineReached: _deadline,
    CancelRequested: _cancelled,
    OperatorActed: _operated,
    RolledBack: begin_anew,
    RunEnded: _ended,
}
