"""A run as the fold of its events: the values that the machine computes with.

Everything here is frozen. A new state is made from an old one by `machine.apply` alone; what is read off a
state (whether it is committed, turning back, ended) is decided here, once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sagacity_engine.errors import IllegalEvent
from sagacity_engine.events import AttemptStarted, Direction, RunEnded, RunStarted, Status
from sagacity_engine.phases import StepPhase
from sagacity_engine.plan import Plan
from sagacity_engine.saga import Saga


@dataclass(frozen=True, slots=True)
class StepState:
    """One step's part of a run. `due_at` is set while backing off; `rank` is its place in start order."""

    phase: StepPhase = StepPhase.PENDING
    attempts: int = 0
    undo_attempts: int = 0
    due_at: float | None = None
    rank: int = -1
    effect_possible: bool = False  # An attempt ended unknown: an effect may exist whatever came later.
    error: str = ""
    output: Any = None


@dataclass(frozen=True, slots=True)
class Abort:
    """Why the run turned back and how its undos run."""

    cause: str
    step: str = ""
    in_parallel: bool = True


@dataclass(frozen=True, slots=True)
class RunState:
    """A run as the fold of its events."""

    saga: Saga
    plan: Plan
    started: RunStarted
    steps: Mapping[str, StepState]
    abort: Abort | None = None
    attention: tuple[tuple[str, str], ...] = ()  # (step, reason) pairs that a person must look at.
    deadline_noted: bool = False
    ended: RunEnded | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def committed(self) -> bool:
        """Whether the pivot has succeeded, after which only forward recovery is left."""
        pivot = self.saga.pivot
        return pivot is not None and self.steps[pivot.name].phase is StepPhase.SUCCEEDED

    @property
    def aborting(self) -> bool:
        """Whether effects are to be undone. A pivot that succeeds after an abort was asked for wins."""
        return self.abort is not None and not self.committed

    @property
    def status(self) -> Status:
        """Where the run stands."""
        if self.ended is not None:
            return self.ended.status
        return Status.COMPENSATING if self.aborting else Status.RUNNING

    @property
    def deadline_at(self) -> float | None:
        """When the saga's deadline passes, in seconds since the epoch."""
        return None if self.saga.deadline_s is None else self.started.at + self.saga.deadline_s


def begin(saga: Saga, started: RunStarted) -> RunState:
    """The state of a run of which only the start is known; raises `IllegalEvent` for another definition."""
    if started.definition_hash != saga.definition_hash:
        raise IllegalEvent(
            f"run {started.run_id!r} is pinned to definition {started.definition_hash[:12]} of "
            f"{saga.name!r}, not to {saga.definition_hash[:12]}; register the definition it was started with"
        )
    return RunState(saga, started.plan, started, {name: StepState() for name in saga.names})


def in_flight(state: RunState) -> Iterator[AttemptStarted]:
    """The attempts whose outcome the journal does not know, as they were started (`at` is left 0)."""
    for name, step in state.steps.items():
        if step.phase is StepPhase.RUNNING:
            yield AttemptStarted(at=0.0, step=name, direction=Direction.FORWARD, attempt=step.attempts)
        elif step.phase is StepPhase.UNDOING:
            yield AttemptStarted(at=0.0, step=name, direction=Direction.UNDO, attempt=step.undo_attempts)
