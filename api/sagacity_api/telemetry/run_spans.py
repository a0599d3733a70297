"""The open spans of one run: the saga's, and below it one spell for each step that is under way.

An attempt whose start was not seen gets a span from where it is seen. An attempt whose end was told once is
over, whatever comes later.
"""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, Tracer

from sagacity_api.telemetry.attempt_ends import AttemptEnd, Outcome, given_up
from sagacity_api.telemetry.span_names import RESUMES, SAGA, Attributes, of_run
from sagacity_api.telemetry.step_spans import StepSpans, below, links, time_ns
from sagacity_engine import Direction, Event, RunState
from sagacity_engine import Status as RunStatus
from sagacity_engine.events import AttemptHedged, AttemptStarted, RunEnded


class RunSpans:
    """One run's open spans, from the event that is first seen until `end` or `leave`.

    `parent` is the context in which the saga's span starts. A run that is `resumed` is linked to a place of
    its earlier part, where one is known.
    """

    def __init__(
        self,
        tracer: Tracer,
        state: RunState,
        at: float,
        parent: Context,
        *,
        resumed: bool = False,
        earlier: SpanContext | None = None,
    ) -> None:
        self._tracer = tracer
        self._saga = state.saga
        self._last_at = at
        self._spells: dict[str, StepSpans] = {}  # By step.
        self._seen: dict[tuple[str, Direction], int] = {}  # The latest attempt that was heard of.
        self._root = tracer.start_span(
            SAGA.format(state.saga.name),
            context=parent,
            kind=SpanKind.INTERNAL,
            attributes=of_run(state) | ({"sagacity.resumed": True} if resumed else {}),
            links=links(RESUMES, earlier),
            start_time=time_ns(at),
        )

    @property
    def context(self) -> SpanContext:
        """The saga's span, for whoever links to it later."""
        return self._root.get_span_context()

    def inside(self, step: str) -> Context:
        """The context of whatever happens inside a step's attempt."""
        spell = self._spells.get(step)
        return below(self._root if spell is None else spell.innermost)

    def note(self, name: str, at: float, attributes: Attributes) -> None:
        """Adds an event to the saga's span."""
        self._root.add_event(name, attributes, time_ns(at))

    def note_breaker(self, service: str, condition: str, at: float) -> None:
        """Adds the change of a service's breaker to the open spells of its steps."""
        changed = {"sagacity.service": service, "sagacity.breaker_state": condition}
        for step, spell in self._spells.items():
            if self._saga.by_name[step].service == service:
                spell.note("breaker", at, changed)

    def started(self, state: RunState, event: AttemptStarted) -> None:
        """Opens the attempt's span, and its spell's if it is the first."""
        self._begin(state, event.step, event.direction, event.attempt, event.at)

    def hedged(self, state: RunState, event: AttemptHedged) -> None:
        """Notes that a second call was made beside the first."""
        spell = self._spell_of(state, event.step, Direction.FORWARD, event.attempt, event.at)
        if spell is not None:
            spell.note("hedged", event.at, {})

    def ended(self, state: RunState, end: AttemptEnd, at: float) -> None:
        """Ends the attempt's span."""
        spell = self._spell_of(state, end.step, end.direction, end.attempt, at)
        if spell is not None:
            spell.end_attempt(end, at)

    def settle(self, state: RunState, event: Event) -> None:
        """Ends what the event, being no attempt's start, has brought to an end besides."""
        self._last_at = max(self._last_at, event.at)
        for step, spell in list(self._spells.items()):
            if spell.open is not None and given_up(state, step):
                self._give_up(spell, event.at)
            if not spell.lasts(state):
                self._spells.pop(step).end(state, event.at)

    def end(self, state: RunState, event: RunEnded) -> None:
        """Ends everything with the run."""
        for spell in self._spells.values():
            self._give_up(spell, event.at)
            spell.end(state, event.at)
        self._spells.clear()
        self._root.set_attribute("sagacity.status", event.status.value)
        if event.step:
            self._root.set_attribute("sagacity.step", event.step)
        if event.status is not RunStatus.COMPLETED:
            self._root.set_status(Status(StatusCode.ERROR, event.status.value))
        self._root.end(time_ns(event.at))

    def leave(self) -> None:
        """Ends everything at the latest time heard of, as nobody follows the run any longer."""
        for spell in self._spells.values():
            spell.leave(self._last_at)
        self._spells.clear()
        self._root.end(time_ns(self._last_at))

    def _spell_of(
        self, state: RunState, step: str, direction: Direction, attempt: int, at: float
    ) -> StepSpans | None:
        """The spell in which this attempt is open; None when it is known to have ended before."""
        spell = self._spells.get(step)
        if spell is not None and spell.open == (direction, attempt):
            return spell
        if self._seen.get((step, direction), 0) >= attempt:
            return None
        return self._begin(state, step, direction, attempt, at, unseen=True)

    def _begin(
        self,
        state: RunState,
        step: str,
        direction: Direction,
        attempt: int,
        at: float,
        *,
        unseen: bool = False,
    ) -> StepSpans:
        backward = direction is Direction.UNDO
        spell = self._spells.get(step)
        if spell is not None:
            self._give_up(spell, at)  # An attempt whose end was never heard of.
            if spell.backward is not backward:
                spell.end(state, at)
                spell = None
        if spell is None:
            spell = StepSpans(self._tracer, state, step, at, self._root, backward=backward)
            self._spells[step] = spell
        spell.begin(state, direction, attempt, at, unseen=unseen)
        self._seen[step, direction] = attempt
        self._last_at = max(self._last_at, at)
        return spell

    def _give_up(self, spell: StepSpans, at: float) -> None:
        if spell.open is not None:
            spell.end_attempt(AttemptEnd(spell.step, *spell.open, Outcome.GIVEN_UP), at)
