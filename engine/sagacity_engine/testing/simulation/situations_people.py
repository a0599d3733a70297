"""Situations that people, deadlines and approvals bring about."""

from __future__ import annotations

from collections.abc import Callable

from sagacity_engine.events import (
    Action,
    AttemptFailed,
    AttemptSucceeded,
    CancelRequested,
    DeadlineReached,
    Direction,
    OperatorActed,
    RunEnded,
    SignalReceived,
    Status,
)
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.parts import Kind
from sagacity_engine.testing.simulation.run import Predicate, Run, standing

FORWARD = Direction.FORWARD


def _at(kind: type[CancelRequested | DeadlineReached], holds: Callable[[RunState], bool]) -> Predicate:
    """Whether it came when the run stood so."""
    return lambda run: any(holds(state) for _, state in run.with_state(kind))


def _acted(action: Action, holds: Callable[[RunState, OperatorActed], bool] = lambda *_: True) -> Predicate:
    return lambda run: any(
        event.action is action and holds(state, event) for event, state in run.with_state(OperatorActed)
    )


def _phase(*phases: StepPhase) -> Callable[[RunState, OperatorActed], bool]:
    return lambda state, event: event.step in state.steps and state.steps[event.step].phase in phases


def _pivot_in_doubt(state: RunState, event: OperatorActed) -> bool:
    pivot = state.saga.pivot
    doubt = (StepPhase.UNCERTAIN, StepPhase.BACKING_OFF, StepPhase.DOUBTFUL)
    return pivot is not None and event.step == pivot.name and state.steps[event.step].phase in doubt


def _ended(*statuses: Status) -> Callable[[RunState, OperatorActed], bool]:
    return lambda state, _: state.ended is not None and state.ended.status in statuses


def _ended_after(action: Action, before: Status, after: Status) -> Predicate:
    """Whether the action was followed by this end, of a run that had ended so."""

    def holds(run: Run) -> bool:
        asked = [
            event.at
            for event, state in run.with_state(OperatorActed)
            if event.action is action and state.ended is not None and state.ended.status is before
        ]
        return any(end.status is after and end.at >= at for at in asked for end in run.of(RunEnded))

    return holds


def _pivot_won(run: Run) -> bool:
    wishes: list[tuple[CancelRequested | DeadlineReached, RunState]] = [
        *run.with_state(CancelRequested),
        *run.with_state(DeadlineReached),
    ]
    asked = [wish.at for wish, state in wishes if not state.committed and state.abort is None]
    return any(
        run.saga.by_name[event.step].kind is Kind.PIVOT and event.direction is FORWARD and event.at >= at
        for at in asked
        for event in run.of(AttemptSucceeded)
    )


def _decided(run: Run, *, approved: bool, expired: bool) -> bool:
    approvals = {step.name for step in run.saga.steps if step.approval is not None}
    if approved:
        return any(
            event.step in approvals and isinstance(event.output, dict) and event.output["expired"] is expired
            for event in run.of(AttemptSucceeded)
        )
    error = "ApprovalExpired" if expired else "Rejected"
    return any(event.step in approvals and event.error_type == error for event in run.of(AttemptFailed))


def _early_signal(run: Run) -> bool:
    waits = {step.approval.signal: step.name for step in run.saga.steps if step.approval is not None}
    return any(
        state.steps[waits[event.name]].phase is StepPhase.PENDING
        for event, state in run.with_state(SignalReceived)
    )


def _cancelled_by_outer(run: Run) -> bool:
    return bool(run.started.parent) and any(e.who.startswith("run ") for e in run.of(CancelRequested))


def _flying(state: RunState) -> bool:
    return standing(state, StepPhase.RUNNING) > 0


def _turning(state: RunState) -> bool:
    return standing(state, StepPhase.UNDOING, StepPhase.UNDO_BACKING_OFF) > 0


_FAILED_UNDO = (StepPhase.COMPENSATION_FAILED,)
_GIVEN_UP = (StepPhase.FAILED, StepPhase.UNCERTAIN)

PEOPLE: dict[str, Predicate] = {
    "approved by a signal": lambda run: _decided(run, approved=True, expired=False),
    "rejected by a signal": lambda run: _decided(run, approved=False, expired=False),
    "approval expired into approve": lambda run: _decided(run, approved=True, expired=True),
    "approval expired into reject": lambda run: _decided(run, approved=False, expired=True),
    "signal came before it was awaited": _early_signal,
    "cancel before the pivot with steps in flight": _at(
        CancelRequested, lambda state: not state.committed and state.abort is None and _flying(state)
    ),
    "cancel while a retry waited": _at(
        CancelRequested, lambda state: standing(state, StepPhase.BACKING_OFF) > 0
    ),
    "cancel while an approval was awaited": _at(
        CancelRequested, lambda state: standing(state, StepPhase.AWAITING) > 0
    ),
    "cancel after the pivot changed nothing": _at(CancelRequested, lambda state: state.committed),
    "cancel while the run turned back already": _at(CancelRequested, _turning),
    "cancel on the way back to a savepoint": _at(CancelRequested, lambda state: state.rollback is not None),
    "pivot succeeded after the run was to turn back": _pivot_won,
    "inner run cancelled because the outer one turned back": _cancelled_by_outer,
    "deadline turned the run back": _at(DeadlineReached, lambda state: not state.committed),
    "deadline after the pivot": _at(DeadlineReached, lambda state: state.committed),
    "deadline while an approval was awaited": _at(
        DeadlineReached, lambda state: standing(state, StepPhase.AWAITING) > 0
    ),
    "paused with a call in flight": _acted(Action.PAUSE, lambda state, _: _flying(state)),
    "paused while turning back": _acted(Action.PAUSE, lambda state, _: _turning(state)),
    "paused while an approval was awaited": _acted(
        Action.PAUSE, lambda state, _: standing(state, StepPhase.AWAITING) > 0
    ),
    "operator retried an uncertain pivot": _acted(Action.RETRY, _pivot_in_doubt),
    "operator skipped an uncertain pivot": _acted(Action.SKIP, _pivot_in_doubt),
    "operator resolved an uncertain pivot": _acted(Action.RESOLVE, _pivot_in_doubt),
    "operator retried a failed undo": _acted(Action.RETRY, _phase(*_FAILED_UNDO)),
    "operator resolved a failed undo": _acted(Action.RESOLVE, _phase(*_FAILED_UNDO)),
    "operator retried a step given up": _acted(Action.RETRY, _phase(*_GIVEN_UP)),
    "operator skipped a step given up": _acted(Action.SKIP, _phase(*_GIVEN_UP)),
    "operator skipped a step that had not begun": _acted(Action.SKIP, _phase(StepPhase.PENDING)),
    "abandoned in the middle": _acted(Action.ABANDON, lambda state, _: state.ended is None),
    "abandoned with a call in flight": _acted(Action.ABANDON, lambda state, _: _flying(state)),
    "abandoned when it needed attention": _acted(Action.ABANDON, _ended(Status.NEEDS_ATTENTION)),
    "redriven after it was compensated": _acted(Action.REDRIVE, _ended(Status.COMPENSATED)),
    "redriven after compensation, and completed": _ended_after(
        Action.REDRIVE, Status.COMPENSATED, Status.COMPLETED
    ),
    "redriven when it needed attention": _acted(Action.REDRIVE, _ended(Status.NEEDS_ATTENTION)),
    "completed run was taken back": _ended_after(Action.UNDO, Status.COMPLETED, Status.COMPENSATED),
}
