"""All three listeners on the real engine, with a service that answers and with one that does not."""

import asyncio
import socket
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from sagacity_api.telemetry import EventPoster, Fate, PostPolicy, Readings, RunMetrics, RunTracer
from sagacity_engine import Call, Engine, FailureClass, MemoryJournal, SagaBuilder, Status, StepError, define

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def trip() -> SagaBuilder:
    saga = define("trip")

    @saga.step(service="airline")
    def book(call: Call) -> dict[str, Any]:
        return {"traceparent": call.traceparent}

    @book.compensation()
    def cancel(call: Call) -> None:
        return None

    @saga.step(service="resort", after=["book"], kind="read_only")
    def look(call: Call) -> None:
        if call.input["full"]:
            raise StepError("Full", "nothing is free", FailureClass.PERMANENT)

    return saga


def test_a_watched_engine(trip: SagaBuilder) -> None:
    """With a dead service behind the poster, runs end as they would; spans and metrics tell of all."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    exporter, registry, journal = InMemorySpanExporter(), CollectorRegistry(), MemoryJournal()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    poster = EventPoster(url, policy=PostPolicy(linger_s=0.01, tries_max=1))
    engine = Engine(journal, [trip.bind()], listeners=[RunTracer(provider), RunMetrics(registry), poster])
    Readings(registry, engine=engine, journal=journal, poster=poster)

    async def scenario() -> list[Status]:
        async with engine:
            runs = [engine.run("trip", {"full": full}, traceparent=PARENT) for full in (False, True)]
            return [(await run).status for run in runs]

    with poster:
        assert asyncio.run(scenario()) == [Status.COMPLETED, Status.COMPENSATED]
    provider.shutdown()

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"sagacity_{name}", labels)

    assert value("runs_ended_total", saga="trip", status="COMPLETED") == 1
    assert value("runs_ended_total", saga="trip", status="COMPENSATED") == 1
    assert value("runs_open", saga="trip") == value("listener_failures_total") == 0
    assert value("listener_dropped_events_total") == value("readings_failed_total") == 0
    told = poster.counts()
    assert told.of(Fate.LOST) + told.of(Fate.DROPPED) == told.offered > 10
    spans = exporter.get_finished_spans()
    roots = [span for span in spans if span.name == "saga trip"]
    assert [f"{span.parent.trace_id:032x}" for span in roots if span.parent] == [PARENT.split("-")[1]] * 2
    given = {link.context.span_id for span in spans for link in span.links}
    assert {f"{place:016x}" for place in given} >= {call_place(journal)}


def call_place(journal: MemoryJournal) -> str:
    """The span id that the participant of a completed run was given."""
    (line,) = journal.runs(Status.COMPLETED)
    events: Any = journal.read(line.run_id)
    outputs = [event.output for event in events if getattr(event, "output", None)]
    return str(outputs[0]["traceparent"].split("-")[2])
