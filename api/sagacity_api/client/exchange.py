"""One question and its answer without any I/O: what is sent, and what a status, headers and body mean.

The blocking client, the asynchronous one and the advisor share it; they differ only in how bytes travel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from sagacity_api.bounded_json import BYTES_MAX, JsonRefused, read_json, write_json
from sagacity_api.client.errors import ClientError, ReplyRefused, ServiceFailed, ServiceRefused
from sagacity_engine import Plan, Saga, plan_document, saga_document

REPLY_BYTES_MAX: Final = BYTES_MAX
PREDICT: Final = "/v1/predict"
OPTIMIZE: Final = "/v1/optimize"

# Compressed replies are not asked for: the limit is on the bytes that arrive.
HEADERS: Final = {
    "content-type": "application/json",
    "accept": "application/json, application/problem+json",
    "accept-encoding": "identity",
}


def usable_base_url(base_url: str) -> str:
    """`base_url` without a trailing slash; raises `ClientError` unless it is http(s) with a host alone.

    >>> usable_base_url("http://127.0.0.1:8080/")
    'http://127.0.0.1:8080'
    """
    try:
        parts = urlsplit(base_url)
        usable = (
            parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        usable, parts = False, urlsplit("")
    if not usable or parts.query or parts.fragment or parts.username is not None:
        raise ClientError(f"{base_url!r} is no usable service address; write it as http://127.0.0.1:8080")
    return base_url.rstrip("/")


def request_body(saga: Saga, context: Mapping[str, str | float | bool], **optional: Any) -> bytes:
    """The JSON to post; options that are None are left out."""
    body: dict[str, Any] = {"saga": saga_document(saga), "context": dict(context)}
    for name, value in optional.items():
        if value is not None:
            body[name] = plan_document(value) if isinstance(value, Plan) else value
    try:
        return write_json(body)
    except ValueError as error:
        raise ClientError(f"the request cannot be written as JSON ({error}); use finite numbers") from None


def announced_too_large(headers: Mapping[str, str]) -> bool:
    """Whether the reply says itself that it is beyond the limit."""
    length = headers.get("content-length", "")
    return length.isdecimal() and int(length[:19]) > REPLY_BYTES_MAX


def require_usable(status: int, headers: Mapping[str, str]) -> None:
    """Raises `ReplyRefused` for what is refused before the body is read: redirects, compression, size."""
    if 300 <= status < 400:
        raise ReplyRefused(f"the service redirects ({status}); give the address it really has")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise ReplyRefused("the reply is compressed though no compression was asked for")
    if announced_too_large(headers):
        raise ReplyRefused(f"the reply has more than {REPLY_BYTES_MAX:,} bytes")


def read_reply(status: int, headers: Mapping[str, str], body: bytes) -> Any:
    """The parsed body of a success; raises `ServiceRefused`, `ServiceFailed` or `ReplyRefused`."""
    if status == 200:
        try:
            return read_json(body)
        except JsonRefused as refusal:
            raise ReplyRefused(f"the reply is no usable JSON: {refusal}") from None
    problem = _problem(body)
    detail = str(problem.get("detail") or problem.get("title") or "no reason given")[:500]
    if 400 <= status < 500 and status != 429:
        name = str(problem.get("type", "")).rpartition("/")[2][:80] or "unnamed problem"
        raise ServiceRefused(status, name, detail, str(problem.get("request_id", ""))[:80])
    raise ServiceFailed(status, detail, _seconds(headers.get("retry-after", "")))


def _problem(body: bytes) -> dict[str, Any]:
    try:
        parsed = read_json(body)
    except JsonRefused:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _seconds(text: str) -> float | None:
    return float(text) if text.isdecimal() and len(text) < 8 else None
