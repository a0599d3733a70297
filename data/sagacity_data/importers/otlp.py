"""Traces in OpenTelemetry's JSON, as collectors write them to files and APIs return them.

A document is an export (`{"resourceSpans": [...]}`), an answer that wraps one (`result`, `trace`, `batches`),
or a list of these; a file holds one document or many, one after the other. Field names may be lowerCamelCase
or snake_case, ids hexadecimal or base64, times and other large numbers text or numbers, kinds and status
codes numbers or names: the OTLP specification and the libraries that predate it differ in all of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.foreign_runs import ForeignRun
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.spans import NAMELESS, UNTOLD_SERVICE, Span, Tags
from sagacity_data.importers.spans_json import documents
from sagacity_data.importers.spans_runs import runs_of
from sagacity_data.importers.spans_values import TAGS_MAX, id_of, instant_us, tag_of, text_of, whole_of

_RESOURCES: Final = ("resourceSpans", "batches")
_WRAPPERS: Final = ("result", "trace", "data", "traces")
_SCOPES: Final = ("scopeSpans", "instrumentationLibrarySpans", "ilSpans")
_OTHER_SIGNALS: Final = ("resourceLogs", "resourceMetrics", "resourceProfiles")
_KINDS: Final = ("", "internal", "server", "client", "producer", "consumer")
_VALUES: Final = {"stringValue": "", "boolValue": "bool", "intValue": "int64", "doubleValue": "double"}
_STATUSES: Final = {0: "", 1: "ok", 2: "error"}


def read_runs(path: Path, hints: Hints, tally: Tally) -> Iterator[ForeignRun]:
    """The runs of the file, one per root span. Raises `ImportRefused`."""
    spans = [span for document in documents(path, tally) for span in _spans(document, tally)]
    if not spans:
        reason = "holds no spans of OpenTelemetry (resourceSpans, scopeSpans, spans)"
        raise ImportRefused(path, "", reason, "check the format: Jaeger's own is called jaeger")
    yield from runs_of(spans, hints, tally)


def _spans(document: Any, tally: Tally) -> Iterator[Span]:
    for group in _groups(document, tally):
        resource = _attributes(_map(group.get("resource")).get("attributes"))
        for scope in _SCOPES:
            for inner in _list(_field(group, scope)):
                for told in _list(_map(inner).get("spans")):
                    span = _span(_map(told), resource, tally)
                    if span is not None:
                        yield span


def _groups(document: Any, tally: Tally) -> Iterator[Mapping[str, Any]]:
    """The groups of spans that share a resource, in the order of the file."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(reversed(value))
            continue
        held = _map(value)
        for key in _RESOURCES:
            yield from map(_map, _list(_field(held, key)))
        for key in _OTHER_SIGNALS:
            if others := _list(_field(held, key)):
                tally.skipped[key] += len(others)
        waiting.extend(held[key] for key in reversed(_WRAPPERS) if isinstance(held.get(key), list | dict))


def _span(told: Mapping[str, Any], resource: Tags, tally: Tally) -> Span | None:
    trace_id, span_id = id_of(_field(told, "traceId")), id_of(_field(told, "spanId"))
    if not trace_id or not span_id:
        tally.notes["spans without an id were left out"] += 1
        return None
    start_us, end_us, ended = _times(told, tally)
    status, events = _map(told.get("status")), _list(told.get("events"))
    exception = _exception(events)
    service = str(resource.get("service.name", ""))
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=id_of(_field(told, "parentSpanId")) or _linked(told, trace_id),
        name=text_of(told.get("name")) or NAMELESS,
        kind=_kind(told.get("kind")),
        service="" if service == UNTOLD_SERVICE else service,
        start_us=start_us,
        end_us=end_us,
        ended=ended,
        status=_status(status.get("code")),
        message=text_of(status.get("message")),
        tags=_attributes(told.get("attributes")),
        resource=resource,
        exception_type=str(exception.get("exception.type", "")),
        exception_message=str(exception.get("exception.message", "")),
    )


def _times(told: Mapping[str, Any], tally: Tally) -> tuple[int | None, int | None, bool]:
    """Start, end, and whether there is one; the duration is cut to microseconds, as Jaeger does."""
    start, end = _field(told, "startTimeUnixNano"), _field(told, "endTimeUnixNano")
    start_us, end_us = instant_us(start, 1000, tally), instant_us(end, 1000, tally)
    ended = end not in (None, 0, "", "0")
    start_ns, end_ns = whole_of(start), whole_of(end)
    if start_us is None or end_us is None or start_ns is None or end_ns is None:
        return start_us, end_us, ended
    if end_ns < start_ns:
        tally.notes["spans that end before they start have no end"] += 1
        return start_us, None, ended
    return start_us, start_us + (end_ns - start_ns) // 1000, ended


def _kind(told: Any) -> str:
    number = whole_of(told)
    if number is None:
        word = text_of(told).lower().removeprefix("span_kind_")
        return "" if word == "unspecified" else word
    return _KINDS[number] if 0 <= number < len(_KINDS) else str(number)


def _status(code: Any) -> str:
    number = whole_of(code)
    if number is not None:
        return _STATUSES.get(number, "")
    word = text_of(code).lower().removeprefix("status_code_")
    return word if word in ("ok", "error") else ""


def _linked(told: Mapping[str, Any], trace_id: str) -> str:
    """The span of the same trace that a span without a parent follows from."""
    for link in map(_map, _list(told.get("links"))):
        if id_of(_field(link, "traceId")) == trace_id:
            return id_of(_field(link, "spanId"))
    return ""


def _exception(events: list[Any]) -> Tags:
    """The last exception recorded: the one that ended the span, if any did."""
    for event in map(_map, reversed(events)):
        if event.get("name") == "exception":
            return _attributes(event.get("attributes"))
    return {}


def _attributes(told: Any) -> Tags:
    kept = {}
    for each in map(_map, _list(told)[:TAGS_MAX]):
        key, value = text_of(each.get("key")), _value(_map(each.get("value")))
        if key and value is not None:
            kept[key] = value
    return kept


def _value(told: Mapping[str, Any]) -> str | float | bool | None:
    for name, declared in _VALUES.items():
        if (value := _field(told, name)) is not None:
            return tag_of(value, declared)
    return None


def _field(told: Mapping[str, Any], name: str) -> Any:
    value = told.get(name)
    return told.get(_snake(name)) if value is None else value


@lru_cache(maxsize=64)
def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
