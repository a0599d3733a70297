"""The open spans of one spell: the time in which a step is carried out, or taken back, and its attempts.

Retries and probes belong to the spell they are made in; a step that runs again after a rollback has another
one. Spans start and end at the times of the events, not at the times when we hear of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sagacity_api.telemetry.attempt_ends import AttemptEnd, Outcome
from sagacity_api.telemetry.span_names import ATTEMPTS, CALL, COMPENSATION, STEP, of_step
from sagacity_engine import Direction, RunState
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.trace_context import child

_GOES_ON = {
    False: (
        StepPhase.RUNNING,
        StepPhase.AWAITING,
        StepPhase.BACKING_OFF,
        StepPhase.DOUBTFUL,
        StepPhase.PROBING,
    ),
    True: (StepPhase.UNDOING, StepPhase.UNDO_BACKING_OFF),
}
"""In which phases a spell lasts; True for a compensation."""

_ENDS = {
    False: (StepPhase.SUCCEEDED, StepPhase.FAILED, StepPhase.UNCERTAIN, StepPhase.SKIPPED),
    True: (StepPhase.UNDONE, StepPhase.COMPENSATION_FAILED),
}
_WELL = ("succeeded", "skipped", "undone", "happened", "did_not_happen")


class StepSpans:
    """One spell of a step, `backward` for its compensation; at most one attempt of it is open."""

    def __init__(
        self, tracer: Tracer, state: RunState, step: str, at: float, within: Span, *, backward: bool
    ) -> None:
        direction = Direction.UNDO if backward else Direction.FORWARD
        self.step = step
        self.backward = backward
        self.open: tuple[Direction, int] | None = None  # The attempt in flight.
        self._tracer = tracer
        self._attempt: Span | None = None
        self._last = Outcome.GIVEN_UP.value  # How the latest attempt ended.
        self._span = tracer.start_span(
            (COMPENSATION if backward else STEP).format(step),
            context=below(within),
            kind=SpanKind.INTERNAL,
            attributes=of_step(state, step, direction),
            start_time=time_ns(at),
        )

    @property
    def innermost(self) -> Span:
        """The open attempt's span, or the spell's own."""
        return self._attempt or self._span

    def lasts(self, state: RunState) -> bool:
        """Whether more is to come in this spell."""
        return self.open is not None or state.steps[self.step].phase in _GOES_ON[self.backward]

    def begin(self, state: RunState, direction: Direction, attempt: int, at: float, *, unseen: bool) -> None:
        """Opens the span of an attempt; `unseen` says that it had been started before we heard of it."""
        attributes = of_step(state, self.step, direction) | {"sagacity.attempt": attempt}
        if unseen:
            attributes["sagacity.start_unseen"] = True
        self._attempt = self._tracer.start_span(
            ATTEMPTS[direction].format(self.step),
            context=below(self._span),
            kind=_kind(state, self.step),
            attributes=attributes,
            links=links(CALL, called_within(state, self.step, direction, attempt)),
            start_time=time_ns(at),
        )
        self.open = (direction, attempt)

    def note(self, name: str, at: float, attributes: dict[str, str]) -> None:
        """Adds an event to the innermost span."""
        self.innermost.add_event(name, attributes, time_ns(at))

    def end_attempt(self, end: AttemptEnd, at: float) -> None:
        """Ends the open attempt's span."""
        if self._attempt is None:
            return
        if end.failure_class:
            self._attempt.set_attribute("sagacity.failure_class", end.failure_class)
        if end.error_type:
            self._attempt.set_attribute("error.type", end.error_type)
        _end(self._attempt, end.outcome.value, at)
        self._attempt, self.open, self._last = None, None, end.outcome.value

    def end(self, state: RunState, at: float) -> None:
        """Ends the spell with the phase in which it leaves its step."""
        phase = state.steps[self.step].phase
        _end(self._span, phase.value.replace(" ", "_") if phase in _ENDS[self.backward] else self._last, at)

    def leave(self, at: float) -> None:
        """Ends the spans without an outcome: nobody follows the run any longer."""
        if self._attempt is not None:
            self._attempt.end(time_ns(at))
        self._span.end(time_ns(at))


def time_ns(at: float) -> int:
    """Seconds since the epoch as whole nanoseconds, exact to the microsecond that a float still tells."""
    return round(at * 1e6) * 1000


def below(span: Span) -> Context:
    """The context in which a span's children start."""
    return set_span_in_context(span, Context())


def links(kind: str, context: SpanContext | None) -> Sequence[Link]:
    """One link that says what it leads to, or none."""
    return () if context is None or not context.is_valid else (Link(context, {"sagacity.link": kind}),)


def place_of(traceparent: str) -> Context:
    """The caller's place in a trace; an empty context when none was given, or one that nobody can read."""
    if not traceparent:
        return Context()
    return TraceContextTextMapPropagator().extract({"traceparent": traceparent}, context=Context())


def called_within(state: RunState, step: str, direction: Direction, attempt: int) -> SpanContext:
    """The place in a trace that a call is given, and below which its participant's spans are."""
    run = state.started
    given = child(run.traceparent, run.run_id, step, direction, attempt)
    return get_current_span(place_of(given)).get_span_context()


def _kind(state: RunState, step: str) -> SpanKind:
    declared = state.saga.by_name[step]
    return SpanKind.CLIENT if declared.approval is None and declared.sub_saga is None else SpanKind.INTERNAL


def _end(span: Span, outcome: str, at: float) -> None:
    span.set_attribute("sagacity.outcome", outcome)
    if outcome not in _WELL:
        span.set_status(Status(StatusCode.ERROR, outcome))
    span.end(time_ns(at))
