"""Runs as traces: what the spans of every story look like, whole, and at odd moments."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from sagacity_api.telemetry import RunTracer
from sagacity_api.telemetry.span_names import ATTRIBUTES, SPAN_EVENTS, SPANS
from sagacity_engine import Direction, Event, RunState, SagaRefused
from sagacity_engine.events import AttemptHedged, AttemptStarted, AttemptUnknown, RunEnded, UnknownReason
from sagacity_engine.machine.machine import apply
from sagacity_engine.trace_context import child

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Balance(SpanProcessor):
    """How many spans are open."""

    open = 0

    def on_start(self, span: object, parent_context: object = None) -> None:
        self.open += 1

    def on_end(self, span: ReadableSpan) -> None:
        self.open -= 1


class Traced:
    """A tracer and what it exports."""

    def __init__(self, **settings: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.balance = Balance()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.provider.add_span_processor(self.balance)
        self.tracer = RunTracer(self.provider, **settings)

    @property
    def spans(self) -> list[ReadableSpan]:
        return sorted(self.exporter.get_finished_spans(), key=lambda span: (span.start_time, span_id(span)))

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def only(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


@pytest.fixture
def traced() -> Iterator[Callable[..., Traced]]:
    made: list[Traced] = []

    def make(**settings: Any) -> Traced:
        made.append(Traced(**settings))
        return made[-1]

    yield make
    for each in made:
        each.provider.shutdown()


def span_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def trace_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.trace_id)


def of(span: ReadableSpan, name: str) -> Any:
    return (span.attributes or {}).get(name)


def below(span: ReadableSpan, spans: list[ReadableSpan]) -> list[str]:
    return [each.name for each in spans if each.parent is not None and each.parent.span_id == span_id(span)]


def links(span: ReadableSpan, kind: str) -> list[tuple[int, int]]:
    return [
        (link.context.trace_id, link.context.span_id)
        for link in span.links
        if (link.attributes or {}).get("sagacity.link") == kind
    ]


def test_every_run_is_whole(story: Any, play: Any, traced: Any) -> None:
    """In every story all spans end, each within its parent and its trace; each attempt has one."""
    watched = traced()
    told = play(story, listener=watched.tracer)
    by_id = {span_id(span): span for span in watched.spans}
    assert (watched.tracer.open_runs, watched.balance.open) == (0, 0)
    for span in watched.spans:
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.start_time <= span.end_time
        if span.parent is not None:
            parent = by_id[span.parent.span_id]
            assert trace_id(parent) == trace_id(span)
            assert parent.start_time is not None
            assert parent.end_time is not None
            assert parent.start_time <= span.start_time
            assert span.end_time <= parent.end_time
    starts = [event for _, event in told if isinstance(event, AttemptStarted)]
    attempts = [span for span in watched.spans if of(span, "sagacity.attempt") is not None]
    key = {(of(s, "sagacity.step"), of(s, "sagacity.direction"), of(s, "sagacity.attempt")) for s in attempts}
    assert len(attempts) == len(starts)
    assert key == {(event.step, event.direction.value, event.attempt) for event in starts}
    ends = [event for _, event in told if isinstance(event, RunEnded)]
    statuses = [of(span, "sagacity.status") for span in watched.spans if span.name.startswith("saga ")]
    assert sorted(statuses) == sorted(event.status.value for event in ends)


def test_nothing_is_named_otherwise(story: Any, play: Any, traced: Any) -> None:
    """Names, attributes, events and links of spans are those of the vocabulary."""
    watched = traced()
    play(story, listener=watched.tracer)
    prefixes = tuple(name.format("") for name in SPANS)
    for span in watched.spans:
        assert span.name.startswith(prefixes)
        assert set(span.attributes or {}) <= set(ATTRIBUTES)
        assert {event.name for event in span.events} <= set(SPAN_EVENTS)
        for held in (*span.events, *span.links):
            assert set(held.attributes or {}) <= set(ATTRIBUTES)


def test_the_whole_vocabulary_is_used(stories: dict[str, Any], play: Any, traced: Any) -> None:
    """Every name, attribute and event appears in some story, breakers and recovery aside."""
    watched = traced()
    for story in stories.values():
        play(story, listener=watched.tracer)
    names = {span.name.split(" ")[0] for span in watched.spans}
    events = {event.name for span in watched.spans for event in span.events}
    held = {key for span in watched.spans for key in span.attributes or {}}
    held |= {
        key for span in watched.spans for each in (*span.events, *span.links) for key in each.attributes or {}
    }
    assert names == {name.split(" ")[0] for name in SPANS}
    assert events == set(SPAN_EVENTS) - {"breaker"}
    unused = {"sagacity.advice_id", "sagacity.model_version"}  # Of a run with advice.
    unused |= {"sagacity.breaker_state", "sagacity.start_unseen"}
    assert held == set(ATTRIBUTES) - unused


def test_a_run_that_turned_back(stories: dict[str, Any], play: Any, traced: Any) -> None:
    """A refused step and its undone forerunner: attempts, outcomes, classes, errors, exact times."""
    watched = traced()
    play(stories["compensated"], listener=watched.tracer)
    root = watched.only("saga trip")
    assert below(root, watched.spans) == ["step book", "step hotel", "compensation book"]
    assert below(watched.only("compensation book"), watched.spans) == ["undo book"] * 3
    assert (root.status.status_code, root.status.description) == (StatusCode.ERROR, "COMPENSATED")
    assert of(root, "sagacity.saga_version") == "7"
    assert len(of(root, "sagacity.definition_hash")) == 64
    hotel = watched.only("attempt hotel")
    assert of(hotel, "sagacity.failure_class") == "permanent"
    assert of(hotel, "error.type") == "SoldOut"
    assert (hotel.status.status_code, hotel.status.description) == (StatusCode.ERROR, "failed")
    assert hotel.start_time == 1_790_000_001_000_000_000
    assert hotel.end_time == 1_790_000_003_000_000_000
    undos = watched.named("undo book")
    assert [of(span, "sagacity.outcome") for span in undos] == ["failed", "unknown", "succeeded"]
    assert [of(span, "error.type") for span in undos] == ["Busy", "lost_reply", None]
    assert of(watched.only("compensation book"), "sagacity.outcome") == "undone"
    assert watched.only("compensation book").status.status_code is StatusCode.UNSET


def test_retries_and_probes_share_a_spell(stories: dict[str, Any], play: Any, traced: Any) -> None:
    """The attempts and probes of one step are children of one span, which ends as the step does."""
    watched = traced()
    play(stories["probed"], listener=watched.tracer)
    spell = watched.only("step book")
    assert below(spell, watched.spans) == ["attempt book", "probe book", "probe book"]
    answers = [of(span, "sagacity.outcome") for span in watched.named("probe book")]
    assert answers == ["cannot_tell", "happened"]
    assert of(spell, "sagacity.outcome") == "succeeded"
    assert spell.end_time == watched.named("probe book")[-1].end_time


@pytest.mark.parametrize(
    ("name", "outcomes"),
    [
        ("approved", ("succeeded", "succeeded")),
        ("expired", ("failed", "failed")),
        ("cancelled while waiting", ("given_up", "failed")),
        ("skipped while waiting", ("given_up", "skipped")),
    ],
)
def test_an_approval_ends_with_its_wait(
    name: str, outcomes: tuple[str, str], stories: dict[str, Any], play: Any, traced: Any
) -> None:
    """The wait for an approval is an attempt that ends when it is answered, expires or is given up."""
    watched = traced()
    play(stories[name], listener=watched.tracer)
    spans = [watched.only(name) for name in ("attempt ask", "step ask")]
    assert tuple(of(span, "sagacity.outcome") for span in spans) == outcomes
    waited_s = 60 if name == "expired" else 5
    assert {span.end_time for span in spans} == {(1_790_000_000 + waited_s) * 1_000_000_000}


def test_an_inner_saga_is_inside_its_attempt(stories: dict[str, Any], play: Any, traced: Any) -> None:
    """A sub-saga's run is a child of the attempt that runs it; taken back, of the undo, linked to before."""
    watched = traced()
    play(stories["inner saga taken back"], listener=watched.tracer)
    done, undone = watched.named("saga inner")
    assert below(watched.only("attempt halves"), watched.spans) == ["saga inner"]
    assert below(watched.only("undo halves"), watched.spans) == ["saga inner"]
    assert of(done, "sagacity.parent_run") == "r"
    assert links(undone, "resumes") == [(trace_id(done), span_id(done))]


def test_a_reopened_run_is_linked(stories: dict[str, Any], play: Any, traced: Any) -> None:
    """A run that a person re-opens gets a new span for the saga, linked to the one that had ended."""
    watched = traced()
    play(stories["resolved by a person"], listener=watched.tracer)
    first, second = watched.named("saga trip")
    assert [of(first, "sagacity.status"), of(second, "sagacity.status")] == ["NEEDS_ATTENTION", "COMPENSATED"]
    assert (of(first, "sagacity.resumed"), of(second, "sagacity.resumed")) == (None, True)
    assert links(second, "resumes") == [(trace_id(first), span_id(first))]
    (acted,) = second.events
    assert dict(acted.attributes or {}) == {"sagacity.action": "resolve", "sagacity.step": "book"}


def test_what_happens_to_the_run_is_noted(stories: dict[str, Any], play: Any, traced: Any) -> None:
    """Deadlines, rollbacks and hedges are events of the spans they concern."""
    watched = traced()
    for name in ("deadline", "rolled back to a savepoint", "hedged"):
        play(stories[name], listener=watched.tracer)
    noted = {(span.name, event.name) for span in watched.spans for event in span.events}
    assert noted == {("saga trip", "deadline"), ("saga trip", "rolled_back"), ("attempt book", "hedged")}


def test_a_savepoint_gives_steps_new_spells(stories: dict[str, Any], play: Any, traced: Any) -> None:
    """A step that runs again after a rollback has one span for each time, and its undo between them."""
    watched = traced()
    play(stories["rolled back to a savepoint"], listener=watched.tracer)
    assert below(watched.only("saga trip"), watched.spans) == [
        "step book",
        "step cab",
        "step hotel",
        "compensation cab",
        "step cab",
        "step hotel",
    ]


def told_of(story: Any, play: Any, traceparent: str = "") -> list[tuple[RunState, Event]]:
    """What a listener is told of the story's run when its caller had a place in a trace."""

    def placed(state: RunState, event: Event) -> tuple[RunState, Event]:
        state = state.copy()
        state.started = replace(state.started, traceparent=traceparent)
        return state, event

    return [placed(*each) for each in play(story, listener=lambda *_: None)]


def test_the_callers_trace_goes_on(stories: dict[str, Any], play: Any, traced: Any) -> None:
    """With a traceparent the saga's span is the caller's child; each call's own place is linked."""
    watched = traced()
    for state, event in told_of(stories["completed"], play, PARENT):
        watched.tracer(state, event)
    root = watched.only("saga trip")
    assert root.parent is not None
    assert (f"{root.parent.trace_id:032x}", f"{root.parent.span_id:016x}") == tuple(PARENT.split("-")[1:3])
    second = watched.named("attempt book")[1]
    given = child(PARENT, "r", "book", Direction.FORWARD, 2).split("-")
    assert links(second, "call") == [(int(given[1], 16), int(given[2], 16))]


@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-0-0-01", f"00-{'0' * 32}-{'0' * 16}-01"])
def test_no_usable_trace_of_a_caller(
    traceparent: str, stories: dict[str, Any], play: Any, traced: Any
) -> None:
    """Without a usable traceparent the run's trace is its own, whatever span is current in our thread."""
    watched = traced()
    with watched.provider.get_tracer("someone").start_as_current_span("not ours"):
        for state, event in told_of(stories["completed"], play, traceparent):
            watched.tracer(state, event)
    assert watched.only("saga trip").parent is None


def test_a_recovered_run_is_seen_from_its_crash(stories: dict[str, Any], play: Any, traced: Any) -> None:
    """A run begun in another process gets spans from where it is seen, linked to the trace of its calls."""
    told = play(stories["completed"], listener=lambda *_: None)
    before = next(state for state, event in told if isinstance(event, AttemptStarted))
    lost = AttemptUnknown(
        at=before.started.at + 60,
        step="book",
        direction=Direction.FORWARD,
        attempt=1,
        reason=UnknownReason.CRASHED,
    )
    watched = traced()
    watched.tracer(apply(before, lost), lost)
    watched.tracer.close()
    root, spell, attempt = (watched.only(name) for name in ("saga trip", "step book", "attempt book"))
    assert of(root, "sagacity.resumed") is True
    assert of(attempt, "sagacity.start_unseen") is True
    assert of(attempt, "error.type") == "crashed"
    assert attempt.start_time == attempt.end_time == spell.start_time == root.start_time
    assert [trace for trace, _ in links(root, "resumes")] == [trace for trace, _ in links(attempt, "call")]


def test_closing_ends_what_is_open(stories: dict[str, Any], play: Any, traced: Any) -> None:
    """After `close` every span is exported; what comes later is linked to what was before."""
    told = play(stories["completed"], listener=lambda *_: None)
    watched = traced()
    for state, event in told[:3]:
        watched.tracer(state, event)
    watched.tracer.close()
    first = watched.only("saga trip")
    assert of(first, "sagacity.status") is None
    assert first.end_time == watched.only("attempt book").end_time == 1_790_000_000_500_000_000
    assert watched.tracer.open_runs == 0
    for state, event in told[3:]:
        watched.tracer(state, event)
    second = watched.named("saga trip")[1]
    assert of(second, "sagacity.status") == "COMPLETED"
    assert second.status.status_code is StatusCode.UNSET
    assert links(second, "resumes") == [(trace_id(first), span_id(first))]


def test_memory_is_bounded(stories: dict[str, Any], play: Any, traced: Any) -> None:
    """Of more runs than the limit the quietest is let go, its spans are ended, and it may come back."""
    watched = traced(runs_max=3)
    many = [replace(stories["completed"], run_id=f"r{number}") for number in range(10)]
    play(*many, listener=watched.tracer)
    assert watched.tracer.open_runs <= 3
    watched.tracer.close()
    assert watched.balance.open == 0
    sagas = watched.named("saga trip")
    assert {of(span, "sagacity.run_id") for span in sagas} == {story.run_id for story in many}
    assert len(sagas) > 10
    by_id = {span_id(span) for span in watched.spans}
    assert all(span.parent is None or span.parent.span_id in by_id for span in watched.spans)


@pytest.mark.parametrize("runs_max", [0, -1])
def test_a_senseless_limit_is_refused(runs_max: int, traced: Any) -> None:
    """A limit below one names itself."""
    with pytest.raises(SagaRefused, match=f"runs_max is {runs_max}; it must be at least 1"):
        traced(runs_max=runs_max)


def test_dropped_events_leave_no_span_open(story: Any, play: Any, traced: Any) -> None:
    """Whichever event of a story is missing, every span ends and nothing raises."""
    told = play(story, listener=lambda *_: None)
    for missing in range(len(told)):
        watched = traced()
        for place, (state, event) in enumerate(told):
            if place != missing:
                watched.tracer(state, event)
        watched.tracer.close()
        assert watched.balance.open == 0
        spells = {span_id(span): span.name.split(" ")[0] for span in watched.spans}
        for span in watched.spans:
            if span.parent is not None and of(span, "sagacity.attempt") is not None:
                undo = of(span, "sagacity.direction") == "undo"
                assert spells[span.parent.span_id] == ("compensation" if undo else "step")


def test_an_end_told_twice_makes_no_second_span(stories: dict[str, Any], play: Any, traced: Any) -> None:
    """An outcome or a hedge of an attempt that is over is passed over."""
    told = play(stories["timed out"], listener=lambda *_: None)
    watched = traced()
    for state, event in told[:-1]:
        watched.tracer(state, event)
        if isinstance(event, AttemptUnknown):
            watched.tracer(state, event)
            watched.tracer(state, AttemptHedged(at=event.at, step=event.step, attempt=event.attempt))
    watched.tracer.close()
    assert [of(span, "sagacity.attempt") for span in watched.named("attempt book")] == [1, 2]


def test_a_breaker_is_noted_where_it_matters(stories: dict[str, Any], play: Any, traced: Any) -> None:
    """The change of a breaker is an event of the open step spans of its service, and of no others."""
    told = play(stories["completed"], listener=lambda *_: None)
    watched = traced()
    for place, (state, event) in enumerate(told):
        watched.tracer(state, event)
        if place == 2:  # An attempt at the airline is over; it will be tried again.
            watched.tracer.breaker_changed("airline", "open", event.at)
            watched.tracer.breaker_changed("resort", "open", event.at)
    noted = [(span.name, event) for span in watched.spans for event in span.events]
    assert [(name, event.name) for name, event in noted] == [("step book", "breaker")]
    assert dict(noted[0][1].attributes or {}) == {
        "sagacity.service": "airline",
        "sagacity.breaker_state": "open",
    }


def test_the_global_provider_is_the_default(stories: dict[str, Any], play: Any) -> None:
    """Without a provider the application's is used; where there is none, nothing happens."""
    tracer = RunTracer()
    play(stories["completed"], listener=tracer)
    assert tracer.open_runs == 0
