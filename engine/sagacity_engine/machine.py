"""The saga state machine: no clock, no sleep, no log, no I/O.

`apply(state, event)` folds one event into the state and refuses what cannot happen. `commands(state, now)`
says what the engine owes next. `advance` joins the two for a host: it takes what happened, and returns what
must be journaled and which calls to make once the journal has it. `next_wake` is when to ask again if nothing
happens. Everything about one step is in `phases.TRANSITIONS`. Deciding *which* turn a failure takes (retry,
fail, skip) is `verdict`'s job and the only place where plan numbers matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

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
    Status,
)
from sagacity_engine.phases import TRANSITIONS, StepPhase, Turn
from sagacity_engine.plan import Plan
from sagacity_engine.saga import Kind, Saga
from sagacity_engine.verdict import verdict


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


@dataclass(frozen=True, slots=True)
class StartAttempt:
    """Call the participant, once the intent is durable."""

    step: str
    direction: Direction
    attempt: int


@dataclass(frozen=True, slots=True)
class NoteDeadline:
    """Record that the saga's deadline passed."""


@dataclass(frozen=True, slots=True)
class EndRun:
    """Nothing is left to do."""

    status: Status
    reason: str = ""
    step: str = ""


Command = StartAttempt | NoteDeadline | EndRun


def begin(saga: Saga, started: RunStarted) -> RunState:
    """The state of a run of which only the start is known; raises `IllegalEvent` for another definition."""
    if started.definition_hash != saga.definition_hash:
        raise IllegalEvent(
            f"run {started.run_id!r} is pinned to definition {started.definition_hash[:12]} of "
            f"{saga.name!r}, not to {saga.definition_hash[:12]}; register the definition it was started with"
        )
    return RunState(saga, started.plan, started, {name: StepState() for name in saga.names})


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


def commands(state: RunState, now: float) -> tuple[Command, ...]:
    """What the engine owes the run at time `now`; empty when it can only wait."""
    if state.ended is not None:
        return ()
    if not state.deadline_noted and state.deadline_at is not None and now >= state.deadline_at:
        return (NoteDeadline(),)
    starts = (*_due(state, now), *(_undos(state) if state.aborting else _ready(state)), *_stray_undos(state))
    if starts:
        return starts
    return () if _waiting(state) else (_end(state),)


def next_wake(state: RunState) -> float | None:
    """The earliest time at which `commands` may answer differently though nothing happened."""
    if state.ended is not None:
        return None
    moments = [step.due_at for step in state.steps.values() if step.due_at is not None]
    if not state.deadline_noted and state.deadline_at is not None:
        moments.append(state.deadline_at)
    return min(moments, default=None)


def in_flight(state: RunState) -> Iterator[AttemptStarted]:
    """The attempts whose outcome the journal does not know, as they were started (`at` is left 0)."""
    for name, step in state.steps.items():
        if step.phase is StepPhase.RUNNING:
            yield AttemptStarted(at=0.0, step=name, direction=Direction.FORWARD, attempt=step.attempts)
        elif step.phase is StepPhase.UNDOING:
            yield AttemptStarted(at=0.0, step=name, direction=Direction.UNDO, attempt=step.undo_attempts)


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
    return replace(state, steps={**state.steps, name: replace(step, phase=phase, due_at=None, **changes)})


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
    state = _moved(state, event.step, decision.turn, error=decision.error)
    moved = replace(state.steps[event.step], due_at=decision.due_at, effect_possible=decision.effect_possible)
    state = replace(state, steps={**state.steps, event.step: moved})
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


def _due(state: RunState, now: float) -> Iterator[StartAttempt]:
    """Backing-off attempts whose wait is over."""
    for name, step in state.steps.items():
        if step.due_at is None or step.due_at > now:
            continue
        if step.phase is StepPhase.BACKING_OFF:
            yield StartAttempt(name, Direction.FORWARD, step.attempts + 1)
        else:
            yield StartAttempt(name, Direction.UNDO, step.undo_attempts + 1)


def _ready(state: RunState) -> Iterator[StartAttempt]:
    """Pending steps of a forward-going run whose predecessors are settled."""
    for name, step in state.steps.items():
        if step.phase is StepPhase.PENDING and all(
            _settled(state, before) for before in state.plan.by_name[name].after
        ):
            yield StartAttempt(name, Direction.FORWARD, 1)


def _settled(state: RunState, name: str) -> bool:
    phase, step = state.steps[name].phase, state.saga.by_name[name]
    if phase is StepPhase.SUCCEEDED or not step.optional:
        return phase is StepPhase.SUCCEEDED
    # A run goes on without an optional step once its uncertain effect, if it can be undone, has been dealt
    # with, well or badly.
    given_up = phase is StepPhase.UNCERTAIN and step.compensation is None
    return given_up or phase in (StepPhase.SKIPPED, StepPhase.FAILED, *_UNDO_ENDED)


def _stray_undos(state: RunState) -> Iterator[StartAttempt]:
    """Undos of optional steps whose effect is uncertain while the run goes on without them."""
    if state.aborting:
        return
    for name, step in state.steps.items():
        declared = state.saga.by_name[name]
        if step.phase is StepPhase.UNCERTAIN and declared.optional and declared.compensation is not None:
            yield StartAttempt(name, Direction.UNDO, step.undo_attempts + 1)


def _undos(state: RunState) -> Iterator[StartAttempt]:
    """Undos that may start now: none before every forward attempt settled, none beside an uncertain pivot."""
    if state.attention or any(step.phase in _FORWARD_OPEN for step in state.steps.values()):
        return
    owed = {name: step for name, step in state.steps.items() if _undo_owed(state, name)}
    abort = state.abort
    if abort is not None and not abort.in_parallel and owed:
        if any(step.phase in _UNDO_OPEN for step in owed.values()):
            return
        latest = max(owed, key=lambda name: owed[name].rank)
        owed = {latest: owed[latest]}
    for name, step in owed.items():
        if step.phase in _UNDO_OPEN or any(_undo_owed(state, later) for later in state.saga.dependants[name]):
            continue
        yield StartAttempt(name, Direction.UNDO, step.undo_attempts + 1)


_FORWARD_OPEN = (StepPhase.RUNNING, StepPhase.BACKING_OFF)
_UNDO_OPEN = (StepPhase.UNDOING, StepPhase.UNDO_BACKING_OFF)
_UNDO_ENDED = (StepPhase.UNDONE, StepPhase.COMPENSATION_FAILED)
_EFFECT = (StepPhase.SUCCEEDED, StepPhase.UNCERTAIN)


def _undo_owed(state: RunState, name: str) -> bool:
    """Whether the step's effect may exist, can be undone, and its undo has not ended."""
    phase = state.steps[name].phase
    if phase in _UNDO_OPEN:
        return True
    return phase in _EFFECT and state.saga.by_name[name].compensation is not None


def _waiting(state: RunState) -> bool:
    return any(step.phase in _FORWARD_OPEN or step.phase in _UNDO_OPEN for step in state.steps.values())


def _end(state: RunState) -> EndRun:
    for name, reason in state.attention:
        return EndRun(Status.NEEDS_ATTENTION, reason, name)
    for name, step in state.steps.items():
        if step.phase is StepPhase.COMPENSATION_FAILED:
            return EndRun(Status.NEEDS_ATTENTION, f"its compensation failed for good: {step.error}", name)
        kind = state.saga.by_name[name].kind
        if state.aborting and step.phase in _EFFECT and kind is not Kind.READ_ONLY:
            return EndRun(Status.NEEDS_ATTENTION, "its effect stands and has no compensation", name)
    if state.abort is not None and state.aborting:
        return EndRun(Status.COMPENSATED, state.abort.cause, state.abort.step)
    # The pivot succeeded although the run had turned back: what gave up before that is not done.
    for name, step in state.steps.items():
        if step.phase in (StepPhase.FAILED, StepPhase.UNCERTAIN) and not _settled(state, name):
            return EndRun(Status.NEEDS_ATTENTION, f"given up before the pivot succeeded: {step.error}", name)
    return EndRun(Status.COMPLETED)
