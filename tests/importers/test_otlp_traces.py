from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers import jaeger, otlp
from sagacity_data.importers.foreign_runs import ForeignRun, rows_of
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.rows import AttemptOutcome, Row
from sagacity_data.taxonomy import default_taxonomy
from sagacity_engine import Direction, Status

TRACE = "0af7651916cd43dd8448eb211c80319c"
T0 = 1_700_000_000_000_000_000  # ns since 1970


def span(name: str, span_id: str, parent: str = "", **more: Any) -> dict[str, Any]:
    """A span of one second that starts at T0."""
    told = {"traceId": TRACE, "spanId": span_id, "parentSpanId": parent, "name": name}
    return {**told, "startTimeUnixNano": str(T0), "endTimeUnixNano": str(T0 + 10**9), **more}


def tags(**values: str | int) -> list[dict[str, Any]]:
    """Attributes, with `__` for a dot."""
    return [
        {
            "key": key.replace("__", "."),
            "value": {"stringValue": value} if isinstance(value, str) else {"intValue": str(value)},
        }
        for key, value in values.items()
    ]


def export(*spans: Mapping[str, Any], service: str = "shop") -> dict[str, Any]:
    resource = {"attributes": tags(service__name=service)}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}


def read(
    tmp_path: Path, document: Any, tally: Tally | None = None, hints: Hints | None = None
) -> list[ForeignRun]:
    path = tmp_path / "trace.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
    return list(otlp.read_runs(path, hints or Hints(), tally or Tally()))


ROOT = span("checkout", "00000000000000a1", kind=2)
PAY = span("pay", "00000000000000a2", "00000000000000a1", kind=3)


def rows(runs: list[ForeignRun]) -> list[Row]:
    return [row for run in runs for row in rows_of(run, "trace", default_taxonomy())]


def test_a_root_is_a_run_and_its_children_are_steps(tmp_path: Path) -> None:
    """The root's service, name and times are the run's; a grandchild is no step."""
    inner = span("select", "00000000000000a3", "00000000000000a2")
    (run,) = read(tmp_path, export(ROOT, PAY, inner))
    assert (run.run_id, run.saga) == (f"{TRACE}/00000000000000a1", "shop: checkout")
    assert (run.launch_at, run.ended_at, run.status) == (1.7e9, 1.7e9 + 1, Status.COMPLETED)
    (tried,) = run.attempts
    assert (tried.step, tried.attempt, tried.outcome) == ("pay", 1, AttemptOutcome.SUCCEEDED)
    assert (tried.started_at, tried.ended_at, tried.service) == (1.7e9, 1.7e9 + 1, "shop")


def test_every_spelling_of_a_document_gives_the_same_runs(tmp_path: Path) -> None:
    """snake_case, base64 ids, numbers as numbers, old scope names and wrappers change nothing."""
    plain = read(tmp_path, export(ROOT, PAY))
    old = export(ROOT, PAY)
    group = old["resourceSpans"][0]
    group["instrumentationLibrarySpans"] = group.pop("scopeSpans")
    snake = {
        "resource_spans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"string_value": "shop"}}]},
                "scope_spans": [
                    {"spans": [_snake(ROOT, "SPAN_KIND_SERVER"), _snake(PAY, "SPAN_KIND_CLIENT")]}
                ],
            }
        ]
    }
    for document in (old, snake, {"result": export(ROOT, PAY)}, [export(ROOT), export(PAY)]):
        assert read(tmp_path, document) == plain
    batches = {"batches": export(ROOT, PAY)["resourceSpans"]}
    assert read(tmp_path, {"trace": batches}) == plain


def _snake(told: Mapping[str, Any], kind: str) -> dict[str, Any]:
    def b64(id_: str) -> str:
        return base64.b64encode(bytes.fromhex(id_)).decode()

    return {
        "trace_id": b64(told["traceId"]),
        "span_id": b64(told["spanId"]),
        "parent_span_id": b64(told["parentSpanId"]),
        "name": told["name"],
        "kind": kind,
        "start_time_unix_nano": int(told["startTimeUnixNano"]),
        "end_time_unix_nano": int(told["endTimeUnixNano"]),
    }


def test_a_trace_may_be_spread_over_lines(tmp_path: Path) -> None:
    """Exporters append one document per line; children come before their parents. gzip is read as well."""
    text = f"{json.dumps(export(PAY))}\n{json.dumps(export(ROOT))}\n"
    (run,) = read(tmp_path, text)
    assert [tried.step for tried in run.attempts] == ["pay"]
    packed = tmp_path / "trace.json.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert list(otlp.read_runs(packed, Hints(), Tally())) == [run]


def test_a_damaged_line_refuses_the_file(tmp_path: Path) -> None:
    """A file that breaks in its second line is refused, and the line is named."""
    with pytest.raises(ImportRefused) as refused:
        read(tmp_path, f"{json.dumps(export(ROOT))}\n{{'resourceSpans'\n")
    assert refused.value.place == "line 2"


def test_retries_are_attempts_in_the_order_of_their_starts(tmp_path: Path) -> None:
    """Two failures and a success of one name are attempts 1, 2 and 3, whatever the order of the file."""
    tries = [
        span(
            "pay",
            f"00000000000000b{n}",
            "00000000000000a1",
            startTimeUnixNano=str(T0 + n),
            status={"code": code},
        )
        for n, code in ((3, 1), (1, 2), (2, 2))
    ]
    (run,) = read(tmp_path, export(*tries, ROOT))
    failed, succeeded = AttemptOutcome.FAILED, AttemptOutcome.SUCCEEDED
    assert [(tried.attempt, tried.outcome) for tried in run.attempts] == [
        (1, failed),
        (2, failed),
        (3, succeeded),
    ]


def test_a_resend_count_numbers_an_attempt_whose_earlier_tries_left_no_span(tmp_path: Path) -> None:
    """The only span of a call says that it is the second resend: it is attempt 3."""
    again = {**PAY, "attributes": tags(http__request__resend_count=2)}
    (run,) = read(tmp_path, export(ROOT, again))
    assert [tried.attempt for tried in run.attempts] == [3]


def test_a_compensation_is_an_undo(tmp_path: Path) -> None:
    """`refundPayment` after `chargePayment` undoes it, and a failed run with nothing left is compensated."""
    charge = span("chargePayment", "00000000000000c1", "00000000000000a1")
    refund = span("refundPayment", "00000000000000c2", "00000000000000a1", startTimeUnixNano=str(T0 + 5000))
    root = {**ROOT, "status": {"code": "STATUS_CODE_ERROR", "message": "out of stock"}}
    (run,) = read(tmp_path, export(root, charge, refund))
    assert [(tried.step, tried.direction) for tried in run.attempts] == [
        ("chargePayment", Direction.FORWARD),
        ("chargePayment", Direction.UNDO),
    ]
    assert (run.status, run.reason) == (Status.COMPENSATED, "failed: out of stock")


def test_what_has_not_ended_is_open(tmp_path: Path) -> None:
    """A root without an end is a running run, a child without one an open attempt."""
    root, pay = {**ROOT, "endTimeUnixNano": 0}, {**PAY, "endTimeUnixNano": ""}
    (run,) = read(tmp_path, export(root, pay))
    assert (run.status, run.ended_at) == (Status.RUNNING, None)
    assert (run.attempts[0].outcome, run.attempts[0].ended_at) == (AttemptOutcome.OPEN, None)


def test_times_that_run_backwards_are_kept_out(tmp_path: Path) -> None:
    """A span that ends before it starts keeps its start and its outcome, and has no end."""
    tally = Tally()
    (run,) = read(tmp_path, export(ROOT, {**PAY, "endTimeUnixNano": str(T0 - 1)}), tally)
    (tried,) = run.attempts
    assert (tried.started_at, tried.ended_at, tried.outcome) == (1.7e9, None, AttemptOutcome.SUCCEEDED)
    assert tally.notes["spans that end before they start have no end"] == 1


def test_kinds_nobody_knows_and_other_signals_are_counted(tmp_path: Path) -> None:
    """A span of kind 9 is skipped, and so are logs and metrics in the same file."""
    tally = Tally()
    document = {**export(ROOT, PAY, {**PAY, "spanId": "f1", "kind": 9}), "resourceLogs": [{}, {}]}
    (run,) = read(tmp_path, document, tally)
    assert [tried.step for tried in run.attempts] == ["pay"]
    assert dict(tally.skipped) == {"span kind 9": 1, "resourceLogs": 2}


@pytest.mark.parametrize("document", [{}, [], 7, None, {"resourceSpans": []}, {"data": [{"spans": [{}]}]}])
def test_a_file_without_spans_is_refused(tmp_path: Path, document: Any) -> None:
    """JSON that holds no span of OpenTelemetry has no start."""
    with pytest.raises(ImportRefused, match="holds no spans"):
        read(tmp_path, document)


@pytest.mark.parametrize("bad", [None, 7, "x", [], {}, [None], {"a": 1}, True, -1, 10**19, "9" * 400, 1e308])
@pytest.mark.parametrize(
    "field", ["traceId", "parentSpanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano", "status"]
)
def test_wrong_types_never_raise(tmp_path: Path, field: str, bad: Any) -> None:
    """Whatever a field holds, the other spans are read."""
    for key in (field, "attributes", "events", "links"):
        runs = read(tmp_path, export(ROOT, PAY, {**PAY, "spanId": "f2", field: bad, key: bad}))
        assert any(run.saga == "shop: checkout" for run in runs)
        assert rows(runs)


def test_one_trace_in_both_formats_gives_equal_rows(shared_data: Path) -> None:
    """Real exports of one trace, once of OpenTelemetry and once of Jaeger, differ in nothing."""
    folder = shared_data / "traces" / "jaeger-ui" / "utils" / "fixtures"
    pairs = [
        ("otlp2jaeger-multi-in-combined.json", "oltp2jaeger-multi-out.json"),
        ("otlp2jaeger-in.json", "otlp2jaeger-out.json"),
    ]
    for one, other in pairs:
        ours = rows(list(otlp.read_runs(folder / one, Hints(), Tally())))
        assert ours == rows(list(jaeger.read_runs(folder / other, Hints(), Tally())))


def test_a_real_trace_has_the_values_its_file_shows(shared_data: Path) -> None:
    """`main` calls `info`, which does the work: one run of 176.321 ms with one step of 173.15 ms."""
    folder = shared_data / "traces" / "jaeger-ui" / "utils" / "fixtures"
    (run,) = otlp.read_runs(folder / "otlp2jaeger-multi-in-combined.json", Hints(), Tally())
    assert (run.run_id, run.saga) == (
        "c620759e5d60fafb8ee0922b30e06bc6/eff3153be6b1fb93",
        "example-trace: main",
    )
    assert (run.launch_at, run.ended_at) == (1711138246.940000, 1711138247.116321)
    (tried,) = run.attempts
    assert (tried.step, tried.started_at, tried.ended_at) == ("info", 1711138246.943000, 1711138247.116150)
