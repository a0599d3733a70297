"""What must hold for every run, checked from the outside: a run's events, and a ledger the participants keep.

Deliberately apart from the machine: it reads the events as a story and keeps its own small books, so that a
mistake in the machine is not repeated here. The names are those of the reliability plan:

- I1 terminal: the last event, and only the last, ends the run, with nothing in flight;
- I2 order: a step starts only when all that its plan names has been settled;
- I3 compensation set: what may have taken effect is undone when the run turns back; what did not, never is;
- I4 compensation order: a step is undone only after everything that depends on it;
- I5 pivot: nothing is undone after it (but optional strays), nothing starts forward once the run turned back;
- I6 effects: one effect per key at a participant that honours keys, else no more than attempts;
- I7 write-ahead: no effect without an earlier intent of the same step, direction and attempt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

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
from sagacity_engine.parts import Kind
from sagacity_engine.saga import Saga


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One line of a participant's ledger: it really did something, for this run, step, direction, attempt.

    `honours_keys` says whether the participant promises one effect per idempotency key.
    """

    step: str
    direction: Direction
    attempt: int
    key: str = ""
    honours_keys: bool = False


def violations(
    saga: Saga, events: Sequence[Event], ledger: Iterable[Effect] | None = None
) -> tuple[str, ...]:
    """Every breach found in one run, each beginning with its invariant; empty when all hold."""
    if not events or not isinstance(events[0], RunStarted):
        return ("I8 a run's events begin with its start",)
    books = _Books(saga, events[0])
    found: list[str] = []
    for event in events[1:]:
        found += books.enter(event)
    found += books.close()
    if ledger is not None:
        found += _ledger_breaches(books, tuple(ledger))
    return tuple(found)


@dataclass(slots=True)
class _Step:
    """What the story has said about one step so far."""

    open: set[tuple[Direction, int]] = field(default_factory=set)
    forward: int = 0
    undos: int = 0
    succeeded: bool = False
    uncertain: bool = False  # Some forward attempt ended unknown.
    undone: bool = False
    last: str = ""  # How the last forward attempt ended.

    @property
    def may_stand(self) -> bool:
        return (self.succeeded or self.uncertain) and not self.undone


class _Books:
    """The checker's own reading of a run."""

    def __init__(self, saga: Saga, started: RunStarted) -> None:
        self.saga = saga
        self.plan = started.plan
        self.dependants = _dependants(saga)
        self.steps = {name: _Step() for name in saga.names}
        self.intents: set[tuple[str, Direction, int]] = set()
        self.turned_back = False  # Some undo of a step that is not optional has started.
        self.ended: RunEnded | None = None
        self.at = started.at

    def enter(self, event: Event) -> Iterator[str]:
        if self.ended is not None:
            yield f"I1 {type(event).__name__} after the end"
        if event.at < self.at:
            yield f"I10 time went back from {self.at} to {event.at}"
        self.at = max(self.at, event.at)
        match event:
            case RunStarted():
                yield "I8 a run started twice"
            case AttemptStarted():
                yield from self._started(event)
            case AttemptSucceeded() | AttemptFailed() | AttemptUnknown():
                yield from self._closed(event)
            case RunEnded():
                self.ended = event
            case DeadlineReached() | CancelRequested():
                pass

    def close(self) -> Iterator[str]:
        """What only the whole story can tell."""
        if self.ended is None:
            yield "I1 the run has not ended"
            return
        for name, step in self.steps.items():
            if step.open:
                yield f"I1 step {name!r} was in flight at the end"
        yield from self._unfinished(self.ended.status)

    def _unfinished(self, status: Status) -> Iterator[str]:
        pivot = self.saga.pivot
        committed = pivot is not None and self.steps[pivot.name].succeeded
        for name, step in self.steps.items():
            declared = self.saga.by_name[name]
            leaves_effect = declared.kind is not Kind.READ_ONLY
            if status is Status.COMPENSATED and leaves_effect and step.may_stand:
                yield f"I3 step {name!r} may stand though the run is {status.value}"
            if (
                status is Status.COMPLETED
                and not declared.optional
                and not (step.succeeded and not step.undone)
            ):
                yield f"I1 step {name!r} did not succeed though the run is {status.value}"
            given_up = declared.optional and step.uncertain and not step.succeeded
            if (
                status is Status.COMPLETED
                and given_up
                and declared.compensation is not None
                and not step.undone
            ):
                yield f"I3 optional step {name!r} may stand though it was given up"
        if committed and status is Status.COMPENSATED:
            yield "I5 the run was compensated after its pivot"

    def _started(self, event: AttemptStarted) -> Iterator[str]:
        step = self.steps[event.step]
        if step.open:
            yield f"I9 step {event.step!r} has two attempts in flight"
        step.open.add((event.direction, event.attempt))
        self.intents.add((event.step, event.direction, event.attempt))
        if event.direction is Direction.FORWARD:
            yield from self._forward(event, step)
        else:
            yield from self._undo(event, step)

    def _forward(self, event: AttemptStarted, step: _Step) -> Iterator[str]:
        step.forward += 1
        if event.attempt != step.forward:
            yield f"I8 step {event.step!r}: attempt {event.attempt} is the {step.forward}. one"
        if step.succeeded or step.undos:
            yield f"I2 step {event.step!r} started again after it was done or undone"
        if self.turned_back:
            yield f"I5 step {event.step!r} started forward after the run turned back"
        for before in self.plan.by_name[event.step].after:
            if not self._settled(before):
                yield f"I2 step {event.step!r} started before {before!r} was settled"
        if event.attempt > self.plan.by_name[event.step].retry.maximum_attempts:
            yield f"I6 step {event.step!r}: attempt {event.attempt} exceeds its plan"
        read_only = self.saga.by_name[event.step].kind is Kind.READ_ONLY
        if step.last == "unknown" and not self.saga.by_name[event.step].idempotent and not read_only:
            yield f"I6 step {event.step!r} is not idempotent and was repeated after an unknown outcome"

    def _undo(self, event: AttemptStarted, step: _Step) -> Iterator[str]:
        step.undos += 1
        declared = self.saga.by_name[event.step]
        stray = declared.optional and not step.succeeded
        if event.attempt != step.undos:
            yield f"I8 step {event.step!r}: undo {event.attempt} is the {step.undos}. one"
        if declared.compensation is None:
            yield f"I3 step {event.step!r} has no compensation and was undone"
        if not step.succeeded and not step.uncertain:
            yield f"I3 step {event.step!r} took no effect and was undone"
        if step.undone:
            yield f"I3 step {event.step!r} was undone twice"
        if stray:
            return
        self.turned_back = True
        yield from self._backward(event.step)

    def _backward(self, name: str) -> Iterator[str]:
        pivot = self.saga.pivot
        if pivot is not None and (self.steps[pivot.name].succeeded or self.steps[pivot.name].uncertain):
            yield f"I5 step {name!r} was undone though the pivot may have taken effect"
        for other, step in self.steps.items():
            if any(direction is Direction.FORWARD for direction, _ in step.open):
                yield f"I5 step {name!r} was undone while {other!r} was in flight"
        for later in self.dependants[name]:
            step = self.steps[later]
            given_up = bool(step.undos) and not step.open and step.undos >= self._undo_attempts(later)
            if step.may_stand and self.saga.by_name[later].compensation is not None and not given_up:
                yield f"I4 step {name!r} was undone before {later!r}, which depends on it"

    def _undo_attempts(self, name: str) -> int:
        undo = self.saga.by_name[name].compensation
        return undo.retry.maximum_attempts if undo is not None else 0

    def _closed(self, event: AttemptSucceeded | AttemptFailed | AttemptUnknown) -> Iterator[str]:
        step = self.steps[event.step]
        attempt = (event.direction, event.attempt)
        if attempt not in step.open:
            yield f"I7 step {event.step!r}: the outcome of {attempt} has no intent before it"
        step.open.discard(attempt)
        succeeded = isinstance(event, AttemptSucceeded)
        if event.direction is Direction.UNDO:
            step.undone = step.undone or succeeded
            return
        step.succeeded = step.succeeded or succeeded
        leaves_effect = self.saga.by_name[event.step].kind is not Kind.READ_ONLY
        step.uncertain = step.uncertain or (isinstance(event, AttemptUnknown) and leaves_effect)
        step.last = "succeeded" if succeeded else "unknown" if isinstance(event, AttemptUnknown) else "failed"

    def _settled(self, name: str) -> bool:
        step = self.steps[name]
        if step.succeeded:
            return True
        if not self.saga.by_name[name].optional or step.open:
            return False
        if not step.uncertain or self.saga.by_name[name].compensation is None:
            return step.forward > 0
        return step.undone or step.undos >= self._undo_attempts(name) or step.undos > 0


def _dependants(saga: Saga) -> dict[str, set[str]]:
    """For each step, what needs it directly or not; worked out here, not taken from the machine's side."""
    found: dict[str, set[str]] = {name: set() for name in saga.names}
    for later in reversed(saga.names):  # A listing has what a step needs before the step.
        for before in saga.arcs[later]:
            found[before] |= {later, *found[later]}
    return found


def _ledger_breaches(books: _Books, ledger: tuple[Effect, ...]) -> Iterator[str]:
    for effect in ledger:
        if (effect.step, effect.direction, effect.attempt) not in books.intents:
            yield (
                f"I7 step {effect.step!r} took effect ({effect.direction.value}, attempt {effect.attempt}) "
                "without an intent"
            )
    for (step, direction), count in Counter((effect.step, effect.direction) for effect in ledger).items():
        attempts = books.steps[step].forward if direction is Direction.FORWARD else books.steps[step].undos
        if count > attempts:
            yield f"I6 step {step!r} took effect {count} times ({direction.value}) in {attempts} attempts"
    for key, count in Counter(effect.key for effect in ledger if effect.honours_keys).items():
        if count > 1:
            yield f"I6 key {key} took effect {count} times"
    yield from _standing(books, ledger)


def _standing(books: _Books, ledger: tuple[Effect, ...]) -> Iterator[str]:
    """An ended run's books agree with what really stands at the participants."""
    if books.ended is None or books.ended.status is Status.NEEDS_ATTENTION:
        return
    done = {effect.step for effect in ledger if effect.direction is Direction.FORWARD}
    taken_back = {effect.step for effect in ledger if effect.direction is Direction.UNDO}
    for name, step in books.steps.items():
        if books.saga.by_name[name].kind is Kind.READ_ONLY:
            continue
        if step.succeeded and name not in done:
            yield f"I6 step {name!r} succeeded without an effect"
        if books.ended.status is Status.COMPENSATED and name in done and name not in taken_back:
            yield f"I3 step {name!r} took effect and stands though the run is COMPENSATED"
