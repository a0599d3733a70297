"""A run as its events tell it: the checker's own books, which judge nothing.

Written from the meaning of the events alone; it shares no code with the machine, so that a mistake there is
not repeated here. The run's clock is the time less its pauses.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property

from sagacity_engine.events import (
    Direction,
    RunEnded,
    RunStarted,
    SignalReceived,
)
from sagacity_engine.parts import Kind
from sagacity_engine.saga import Saga
from sagacity_engine.strategy import Strategy
from sagacity_engine.testing.checker.step_story import StepStory, strategy_after


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
            if step.tries(Direction.FORWARD) and not (step.landed or step.skipped):
                step.relied_on = True

    def goes_forward(self, name: str) -> bool:
        """Whether the step was given up in favour of its alternative, if it was given up at all."""
        step = self.steps[name]
        if name not in self.saga.alternatives or step.last is None or step.landed:
            return False
        return strategy_after(self.plan.by_name[name], step.last) is Strategy.FORWARD_RECOVERY
