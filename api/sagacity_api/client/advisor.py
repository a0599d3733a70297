"""The advisor at the other end of a connection: a deadline, a size limit and a breaker around one question.

`HttpAdvisor` never decides what happens when there is no advice; it raises a typed error and the engine's
`ask` takes the author's plan. Everything that comes back is distrusted: redirects, compression, more than
1 MiB, JSON that two readers could read differently, plans that `check` refuses, advice that has expired.

The breaker counts what says that the service is unwell. A refusal of our own request (4xx) does not: another
saga may well be answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import httpx2

from sagacity_api.client.breaker import Breaker, Circuit
from sagacity_api.client.errors import (
    AdviceRefused,
    BreakerOpen,
    ReplyRefused,
    ServiceRefused,
    ServiceTooSlow,
    ServiceUnreachable,
)
from sagacity_api.client.exchange import (
    HEADERS,
    OPTIMIZE,
    REPLY_BYTES_MAX,
    read_reply,
    request_body,
    require_usable,
    usable_base_url,
)
from sagacity_api.client.replies import read_recommendation
from sagacity_engine import Advice, Launch, Saga, check


class HttpAdvisor:
    """Asks `POST {base_url}/v1/optimize` for each launch, within `deadline_s` seconds all told.

    `client` may be a prepared `httpx2.AsyncClient` and stays the caller's to close; by default one is made
    per event loop, which reads no proxy or certificate settings from the environment. `clock` is monotonic
    seconds. Raises `ClientError` if the address is not usable.
    """

    def __init__(
        self,
        base_url: str,
        deadline_s: float = 0.5,
        client: httpx2.AsyncClient | None = None,
        *,
        failures_max: int = 5,
        cool_down_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = usable_base_url(base_url) + OPTIMIZE
        self._deadline_s = deadline_s
        self._given = client
        self._own: tuple[asyncio.AbstractEventLoop, httpx2.AsyncClient] | None = None
        self._breaker = Breaker(clock=clock, failures_max=failures_max, cool_down_s=cool_down_s)

    @property
    def circuit(self) -> Circuit:
        """The breaker's state."""
        return self._breaker.state

    async def advise(self, saga: Saga, launch: Launch) -> Advice:
        """Legal, unexpired advice; raises a `ClientError` when there is none."""
        if not self._breaker.admit():
            raise BreakerOpen(f"the service failed repeatedly; next try in {self._breaker.wait_s():.3g} s")
        try:
            advice = await self._advise(saga, launch)
        except ServiceRefused:
            self._breaker.succeeded()
            raise
        except BaseException:  # a caller that gives up before our deadline is a slow service too
            self._breaker.failed()
            raise
        self._breaker.succeeded()
        return advice

    async def _advise(self, saga: Saga, launch: Launch) -> Advice:
        body = request_body(saga, launch.context, at=launch.at, run_id=launch.run_id)
        try:
            async with asyncio.timeout(self._deadline_s):
                reply = await self._post(body)
        except TimeoutError:
            raise ServiceTooSlow(f"no whole reply within {self._deadline_s:g} s") from None
        except httpx2.HTTPError as error:
            raise ServiceUnreachable(f"{type(error).__name__}: {error}"[:300]) from None
        advice = read_recommendation(read_reply(*reply)).advice()
        if advice.expires_at is not None and advice.expires_at < launch.at:
            raise AdviceRefused("the advice had expired when it arrived")
        if breaches := check(advice.plan, saga):
            raise AdviceRefused("the advised plan is not legal: " + "; ".join(breaches[:3]))
        return advice

    async def _post(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        request: dict[str, Any] = {"content": body, "headers": HEADERS, "follow_redirects": False}
        async with self._client().stream("POST", self._url, **request, timeout=self._deadline_s) as response:
            require_usable(response.status_code, response.headers)
            received = bytearray()
            async for chunk in response.aiter_raw():
                received += chunk
                if len(received) > REPLY_BYTES_MAX:
                    raise ReplyRefused(f"the reply has more than {REPLY_BYTES_MAX:,} bytes")
            return response.status_code, response.headers, bytes(received)

    def _client(self) -> httpx2.AsyncClient:
        """Connections belong to the event loop they were made in, so a new loop gets a new client."""
        if self._given is not None:
            return self._given
        loop = asyncio.get_running_loop()
        if self._own is None or self._own[0] is not loop:
            self._own = (loop, httpx2.AsyncClient(trust_env=False))
        return self._own[1]

    async def aclose(self) -> None:
        """Closes the connections that this advisor opened in the running event loop."""
        if self._own is not None and self._own[0] is asyncio.get_running_loop():
            await self._own[1].aclose()
        self._own = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
