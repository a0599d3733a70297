"""From engine events to rows: what the engine tells its listeners becomes the execution dataset.

A row is made when its attempt or run ends, from the event, the run's state and what was noted when the
attempt started. That note lives in memory only. After a crash the engine closes every open attempt as
unknown; a recorder that did not see the start writes that row with the start's columns missing, never
guessed. The same events feed `LaunchFeatures`, so features are computed once, at the launch, before anything
of the run is folded in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sagacity_data.cost import state_cost
from sagacity_data.errors import HistoryAhead
from sagacity_data.features import LaunchFeatures
from sagacity_data.rows import (
    NO_FEATURES,
    AttemptOutcome,
    AttemptRow,
    ContextValues,
    Row,
    RunRow,
    StepFeatures,
)
from sagacity_data.signals import CallStarted, RunClosed, RunOpened, call_ended
from sagacity_engine import Compensation, Direction, StepPlan
from sagacity_engine.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    Event,
    RunEnded,
    RunStarted,
)
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState

RUNS_MAX: Final = 100_000
"""Unfinished runs the recorder remembers; beyond it the oldest is forgotten, as after a restart."""

Ending = AttemptSucceeded | AttemptFailed | AttemptUnknown

Place = tuple[str, Direction]
"""A step and a direction: at most one attempt of each is open at a time."""


@dataclass(frozen=True, slots=True)
class _Start:
    """What was known when an attempt started."""

    service: str
    at: float
    scheduled_at: float
    steps_done: int
    in_flight: int


@dataclass(slots=True)
class _OpenRun:
    """A run that has not ended, as far as this recorder saw it."""

    context: ContextValues
    features: dict[str, StepFeatures] = field(default_factory=dict)
    starts: dict[Place, _Start] = field(default_factory=dict)
    due: dict[Place, float] = field(default_factory=dict)


class Recorder:
    """Folds the events of any number of runs into rows. Give each event once, in the order it happened."""

    def __init__(self, features: LaunchFeatures | None = None) -> None:
        self._features = features
        self._runs: dict[str, _OpenRun] = {}
        self._in_flight: dict[str, int] = {}

    def observe(self, state: RunState, event: Event) -> tuple[Row, ...]:
        """The row that `event` completes, if any; `state` is the run's state with the event folded in.

        Rows carry no features when there is no `LaunchFeatures`, when the launch was not seen, or when the
        clock had stepped back before it, so that the history was ahead of the launch.
        """
        match event:
            case RunStarted():
                self._open_run(state, event)
            case AttemptStarted():
                if _is_call(state, event):
                    self._start(state, event)
            case AttemptSucceeded() | AttemptFailed() | AttemptUnknown():
                return (self._end(state, event),) if _is_call(state, event) else ()
            case RunEnded():
                return (self._close_run(state, event),)
            case _:
                pass
        return ()

    def _open_run(self, state: RunState, event: RunStarted) -> None:
        run = self._run(state)
        if self._features is None:
            return
        try:
            run.features = self._features.features(state.saga, run.context, event.at)
        except HistoryAhead:
            run.features = {}
        self._features.observe(RunOpened(at=event.at, run_id=event.run_id, saga=state.saga.name))

    def _run(self, state: RunState) -> _OpenRun:
        run = self._runs.get(state.started.run_id)
        if run is None:
            if len(self._runs) >= RUNS_MAX:
                self._forget(next(iter(self._runs)))
            run = self._runs[state.started.run_id] = _OpenRun(scalars(state.started.context))
        return run

    def _start(self, state: RunState, event: AttemptStarted) -> None:
        run = self._run(state)
        step = state.saga.by_name[event.step]
        place = (event.step, event.direction)
        run.starts[place] = _Start(
            service=step.service,
            at=event.at,
            scheduled_at=run.due.pop(place, event.at),
            steps_done=sum(other.phase is StepPhase.SUCCEEDED for other in state.steps.values()),
            in_flight=self._in_flight.get(step.service, 0),
        )
        self._in_flight[step.service] = self._in_flight.get(step.service, 0) + 1
        if self._features is not None:
            self._features.observe(
                CallStarted(
                    at=event.at,
                    run_id=state.started.run_id,
                    saga=state.saga.name,
                    step=event.step,
                    service=step.service,
                    direction=event.direction,
                    attempt=event.attempt,
                )
            )

    def _end(self, state: RunState, event: Ending) -> AttemptRow:
        run = self._run(state)
        place = (event.step, event.direction)
        start = run.starts.pop(place, None)
        if start is not None:
            self._call_over(start.service)
        reached = state.steps[event.step]
        if reached.due_at is not None:
            run.due[place] = reached.due_at
        row = _attempt_row(state, event, start, run)
        if self._features is not None:
            self._features.observe(call_ended(row, event.at))
        return row

    def _close_run(self, state: RunState, event: RunEnded) -> RunRow:
        run = self._run(state)
        self._forget(state.started.run_id)
        if self._features is not None:
            self._features.observe(
                RunClosed(at=event.at, run_id=state.started.run_id, saga=state.saga.name, status=event.status)
            )
        return _run_row(state, event, run.context)

    def _forget(self, run_id: str) -> None:
        run = self._runs.pop(run_id)
        for start in run.starts.values():
            self._call_over(start.service)

    def _call_over(self, service: str) -> None:
        left = self._in_flight[service] - 1
        if left:
            self._in_flight[service] = left
        else:
            del self._in_flight[service]


def _is_call(state: RunState, event: AttemptStarted | Ending) -> bool:
    """Whether a service did, or undid, a step's work: not a probe, a person's approval or an inner saga."""
    step = state.saga.by_name[event.step]
    return event.direction is not Direction.PROBE and step.approval is None and step.sub_saga is None


def scalars(context: Mapping[str, Any]) -> ContextValues:
    """The context without values that are no text, truth value or finite number.

    >>> scalars({"season": "high", "party": 3, "share": float("nan")})
    {'season': 'high', 'party': 3}
    """
    return {
        key: value
        for key, value in context.items()
        if isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value))
    }


def _attempt_row(state: RunState, event: Ending, start: _Start | None, run: _OpenRun) -> AttemptRow:
    step, started = state.saga.by_name[event.step], state.started
    if event.direction is Direction.FORWARD:
        numbers: StepPlan | Compensation = state.plan.by_name[event.step]
    else:
        assert step.compensation is not None, "an undo of a step without a compensation was started"
        numbers = step.compensation
    refused = event if isinstance(event, AttemptFailed) else None
    return AttemptRow(
        run_id=started.run_id,
        saga=state.saga.name,
        definition_hash=started.definition_hash,
        step=event.step,
        service=step.service,
        region=step.region,
        kind=step.kind,
        direction=event.direction,
        attempt=event.attempt,
        position=state.steps[event.step].rank,
        steps_done=None if start is None else start.steps_done,
        in_flight=None if start is None else start.in_flight,
        scheduled_at=None if start is None else start.scheduled_at,
        started_at=None if start is None else start.at,
        timeout_s=numbers.start_to_close_timeout_s,
        maximum_attempts=numbers.retry.maximum_attempts,
        ended_at=event.at,
        outcome=_outcome(event),
        error_type="" if refused is None else refused.error_type,
        failure_class=None if refused is None else refused.failure_class,
        launch_at=started.at,
        arm=started.arm,
        propensity=started.propensity,
        fallback=started.fallback,
        advice_id=started.advice_id,
        model_version=started.model_version,
        context=run.context,
        features=run.features.get(event.step, NO_FEATURES),
    )


def _outcome(event: Ending) -> AttemptOutcome:
    match event:
        case AttemptSucceeded():
            return AttemptOutcome.SUCCEEDED
        case AttemptFailed():
            return AttemptOutcome.REFUSED
        case AttemptUnknown():
            return AttemptOutcome.of_unknown(event.reason)


def _run_row(state: RunState, event: RunEnded, context: ContextValues) -> RunRow:
    started = state.started
    cost = state_cost(state)
    return RunRow(
        run_id=started.run_id,
        saga=state.saga.name,
        definition_hash=started.definition_hash,
        launch_at=started.at,
        ended_at=event.at,
        status=event.status,
        reason=event.reason,
        arm=started.arm,
        propensity=started.propensity,
        fallback=started.fallback,
        advice_id=started.advice_id,
        model_version=started.model_version,
        cost=cost.total,
        wasted_cost=cost.wasted,
        latency_s=event.at - started.at,
        context=context,
    )
