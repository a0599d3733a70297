"""What is around every request: its id, its host, its size, its log line, and a last resort.

Pure ASGI and outermost, so that it also holds for paths that do not exist. A body is bounded before anything
reads it. Whatever goes wrong inside becomes a problem without internals; the log gets the error's type and
place, never its message, because messages can hold values of the payload.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sagacity_api.service.problems import Problem, ProblemKind, as_problem, problem_response

LOGGER = logging.getLogger("sagacity_api.service")
REQUEST_ID = "x-request-id"
_USABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Envelope:
    """ASGI middleware; `clock` is monotonic seconds, `new_id` gives an id to requests that bring none."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        body_bytes_max: int,
        hosts: frozenset[str],
        new_id: Callable[[], str],
        clock: Callable[[], float],
    ) -> None:
        self.app = app
        self.body_bytes_max = body_bytes_max
        self._hosts = hosts
        self.new_id = new_id
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await _Exchange(self, scope, receive, send).run()

    def usable_host(self, headers: Headers) -> bool:
        """Whether the Host header names this service: a page elsewhere must not reach it by its own name."""
        host = headers.get("host", "")
        return (host if host.endswith("]") else re.sub(r":\d*$", "", host)).lower() in self._hosts


class _Exchange:
    """One request and its response."""

    def __init__(self, envelope: Envelope, scope: Scope, receive: Receive, send: Send) -> None:
        self._envelope = envelope
        self._scope = scope
        self._receive = receive
        self._send = send
        self._headers = Headers(scope=scope)
        brought = self._headers.get(REQUEST_ID, "")
        self._id = brought if _USABLE_ID.fullmatch(brought) else envelope.new_id()
        self._bytes = 0
        self._status = 0
        scope.setdefault("state", {})["request_id"] = self._id

    async def run(self) -> None:
        started = self._envelope.clock()
        try:
            self._require_usable()
            await self._envelope.app(self._scope, self._bounded_receive, self._stamped_send)
        except HTTPException as error:
            await self._answer(as_problem(error))
        except Exception as error:  # noqa: BLE001  the last resort: nothing of ours may reach the caller
            LOGGER.error(json.dumps({"request_id": self._id, "error": _place(error)}))
            detail = "An unexpected error; it was logged under the request_id."
            await self._answer(Problem(ProblemKind.INTERNAL, detail))
        self._log((self._envelope.clock() - started) * 1e3)

    def _require_usable(self) -> None:
        if not self._envelope.usable_host(self._headers):
            raise Problem(ProblemKind.MISDIRECTED, "The Host header is not a name of this service.")
        announced = self._headers.get("content-length", "")
        if announced.isdecimal() and int(announced[:19]) > self._envelope.body_bytes_max:
            raise self._too_large()

    async def _bounded_receive(self) -> Message:
        message = await self._receive()
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._envelope.body_bytes_max:
            raise self._too_large()
        return message

    def _too_large(self) -> Problem:
        most = self._envelope.body_bytes_max
        return Problem(ProblemKind.BODY_TOO_LARGE, f"The body has more than {most:,} bytes.")

    async def _stamped_send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self._id
            headers["x-content-type-options"] = "nosniff"
            headers["cache-control"] = "no-store"
        await self._send(message)

    async def _answer(self, problem: Problem) -> None:
        if not self._status:  # else a response is under way, and breaking it off is all that is left
            await problem_response(problem, self._id)(self._scope, self._receive, self._stamped_send)

    def _log(self, duration_ms: float) -> None:
        route = getattr(self._scope.get("route"), "path", "(none)")
        line = {
            "request_id": self._id,
            "method": self._scope["method"][:16],
            "route": route,
            "status": self._status,
            "duration_ms": round(duration_ms, 2),
        }
        LOGGER.info(json.dumps(line))


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
    return f"{type(error).__name__} at {where}"
