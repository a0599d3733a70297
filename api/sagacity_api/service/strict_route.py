"""Routes whose bodies are read strictly: sent as JSON, in time, and parsed by the bounded reader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from sagacity_api.bounded_json import JsonRefused, JsonTooLarge, read_json
from sagacity_api.service.desk import Limits
from sagacity_api.service.problems import Problem, ProblemKind

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class _StrictRequest(Request):
    """A request that knows its limits."""

    def __init__(self, request: Request, limits: Limits) -> None:
        super().__init__(request.scope, request.receive)
        self._limits = limits

    async def body(self) -> bytes:
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                return await super().body()
        except TimeoutError:
            detail = f"The body was not there within {self._limits.body_timeout_s:g} s."
            raise Problem(ProblemKind.BODY_TOO_SLOW, detail) from None

    async def json(self) -> Any:
        body = await self.body()
        limits = self._limits
        try:
            return read_json(body, bytes_max=limits.body_bytes_max, depth_max=limits.json_depth_max)
        except JsonTooLarge as refusal:
            raise Problem(ProblemKind.BODY_TOO_LARGE, f"{refusal}.") from None
        except JsonRefused as refusal:
            raise Problem(ProblemKind.MALFORMED_JSON, f"{refusal}.") from None


def strict_route(limits: Limits) -> type[APIRoute]:
    """A route class for these limits."""

    class StrictRoute(APIRoute):
        """Reads bodies strictly."""

        def get_route_handler(self) -> Handler:
            """The framework's handler, handed a strict request."""
            handle = super().get_route_handler()

            async def strictly(request: Request) -> Response:
                if request.method == "POST":
                    _require_json(request)
                return await handle(_StrictRequest(request, limits))

            return strictly

    return StrictRoute


def _require_json(request: Request) -> None:
    sent_as = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent_as != "application/json":
        raise Problem(ProblemKind.UNSUPPORTED_MEDIA_TYPE, "The body must be sent as application/json.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(ProblemKind.UNSUPPORTED_MEDIA_TYPE, "The body must be sent without compression.")
