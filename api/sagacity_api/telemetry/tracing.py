"""Runs as OpenTelemetry traces: saga, step, attempt.

`RunTracer` is a listener of an engine. It needs `opentelemetry-api` alone (the extra `otel`); where the
spans go is decided by the application's tracer provider. What spans are called and carry is in `span_names`;
nothing of a payload is among it. A tracer belongs to one engine: its listeners' thread is the only one that
calls it, except for `breaker_changed`, which any thread may call.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from sagacity_api.telemetry.attempt_ends import attempt_end
from sagacity_api.telemetry.extras import require
from sagacity_api.telemetry.open_runs import OpenRuns
from sagacity_api.telemetry.span_names import Attributes
from sagacity_engine import Direction, Event, RunState
from sagacity_engine.events import (
    AttemptHedged,
    AttemptStarted,
    CancelRequested,
    DeadlineReached,
    LocksAcquired,
    OperatorActed,
    RolledBack,
    RunEnded,
    RunStarted,
    SignalReceived,
)

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext, TracerProvider

    from sagacity_api.telemetry.run_spans import RunSpans

RUNS_MAX = 10_000
"""The most runs with open spans; beyond it the run that has been quiet for longest is let go."""

BREAKER_CHANGES_MAX = 1_000
"""The most changes of breakers that wait for the next event; beyond it the oldest is forgotten."""


class RunTracer:
    """Turns what an engine tells its listeners into spans of `provider`, by default the global one.

    Raises `ExtraMissing` without OpenTelemetry's API. `close` ends what is still open, so that it is
    exported; a run that is heard of again afterwards gets spans from there, linked to the earlier ones. A run
    whose start was not seen, because another process began it, is linked to the trace its calls are made in.
    """

    def __init__(self, provider: TracerProvider | None = None, *, runs_max: int = RUNS_MAX) -> None:
        require("tracing", "opentelemetry.trace", "otel")
        from opentelemetry.trace import get_tracer

        from sagacity_api.telemetry.run_spans import RunSpans
        from sagacity_api.telemetry.step_spans import called_within, place_of

        self._spans = RunSpans
        self._place_of = place_of
        self._called_within = called_within
        self._tracer = get_tracer("sagacity", tracer_provider=provider)
        self._open: OpenRuns[RunSpans] = OpenRuns(runs_max)
        self._former: OrderedDict[str, SpanContext] = OrderedDict()  # Of runs no longer followed.
        self._runs_max = runs_max
        self._breakers: deque[tuple[str, str, float]] = deque(maxlen=BREAKER_CHANGES_MAX)

    def __call__(self, state: RunState, event: Event) -> None:
        """Notes one event."""
        self._note_breakers()
        run_id = state.started.run_id
        spans = self._open.get(run_id) or self._begin(state, event)
        if isinstance(event, RunEnded):
            self._open.pop(run_id)
            spans.end(state, event)
            self._forget(run_id, spans)
            return
        if isinstance(event, AttemptStarted):
            spans.started(state, event)
            return
        if end := attempt_end(event):
            spans.ended(state, end, event.at)
        else:
            _note(spans, state, event)
        spans.settle(state, event)

    def breaker_changed(self, service: str, condition: str, at: float) -> None:
        """Tells of a breaker's new state, to be noted at the open steps of the service; never waits."""
        self._breakers.append((service, condition, at))

    def close(self) -> None:
        """Ends every open span at the latest time that was heard of its run."""
        self._note_breakers()
        for run_id, spans in self._open.drain():
            spans.leave()
            self._forget(run_id, spans)

    @property
    def open_runs(self) -> int:
        """How many runs have open spans."""
        return len(self._open)

    def _begin(self, state: RunState, event: Event) -> RunSpans:
        run_id = state.started.run_id
        seen = isinstance(event, RunStarted)
        earlier = None if seen else self._earlier(state)
        parent = self._parent(state)
        spans = self._spans(self._tracer, state, event.at, parent, resumed=not seen, earlier=earlier)
        if evicted := self._open.add(run_id, spans):
            evicted[1].leave()
            self._forget(*evicted)
        return spans

    def _parent(self, state: RunState) -> Context:
        """Inside the attempt of the run of which this one is a step, else where the caller said."""
        run = state.started
        outer = self._open.get(run.parent) if run.parent else None
        if outer is None:
            return self._place_of(run.traceparent)
        return outer.inside(run.run_id.removeprefix(run.parent + "/").rpartition("/")[0])

    def _earlier(self, state: RunState) -> SpanContext:
        former = self._former.pop(state.started.run_id, None)
        return former or self._called_within(state, "", Direction.FORWARD, 0)

    def _forget(self, run_id: str, spans: RunSpans) -> None:
        self._former.pop(run_id, None)
        self._former[run_id] = spans.context
        if len(self._former) > self._runs_max:
            self._former.popitem(last=False)

    def _note_breakers(self) -> None:
        while self._breakers:
            service, condition, at = self._breakers.popleft()
            for spans in self._open.values():
                spans.note_breaker(service, condition, at)


def _note(spans: RunSpans, state: RunState, event: Event) -> None:
    match event:
        case AttemptHedged():
            spans.hedged(state, event)
        case LocksAcquired():
            spans.note("locks_acquired", event.at, {})
        case DeadlineReached():
            spans.note("deadline", event.at, {})
        case CancelRequested():
            spans.note("cancel", event.at, {})
        case SignalReceived():
            answered: Attributes = {"sagacity.signal": event.name, "sagacity.approved": event.approve}
            spans.note("signal", event.at, answered)
        case OperatorActed():
            acted: Attributes = {"sagacity.action": event.action.value}
            if event.step:
                acted["sagacity.step"] = event.step
            spans.note("operator", event.at, acted)
        case RolledBack():
            spans.note("rolled_back", event.at, {"sagacity.savepoint": event.savepoint})
        case _:
            pass
