"""What must hold for every run, checked from the outside: a run's events, and a ledger the participants keep.

Deliberately apart from the machine: it reads the events as a story (`story`) and holds every event against
rules of its own, so that a mistake in the machine is not repeated here. The names are those of the
reliability plan:

- I1 terminal: a run ends, with nothing in flight; a status is true; what re-opens a run is signed;
- I2 order: a step starts only when all that its plan names is settled, an alternative only in place of a step
  that was given up; what waits for an approval gets one;
- I3 compensation set: what may have taken effect is undone when the run turns back, goes back to a savepoint
  or goes on without it; what did not, never is;
- I4 compensation order: a step is undone only after everything that depends on it, and in strict reverse
  start order, one at a time, where the strategy says so;
- I5 pivot: nothing is undone once it may have landed (but steps that the run goes on without), nothing starts
  forward once the run turned back;
- I6 effects: one effect per key at a participant that honours keys, else no more than calls; no attempt
  beyond the plan's numbers, strategies and budgets; one key per step, direction and round;
- I7 write-ahead: no outcome and no effect without an earlier intent;
- I8 the story is complete: it begins with the start, and numbers its attempts without gaps;
- I9 one at a time: one attempt of a step in flight, and none before the run holds its locks;
- I10 time: it never goes back; nothing is early, and nothing starts while the run is paused;
- I11 liveness: every run ends (where it is still open, the story is told to be unfinished: I1);
- I12 advice is neutral: the plan keeps every arc, all steps and the bounds of the freedoms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sagacity_engine.events import (
    AttemptFailed,
    AttemptHedged,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    CancelRequested,
    DeadlineReached,
    Direction,
    Event,
    LocksAcquired,
    OperatorActed,
    ProbeAnswered,
    RolledBack,
    RunEnded,
    RunStarted,
    SignalReceived,
)
from sagacity_engine.saga import Saga
from sagacity_engine.testing.checker.end_rules import end_breaches
from sagacity_engine.testing.checker.ledger_rules import ledger_breaches
from sagacity_engine.testing.checker.outcome_rules import outcome_breaches
from sagacity_engine.testing.checker.people_rules import (
    deadline_breaches,
    operator_breaches,
    reopens,
    rollback_breaches,
    wish_breaches,
)
from sagacity_engine.testing.checker.plan_rules import plan_breaches
from sagacity_engine.testing.checker.start_rules import (
    forward_breaches,
    hedge_breaches,
    probe_breaches,
    start_breaches,
    undo_wait_breaches,
)
from sagacity_engine.testing.checker.story import Story
from sagacity_engine.testing.checker.telling import tell
from sagacity_engine.testing.checker.undo_rules import UndoOrder, is_stray, undo_breaches
from sagacity_engine.testing.effects import Effect


def violations(
    saga: Saga, events: Sequence[Event], ledger: Iterable[Effect] | None = None
) -> tuple[str, ...]:
    """Every breach found in one run, each beginning with its invariant; empty when all hold."""
    if not events or not isinstance(events[0], RunStarted):
        return ("I8 a run's events begin with its start",)
    checker = _Checker(saga, events[0])
    found = list(plan_breaches(saga, events[0]))
    for event in events[1:]:
        found += checker.enter(event)
    if checker.story.ended is None:
        found.append("I1 the run has not ended")
    if ledger is not None:
        found += ledger_breaches(checker.story, tuple(ledger))
    return tuple(found)


class _Checker:
    """Judges each event before the story goes on by it."""

    def __init__(self, saga: Saga, started: RunStarted) -> None:
        self.story = Story(saga, started)
        self._undos = UndoOrder()

    def enter(self, event: Event) -> list[str]:
        """The breaches by the next event."""
        story = self.story
        found = []
        if story.ended is not None and not reopens(event):
            found.append(f"I1 {type(event).__name__} after the end")
        if event.at < story.at:
            found.append(f"I10 time went back from {story.at} to {event.at}")
        name = getattr(event, "step", "")
        if name and name not in story.steps:
            return [*found, f"I8 {type(event).__name__} of {name!r}, which is no step"]
        story.at = max(story.at, event.at)
        found += self._judged(event)
        tell(story, event)
        return found

    def _judged(self, event: Event) -> Iterator[str]:
        story = self.story
        match event:
            case AttemptStarted():
                yield from self._started(event)
            case AttemptHedged():
                yield from hedge_breaches(story, event)
            case AttemptSucceeded() | AttemptFailed() | AttemptUnknown() | ProbeAnswered():
                yield from outcome_breaches(story, event)
            case OperatorActed():
                self._undos = UndoOrder()
                yield from operator_breaches(story, event)
            case CancelRequested() | SignalReceived():
                yield from wish_breaches(story, event)
            case DeadlineReached():
                yield from deadline_breaches(story, event)
            case RolledBack():
                self._undos = UndoOrder()
                yield from rollback_breaches(story, event)
            case RunEnded():
                yield from end_breaches(story, event)
                yield from self._undos.breaches(story, event)
            case RunStarted():
                yield "I8 a run started twice"
            case LocksAcquired():
                pass

    def _started(self, event: AttemptStarted) -> Iterator[str]:
        story = self.story
        yield from start_breaches(story, event)
        match event.direction:
            case Direction.FORWARD:
                if story.steps[event.step].excused:  # It runs again after all.
                    story.steps[event.step].begin_anew(new_round=story.steps[event.step].gone)
                yield from forward_breaches(story, event)
                story.rely(event.step)
            case Direction.PROBE:
                yield from probe_breaches(story, event)
            case Direction.UNDO:
                yield from undo_breaches(story, event)
                yield from undo_wait_breaches(story, event)
                self._undos.enter(story, event)
                story.steps[event.step].stray = is_stray(story, event.step)
                story.undoing = story.undoing or not story.steps[event.step].stray
