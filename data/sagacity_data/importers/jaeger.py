"""Traces as Jaeger's interface and API save them.

A document is an answer (`{"data": [trace, ...]}`), a trace (`{"traceID", "spans", "processes"}`), a span as
Jaeger's index holds it, with its process in it, or a list of these; a file holds one document or many, one
after the other. Times count microseconds. A span's parent is its first CHILD_OF reference into its own
trace, else its first FOLLOWS_FROM; references into other traces make no parent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.foreign_runs import ForeignRun
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.spans import NAMELESS, UNTOLD_SERVICE, Span, Tags
from sagacity_data.importers.spans_json import documents
from sagacity_data.importers.spans_runs import runs_of
from sagacity_data.importers.spans_values import TAGS_MAX, id_of, instant_us, tag_of, text_of, whole_of

_ERRORS: Final = ("exception", "error")
_WRAPPERS: Final = ("data", "traces")


def read_runs(path: Path, hints: Hints, tally: Tally) -> Iterator[ForeignRun]:
    """The runs of the file, one per root span. Raises `ImportRefused`."""
    spans = [span for document in documents(path, tally) for span in _spans(document, tally)]
    if not spans:
        reason = "holds no spans of Jaeger (data, spans, processes)"
        raise ImportRefused(path, "", reason, "check the format: OpenTelemetry's JSON is called otlp")
    yield from runs_of(spans, hints, tally)


def _spans(document: Any, tally: Tally) -> Iterator[Span]:
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(reversed(value))
            continue
        held = _map(value)
        if "spanID" in held:
            yield from _of_trace({"spans": [held]}, tally)
        elif isinstance(held.get("spans"), list):
            yield from _of_trace(held, tally)
        waiting.extend(held[key] for key in _WRAPPERS if isinstance(held.get(key), list | dict))


def _of_trace(trace: Mapping[str, Any], tally: Tally) -> Iterator[Span]:
    processes = {key: _process(_map(told)) for key, told in _map(trace.get("processes")).items()}
    for told in _list(trace["spans"]):
        span = _span(_map(told), trace.get("traceID"), processes, tally)
        if span is not None:
            yield span


def _span(
    told: Mapping[str, Any], trace: Any, processes: Mapping[str, tuple[str, Tags]], tally: Tally
) -> Span | None:
    trace_id, span_id = id_of(told.get("traceID")) or id_of(trace), id_of(told.get("spanID"))
    if not trace_id or not span_id:
        tally.notes["spans without an id were left out"] += 1
        return None
    start_us, end_us, ended = _times(told, tally)
    tags, error = _tags(told.get("tags")), _error(_list(told.get("logs")))
    service, resource = processes.get(str(told.get("processID"))) or _process(_map(told.get("process")))
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=_parent(told, trace_id),
        name=text_of(told.get("operationName")) or NAMELESS,
        kind=str(tags.get("span.kind", "")).strip().lower(),
        service=service,
        start_us=start_us,
        end_us=end_us,
        ended=ended,
        status=_status(tags.get("otel.status_code")),
        message=str(tags.get("otel.status_description", "")),
        tags=tags,
        resource=resource,
        exception_type=str(error.get("exception.type") or error.get("error.kind") or ""),
        exception_message=str(error.get("exception.message") or error.get("message") or ""),
    )


def _times(told: Mapping[str, Any], tally: Tally) -> tuple[int | None, int | None, bool]:
    """Start, end, and whether there is one."""
    start_us, lasted_us = instant_us(told.get("startTime"), 1, tally), whole_of(told.get("duration"))
    if lasted_us is None or start_us is None:
        return start_us, None, told.get("duration") is not None
    if lasted_us < 0:
        tally.notes["spans that end before they start have no end"] += 1
        return start_us, None, True
    return start_us, instant_us(start_us + lasted_us, 1, tally), True


def _parent(told: Mapping[str, Any], trace_id: str) -> str:
    kinds: dict[str, str] = {}
    for each in map(_map, _list(told.get("references"))):
        if id_of(each.get("traceID")) in ("", trace_id) and (span_id := id_of(each.get("spanID"))):
            kinds.setdefault(text_of(each.get("refType")).upper(), span_id)
    return kinds.get("CHILD_OF") or kinds.get("FOLLOWS_FROM") or id_of(told.get("parentSpanID"))


def _status(told: Any) -> str:
    word = text_of(told).lower()
    return word if word in ("ok", "error") else ""


def _error(logs: list[Any]) -> Tags:
    """The last exception logged: the one that ended the span, if any did."""
    for each in map(_map, reversed(logs)):
        fields = _tags(each.get("fields"))
        if fields.get("event") in _ERRORS or "exception.type" in fields or "error.kind" in fields:
            return fields
    return {}


def _process(told: Mapping[str, Any]) -> tuple[str, Tags]:
    service = text_of(told.get("serviceName"))
    return "" if service == UNTOLD_SERVICE else service, _tags(told.get("tags"))


def _tags(told: Any) -> Tags:
    kept = {}
    for each in map(_map, _list(told)[:TAGS_MAX]):
        key, value = text_of(each.get("key")), tag_of(each.get("value"), text_of(each.get("type")))
        if key and value is not None:
            kept[key] = value
    return kept


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
