"""Runs as Prometheus metrics: counted from what an engine tells its listeners.

`RunMetrics` needs `prometheus-client` (the extra `server`) and writes into the registry it is given, nowhere
else. What is known only to the engine itself is read from it when the registry is asked: see `readings`.
A listener that comes late misses what was before: durations of attempts whose start it did not see are not
guessed, and what is open counts from the moment it is heard of.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sagacity_api.telemetry.attempt_ends import AttemptEnd, Outcome, attempt_end, given_up, is_retry
from sagacity_api.telemetry.extras import require
from sagacity_api.telemetry.label_cap import LabelCap, Place
from sagacity_api.telemetry.open_runs import OpenRuns
from sagacity_engine import Direction, Event, RunState, Status
from sagacity_engine.events import (
    AttemptHedged,
    AttemptStarted,
    CancelRequested,
    DeadlineReached,
    OperatorActed,
    RolledBack,
    RunEnded,
    RunStarted,
)
from sagacity_engine.machine.phases import StepPhase

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

RUNS_MAX = 100_000
"""The most runs whose open attempts are remembered; beyond it the quietest counts as open no longer."""


@dataclass(slots=True)
class _OpenRun:
    """One run that has not ended: its label, and when which attempt of a step was started."""

    saga: str
    attempts: dict[str, tuple[Direction, float]] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)


class RunMetrics:
    """Counts into `registry`. Raises `ExtraMissing` without prometheus-client.

    Labels: the first `sagas_max` sagas and `steps_max` steps that are seen have their own, the rest are
    `other`. One instance serves one engine, whose listeners' thread is the only one that calls it.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        runs_max: int = RUNS_MAX,
        sagas_max: int = 100,
        steps_max: int = 1_000,
    ) -> None:
        require("counting runs", "prometheus_client", "server")
        from sagacity_api.telemetry.instruments import Instruments

        self._of = Instruments(registry)
        self._labels = LabelCap(sagas_max, steps_max)
        self._open: OpenRuns[_OpenRun] = OpenRuns(runs_max)

    def __call__(self, state: RunState, event: Event) -> None:
        """Counts one event."""
        run = self._open.get(state.started.run_id) or self._opened(state)
        if isinstance(event, AttemptStarted):
            self._started(run, state, event)
            return
        if end := attempt_end(event):
            self._ended(run, state, end, event.at)
        else:
            self._count(run, state, event)
        for step in [step for step in run.attempts if given_up(state, step)]:
            self._close(run, step, Outcome.GIVEN_UP, event.at)
        if isinstance(event, RunEnded):
            self._run_ended(run, state, event)

    def _opened(self, state: RunState) -> _OpenRun:
        run = _OpenRun(self._labels.saga(state.saga.name))
        self._of.runs_open.labels(run.saga).inc()
        if evicted := self._open.add(state.started.run_id, run):
            self._let_go(evicted[1])
        return run

    def _let_go(self, run: _OpenRun) -> None:
        self._of.runs_open.labels(run.saga).dec()
        for step, (direction, _) in run.attempts.items():
            self._of.attempts_in_flight.labels(*run.places[step], direction.value).dec()
        run.attempts.clear()

    def _started(self, run: _OpenRun, state: RunState, event: AttemptStarted) -> None:
        place = self._place(run, state, event.step)
        self._close(run, event.step, None, event.at)  # One whose end was never heard of.
        run.attempts[event.step] = (event.direction, event.at)
        self._of.attempts_in_flight.labels(*place, event.direction.value).inc()
        if is_retry(state, event):
            self._of.retries.labels(*place, event.direction.value).inc()

    def _ended(self, run: _OpenRun, state: RunState, end: AttemptEnd, at: float) -> None:
        place, direction = self._place(run, state, end.step), end.direction.value
        self._of.attempts.labels(*place, direction, end.outcome.value, end.failure_class).inc()
        self._close(run, end.step, end.outcome, at)
        if end.timed_out:
            self._of.timeouts.labels(*place, direction).inc()
        if end.direction is Direction.UNDO:
            self._undone(place, state.steps[end.step].phase, end.outcome)

    def _undone(self, place: Place, phase: StepPhase, outcome: Outcome) -> None:
        if outcome is Outcome.SUCCEEDED:
            self._of.undos.labels(*place, "undone").inc()
        elif phase is StepPhase.COMPENSATION_FAILED:
            self._of.undos.labels(*place, "compensation_failed").inc()

    def _close(self, run: _OpenRun, step: str, outcome: Outcome | None, at: float) -> None:
        """Closes a step's open attempt, if its start was seen; without an outcome it has no duration."""
        if (opened := run.attempts.pop(step, None)) is None:
            return
        direction, started_at = opened
        place = run.places[step]
        self._of.attempts_in_flight.labels(*place, direction.value).dec()
        if outcome is not None:
            took_s = max(0.0, at - started_at)
            self._of.attempt_duration.labels(*place, direction.value, outcome.value).observe(took_s)
        if outcome is Outcome.GIVEN_UP:
            self._of.attempts.labels(*place, direction.value, outcome.value, "").inc()

    def _count(self, run: _OpenRun, state: RunState, event: Event) -> None:
        match event:
            case RunStarted():
                self._of.runs_started.labels(run.saga).inc()
            case AttemptHedged():
                self._of.hedges.labels(*self._place(run, state, event.step)).inc()
            case RolledBack():
                self._of.rollbacks.labels(run.saga).inc()
            case DeadlineReached():
                self._of.deadlines.labels(run.saga).inc()
            case CancelRequested():
                self._of.cancels.labels(run.saga).inc()
            case OperatorActed():
                self._of.operator_actions.labels(run.saga, event.action.value).inc()
            case _:
                pass

    def _run_ended(self, run: _OpenRun, state: RunState, event: RunEnded) -> None:
        status = event.status.value
        self._of.runs_ended.labels(run.saga, status).inc()
        self._of.run_duration.labels(run.saga, status).observe(max(0.0, event.at - state.started.at))
        if event.status is Status.NEEDS_ATTENTION:
            place = self._place(run, state, event.step) if event.step else (run.saga, "", "")
            self._of.needs_attention.labels(*place).inc()
        self._open.pop(state.started.run_id)
        self._let_go(run)

    def _place(self, run: _OpenRun, state: RunState, step: str) -> Place:
        place = run.places.get(step)
        if place is None:
            service = state.saga.by_name[step].service
            place = run.places[step] = self._labels.place(state.saga.name, step, service)
        return place
