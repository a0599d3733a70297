from __future__ import annotations

from typing import Any

import pytest

from sagacity_data.importers.foreign_runs import ForeignRun
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.spans import Span, Tags
from sagacity_data.importers.spans_ends import end_of
from sagacity_data.importers.spans_runs import runs_of
from sagacity_data.rows import AttemptOutcome

OK, FAILED = AttemptOutcome.SUCCEEDED, AttemptOutcome.FAILED
LATE, CANCELLED = AttemptOutcome.TIMED_OUT, AttemptOutcome.CANCELLED


def span(span_id: str, parent: str = "", name: str = "call", kind: str = "client", **more: Any) -> Span:
    """A span of `shop` from second 1 to second 2."""
    fields: dict[str, Any] = {"service": "shop", "start_us": 1_000_000, "end_us": 2_000_000, **more}
    return Span(trace_id="t", span_id=span_id, parent_id=parent, name=name, kind=kind, **fields)


def runs(*spans: Span, tally: Tally | None = None) -> list[ForeignRun]:
    return list(runs_of(spans, Hints(), tally or Tally()))


@pytest.mark.parametrize(
    ("kind", "status", "tags", "outcome", "error_type"),
    [
        ("client", "", {}, OK, ""),
        ("client", "", {"http.status_code": 302}, OK, ""),
        ("client", "", {"http.response.status_code": "503"}, FAILED, "HTTP 503"),
        ("server", "", {"http.status_code": 404}, FAILED, "HTTP 404"),
        ("client", "ok", {"http.status_code": 404}, OK, ""),
        ("client", "error", {}, FAILED, ""),
        ("client", "error", {"error.type": "500", "http.response.status_code": 500}, FAILED, "HTTP 500"),
        ("client", "error", {"error.type": "io.CardDeclined"}, FAILED, "io.CardDeclined"),
        ("", "", {"error": "true"}, FAILED, ""),
        ("", "", {"error": False}, OK, ""),
        ("client", "", {"rpc.grpc.status_code": 0}, OK, ""),
        ("client", "", {"rpc.grpc.status_code": 14}, FAILED, "UNAVAILABLE"),
        ("client", "error", {"rpc.grpc.status_code": 1}, CANCELLED, "CANCELLED"),
        ("client", "error", {"error.type": "java.util.concurrent.CancellationException"}, CANCELLED, None),
        ("client", "error", {"error.type": "com.shop.OrderCancelledException"}, FAILED, None),
        ("client", "error", {"rpc.grpc.status_code": 4}, LATE, "DEADLINE_EXCEEDED"),
        ("server", "error", {"rpc.grpc.status_code": 4}, FAILED, "DEADLINE_EXCEEDED"),
        ("internal", "error", {"error.type": "java.net.SocketTimeoutException"}, LATE, None),
        ("client", "error", {"http.status_code": 504}, FAILED, "HTTP 504"),
        ("client", "error", {"http.status_code": 504, "error.type": "GatewayTimeout"}, FAILED, None),
    ],
)
def test_how_a_span_ended(
    kind: str, status: str, tags: Tags, outcome: AttemptOutcome, error_type: str | None
) -> None:
    """Status first, then HTTP and gRPC; a timeout only from the caller's side and without an answer."""
    told = end_of(span("a", kind=kind, status=status, tags=tags))
    assert told.outcome is outcome
    assert error_type in (None, told.error_type)


def test_the_service_is_the_one_called() -> None:
    """`peer.service`, then the span of the callee, then the address, then the caller's own service."""
    spans = [
        span("r", kind="server"),
        span("a", "r", "a", tags={"peer.service": "bank", "server.address": "10.0.0.1"}),
        span("b", "r", "b", tags={"server.address": "10.0.0.1"}),
        span("b1", "b", "b", kind="server", service="stock", resource={"cloud.region": "eu-west-1"}),
        span("c", "r", "c", tags={"server.address": "mail.example.org"}),
        span("d", "r", "d", kind="internal", tags={"server.address": "10.0.0.1"}),
        span("e", "r", "e", kind="server", service="ship", tags={"peer.service": "shop"}),
    ]
    (run,) = runs(*spans)
    told = {tried.step: (tried.service, tried.region) for tried in run.attempts}
    assert told == {
        "a": ("bank", ""),
        "b": ("stock", "eu-west-1"),
        "c": ("mail.example.org", ""),
        "d": ("shop", ""),
        "e": ("ship", ""),
    }


def test_a_bare_method_is_no_name_for_a_step() -> None:
    """`GET` of two services are two steps; a method with its route is a name."""
    spans = [
        span("r", kind="server"),
        span("a", "r", "GET", tags={"peer.service": "bank"}),
        span("b", "r", "HTTP GET", tags={"peer.service": "stock"}),
        span("c", "r", "GET /items/{id}", tags={"peer.service": "stock"}),
    ]
    (run,) = runs(*spans)
    assert {tried.step for tried in run.attempts} == {"GET bank", "HTTP GET stock", "GET /items/{id}"}


def test_several_roots_are_several_runs_and_orphans_are_roots() -> None:
    """A span whose parent is not in the file starts a run of its own, and is counted."""
    tally = Tally()
    first, second, orphan = runs(span("a"), span("b", start_us=1_500_000), span("c", "gone"), tally=tally)
    assert [first.run_id, second.run_id, orphan.run_id] == ["t/a", "t/c", "t/b"]
    assert tally.notes["spans whose parent is not in the file became runs"] == 1


def test_circles_of_parents_end() -> None:
    """a and b are each other's parent and c its own: the earliest of a circle is its root."""
    tally = Tally()
    found = runs(
        span("b", "a", "second", start_us=1_500_000), span("a", "b", "first"), span("c", "c"), tally=tally
    )
    assert {run.run_id: [tried.step for tried in run.attempts] for run in found} == {
        "t/c": [],
        "t/a": ["second"],
    }
    assert tally.notes["circles of spans were opened at their earliest span"] == 1


def test_a_span_told_twice_counts_once_and_its_end_wins() -> None:
    """Exporters send spans again; of a span told before and after its end, the ended one is kept."""
    early = span("a", "r", end_us=None, ended=False)
    tally = Tally()
    (run,) = runs(span("r"), early, span("a", "r"), span("a", "r"), tally=tally)
    assert [tried.outcome for tried in run.attempts] == [OK]
    assert tally.notes["spans were told again, and counted once"] == 2


def test_caller_and_callee_may_share_an_id() -> None:
    """In Zipkin's way of tracing both sides of a call have one id: the callee is below its caller."""
    spans = [
        span("r", kind="server"),
        span("a", "r", kind="server", service="bank"),
        span("a", "r"),
        span("b", "a"),
    ]
    (run,) = runs(*spans)
    (tried,) = run.attempts
    assert (tried.step, tried.service) == ("call", "bank")


def test_attributes_of_the_root_are_no_context() -> None:
    """Only what its resource says was known at the launch."""
    resource = {"service.version": "1.4", "deployment.environment": "prod"}
    (run,) = runs(span("r", tags={"order.total": 7}, resource=resource))
    assert (run.version, dict(run.context)) == ("1.4", {"deployment.environment": "prod"})


def test_a_long_chain_and_a_wide_trace_are_read_in_linear_time() -> None:
    """30,000 spans below each other, and as many beside each other, need no recursion and no patience."""
    chain = [span("r"), *(span(f"s{n}", f"s{n - 1}" if n else "r") for n in range(30_000))]
    (run,) = runs(*chain)
    assert len(run.attempts) == 1
    wide = [span("r"), *(span(f"s{n}", "r") for n in range(30_000))]
    (run,) = runs(*wide)
    assert [run.attempts[0].attempt, run.attempts[-1].attempt] == [1, 30_000]
