"""A running saga as a growing case: every attempt's end is an event that tells where the run stands by then.

So a run has the same prefix features as a case of any event log (`prefix_features`); one model serves both.
The first event is the launch with the run's context; then one event per ended attempt, in the order of the
ends, with what is known at that moment and nothing later:

| attribute | what |
|---|---|
| steps done, steps left | that succeeded and were not undone; of the definition's steps, where it is known |
| retries, failures, undos | attempts after a step's first; forward ends without success; undos begun |
| attempt, attempts left, duration | of the attempt that ended; seconds |
| class, error | of its failure |
| health, health left | failing shares of its service, and the worst among the services still to be called |

The health of a service is `ServiceHealth`: what all runs met there lately. Training replays it, serving keeps
it up; both call the same two methods in the order of time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from sagacity_data.event_log import AttributeValue, CaseEvent
from sagacity_data.rows import AttemptOutcome, AttemptRow, ContextValues
from sagacity_engine import Direction, FailureClass, Saga

LAUNCH: Final = "launch"
DONE, LEFT, UNDOS = "steps done", "steps left", "undos"
HEALTH_HALF_LIFE_S: Final = 900.0
HEALTH_PRIOR_CALLS: Final = 3.0
"""How many calls the long-run share of a service weighs against the late ones."""
_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnd:
    """What live risk reads of an attempt that has ended. Times in seconds since 1970."""

    step: str
    service: str
    direction: Direction
    attempt: int
    outcome: AttemptOutcome
    ended_at: float
    duration_s: float | None = None
    failure_class: FailureClass | None = None
    error_type: str = ""
    maximum_attempts: int | None = None

    @classmethod
    def of(cls, row: AttemptRow) -> Self | None:
        """The end that a row tells; None where it has not ended, or nobody knows when."""
        if row.ended_at is None or row.outcome is AttemptOutcome.OPEN:
            return None
        return cls(
            step=row.step,
            service=row.service,
            direction=row.direction,
            attempt=row.attempt,
            outcome=row.outcome,
            ended_at=row.ended_at,
            duration_s=row.duration_s,
            failure_class=row.failure_class,
            error_type=row.error_type,
            maximum_attempts=row.maximum_attempts,
        )


@dataclass(frozen=True, slots=True)
class RunShape:
    """What a definition says beforehand of its runs: the service of each step, and the deadline."""

    services: Mapping[str, str]
    deadline_s: float | None = None

    @classmethod
    def of(cls, saga: Saga) -> Self:
        """The shape of a saga; steps that only run in place of another are not counted as still to come."""
        instead = set(saga.alternatives.values())
        services = {step.name: step.service for step in saga.steps if step.name not in instead}
        return cls(services, saga.deadline_s)


class ServiceHealth:
    """The share of each service's calls that failed lately: the latest minutes against its long run.

    Memory is bounded by the number of services. A refusal that says that the input is hopeless does not
    speak against the service.
    """

    def __init__(self) -> None:
        self._told: dict[str, list[float]] = {}  # Failed and all lately, as of when; failed and all ever.

    def note(self, end: AttemptEnd) -> None:
        """An attempt has ended. Ends must come in the order of time."""
        if not end.outcome.tells:
            return
        failed = float(
            end.outcome is not AttemptOutcome.SUCCEEDED and end.failure_class is not FailureClass.PERMANENT
        )
        told = self._told.setdefault(end.service, [0.0, 0.0, end.ended_at, 0.0, 0.0])
        kept = math.exp2(-max(end.ended_at - told[2], 0.0) / HEALTH_HALF_LIFE_S)
        told[0], told[1] = told[0] * kept + failed, told[1] * kept + 1.0
        told[2] = max(end.ended_at, told[2])
        told[3] += failed
        told[4] += 1.0

    def failing(self, service: str, at: float) -> float:
        """The share of calls that fail, as of `at` (seconds since 1970); 0.1 where nothing is known."""
        told = self._told.get(service)
        if told is None:
            return 0.1
        long_run = (told[3] + 1.0) / (told[4] + 10.0)
        kept = math.exp2(-max(at - told[2], 0.0) / HEALTH_HALF_LIFE_S)
        return (told[0] * kept + HEALTH_PRIOR_CALLS * long_run) / (told[1] * kept + HEALTH_PRIOR_CALLS)


@dataclass(slots=True)
class RunEvents:
    """Turns what happens to one run into the events of its case, one at a time, in the order of time."""

    saga: str
    health: ServiceHealth
    shape: RunShape | None = None
    _done: set[str] = field(default_factory=set)
    _gone: set[str] = field(default_factory=set)
    _retries: int = 0
    _failures: int = 0
    _undos: int = 0

    def launched(self, context: ContextValues, at: float) -> CaseEvent:
        """The run's first event, of `at` (seconds since 1970)."""
        attributes: dict[str, AttributeValue] = {f"context {key}": value for key, value in context.items()}
        attributes["saga"] = self.saga
        return CaseEvent(self._named(LAUNCH), _us(at), LAUNCH, None, attributes | self._standing(at))

    def ended(self, end: AttemptEnd) -> CaseEvent:
        """The event of an attempt's end, once `health` has been told of it."""
        self._count(end)
        attributes = self._standing(end.ended_at)
        attributes |= {
            "attempt": end.attempt,
            "class": end.failure_class.value if end.failure_class is not None else "none",
            "error": end.error_type or "none",
            "health": self.health.failing(end.service, end.ended_at),
        }
        if end.duration_s is not None:
            attributes["duration"] = end.duration_s
        if end.maximum_attempts is not None:
            attributes["attempts left"] = end.maximum_attempts - end.attempt
        lifecycle = f"{end.direction.value} {end.outcome.value}"
        return CaseEvent(self._named(end.step), _us(end.ended_at), lifecycle, end.service, attributes)

    def _count(self, end: AttemptEnd) -> None:
        if end.direction is Direction.FORWARD:
            self._retries += end.attempt > 1
            if end.outcome is AttemptOutcome.SUCCEEDED:
                self._done.add(end.step)
                self._gone.add(end.step)
            else:
                self._failures += 1
        else:
            self._undos += 1
            if end.outcome is AttemptOutcome.SUCCEEDED:
                self._done.discard(end.step)
                self._gone.discard(end.step)

    def _standing(self, at: float) -> dict[str, AttributeValue]:
        told: dict[str, AttributeValue] = {
            DONE: len(self._done),
            "retries": self._retries,
            "failures": self._failures,
            UNDOS: self._undos,
        }
        if self.shape is not None:
            left = [service for step, service in self.shape.services.items() if step not in self._gone]
            told[LEFT] = len(left)
            told["health left"] = max((self.health.failing(each, at) for each in left), default=0.0)
        return told

    def _named(self, step: str) -> str:
        return f"{self.saga}/{step}"


def standing_of(events: Sequence[CaseEvent]) -> str:
    """Where a run stands after these events, as the key of its base rate: steps done, or that it turned back.

    >>> standing_of([CaseEvent("trip/launch", 0, LAUNCH, None, {DONE: 0, UNDOS: 0, "saga": "trip"})])
    'trip/0'
    """
    saga = saga_of(events)
    told = events[-1].attributes
    return f"{saga}/undoing" if told.get(UNDOS) else f"{saga}/{told.get(DONE, 0)}"


def saga_of(events: Sequence[CaseEvent]) -> str:
    """The saga type that the run's first event tells."""
    return str(events[0].attributes.get("saga", ""))


def _us(at: float) -> int:
    if not math.isfinite(at):
        raise ValueError(f"{at!r} is no moment in seconds since 1970")
    return round(at * _SECOND_US)
