"""Steps that are HTTP calls: `{http: {method, url, body, headers}}` in a document becomes a function.

Every call carries `Saga-Id`, `Step-Name`, `Attempt` and `Idempotency-Key` (the same for every attempt of one
step in one direction); an undo also carries `Undoes-Idempotency-Key`, the key of what it takes back. What the
answer means:

| answer | outcome |
|---|---|
| 2xx | success; the JSON body is the output (other text is kept as text, an empty body as nothing) |
| no connection, no free connection | definite failure, cascading: nothing was sent |
| a timeout, a reset or a broken answer after sending began | unknown |
| 3xx (never followed), 502, 504 | unknown: somebody behind it may have acted |
| 429, 503 | definite failure, cascading: refused before any work |
| 408, 425 | definite failure, transient: the request was not taken up |
| 500 and other 5xx | unknown: it broke at an unknown point |
| 501 and other 4xx | definite failure, permanent |

A JSON body `{"error_type", "failure_class", "message"}` refines a definite failure, and makes one of a 500:
the participant itself says that it did not act. References in a URL are percent-encoded and cannot stand
before its path, so that no input chooses the host. An undo whose step may not have taken effect gets null
where its body refers to the step's output, and must go by `Undoes-Idempotency-Key`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx2

from sagacity_engine import (
    BoundSaga,
    Call,
    Direction,
    FailureClass,
    Handler,
    OutcomeUnknown,
    Saga,
    SagaRefused,
    StepError,
    bind,
)
from sagacity_engine.handlers import Action, idempotency_key
from sagacity_engine.references import resolve

REPLY_BYTES_MAX = 1 << 20
"""The longest answer that is read; a longer one breaks off."""

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
_FIELDS = ("method", "url", "body", "headers")
_URL_START = re.compile(r"https?://[^/?#${}@]+(/|$)")
_REFERENCE = re.compile(r"\$\{[^}]*\}")
_BEFORE_SENDING = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)


def http_bound(saga: Saga, client: httpx2.AsyncClient) -> BoundSaga:
    """The definition with its HTTP calls, made through `client`, which the caller opens and closes.

    Raises `SagaRefused` naming the step whose action is missing or is no usable `{http: ...}`.
    """
    return bind(
        saga,
        {
            step.name: Handler(
                _action(step.name, "action", step.action, client),
                None
                if step.compensation is None
                else _action(step.name, "compensation.action", step.compensation.action, client),
            )
            for step in saga.steps
        },
    )


def _action(
    step: str, where: str, declared: Mapping[str, object] | None, client: httpx2.AsyncClient
) -> Action:
    where = f"step {step!r}: {where}"
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
    method = request.get("method", "POST")
    if method not in METHODS:
        raise SagaRefused(f"{where}.http.method is {method!r}; it must be one of {', '.join(METHODS)}")
    url = request.get("url")
    if not isinstance(url, str) or not _URL_START.match(url):
        raise SagaRefused(
            f"{where}.http.url is {_short(url)}; it must begin with http(s):// and a host in plain text"
        )
    headers = request.get("headers", {})
    if not isinstance(headers, Mapping) or not all(isinstance(value, str) for value in headers.values()):
        raise SagaRefused(f"{where}.http.headers is {_short(headers)}; it must be a mapping of text to text")

    async def send(call: Call) -> Any:
        return await _exchange(
            client, str(method), _url(url, call), _headers(headers, call), _body(request, call)
        )

    return send


async def _exchange(
    client: httpx2.AsyncClient, method: str, url: str, headers: Mapping[str, str], body: bytes | None
) -> Any:
    try:
        # The engine's own timeout ends the call; the client's would only hide which one fired.
        request = client.build_request(method, url, headers=dict(headers), content=body, timeout=None)
    except (httpx2.InvalidURL, ValueError, TypeError) as problem:
        raise _unusable(problem) from None
    try:
        reply = await client.send(request, stream=True, follow_redirects=False)
        try:
            return _outcome(reply.status_code, await _read(reply))
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


def _outcome(status: int, content: bytes | None) -> Any:
    """The output of a 2xx; raises what any other answer means."""
    if 200 <= status < 300:
        if content is None:
            raise OutcomeUnknown(f"HTTP {status} with more than {REPLY_BYTES_MAX} bytes; the output is lost")
        return _output(content)
    said = _said(content)
    error_type, message = said.get("error_type", f"Http{status}"), said.get("message", f"HTTP {status}")
    if _unknown(status, said):
        raise OutcomeUnknown(f"HTTP {status}")
    raise StepError(error_type, message, _failure_class(status, said))


def _unknown(status: int, said: Mapping[str, str]) -> bool:
    if status == 500 and said:
        return False
    return status < 400 or (status >= 500 and status not in (501, 503))


def _failure_class(status: int, said: Mapping[str, str]) -> FailureClass:
    if (named := said.get("failure_class")) in tuple(FailureClass):
        return FailureClass(named)
    if status in (429, 503):
        return FailureClass.CASCADING
    if status == 500:
        return FailureClass.UNKNOWN
    return FailureClass.TRANSIENT if status in (408, 425) else FailureClass.PERMANENT


def _said(content: bytes | None) -> Mapping[str, str]:
    """What a refusal says of itself; empty when it does not keep to the contract."""
    try:
        body = json.loads(content or b"")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(body, Mapping) or not isinstance(body.get("error_type"), str):
        return {}
    return {
        key: body[key]
        for key in ("error_type", "failure_class", "message")
        if isinstance(body.get(key), str) and body[key]
    }


def _output(content: bytes) -> Any:
    if not content:
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace")


async def _read(reply: httpx2.Response) -> bytes | None:
    """The answer's bytes, or None when there are too many. Nothing is unpacked: we asked for it plain."""
    held = bytearray()
    async for chunk in reply.aiter_raw():
        held += chunk
        if len(held) > REPLY_BYTES_MAX:
            return None
    return bytes(held)


def _url(url: str, call: Call) -> str:
    def encoded(match: re.Match[str]) -> str:
        return quote(str(_resolved(match.group(), call)), safe="")

    return _REFERENCE.sub(encoded, url)


def _headers(declared: Mapping[str, str], call: Call) -> dict[str, str]:
    ours = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Saga-Id": call.run_id if call.run_id.isascii() else quote(call.run_id),
        "Step-Name": call.step,
        "Attempt": str(call.attempt),
        "Idempotency-Key": call.idempotency_key,
    }
    if call.direction is Direction.UNDO:
        ours["Undoes-Idempotency-Key"] = idempotency_key(call.run_id, call.step, Direction.FORWARD)
    own = {name.lower() for name in ours}
    theirs = {
        name: str(_resolved(value, call)) for name, value in declared.items() if name.lower() not in own
    }
    return {"Content-Type": "application/json", **theirs, **ours}


def _body(request: Mapping[str, object], call: Call) -> bytes | None:
    if "body" not in request:
        return None
    return json.dumps(_filled(request["body"], call)).encode()


def _filled(value: object, call: Call) -> object:
    """The body with its references replaced; those to an effect that may not exist become null."""
    if isinstance(value, Mapping):
        return {key: _filled(item, call) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(item, call) for item in value]
    if not call.effect_known and isinstance(value, str) and f"${{steps.{call.step}.output" in value:
        return None
    return _resolved(value, call)


def _resolved(value: object, call: Call) -> object:
    try:
        return resolve(value, call.input, call.outputs)
    except SagaRefused as refusal:
        raise StepError("UnresolvedReference", str(refusal), FailureClass.PERMANENT) from None


def _told(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
