"""A run as its events tell it: the checker's own books, which judge nothing.

Written from the meaning of the events alone; it shares no code with the machine, so that a mistake there is
not repeated here. The run's clock is the time less its pauses.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property

from sagacity_engine.events import (
    Action,
    Answer,
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
    Status,
)
from sagacity_engine.parts import Kind
from sagacity_engine.saga import Saga
from sagacity_engine.testing.step_story import Outcome, StepStory


class Story:
    """What has been told of a run so far."""

    def __init__(self, saga: Saga, started: RunStarted) -> None:
        self.saga = saga
        self.plan = started.plan
        self.started = started
        self.steps = {name: StepStory() for name in saga.names}
        self.rounds: dict[tuple[str, Direction, int], int] = {}  # Of every attempt that was started.
        self.calls: Counter[tuple[str, Direction]] = Counter()
        self.signals: dict[str, SignalReceived] = {}
        self.at = started.at
        self.locked = not started.locks
        self.paused_at: float | None = None
        self.paused_s = 0.0
        self.deadline_from = started.at
        self.deadline_noted = False
        self.starts = 0
        self.retries = 0  # Those that a retry budget pays for.
        self.rollbacks = 0
        self.asked_back = False  # Somebody or something said that the run must turn back.
        self.undoing = False  # An undo that the run as a whole owes was started.
        self.abandoned = False
        self.people_acted = False
        self.ended: RunEnded | None = None

    @property
    def clock(self) -> float:
        """The run's clock: it stands still while the run is paused."""
        return (self.at if self.paused_at is None else self.paused_at) - self.paused_s

    @property
    def committed(self) -> bool:
        """Whether the pivot landed, or a person says so."""
        pivot = self.saga.pivot
        return pivot is not None and self.steps[pivot.name].landed

    @property
    def pivot_may_have_landed(self) -> bool:
        """Whether the pivot took effect, for all that anybody knows."""
        pivot = self.saga.pivot
        return pivot is not None and (self.steps[pivot.name].landed or self.steps[pivot.name].maybe)

    @cached_property
    def needed_by(self) -> dict[str, set[str]]:
        """For each step, what needs it directly or not."""
        found: dict[str, set[str]] = {name: set() for name in self.saga.names}
        for later in reversed(self.saga.names):  # A listing has what a step needs before the step.
            for before in self.saga.arcs[later]:
                found[before] |= {later, *found[later]}
        return found

    def leaves_effect(self, name: str) -> bool:
        """Whether the step, once carried out, leaves something behind."""
        step = self.saga.by_name[name]
        return step.kind is not Kind.READ_ONLY and step.approval is None

    def in_flight(self, name: str) -> bool:
        """Whether somebody is being asked; nobody is told when an approval is no longer waited for."""
        return self.steps[name].open is not None and self.saga.by_name[name].approval is None

    def may_stand(self, name: str) -> bool:
        """Whether an effect of the step may exist now."""
        step = self.steps[name]
        return self.leaves_effect(name) and (step.landed or step.maybe) and not step.gone

    def enter(self, event: Event) -> None:
        """Goes on by one event."""
        self.at = max(self.at, event.at)
        match event:
            case AttemptStarted():
                self._start(event)
            case AttemptSucceeded() | AttemptFailed() | AttemptUnknown():
                self._close(event)
            case ProbeAnswered():
                self._answer(event)
            case DeadlineReached() | CancelRequested():
                self.deadline_noted = self.deadline_noted or isinstance(event, DeadlineReached)
                self._ask_back()
            case OperatorActed():
                self._operate(event)
            case RolledBack():
                self._roll_back(event)
            case _:
                self._note(event)

    def _note(self, event: Event) -> None:
        """What changes one thing only."""
        match event:
            case AttemptHedged():
                self.steps[event.step].hedged = True
                self.calls[event.step, Direction.FORWARD] += 1
            case SignalReceived():
                self.signals[event.name] = event
            case LocksAcquired():
                self.locked = True
            case RunEnded():
                self.ended = event
            case _:
                pass

    def _start(self, event: AttemptStarted) -> None:
        step = self.steps[event.step]
        direction = event.direction
        step.open, step.hedged, step.open_clock = event, False, self.clock
        step.made[direction] = event.attempt
        self.calls[event.step, direction] += 1
        self.rounds[event.step, direction, event.attempt] = step.round
        if direction is Direction.FORWARD:
            pivot_in_doubt = step.maybe and self.saga.by_name[event.step].kind is Kind.PIVOT
            self.retries += step.tries(direction) > 1 and not pivot_in_doubt
            if step.first_clock is None:
                step.first_clock, step.rank = self.clock, self.starts
                self.starts += 1

    def _close(self, event: Outcome) -> None:
        step = self.steps[event.step]
        step.open = None
        if event.direction is Direction.UNDO:
            if isinstance(event, AttemptSucceeded):
                step.gone = True
            else:
                step.last_undo, step.last_undo_clock = event, self.clock
            return
        if isinstance(event, AttemptSucceeded):
            step.landed, step.last = True, None
            return
        step.last, step.last_clock = event, self.clock
        step.maybe = step.maybe or (isinstance(event, AttemptUnknown) and self.leaves_effect(event.step))

    def _answer(self, event: ProbeAnswered) -> None:
        step = self.steps[event.step]
        step.open = None
        if event.answer is Answer.HAPPENED:
            step.landed, step.last = True, None
            return
        step.last, step.last_clock = event, self.clock
        if event.answer is Answer.DID_NOT_HAPPEN:
            step.maybe = False

    def _ask_back(self) -> None:
        self.asked_back = self.asked_back or not self.committed

    def _operate(self, event: OperatorActed) -> None:
        self.people_acted = True
        if event.action is Action.PAUSE:
            self.paused_at = event.at
            return
        if event.action is Action.RESUME:
            self.paused_s += self.at - (self.paused_at if self.paused_at is not None else self.at)
            self.paused_at = None
            return
        if self.ended is not None and self.ended.status is not Status.NEEDS_ATTENTION:
            self.locked = not self.started.locks
        self.ended = None
        if event.action is Action.ABANDON:
            self.abandoned = True
        elif event.action is Action.UNDO:
            self._ask_back()
        elif event.action is Action.REDRIVE:
            self._redrive()
        elif event.step in self.steps:
            self._operate_on_step(event)

    def _operate_on_step(self, event: OperatorActed) -> None:
        step, declared = self.steps[event.step], self.saga.by_name[event.step]
        pivot = declared.kind is Kind.PIVOT
        if event.action is Action.RETRY:
            step.begin_anew(new_round=False)
            self._ask_again(event.step)
        elif event.action is Action.SKIP:
            step.skipped = True
            step.landed = step.landed or pivot
            step.maybe = step.maybe and declared.compensation is not None
        else:
            was_doubtful = step.maybe
            step.landed, step.maybe, step.gone, step.resolved = False, False, True, True
            self.asked_back = self.asked_back or (pivot and was_doubtful)

    def _redrive(self) -> None:
        self.asked_back = self.undoing = self.deadline_noted = False
        self.deadline_from = self.clock
        for name, step in self.steps.items():
            if step.gone or not (step.landed or step.skipped):
                step.begin_anew(new_round=step.gone)
                self._ask_again(name)

    def _roll_back(self, event: RolledBack) -> None:
        self.rollbacks += 1
        self.undoing = False
        for name in self.after_savepoint(event.savepoint):
            step = self.steps[name]
            if step.made[Direction.FORWARD] or step.skipped:
                step.begin_anew(new_round=step.landed or step.gone)
                self._ask_again(name)

    def after_savepoint(self, savepoint: str) -> set[str]:
        """The steps that are neither the savepoint nor, in the plan, before it."""
        kept, grown = set[str](), {savepoint}
        while grown:
            kept |= grown
            grown = {before for name in grown for before in self.plan.by_name[name].after} - kept
        return set(self.steps) - kept

    def rely(self, name: str) -> None:
        """The step starts forward: what it waits for and did not succeed is believed to be given up."""
        for before in self.plan.by_name[name].after:
            step = self.steps[before]
            if step.made[Direction.FORWARD] and not (step.landed or step.skipped):
                step.relied_on = True

    def _ask_again(self, name: str) -> None:
        approval = self.saga.by_name[name].approval
        if approval is not None:
            self.signals.pop(approval.signal, None)
