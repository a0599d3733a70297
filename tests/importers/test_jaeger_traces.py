from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers import jaeger
from sagacity_data.importers.foreign_runs import ForeignRun
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.rows import AttemptOutcome
from sagacity_engine import Status

T0 = 1_700_000_000_000_000  # us since 1970


def ref(span_id: str, kind: str = "CHILD_OF", trace: str = "abc") -> dict[str, str]:
    return {"refType": kind, "traceID": trace, "spanID": span_id}


def span(name: str, span_id: str, *refs: dict[str, str], **more: Any) -> dict[str, Any]:
    """A span of one second that starts at T0."""
    told = {"traceID": "abc", "spanID": span_id, "operationName": name, "references": list(refs)}
    return {**told, "startTime": T0, "duration": 1_000_000, "tags": [], "processID": "p1", **more}


def tag(key: str, value: Any, kind: str = "string") -> dict[str, Any]:
    return {"key": key, "type": kind, "value": value}


def trace(*spans: dict[str, Any]) -> dict[str, Any]:
    processes = {"p1": {"serviceName": "shop", "tags": []}, "p2": {"serviceName": "bank", "tags": []}}
    return {"traceID": "abc", "spans": list(spans), "processes": processes}


def read(tmp_path: Path, document: Any, tally: Tally | None = None) -> list[ForeignRun]:
    path = tmp_path / "trace.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
    return list(jaeger.read_runs(path, Hints(), tally or Tally()))


ROOT = span("checkout", "a1")
PAY = span("pay", "a2", ref("a1"))


def test_every_wrapping_of_a_trace_gives_the_same_runs(tmp_path: Path) -> None:
    """An API's answer, a list, one trace, spans one per line with their process in them: all the same."""
    plain = read(tmp_path, trace(ROOT, PAY))
    assert [(run.saga, [tried.step for tried in run.attempts]) for run in plain] == [
        ("shop: checkout", ["pay"])
    ]
    process = {"serviceName": "shop", "tags": []}
    lines = "\n".join(json.dumps({**each, "processID": "", "process": process}) for each in (PAY, ROOT))
    for document in (
        {"data": [trace(ROOT, PAY)]},
        {"data": trace(ROOT, PAY)},
        [trace(ROOT), trace(PAY)],
        lines,
    ):
        assert read(tmp_path, document) == plain


def test_ids_with_and_without_leading_zeros_are_one(tmp_path: Path) -> None:
    """Old Jaegers write `a1` for what others call `00000000000000a1`."""
    (run,) = read(tmp_path, trace(ROOT, span("pay", "a2", ref("00000000000000A1"))))
    assert (run.run_id, len(run.attempts)) == ("0000000000000abc/00000000000000a1", 1)


def test_a_parent_is_the_first_child_of_reference_into_the_same_trace(tmp_path: Path) -> None:
    """FOLLOWS_FROM counts only where there is no CHILD_OF, and other traces never do."""
    spans = [
        span("mail", "a3", ref("a2", "FOLLOWS_FROM"), ref("a1")),
        span("ship", "a4", ref("a1", "FOLLOWS_FROM")),
        span("other", "a5", ref("a1", trace="def")),
    ]
    first, second = read(tmp_path, trace(ROOT, PAY, *spans))
    assert [tried.step for tried in first.attempts] == ["pay", "mail", "ship"]
    assert (second.saga, second.attempts) == ("shop: other", ())


def test_a_failed_step_names_its_exception(tmp_path: Path) -> None:
    """The last exception logged gives type and words; the run itself went well."""
    fields = [tag("event", "error"), tag("error.kind", "CardDeclined"), tag("message", "no funds")]
    failed = {**PAY, "tags": [tag("error", "true", "bool")], "logs": [{"timestamp": T0, "fields": fields}]}
    (run,) = read(tmp_path, trace(ROOT, failed))
    (tried,) = run.attempts
    assert (tried.outcome, tried.error_type, tried.message) == (
        AttemptOutcome.FAILED,
        "CardDeclined",
        "no funds",
    )
    assert run.status is Status.COMPLETED


@pytest.mark.parametrize(
    "document", [{}, [], "7", {"data": []}, {"data": None, "errors": [{}]}, {"spans": [1, {}]}]
)
def test_a_file_without_spans_is_refused(tmp_path: Path, document: Any) -> None:
    """JSON that holds no span of Jaeger has no start."""
    with pytest.raises(ImportRefused, match="holds no spans"):
        read(tmp_path, document)


@pytest.mark.parametrize("bad", [None, 7, "x", [], {}, [None], True, -1, 10**19, "9" * 400, 1e308])
@pytest.mark.parametrize(
    "field", ["traceID", "operationName", "references", "startTime", "duration", "tags", "logs"]
)
def test_wrong_types_never_raise(tmp_path: Path, field: str, bad: Any) -> None:
    """Whatever a field holds, the other spans are read."""
    odd = {**PAY, "spanID": "f2", field: bad, "process": bad, "processID": bad}
    assert any(run.saga == "shop: checkout" for run in read(tmp_path, trace(ROOT, PAY, odd)))


def test_every_real_file_of_jaeger_is_read(shared_data: Path) -> None:
    """Runs and attempts of each file, counted by eye: one root each, and the root's direct children."""
    folder = shared_data / "traces" / "jaeger-ui"
    counted = {
        "components/TracePage/TraceFlamegraph/testTrace.json": (1, 1),
        "components/TracePage/TraceGraph/testTrace.json": (1, 5),
        "components/TracePage/TraceStatistics/tableValuesTestTrace/testTrace.json": (1, 5),
        "components/TracePage/TraceStatistics/tableValuesTestTrace/testTraceNormal.json": (1, 1),
        "components/TracePage/TraceTimelineViewer/genaiTestTrace.json": (1, 1),
        "utils/fixtures/oltp2jaeger-multi-out.json": (1, 1),
        "utils/fixtures/otlp2jaeger-out.json": (1, 0),
    }
    for name, expected in counted.items():
        runs = list(jaeger.read_runs(folder / name, Hints(), Tally()))
        assert (len(runs), sum(len(run.attempts) for run in runs)) == expected, name


def test_a_real_trace_has_the_values_its_file_shows(shared_data: Path) -> None:
    """`op2` fails for 33 ms and is tried again for 37 ms; `op3` is answered by the other service."""
    path = shared_data / "traces/jaeger-ui/components/TracePage/TraceGraph/testTrace.json"
    (run,) = jaeger.read_runs(path, Hints(), Tally())
    failed, succeeded = AttemptOutcome.FAILED, AttemptOutcome.SUCCEEDED
    assert (run.run_id, run.saga, run.status) == ("trace-123/span-1", "service1: op1", Status.COMPLETED)
    assert (run.launch_at, run.ended_at) == (1542666452.979, 1542666453.369)
    assert [(t.step, t.attempt, t.service, t.outcome, t.started_at, t.ended_at) for t in run.attempts] == [
        ("op2", 1, "service1", failed, 1542666453.104, 1542666453.137),
        ("op3", 1, "service2", succeeded, 1542666453.159, 1542666453.225),
        ("op2", 2, "service1", succeeded, 1542666453.229, 1542666453.266),
        ("op4", 1, "service2", succeeded, 1542666453.279, 1542666453.299),
        ("op6", 1, "service1", succeeded, 1542666453.309, 1542666453.319),
    ]
