"""Steps that are HTTP calls: `{http: {method, url, body, headers}}` in a document becomes a function.

Every call carries `Saga-Id`, `Step-Name`, `Attempt`, `Idempotency-Key` (the same for every attempt of one
step in one direction) and `traceparent`. An undo or a probe also carries `Undoes-Idempotency-Key`, the key of
the action it is about, and an undo `Saga-Effect`: whether that action succeeded, failed, or nobody can tell.
An undo whose step may not have taken effect must go by that key. What the answers mean is in `http_answers`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from sagacity_api.client.http_answers import REPLY_BYTES_MAX, Reply, found, outcome
from sagacity_api.client.http_requests import filled_body, filled_headers, filled_url
from sagacity_engine import (
    BoundSaga,
    Call,
    FailureClass,
    Handler,
    OutcomeUnknown,
    Saga,
    SagaRefused,
    Step,
    StepError,
    bind,
)
from sagacity_engine.handlers import Action

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
_FIELDS = ("method", "url", "body", "headers")
_URL_START = re.compile(r"https?://[^/?#${}@]+(/|$)")
_BEFORE_SENDING = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)


def http_bound(
    saga: Saga, client: httpx2.AsyncClient, *, clock: Callable[[], float] = time.time
) -> BoundSaga:
    """The definition with its HTTP calls, made through `client`, which the caller opens and closes.

    Sagas within it are bound alike; approvals call nobody. `clock` gives the seconds since the epoch from
    which a `Retry-After` without a `Date` counts. Raises `SagaRefused` naming the step whose action is
    missing or is no usable `{http: ...}`.
    """
    caller = _Caller(client, clock)
    return bind(
        saga,
        {step.name: caller.handler(step) for step in saga.steps if not (step.approval or step.sub_saga)},
        {
            step.name: http_bound(step.sub_saga.saga, client, clock=clock)
            for step in saga.steps
            if step.sub_saga is not None
        },
    )


@dataclass(frozen=True, slots=True)
class _Caller:
    client: httpx2.AsyncClient
    clock: Callable[[], float]

    def handler(self, step: Step) -> Handler:
        where = f"step {step.name!r}: "
        undo, probe = step.compensation, step.probe
        return Handler(
            self.action(where + "action", step.action),
            None if undo is None else self.action(where + "compensation.action", undo.action),
            None if probe is None else self.action(where + "probe.action", probe.action, found, "GET"),
        )

    def action(
        self,
        where: str,
        declared: Mapping[str, object] | None,
        meaning: Callable[[Reply, Callable[[], float]], Any] = outcome,
        usual_method: str = "POST",
    ) -> Action:
        request = _request(where, declared)
        method, url = _method(where, request.get("method", usual_method)), _url(where, request.get("url"))
        headers = _headers(where, request.get("headers", {}))

        async def send(call: Call) -> Any:
            filled = filled_url(url, call), filled_headers(headers, call), filled_body(request, call)
            return meaning(await _exchange(self.client, method, *filled), self.clock)

        return send


def _request(where: str, declared: Mapping[str, object] | None) -> Mapping[str, object]:
    if declared is None:
        raise SagaRefused(f"{where} is missing; give it as {{http: {{method, url, body, headers}}}}")
    request = declared.get("http")
    if set(declared) != {"http"} or not isinstance(request, Mapping):
        raise SagaRefused(
            f"{where} is {_short(declared)}; only {{http: {{...}}}} can be called from a document"
        )
    if odd := sorted(set(request) - set(_FIELDS)):
        raise SagaRefused(
            f"{where}.http has an unknown field {odd[0]!r}; the fields are {', '.join(_FIELDS)}"
        )
    return request


def _method(where: str, method: object) -> str:
    if method not in METHODS:
        raise SagaRefused(f"{where}.http.method is {method!r}; it must be one of {', '.join(METHODS)}")
    return str(method)


def _url(where: str, url: object) -> str:
    if not isinstance(url, str) or not _URL_START.match(url):
        raise SagaRefused(
            f"{where}.http.url is {_short(url)}; it must begin with http(s):// and a host in plain text"
        )
    return url


def _headers(where: str, headers: object) -> Mapping[str, str]:
    if not isinstance(headers, Mapping) or not all(isinstance(value, str) for value in headers.values()):
        raise SagaRefused(f"{where}.http.headers is {_short(headers)}; it must be a mapping of text to text")
    return headers


async def _exchange(
    client: httpx2.AsyncClient, method: str, url: str, headers: Mapping[str, str], body: bytes | None
) -> Reply:
    try:
        # The engine's own timeout ends the call; the client's would only hide which one fired.
        request = client.build_request(method, url, headers=dict(headers), content=body, timeout=None)
    except (httpx2.InvalidURL, ValueError, TypeError) as problem:
        raise _unusable(problem) from None
    try:
        reply = await client.send(request, stream=True, follow_redirects=False)
        try:
            said = {name.lower(): value for name, value in reply.headers.items()}
            return Reply(status=reply.status_code, content=await _read(reply), headers=said)
        finally:
            await reply.aclose()
    except _BEFORE_SENDING as problem:
        raise StepError("NotConnected", _told(problem), FailureClass.CASCADING) from None
    except (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol) as problem:
        raise _unusable(problem) from None
    except httpx2.RequestError as problem:
        raise OutcomeUnknown(f"{type(problem).__name__} after sending began") from None


def _unusable(problem: Exception) -> StepError:
    return StepError("UnusableRequest", _told(problem), FailureClass.PERMANENT)


async def _read(reply: httpx2.Response) -> bytes | None:
    """The answer's bytes, or None when there are too many. Nothing is unpacked: we asked for it plain."""
    held = bytearray()
    async for chunk in reply.aiter_raw():
        held += chunk
        if len(held) > REPLY_BYTES_MAX:
            return None
    return bytes(held)


def _told(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
