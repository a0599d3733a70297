"""Traces as runs: what OTLP and Jaeger files have in common once each is read into `Span`s.

* Every span without a parent in the file is the root of a run, so a trace with several roots is several runs.
  Where only the root's own parent is missing (a service exports its own spans), its spans are still one run.
  Spans whose parents form a circle get the earliest of them as their root.
* The root's direct children are the run's steps. What lies deeper is how a step did its work. A root with one
  child is a run with one step: going down while there is one child only would give runs of one type different
  steps, depending on how far they came.
* A step is called by its span's name. A name that is an HTTP method only (`GET`, `HTTP GET`) says nothing, so
  the service called is added to it.
* Children of one name are attempts 1, 2, ... of the step in the order of their starts; a retry looks just
  like that. `http.request.resend_count` raises the number where earlier tries left no span.
* A step's service is the one called: `peer.service`, the service of the server span below the call, what the
  caller knew of the address; for spans of servers, and for work inside the service, the span's own.
* A run's identity is its trace and root span, so that the same trace in either format is one run. Times are
  whole microseconds, the finest that Jaeger keeps.
* Attributes of a span may have been written at its end; of the root's, only those of its resource
  (`service.version`, the deployment environment) are surely known at the launch, and no others are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from sagacity_data.importers.attempt_numbers import AttemptNumbers
from sagacity_data.importers.foreign_runs import ForeignAttempt, ForeignRun
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.run_status import End, status_of
from sagacity_data.importers.spans import CALLEE_KINDS, CALLER_KINDS, KINDS, Span
from sagacity_data.importers.spans_ends import SpanEnd, end_of
from sagacity_data.importers.spans_tree import SpanTree
from sagacity_data.importers.spans_values import whole_of
from sagacity_data.rows import NO_CONTEXT, AttemptOutcome, ContextValues

RESENDS_MAX: Final = 1_000
_METHOD: Final = re.compile(
    r"HTTP|(HTTP[ _/:-]*)?(GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS|CONNECT|TRACE)", re.IGNORECASE
)
_ADDRESSES: Final = (
    *("rpc.service", "server.address", "net.peer.name", "peer.hostname", "http.host"),
    *("messaging.destination.name", "db.system.name", "db.system", "messaging.system"),
)


def runs_of(spans: Iterable[Span], hints: Hints, tally: Tally) -> Iterator[ForeignRun]:
    """The runs that the spans of a file tell of; all of its spans are held while it is read."""
    traces: dict[str, list[Span]] = {}
    for span in spans:
        traces.setdefault(span.trace_id, []).append(span)
    for trace in traces.values():
        tree = SpanTree(trace, tally)
        for root in tree.roots():
            yield _run(tree, root, hints, tally)


def _run(tree: SpanTree, root: str, hints: Hints, tally: Tally) -> ForeignRun:
    span, attempts = tree.spans[root], tuple(_attempts(tree, root, hints, tally))
    told = end_of(span)
    end = _ENDS.get(told.outcome, End.FAILED)
    return ForeignRun(
        run_id=f"{span.trace_id}/{span.span_id}",
        saga=f"{span.service}: {span.name}" if span.service else span.name,
        status=status_of(end, attempts),
        attempts=attempts,
        version=str(span.resource.get("service.version", "")),
        tenant=hints.tenant,
        launch_at=_seconds(span.start_us),
        ended_at=_seconds(span.end_us),
        reason=_reason(told) if end is End.FAILED else "",
        input_bytes=_input_bytes(span),
        context=_context(span),
    )


_ENDS: Final = {AttemptOutcome.SUCCEEDED: End.COMPLETED, AttemptOutcome.OPEN: End.OPEN}


def _reason(told: SpanEnd) -> str:
    word = told.outcome.value.replace("_", " ")
    said = told.message or told.error_type
    return f"{word}: {said}" if said else word


def _attempts(tree: SpanTree, root: str, hints: Hints, tally: Tally) -> Iterator[ForeignAttempt]:
    numbers = AttemptNumbers(hints.undoes)
    for key in tree.children(root):
        span, callee = tree.spans[key], tree.callee(key)
        if span.kind not in KINDS:
            tally.skipped[f"span kind {span.kind}"] += 1
            continue
        service = _service(span, callee)
        told = end_of(span)
        step, direction, number = numbers.next(_step(span, service), _resends(span) + 1)
        yield ForeignAttempt(
            step=step,
            outcome=told.outcome,
            direction=direction,
            attempt=number,
            started_at=_seconds(span.start_us),
            ended_at=_seconds(span.end_us),
            error_type=told.error_type,
            message=told.message,
            service=service,
            region=_region(span, callee),
            input_bytes=_input_bytes(span),
        )


def _step(span: Span, service: str) -> str:
    bare = service and _METHOD.fullmatch(span.name) is not None
    return f"{span.name} {service}" if bare else span.name


def _service(span: Span, callee: Span | None) -> str:
    if span.kind in CALLEE_KINDS:
        return span.service
    told = [span.tags.get("peer.service"), callee and callee.service]
    if span.kind in CALLER_KINDS:
        told += [span.tags.get(key) for key in _ADDRESSES]
    return next((str(each) for each in told if each), span.service)


def _region(span: Span, callee: Span | None) -> str:
    place = callee or (None if span.kind in CALLER_KINDS else span)
    return "" if place is None else str(place.resource.get("cloud.region", ""))


def _resends(span: Span) -> int:
    told = whole_of(span.tags.get("http.request.resend_count", span.tags.get("http.resend_count")))
    return told if told is not None and 0 < told <= RESENDS_MAX else 0


def _input_bytes(span: Span) -> int | None:
    for key in ("http.request.body.size", "http.request_content_length"):
        if (size := whole_of(span.tags.get(key))) is not None and size >= 0:
            return size
    return None


def _context(span: Span) -> ContextValues:
    for key in ("deployment.environment.name", "deployment.environment"):
        if told := span.resource.get(key):
            return {"deployment.environment": told}
    return NO_CONTEXT


def _seconds(at_us: int | None) -> float | None:
    return None if at_us is None else at_us / 1e6
