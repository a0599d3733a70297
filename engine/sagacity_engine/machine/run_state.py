"""A run as the fold of its events: the values that the machine computes with.

A `RunState` belongs to whoever folds it and changes in place. A `copy` costs one small dictionary and shares
the rest: a `StepState` that is shared is replaced when it changes. What is read off a state (whether it is
committed, turning back, ended) is decided here, once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sagacity_engine.errors import IllegalEvent
from sagacity_engine.events import (
    AttemptStarted,
    Direction,
    OperatorActed,
    RunEnded,
    RunStarted,
    SignalReceived,
    Status,
)
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.plan import Plan
from sagacity_engine.saga import Saga


@dataclass(slots=True)
class StepState:
    """One step's part of a run. Times are in seconds since the epoch.

    Attempts are numbered over the whole run; those up to `base` were made before the step was given fresh
    ones. `round` counts how often the step was taken back and begun anew.
    """

    phase: StepPhase = StepPhase.PENDING
    attempts: int = 0
    undo_attempts: int = 0
    probes: int = 0
    base: int = 0
    undo_base: int = 0
    probe_base: int = 0
    round: int = 0
    rank: int = -1  # Its place in start order.
    due_at: float | None = None  # When what it waits for is due.
    first_at: float | None = None  # When its first attempt, of these attempts, was started.
    started_at: float | None = None  # When the attempt in flight was started.
    hedged: bool = False  # The attempt in flight has a second call beside it.
    effect_possible: bool = False  # An attempt ended unknown: an effect may exist whatever came later.
    landed: bool = False  # The participant confirmed the action.
    replaced: bool = False  # Given up for its alternative.
    error: str = ""
    shared: bool = field(default=False, compare=False, repr=False)  # By several runs or steps.

    def copy(self) -> StepState:
        """An equal state of one's own."""
        return StepState(
            self.phase,
            self.attempts,
            self.undo_attempts,
            self.probes,
            self.base,
            self.undo_base,
            self.probe_base,
            self.round,
            self.rank,
            self.due_at,
            self.first_at,
            self.started_at,
            self.hedged,
            self.effect_possible,
            self.landed,
            self.replaced,
            self.error,
        )


@dataclass(frozen=True, slots=True)
class Abort:
    """Why the run turned back and how its undos run."""

    cause: str
    step: str = ""
    in_parallel: bool = True


@dataclass(frozen=True, slots=True)
class Rollback:
    """The run goes back to a savepoint: these steps are taken back and then begun anew."""

    savepoint: str
    cause: str
    steps: frozenset[str]


@dataclass(slots=True)
class RunState:
    """A run as the fold of its events."""

    saga: Saga
    plan: Plan
    started: RunStarted
    steps: dict[str, StepState]
    locked: bool = True  # It holds the resource keys it asked for.
    abort: Abort | None = None
    rollback: Rollback | None = None
    rollbacks: int = 0
    retries: int = 0  # Retries of actions so far, over all steps.
    starts: int = 0  # Steps started so far.
    attention: tuple[tuple[str, str], ...] = ()  # (step, reason) pairs that a person must look at.
    clock_from: float = 0.0  # When the deadline's clock began.
    deadline_noted: bool = False
    paused_at: float | None = None
    paused_s: float = 0.0
    abandoned: OperatorActed | None = None
    ended: RunEnded | None = None
    signals: Mapping[str, SignalReceived] = field(default_factory=dict)  # Not yet taken up.
    outputs: Mapping[str, Any] = field(default_factory=dict)

    def copy(self) -> RunState:
        """An equal state of one's own, which goes its own way from here."""
        for step in self.steps.values():
            step.shared = True
        return RunState(
            self.saga,
            self.plan,
            self.started,
            dict(self.steps),
            self.locked,
            self.abort,
            self.rollback,
            self.rollbacks,
            self.retries,
            self.starts,
            self.attention,
            self.clock_from,
            self.deadline_noted,
            self.paused_at,
            self.paused_s,
            self.abandoned,
            self.ended,
            self.signals,
            self.outputs,
        )

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
        """When the saga's deadline passes, in seconds since the epoch, pauses not counted."""
        deadline_s = self.saga.deadline_s
        return None if deadline_s is None else self.clock_from + deadline_s + self.paused_s

    @property
    def launch_at(self) -> float:
        """Before which no step starts, in seconds since the epoch."""
        return self.started.at + self.plan.launch_delay_s + self.paused_s


def begin(saga: Saga, started: RunStarted) -> RunState:
    """The state of a run of which only the start is known; raises `IllegalEvent` for another definition."""
    if started.definition_hash != saga.definition_hash:
        raise IllegalEvent(
            f"run {started.run_id!r} is pinned to definition {started.definition_hash[:12]} of "
            f"{saga.name!r}, not to {saga.definition_hash[:12]}; register the definition it was started with"
        )
    untouched = StepState()
    untouched.shared = True
    state = RunState(saga, started.plan, started, dict.fromkeys(saga.names, untouched))
    state.locked = not started.locks
    state.clock_from = started.at
    return state


def in_flight(state: RunState) -> Iterator[AttemptStarted]:
    """The attempts whose outcome the journal does not know, as they were started (`at` is left 0)."""
    for name, step in state.steps.items():
        if step.phase is StepPhase.RUNNING:
            yield AttemptStarted(at=0.0, step=name, direction=Direction.FORWARD, attempt=step.attempts)
        elif step.phase is StepPhase.UNDOING:
            yield AttemptStarted(at=0.0, step=name, direction=Direction.UNDO, attempt=step.undo_attempts)
        elif step.phase is StepPhase.PROBING:
            yield AttemptStarted(at=0.0, step=name, direction=Direction.PROBE, attempt=step.probes)
