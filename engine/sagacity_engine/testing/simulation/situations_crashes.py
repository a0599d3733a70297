"""Situations in which an engine died: what every run was in the middle of."""

from __future__ import annotations

from collections.abc import Callable

from sagacity_engine.events import AttemptUnknown, Direction, UnknownReason
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.testing.simulation.run import Predicate, Run, standing

THREE = 3


def crashed_where(holds: Callable[[RunState], bool]) -> Predicate:
    """Whether some crash left such a state."""
    return lambda run: any(map(holds, run.cut_states))


def crashed_with(*phases: StepPhase) -> Predicate:
    """Whether some crash left a step in one of these phases."""
    return crashed_where(lambda state: standing(state, *phases) > 0)


def _crashed_calls(run: Run, *, acted: bool) -> bool:
    return any(
        event.reason is UnknownReason.CRASHED
        and event.direction is Direction.FORWARD
        and run.acted(event.step, event.direction, event.attempt) is acted
        for event in run.of(AttemptUnknown)
    )


def _pivot_in_flight(state: RunState) -> bool:
    pivot = state.saga.pivot
    return pivot is not None and state.steps[pivot.name].phase is StepPhase.RUNNING


def _inner(state: RunState, phase: StepPhase) -> bool:
    return any(step.sub_saga and state.steps[step.name].phase is phase for step in state.saga.steps)


CRASHES: dict[str, Predicate] = {
    "crash between effect and outcome": lambda run: _crashed_calls(run, acted=True),
    "crash with a call that had taken no effect": lambda run: _crashed_calls(run, acted=False),
    "crash during parallel undos": crashed_where(lambda state: standing(state, StepPhase.UNDOING) > 1),
    "crash during one undo": crashed_where(lambda state: standing(state, StepPhase.UNDOING) == 1),
    "crash with two steps in flight": crashed_where(lambda state: standing(state, StepPhase.RUNNING) > 1),
    "crash with the pivot in flight": crashed_where(_pivot_in_flight),
    "crash after the pivot": crashed_where(lambda state: state.committed),
    "crash with a hedged call": crashed_where(
        lambda state: any(step.hedged and step.phase is StepPhase.RUNNING for step in state.steps.values())
    ),
    "crash with an inner run going forward": crashed_where(lambda state: _inner(state, StepPhase.RUNNING)),
    "crash with an inner run being taken back": crashed_where(lambda state: _inner(state, StepPhase.UNDOING)),
    "crash while a probe was out": crashed_with(StepPhase.PROBING),
    "crash while a probe waited for its time": crashed_with(StepPhase.DOUBTFUL),
    "crash while a retry waited for its time": crashed_with(StepPhase.BACKING_OFF),
    "crash while an undo waited for its time": crashed_with(StepPhase.UNDO_BACKING_OFF),
    "crash while an approval was awaited": crashed_with(StepPhase.AWAITING),
    "crash while a run was paused": crashed_where(lambda state: state.paused_at is not None),
    "crash while a run queued for its resources": crashed_where(lambda state: not state.locked),
    "crash while a run held its resources": crashed_where(
        lambda state: state.locked and bool(state.started.locks)
    ),
    "crash on the way back to a savepoint": crashed_where(lambda state: state.rollback is not None),
    "crash before a delayed launch": crashed_where(
        lambda state: not state.starts and state.plan.launch_delay_s > 0
    ),
    "run outlived three crashes and completed": lambda run: len(run.cuts) >= THREE and run.completed,
}
