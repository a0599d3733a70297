"""One run of a simulated day, as the predicates of situations see it: its events, its states, its effects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from sagacity_engine.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    Direction,
    Event,
    RunEnded,
    RunStarted,
    Status,
)
from sagacity_engine.machine import machine
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState, begin
from sagacity_engine.saga import Saga
from sagacity_engine.testing.effects import Effect

E = TypeVar("E")


@dataclass(frozen=True, kw_only=True)
class Run:
    """`marks` are what was noted while it ran, `cuts` how many of its events were durable at each crash."""

    saga: Saga
    events: tuple[Event, ...]
    ledger: tuple[Effect, ...]
    marks: frozenset[str]
    cuts: tuple[int, ...]

    @property
    def started(self) -> RunStarted:
        """Its start."""
        first = self.events[0]
        assert isinstance(first, RunStarted), "a run begins with its start"
        return first

    @cached_property
    def states(self) -> tuple[RunState, ...]:
        """The state after each event."""
        state = begin(self.saga, self.started)
        found = [state.copy()]
        for event in self.events[1:]:
            machine.fold(state, event)
            found.append(state.copy())
        return tuple(found)

    @cached_property
    def cut_states(self) -> tuple[RunState, ...]:
        """The state that each crash left behind."""
        return tuple(self.states[count - 1] for count in self.cuts)

    @cached_property
    def _by_kind(self) -> dict[type, list[Event]]:
        found: dict[type, list[Event]] = {}
        for event in self.events:
            found.setdefault(type(event), []).append(event)
        return found

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind."""
        return self._by_kind.get(kind, [])  # type: ignore[return-value]  # by kind, as it says

    def with_state(self, kind: type[E]) -> Iterator[tuple[E, RunState]]:
        """The events of one kind, each with the state before it."""
        if kind in self._by_kind:
            for place, event in enumerate(self.events):
                found: Any = event
                if isinstance(event, kind):
                    yield found, self.states[place - 1]

    @cached_property
    def statuses(self) -> tuple[Status, ...]:
        """Every status that it ended with, one after the other."""
        return tuple(event.status for event in self.of(RunEnded))

    @property
    def completed(self) -> bool:
        """Whether it is complete now."""
        return self.statuses[-1:] == (Status.COMPLETED,)

    def starts(self, direction: Direction) -> list[AttemptStarted]:
        """The attempts of one direction."""
        return [event for event in self.of(AttemptStarted) if event.direction is direction]

    def succeeded(self, step: str, direction: Direction) -> bool:
        """Whether some attempt of the step succeeded."""
        return any(event.step == step and event.direction is direction for event in self.of(AttemptSucceeded))

    def acted(self, step: str, direction: Direction, attempt: int) -> bool:
        """Whether this attempt took effect."""
        return any(
            (each.step, each.direction, each.attempt) == (step, direction, attempt) for each in self.ledger
        )

    def tried_again(self, event: Event) -> bool:
        """Whether the step of this event was attempted once more, forward, afterwards."""
        step = getattr(event, "step", "")
        return any(
            each.step == step and each.at >= event.at and each.attempt > getattr(event, "attempt", 0)
            for each in self.starts(Direction.FORWARD)
        )


def failures(run: Run) -> list[AttemptFailed | AttemptUnknown]:
    """The attempts of both directions that did not succeed."""
    return [*run.of(AttemptFailed), *run.of(AttemptUnknown)]


Predicate = Callable[[Run], bool]


def standing(state: RunState, *phases: StepPhase) -> int:
    """How many steps stand in one of these phases."""
    return sum(step.phase in phases for step in state.steps.values())
