"""Every way in which the service says no: the one table of problem types (RFC 9457).

A problem's `type` is a path that the service itself answers, so that the explanation is there wherever the
service runs. Nothing of a request's values and nothing of the service's inside is in a problem, except where
the engine's refusal of a document quotes the offending value back to whoever sent it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"
PATH = "/problems"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One row: the name in the type's path, the status, what it means, and the way out."""

    name: str
    status: int
    title: str
    way_out: str

    @property
    def uri(self) -> str:
        """The type as problems carry it."""
        return f"{PATH}/{self.name}"


class ProblemKind(Enum):
    """The table."""

    MALFORMED_JSON = ProblemType(
        "malformed-json",
        400,
        "The body is not usable JSON",
        "Send UTF-8 JSON without duplicate keys, NaN or infinities, nested at most 32 levels.",
    )
    NOT_FOUND = ProblemType(
        "not-found", 404, "There is nothing at this path", "See /openapi.json for the paths."
    )
    METHOD_NOT_ALLOWED = ProblemType(
        "method-not-allowed", 405, "The path does not take this method", "Use a method of the Allow header."
    )
    BODY_TOO_SLOW = ProblemType(
        "body-too-slow", 408, "The body did not arrive in time", "Send the whole body at once."
    )
    BODY_TOO_LARGE = ProblemType(
        "body-too-large",
        413,
        "The body is larger than the limit",
        "Send at most 1 MiB; a saga is far smaller.",
    )
    UNSUPPORTED_MEDIA_TYPE = ProblemType(
        "unsupported-media-type", 415, "The body is not sent as JSON", "Send Content-Type: application/json."
    )
    MISDIRECTED = ProblemType(
        "misdirected", 421, "The Host header names another machine", "Address the service by its own name."
    )
    INVALID_REQUEST = ProblemType(
        "invalid-request",
        422,
        "A field is missing or does not fit",
        "Correct the fields that errors[] points to.",
    )
    SAGA_REFUSED = ProblemType(
        "saga-refused", 422, "The saga document breaks a rule", "The detail names the value and the way out."
    )
    PLAN_REFUSED = ProblemType(
        "plan-refused", 422, "The plan is not a legal plan of the saga", "The detail lists the breaches."
    )
    REQUEST_REFUSED = ProblemType(
        "request-refused", 400, "The request cannot be understood", "Compare it with /openapi.json."
    )
    INTERNAL = ProblemType(
        "internal", 500, "Something unexpected went wrong here", "Report it with the request_id."
    )
    NOT_READY = ProblemType(
        "not-ready", 503, "No model is loaded yet", "Ask again after Retry-After seconds; see /readyz."
    )
    OVERLOADED = ProblemType(
        "overloaded", 503, "Too many questions at once", "Ask again after Retry-After seconds."
    )
    OUT_OF_TIME = ProblemType(
        "out-of-time", 503, "The answer took longer than the time budget", "Ask for less, or without exact."
    )


BY_NAME: Mapping[str, ProblemType] = {kind.value.name: kind.value for kind in ProblemKind}
_OF_STATUS = {404: ProblemKind.NOT_FOUND, 405: ProblemKind.METHOD_NOT_ALLOWED}


class Problem(HTTPException):
    """Raised anywhere in the service to answer with a problem."""

    def __init__(
        self,
        kind: ProblemKind,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(kind.value.status, detail, dict(headers or {}))
        self.kind = kind
        self.errors = errors


def as_problem(error: HTTPException) -> Problem:
    """The problem for an error that the framework raised itself."""
    if isinstance(error, Problem):
        return error
    kind = _OF_STATUS.get(error.status_code, ProblemKind.REQUEST_REFUSED)
    return Problem(kind, kind.value.title + ".", headers=error.headers)


def problem_response(problem: Problem, request_id: str) -> JSONResponse:
    """The problem as a response of media type application/problem+json."""
    row = problem.kind.value
    body: dict[str, Any] = {
        "type": row.uri,
        "title": row.title,
        "status": row.status,
        "detail": problem.detail,
        "request_id": request_id,
    }
    if problem.errors:
        body["errors"] = [dict(error) for error in problem.errors]
    return JSONResponse(body, row.status, headers=problem.headers, media_type=MEDIA_TYPE)
