"""One batch to the service: a deadline around the whole exchange, and what the answer means.

Any 2xx whose body is empty or a JSON object says that the service has the batch; everything else raises the
client's typed errors. Like the advisor it trusts nothing that comes back: redirects, compression, more than
the limit, bytes that drip for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx2

from sagacity_api.bounded_json import JsonRefused, read_json
from sagacity_api.client.errors import ClientError, ReplyRefused, ServiceTooSlow, ServiceUnreachable
from sagacity_api.client.exchange import (
    HEADERS,
    REPLY_BYTES_MAX,
    read_reply,
    require_usable,
    usable_base_url,
)

EVENTS = "/v1/events"


class EventDelivery:
    """Posts to `{base_url}/v1/events` within `deadline_s` seconds each time.

    Raises `ClientError` for an address or a key that cannot be used. Belongs to one event loop.
    """

    def __init__(self, base_url: str, api_key: str | None, deadline_s: float) -> None:
        self._url = usable_base_url(base_url) + EVENTS
        self._headers = dict(HEADERS)
        self._deadline_s = deadline_s
        self._client: httpx2.AsyncClient | None = None
        if api_key is not None:
            if not (api_key and api_key.isascii() and api_key.isprintable()):
                raise ClientError("the API key is not usable; it must be printable ASCII without line breaks")
            self._headers["x-api-key"] = api_key

    async def post(self, body: bytes, idempotency_key: str) -> None:
        """Returns when the service has the batch; raises a `ClientError` when that is not certain."""
        try:
            async with asyncio.timeout(self._deadline_s):
                status, headers, received = await self._exchange(body, idempotency_key)
        except TimeoutError:
            raise ServiceTooSlow(f"no whole reply within {self._deadline_s:g} s") from None
        except httpx2.HTTPError as error:
            raise ServiceUnreachable(f"{type(error).__name__}: {error}"[:300]) from None
        _require_taken(status, headers, received)

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _exchange(self, body: bytes, idempotency_key: str) -> tuple[int, Mapping[str, str], bytes]:
        if self._client is None:
            self._client = httpx2.AsyncClient(trust_env=False)
        headers = self._headers | {"idempotency-key": idempotency_key}
        request: dict[str, Any] = {"content": body, "headers": headers, "follow_redirects": False}
        async with self._client.stream("POST", self._url, **request, timeout=self._deadline_s) as response:
            require_usable(response.status_code, response.headers)
            received = bytearray()
            async for chunk in response.aiter_raw():
                received += chunk
                if len(received) > REPLY_BYTES_MAX:
                    raise ReplyRefused(f"the reply has more than {REPLY_BYTES_MAX:,} bytes")
            return response.status_code, response.headers, bytes(received)


def _require_taken(status: int, headers: Mapping[str, str], received: bytes) -> None:
    if not 200 <= status < 300:
        read_reply(status, headers, received)
        raise ReplyRefused(f"status {status} says nothing that we know")
    try:
        taken = not received or isinstance(read_json(received), dict)
    except JsonRefused as refusal:
        raise ReplyRefused(f"the reply is no usable JSON: {refusal}") from None
    if not taken:
        raise ReplyRefused("the reply is no JSON object; whatever answered is not the service")
