"""Situations on a run's way: its plan, savepoints, alternatives, inner runs, resources and ends."""

from __future__ import annotations

from sagacity_engine.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    Direction,
    LocksAcquired,
    RolledBack,
    RunEnded,
    Status,
)
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.testing.simulation.run import Predicate, Run, failures, standing

FORWARD, UNDO = Direction.FORWARD, Direction.UNDO
WAITED_S = 0.1


def _alternative_failed(run: Run) -> bool:
    return any(
        state.steps[name].phase in (StepPhase.FAILED, StepPhase.UNCERTAIN) and state.abort is not None
        for state in run.states[-1:]
        for name in run.saga.alternatives.values()
    )


def _alternative_after_undo(run: Run) -> bool:
    undone = {event.step: event.at for event in run.of(AttemptSucceeded) if event.direction is UNDO}
    return any(
        run.saga.by_name[event.step].alternative_to in undone
        and undone[run.saga.by_name[event.step].alternative_to] <= event.at
        for event in run.starts(FORWARD)
    )


def _alternative_succeeded(run: Run) -> bool:
    return any(run.succeeded(name, FORWARD) for name in run.saga.alternatives.values()) and run.completed


def _inner(
    run: Run, kind: type[AttemptSucceeded | AttemptFailed | AttemptUnknown], direction: Direction
) -> bool:
    return any(
        run.saga.by_name[event.step].sub_saga is not None and event.direction is direction
        for event in run.of(kind)
    )


def _attended(words: str) -> Predicate:
    return lambda run: any(
        event.status is Status.NEEDS_ATTENTION and words in event.reason for event in run.of(RunEnded)
    )


def _reason(words: str) -> Predicate:
    return lambda run: any(words in reason for reason in run.started.reasons)


def _waited_for_locks(run: Run) -> bool:
    first = run.of(LocksAcquired)[:1]
    return any(event.at - run.started.at > WAITED_S for event in first)


def _stuck_on_the_way_back(run: Run) -> bool:
    return any(
        event.status is Status.NEEDS_ATTENTION and state.rollback is not None
        for event, state in run.with_state(RunEnded)
    )


def _side_by_side(run: Run) -> bool:
    return any(
        event.direction is UNDO and standing(state, StepPhase.UNDOING)
        for event, state in run.with_state(AttemptStarted)
    )


def _strict(run: Run) -> bool:
    aborts = (state.abort for state in run.states[-1:] if state.abort is not None)
    return any(not abort.in_parallel for abort in aborts) and len({e.step for e in run.starts(UNDO)}) > 1


def _stray(run: Run) -> bool:
    return any(
        event.direction is UNDO and state.abort is None and run.saga.by_name[event.step].optional
        for event, state in run.with_state(AttemptStarted)
    )


def _held_up(run: Run) -> bool:
    return bool(run.started.parent) and Status.NEEDS_ATTENTION in run.statuses[:-1]


WAYS: dict[str, Predicate] = {
    "went back to a savepoint, then completed": lambda run: bool(run.of(RolledBack)) and run.completed,
    "went back to a savepoint, then compensated": lambda run: (
        bool(run.of(RolledBack)) and Status.COMPENSATED in run.statuses
    ),
    "went back to a savepoint twice": lambda run: len(run.of(RolledBack)) > 1,
    "stuck on the way back to a savepoint": _stuck_on_the_way_back,
    "alternative stood in": _alternative_succeeded,
    "alternative failed too": _alternative_failed,
    "alternative came after the undo of what it replaced": _alternative_after_undo,
    "inner run completed": lambda run: _inner(run, AttemptSucceeded, FORWARD),
    "inner run compensated itself": lambda run: _inner(run, AttemptFailed, FORWARD),
    "inner run was taken back": lambda run: _inner(run, AttemptSucceeded, UNDO),
    "inner run ended in doubt": lambda run: _inner(run, AttemptUnknown, FORWARD),
    "inner run waited for a person, and so did the outer one": _held_up,
    "undos side by side": _side_by_side,
    "undos in strict reverse order": _strict,
    "step left out": lambda run: (
        run.completed and any(step.phase is StepPhase.SKIPPED for step in run.states[-1].steps.values())
    ),
    "optional step taken back while the run went on": _stray,
    "compensation failed for good": _attended("its compensation failed for good"),
    "effect stands without a compensation": _attended("its effect stands"),
    "failed after the pivot": _attended("failed after the pivot"),
    "gave up before the pivot succeeded after all": _attended("given up before the pivot succeeded"),
    "waited for a resource that another run held": _waited_for_locks,
    "took its resources again": lambda run: len(run.of(LocksAcquired)) > 1,
    "advice was not legal": _reason("not legal"),
    "advice came too late": _reason("no advice within"),
    "advisor failed": _reason("the advisor failed"),
    "advisor was left alone for a while": _reason("left alone"),
    "run of the holdout": _reason("holdout"),
    "launch was delayed": lambda run: run.started.plan.launch_delay_s > 0,
    "advised when a step failed": lambda run: any(event.strategy is not None for event in failures(run)),
    "thirteen steps or more": lambda run: len(run.saga.steps) > 12,
}
