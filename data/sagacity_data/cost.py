"""What a run cost its owner: the one definition that every figure uses.

    total  = sum over forward attempts of step.cost + sum over undo attempts of compensation.cost
             + policy.latency_cost_per_s * (launch to terminal, s)
             + policy.failure_penalty, unless the run completed
    wasted = attempts that failed (refused or unknown) or whose step was undone, plus all undo attempts

A step counts as undone once an undo of it was started: its work is lost to the saga whether or not the undo
succeeds. Everything is in the owner's unit; costs are per attempt.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sagacity_data.errors import RunUnfinished
from sagacity_data.rows import AttemptOutcome, AttemptRow, RunRow
from sagacity_engine import Direction, Saga, Status
from sagacity_engine.events import AttemptStarted, AttemptSucceeded, Event, RunEnded, RunStarted
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCost:
    """A run's cost by its parts, in the owner's unit: total = attempts + undos + latency + penalty."""

    total: float
    wasted: float
    attempts: float
    undos: float
    latency: float
    penalty: float


@dataclass(slots=True)
class _StepTally:
    attempts: int = 0
    succeeded: bool = False
    undo_attempts: int = 0


@dataclass(slots=True)
class _RunTally:
    """What the cost of a run depends on, however its history is told."""

    steps: dict[str, _StepTally] = field(default_factory=dict)
    launch_at: float | None = None
    ended_at: float | None = None
    status: Status | None = None

    def step(self, name: str) -> _StepTally:
        return self.steps.setdefault(name, _StepTally())


def run_cost(saga: Saga, history: Iterable[Event | AttemptRow | RunRow]) -> RunCost:
    """The cost of one run from its events, or from its rows (all attempts and the run), in any order.

    Raises `RunUnfinished` when the history lacks the launch or the end, or either's time.
    """
    tally = _RunTally()
    for told in history:
        _count(tally, told)
    return _priced(saga, tally)


def state_cost(state: RunState) -> RunCost:
    """The cost of a run from its state. Raises `RunUnfinished` when it has not ended."""
    tally = _RunTally(launch_at=state.started.at)
    for name, step in state.steps.items():
        succeeded = step.phase is StepPhase.SUCCEEDED
        tally.steps[name] = _StepTally(step.attempts, succeeded, step.undo_attempts)
    if state.ended is not None:
        tally.ended_at, tally.status = state.ended.at, state.ended.status
    return _priced(state.saga, tally)


def _count(tally: _RunTally, told: Event | AttemptRow | RunRow) -> None:
    match told:
        case RunStarted():
            tally.launch_at = told.at
        case RunEnded():
            tally.ended_at, tally.status = told.at, told.status
        case RunRow():
            tally.launch_at, tally.ended_at, tally.status = told.launch_at, told.ended_at, told.status
        case AttemptStarted():
            _count_attempt(tally.step(told.step), told.direction)
        case AttemptRow():
            _count_attempt(tally.step(told.step), told.direction)
            if told.direction is Direction.FORWARD and told.outcome is AttemptOutcome.SUCCEEDED:
                tally.step(told.step).succeeded = True
        case AttemptSucceeded(direction=Direction.FORWARD):
            tally.step(told.step).succeeded = True
        case _:
            pass


def _count_attempt(step: _StepTally, direction: Direction) -> None:
    if direction is Direction.PROBE:
        return  # Asking is free.
    if direction is Direction.FORWARD:
        step.attempts += 1
    else:
        step.undo_attempts += 1


def _priced(saga: Saga, tally: _RunTally) -> RunCost:
    if tally.launch_at is None or tally.ended_at is None or tally.status is None:
        raise RunUnfinished(
            f"a run of saga {saga.name!r} has no known launch or end, so its cost is not known; "
            "give its whole history"
        )
    attempts = undos = wasted = 0.0
    for name, counted in tally.steps.items():
        step = saga.by_name[name]
        attempts += counted.attempts * step.cost
        if counted.undo_attempts:
            assert step.compensation is not None, "an undo of a step without a compensation"
            undos += counted.undo_attempts * step.compensation.cost
        useful = 1 if counted.succeeded and not counted.undo_attempts else 0
        wasted += (counted.attempts - useful) * step.cost
    latency = saga.policy.latency_cost_per_s * (tally.ended_at - tally.launch_at)
    penalty = 0.0 if tally.status is Status.COMPLETED else saga.policy.failure_penalty
    return RunCost(
        total=attempts + undos + latency + penalty,
        wasted=wasted + undos,
        attempts=attempts,
        undos=undos,
        latency=latency,
        penalty=penalty,
    )
