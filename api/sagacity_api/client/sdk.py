"""Asking the service from Python: `Client` blocks, `AsyncClient` awaits; both return typed values.

For people and scripts that want an answer or an error. An engine that must never wait or fail because of
advice uses `HttpAdvisor` instead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx2

from sagacity_api.answers import Prediction, Recommendation
from sagacity_api.client.errors import ReplyRefused, ServiceTooSlow, ServiceUnreachable
from sagacity_api.client.exchange import (
    HEADERS,
    OPTIMIZE,
    PREDICT,
    REPLY_BYTES_MAX,
    read_reply,
    request_body,
    require_usable,
    usable_base_url,
)
from sagacity_api.client.replies import read_prediction, read_recommendation
from sagacity_engine import Plan, Saga
from sagacity_engine.advisor import Context

NO_CONTEXT: Context = {}


class Client:
    """A blocking client. Use it as a context, or close it. `timeout_s` bounds each question as a whole.

    Every method raises a `ClientError`: `ServiceUnreachable`, `ServiceTooSlow`, `ServiceRefused`,
    `ServiceFailed` or `ReplyRefused`.
    """

    def __init__(
        self, base_url: str, *, timeout_s: float = 10.0, client: httpx2.Client | None = None
    ) -> None:
        self._base_url = usable_base_url(base_url)
        self._timeout_s = timeout_s
        self._owns = client is None
        self._client = client or httpx2.Client(trust_env=False)

    def predict(
        self, saga: Saga, context: Context = NO_CONTEXT, *, at: float | None = None, plan: Plan | None = None
    ) -> Prediction:
        """How a run under `plan` (the author's if None) would go. `at` is in seconds since the epoch."""
        return read_prediction(self._ask(PREDICT, request_body(saga, context, at=at, plan=plan)))

    def optimize(
        self,
        saga: Saga,
        context: Context = NO_CONTEXT,
        *,
        at: float | None = None,
        run_id: str | None = None,
        exact: bool | None = None,
    ) -> Recommendation:
        """The plan with the least expected cost inside the freedoms that `saga` grants."""
        body = request_body(saga, context, at=at, run_id=run_id, exact=exact)
        return read_recommendation(self._ask(OPTIMIZE, body))

    def _ask(self, path: str, body: bytes) -> Any:
        deadline = time.monotonic() + self._timeout_s
        request: dict[str, Any] = {"content": body, "headers": HEADERS, "follow_redirects": False}
        try:
            with self._client.stream(
                "POST", self._base_url + path, **request, timeout=self._timeout_s
            ) as response:
                require_usable(response.status_code, response.headers)
                received = bytearray()
                for chunk in response.iter_raw():
                    _grow(received, chunk)
                    if time.monotonic() > deadline:
                        raise ServiceTooSlow(f"no whole reply within {self._timeout_s:g} s")
        except httpx2.HTTPError as error:
            raise _unreached(error, self._base_url, self._timeout_s) from None
        return read_reply(response.status_code, response.headers, bytes(received))

    def close(self) -> None:
        """Closes the connections that this client opened."""
        if self._owns:
            self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient:
    """The same for `async` code. Use it as a context, or close it."""

    def __init__(
        self, base_url: str, *, timeout_s: float = 10.0, client: httpx2.AsyncClient | None = None
    ) -> None:
        self._base_url = usable_base_url(base_url)
        self._timeout_s = timeout_s
        self._owns = client is None
        self._client = client or httpx2.AsyncClient(trust_env=False)

    async def predict(
        self, saga: Saga, context: Context = NO_CONTEXT, *, at: float | None = None, plan: Plan | None = None
    ) -> Prediction:
        """How a run under `plan` (the author's if None) would go. `at` is in seconds since the epoch."""
        return read_prediction(await self._ask(PREDICT, request_body(saga, context, at=at, plan=plan)))

    async def optimize(
        self,
        saga: Saga,
        context: Context = NO_CONTEXT,
        *,
        at: float | None = None,
        run_id: str | None = None,
        exact: bool | None = None,
    ) -> Recommendation:
        """The plan with the least expected cost inside the freedoms that `saga` grants."""
        body = request_body(saga, context, at=at, run_id=run_id, exact=exact)
        return read_recommendation(await self._ask(OPTIMIZE, body))

    async def _ask(self, path: str, body: bytes) -> Any:
        try:
            async with asyncio.timeout(self._timeout_s):
                reply = await self._post(path, body)
        except TimeoutError:
            raise ServiceTooSlow(f"no whole reply within {self._timeout_s:g} s") from None
        except httpx2.HTTPError as error:
            raise _unreached(error, self._base_url, self._timeout_s) from None
        return read_reply(*reply)

    async def _post(self, path: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        request: dict[str, Any] = {"content": body, "headers": HEADERS, "follow_redirects": False}
        url = self._base_url + path
        async with self._client.stream("POST", url, **request, timeout=self._timeout_s) as response:
            require_usable(response.status_code, response.headers)
            received = bytearray()
            async for chunk in response.aiter_raw():
                _grow(received, chunk)
            return response.status_code, response.headers, bytes(received)

    async def aclose(self) -> None:
        """Closes the connections that this client opened."""
        if self._owns:
            await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _grow(received: bytearray, chunk: bytes) -> None:
    received += chunk
    if len(received) > REPLY_BYTES_MAX:
        raise ReplyRefused(f"the reply has more than {REPLY_BYTES_MAX:,} bytes")


def _unreached(
    error: httpx2.HTTPError, base_url: str, timeout_s: float
) -> ServiceTooSlow | ServiceUnreachable:
    if isinstance(error, httpx2.TimeoutException):
        return ServiceTooSlow(f"no whole reply within {timeout_s:g} s")
    return ServiceUnreachable(f"{base_url} could not be reached: {type(error).__name__}: {error}"[:300])
