"""`create_app`: the service from injected parts, ready for any ASGI server.

It authenticates nobody yet, so it must only be bound to the loopback interface; whoever starts it sees to
that (`serving.py`). It keeps no state between requests but the loaded counsel.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from sagacity_api.service.bodies import ProblemBody
from sagacity_api.service.desk import CounselSlot, Desk, Limits
from sagacity_api.service.envelope import Envelope
from sagacity_api.service.problems import Problem, ProblemKind, as_problem, problem_response
from sagacity_api.service.routes import health_routes, question_routes
from sagacity_engine import PlanRefused, SagaRefused

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
FIELD_ERRORS_MAX = 20
POINTER_PART_MAX = 64


def create_app(
    slot: CounselSlot,
    *,
    limits: Limits | None = None,
    hosts: frozenset[str] = LOOPBACK_HOSTS,
    now: Callable[[], float] = time.time,
    clock: Callable[[], float] = time.monotonic,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    on_start: Callable[[], None] | None = None,
) -> FastAPI:
    """The service. `now` is seconds since the epoch, `clock` monotonic seconds, `hosts` the names it has.

    Questions are answered once `slot` is filled; `on_start` is called when the service starts, and may begin
    to fill it.
    """
    bounds = limits or Limits()
    desk = Desk(bounds)
    app = _Service(
        title="Sagacity",
        summary="Predicts saga runs and plans them inside their owner's freedoms.",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=partial(_lifespan, desk, on_start),
    )
    app.include_router(question_routes(slot, desk, bounds, now))
    app.include_router(health_routes(slot))
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(SagaRefused, partial(_on_refused, ProblemKind.SAGA_REFUSED))
    app.add_exception_handler(PlanRefused, partial(_on_refused, ProblemKind.PLAN_REFUSED))
    app.add_middleware(
        Envelope, body_bytes_max=bounds.body_bytes_max, hosts=hosts, new_id=new_id, clock=clock
    )
    return app


class _Service(FastAPI):
    """FastAPI, whose description holds the shape of our problems instead of the framework's errors."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI 3.1 description."""
        if self.openapi_schema is None:
            described = super().openapi()
            schemas = described["components"]["schemas"]
            schema = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= {**schema.pop("$defs", {}), "ProblemBody": schema}
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            for operations in described["paths"].values():
                for operation in operations.values():
                    _drop_framework_errors(operation["responses"])
        return super().openapi()


def _drop_framework_errors(responses: dict[str, Any]) -> None:
    """Takes out what the framework adds to every operation that has a parameter."""
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]


@asynccontextmanager
async def _lifespan(desk: Desk, on_start: Callable[[], None] | None, _app: FastAPI) -> AsyncIterator[None]:
    if on_start is not None:
        on_start()
    yield
    desk.close()


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem_response(as_problem(error), request.state.request_id)


async def _on_refused(kind: ProblemKind, request: Request, error: Exception) -> Response:
    return problem_response(Problem(kind, str(error)), request.state.request_id)


async def _on_invalid(request: Request, error: Exception) -> Response:
    """Names the fields and never quotes their values."""
    assert isinstance(error, RequestValidationError)
    errors = [
        {"pointer": _pointer(each["loc"][1:]), "detail": str(each["msg"])}
        for each in error.errors()[:FIELD_ERRORS_MAX]
    ]
    detail = f"{errors[0]['pointer'] or 'The body'}: {errors[0]['detail']}"
    problem = Problem(ProblemKind.INVALID_REQUEST, detail, errors=errors)
    return problem_response(problem, request.state.request_id)


def _pointer(location: tuple[int | str, ...]) -> str:
    """A JSON pointer (RFC 6901); parts that a caller made very long are cut."""
    parts = (str(part)[:POINTER_PART_MAX] for part in location)
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
