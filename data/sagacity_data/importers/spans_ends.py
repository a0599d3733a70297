"""How a span ended, from its status, its attributes and the exception it recorded.

Instrumentation says so in several ways, and not always in all of them. An explicit `ok` wins; an error status
is a failure; where nobody set a status, an HTTP status of 400 and more or a gRPC status other than 0 is one.
A failure is an attempt's own timeout only if the caller's side says so: a span of the caller's, without an
answer's HTTP status, that names a deadline. A server that says 504 has answered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sagacity_data.importers.spans import CALLEE_KINDS, Span
from sagacity_data.importers.spans_values import whole_of
from sagacity_data.rows import AttemptOutcome

GRPC_CODES: Final = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE"),
    *("UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)

_HTTP: Final = ("http.response.status_code", "http.status_code")
_GRPC: Final = ("rpc.grpc.status_code", "grpc.status_code", "grpc.code", "rpc.response.status_code")
_TYPES: Final = ("error.type", "exception.type", "error.kind")
_WORDS: Final = ("exception.message", "error.message", "error.object")
_CANCELLED: Final = re.compile(
    r"(operation|task|context)?_?cancel(l?ed|lation)_?(error|exception)?", re.IGNORECASE
)
_TIMED_OUT: Final = re.compile(r"\w*(time_?d?_?out|deadline_?exceeded)(_?error|_?exception)?", re.IGNORECASE)
_DEADLINE_WORDS: Final = ("context deadline exceeded", "deadline exceeded")
_NO: Final = ("", "false", "0", "no", "none")


@dataclass(frozen=True, slots=True)
class SpanEnd:
    """How a span ended; type and message are empty unless it went wrong."""

    outcome: AttemptOutcome
    error_type: str = ""
    message: str = ""


def end_of(span: Span) -> SpanEnd:
    """The outcome, and what went wrong in the span's own words.

    >>> end_of(Span(trace_id="t", span_id="s", kind="client", tags={"http.status_code": 503}))
    SpanEnd(outcome=<AttemptOutcome.FAILED: 'failed'>, error_type='HTTP 503', message='')
    """
    if not span.ended:
        return SpanEnd(AttemptOutcome.OPEN)
    http, grpc = _http(span), _grpc(span)
    if not _failed(span, http, grpc):
        return SpanEnd(AttemptOutcome.SUCCEEDED)
    kind, message = _error_type(span, http, grpc), _message(span)
    return SpanEnd(_outcome(span, http, kind, message), kind, message)


def _failed(span: Span, http: int | None, grpc: str) -> bool:
    if span.status:
        return span.status == "error"
    if str(span.tags.get("error", "")).strip().lower() not in _NO:
        return True
    return (http is not None and http >= 400) or grpc not in ("", "OK")


def _outcome(span: Span, http: int | None, kind: str, message: str) -> AttemptOutcome:
    last = re.split(r"[.:/$ ]", kind)[-1]
    if _CANCELLED.fullmatch(last) or message.lower() == "context canceled":
        return AttemptOutcome.CANCELLED
    late = _TIMED_OUT.fullmatch(last) or message.lower() in _DEADLINE_WORDS
    return AttemptOutcome.TIMED_OUT if late and http is None and _callers(span) else AttemptOutcome.FAILED


def _callers(span: Span) -> bool:
    return span.kind not in CALLEE_KINDS


def _http(span: Span) -> int | None:
    told = next((whole_of(span.tags[key]) for key in _HTTP if key in span.tags), None)
    return told if told is not None and 100 <= told <= 599 else None


def _grpc(span: Span) -> str:
    """The gRPC status by its name; empty where there is none."""
    told = next((span.tags[key] for key in _GRPC if key in span.tags), "")
    number = whole_of(told)
    if number is None:
        return str(told).strip().upper().replace("CANCELED", "CANCELLED")
    return GRPC_CODES[number] if 0 <= number < len(GRPC_CODES) else ""


def _error_type(span: Span, http: int | None, grpc: str) -> str:
    said = next((str(span.tags[key]) for key in _TYPES if span.tags.get(key)), "") or span.exception_type
    if said and said != str(http):
        return said
    if http is not None and http >= 400:
        return f"HTTP {http}"
    return "" if grpc == "OK" else grpc


def _message(span: Span) -> str:
    told = [span.message, span.exception_message, *(span.tags.get(key) for key in _WORDS)]
    return next((str(each) for each in told if each), "")
