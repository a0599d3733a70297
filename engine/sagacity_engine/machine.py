"""The saga state machine: no clock, no sleep, no log, no I/O.

`apply(state, event)` folds one event into the state and refuses what cannot happen. `commands(state, now)`
says what the engine owes next. `advance` joins the two for a host: it takes what happened, and returns what
must be journaled and which calls to make once the journal has it. `next_wake` is when to ask again if nothing
happens. Everything about one step is in `phases.TRANSITIONS`. Deciding *which* turn a failure takes (retry,
fail, skip) is `verdict`'s job and the only place where plan numbers matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sagacity_engine.commands import Command, EndRun, NoteDeadline, StartAttempt, commands, next_wake
from sagacity_engine.errors import IllegalEvent
from sagacity_engine.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    CancelRequested,
    DeadlineReached,
    Direction,
    Event,
    RunEnded,
    RunStarted,
)
from sagacity_engine.phases import TRANSITIONS, StepPhase, Turn
from sagacity_engine.run_state import Abort, RunState, StepState, begin, in_flight
from sagacity_engine.saga import Kind, Saga
from sagacity_engine.verdict import verdict

__all__ = [
    "Abort",
    "Command",
    "EndRun",
    "NoteDeadline",
    "RunState",
    "StartAttempt",
    "StepState",
    "advance",
    "apply",
    "begin",
    "commands",
    "in_flight",
    "next_wake",
    "replay",
]


def advance(
    state: RunState, happened: Iterable[Event], now: float
) -> tuple[RunState, list[Event], list[AttemptStarted]]:
    """Folds in what happened and decides what follows.

    Returns the new state, every event to journal (what happened first), and the attempts to launch after the
    journal has them.
    """
    journal: list[Event] = list(happened)
    for event in journal:
        state = apply(state, event)
    launches: list[AttemptStarted] = []
    while todo := commands(state, now):
        for command in todo:
            event = _event(command, now)
            state = apply(state, event)
            journal.append(event)
            if isinstance(event, AttemptStarted):
                launches.append(event)
    return state, journal, launches


def apply(state: RunState, event: Event) -> RunState:
    """The state after `event`; raises `IllegalEvent` when it cannot happen there."""
    if state.ended is not None:
        raise IllegalEvent(f"run {state.started.run_id!r} has ended; {type(event).__name__} came after")
    match event:
        case AttemptStarted():
            return _start(state, event)
        case AttemptSucceeded():
            return _succeed(state, event)
        case AttemptFailed() | AttemptUnknown():
            return _fail(state, event)
        case DeadlineReached():
            return _turn_back(replace(state, deadline_noted=True), Abort("the deadline passed"))
        case CancelRequested():
            return _turn_back(state, Abort(f"cancelled by {event.who}: {event.why}".rstrip(": ")))
        case RunEnded():
            return replace(state, ended=event)
        case RunStarted():
            raise IllegalEvent(f"run {state.started.run_id!r} started twice")


def replay(saga: Saga, events: Iterable[Event]) -> RunState:
    """The fold of a run's whole journal, which must begin with its start."""
    iterator = iter(events)
    started = next(iterator, None)
    if not isinstance(started, RunStarted):
        raise IllegalEvent("a run's journal must begin with RunStarted")
    state = begin(saga, started)
    for event in iterator:
        state = apply(state, event)
    return state


def _event(command: Command, now: float) -> Event:
    match command:
        case StartAttempt():
            return AttemptStarted(
                at=now, step=command.step, direction=command.direction, attempt=command.attempt
            )
        case NoteDeadline():
            return DeadlineReached(at=now)
        case EndRun():
            return RunEnded(at=now, status=command.status, reason=command.reason, step=command.step)


def _moved(state: RunState, name: str, turn: Turn, **changes: Any) -> RunState:
    """The state with one step taken through the table."""
    step = state.steps.get(name)
    if step is None:
        raise IllegalEvent(f"run {state.started.run_id!r} has no step {name!r}")
    phase = TRANSITIONS.get((step.phase, turn))
    if phase is None:
        raise IllegalEvent(
            f"step {name!r} of run {state.started.run_id!r} is {step.phase.value}; {turn.value} cannot happen"
        )
    step = replace(step, **{"phase": phase, "due_at": None, **changes})
    return replace(state, steps={**state.steps, name: step})


def _start(state: RunState, event: AttemptStarted) -> RunState:
    step = state.steps.get(event.step, StepState())
    if event.direction is Direction.UNDO:
        _require_number(event, step.undo_attempts + 1)
        if event.step in state.steps and state.saga.by_name[event.step].compensation is None:
            raise IllegalEvent(f"step {event.step!r} has no compensation; its undo cannot start")
        return _moved(state, event.step, Turn.START_UNDO, undo_attempts=event.attempt)
    _require_number(event, step.attempts + 1)
    rank = step.rank if step.rank >= 0 else 1 + max(other.rank for other in state.steps.values())
    return _moved(state, event.step, Turn.START, attempts=event.attempt, rank=rank)


def _succeed(state: RunState, event: AttemptSucceeded) -> RunState:
    step = _in_flight_step(state, event)
    if event.direction is Direction.UNDO:
        _require_number(event, step.undo_attempts)
        return _moved(state, event.step, Turn.UNDO, error="")
    _require_number(event, step.attempts)
    state = replace(state, outputs={**state.outputs, event.step: event.output})
    return _moved(state, event.step, Turn.SUCCEED, output=event.output, error="")


def _fail(state: RunState, event: AttemptFailed | AttemptUnknown) -> RunState:
    step = _in_flight_step(state, event)
    forward = event.direction is Direction.FORWARD
    _require_number(event, step.attempts if forward else step.undo_attempts)
    decision = verdict(
        state.saga.by_name[event.step],
        state.plan.by_name[event.step],
        event,
        effect_possible=step.effect_possible,
        aborting=state.aborting,
    )
    state = _moved(
        state,
        event.step,
        decision.turn,
        error=decision.error,
        due_at=decision.due_at,
        effect_possible=decision.effect_possible,
    )
    if not forward or decision.turn not in (Turn.FAIL, Turn.LOSE):
        return state
    return _after_final_failure(state, event.step, decision.error, in_parallel=decision.undo_in_parallel)


def _after_final_failure(state: RunState, name: str, error: str, *, in_parallel: bool) -> RunState:
    step = state.saga.by_name[name]
    if step.optional:
        return state
    if step.kind is Kind.PIVOT and state.steps[name].phase is StepPhase.UNCERTAIN:
        return _attention(state, name, f"whether the pivot took effect is unknown: {error}")
    if state.committed:
        return _attention(state, name, f"failed after the pivot: {error}")
    return _turn_back(state, Abort(f"step {name!r} failed: {error}", name, in_parallel))


def _attention(state: RunState, name: str, reason: str) -> RunState:
    return replace(state, attention=(*state.attention, (name, reason)))


def _turn_back(state: RunState, abort: Abort) -> RunState:
    """Aborts, unless the pivot has succeeded or the run turned back before; backing-off steps give up."""
    if state.committed or state.abort is not None:
        return state
    state = replace(state, abort=abort)
    for name, step in state.steps.items():
        if step.phase is not StepPhase.BACKING_OFF:
            continue
        if not step.effect_possible:
            state = _moved(state, name, Turn.FAIL)
        elif state.saga.by_name[name].kind is not Kind.PIVOT:  # An uncertain pivot must keep asking.
            state = _moved(state, name, Turn.LOSE)
    return state


def _in_flight_step(state: RunState, event: AttemptSucceeded | AttemptFailed | AttemptUnknown) -> StepState:
    """The state of the step an outcome is about; raises `IllegalEvent` when no such attempt is in flight."""
    step = state.steps.get(event.step)
    awaited = StepPhase.RUNNING if event.direction is Direction.FORWARD else StepPhase.UNDOING
    if step is None or step.phase is not awaited:
        stands = "no step of it" if step is None else step.phase.value
        raise IllegalEvent(
            f"step {event.step!r} of run {state.started.run_id!r} is {stands}; "
            f"{type(event).__name__} ({event.direction.value}) cannot happen"
        )
    return step


def _require_number(
    event: AttemptStarted | AttemptSucceeded | AttemptFailed | AttemptUnknown, due: int
) -> None:
    if event.attempt != due:
        raise IllegalEvent(
            f"{type(event).__name__} of step {event.step!r} is numbered {event.attempt}, not {due}"
        )
