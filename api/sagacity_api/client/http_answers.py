"""What an answer over HTTP means for the attempt: success, a definite refusal, or that nobody can tell.

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

A JSON body `{"error_type", "failure_class", "message", "terminal"}` refines a definite failure, and makes one
of a 500: the participant itself says that it did not act. After `"terminal": true`, and after the error type
`Hanging` (the barrier's word for an action that comes after its undo), nothing is tried again. `Retry-After`
says how long to leave a definite refusal alone, in seconds or as a date, a day at the longest.

A probe is answered by a 2xx, or by a 404, with a JSON body that holds `happened`: true (then `output` stands
in for the action's), false, or null for "cannot tell". A 404 without that body says nothing: a wrong path
gives one too, and a "no" lets the engine forget an effect. Everything else cannot tell either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from sagacity_engine import FailureClass, OutcomeUnknown, StepError
from sagacity_engine.errors import TerminalError
from sagacity_engine.events import Answer
from sagacity_engine.handlers import Found

REPLY_BYTES_MAX = 1 << 20
"""The longest answer that is read; a longer one breaks off."""

RETRY_AFTER_MAX_S = 86_400.0
"""The longest delay that a participant may ask for."""

HANGING = "Hanging"
_ANSWERS = {True: Answer.HAPPENED, False: Answer.DID_NOT_HAPPEN, None: Answer.CANNOT_TELL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer as it came; `content` is None when it was too long to be read. Header names in lower case."""

    status: int
    content: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)


def outcome(reply: Reply, clock: Callable[[], float]) -> Any:
    """The output of a 2xx; raises `StepError` or `OutcomeUnknown` for what any other answer means."""
    status, content = reply.status, reply.content
    if 200 <= status < 300:
        if content is None:
            raise OutcomeUnknown(f"HTTP {status} with more than {REPLY_BYTES_MAX} bytes; the output is lost")
        return _output(content)
    said = _said(content)
    error_type, message = said.get("error_type", f"Http{status}"), said.get("message", f"HTTP {status}")
    if _unknown(status, said):
        raise OutcomeUnknown(f"HTTP {status}")
    terminal = said.get("terminal") is True or error_type == HANGING
    raise (TerminalError if terminal else StepError)(
        error_type, message, _failure_class(status, said), retry_after_s=retry_after_s(reply.headers, clock)
    )


def found(reply: Reply, clock: Callable[[], float]) -> Found:
    """A probe's answer; raises what `outcome` raises for an answer that does not say."""
    body = _mapping(reply.content)
    if (200 <= reply.status < 300 or reply.status == 404) and "happened" in body:
        happened = body["happened"]
        if happened is None or isinstance(happened, bool):
            return Found(_ANSWERS[happened], body.get("output") if happened else None)
    outcome(reply, clock)
    raise OutcomeUnknown(f'HTTP {reply.status} without {{"happened": true, false or null}}')


def retry_after_s(headers: Mapping[str, str], clock: Callable[[], float]) -> float | None:
    """The delay that the answer asks for, in seconds; None when it asks for none, or in no known way.

    A date counts from the answer's own `Date`, so that clocks need not agree, else from `clock`.

    >>> retry_after_s({"retry-after": "90"}, lambda: 0.0)
    90.0
    >>> retry_after_s({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, lambda: 0.0)
    60.0
    """
    asked = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,12}", asked):
        return min(float(asked), RETRY_AFTER_MAX_S)
    until = _moment(asked)
    if until is None:
        return None
    now = _moment(headers.get("date", ""))
    return min(max(0.0, until - (clock() if now is None else now)), RETRY_AFTER_MAX_S)


def _moment(text: str) -> float | None:
    try:
        told = parsedate_to_datetime(text)
        return (told if told.tzinfo is not None else told.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _unknown(status: int, said: Mapping[str, object]) -> bool:
    if status == 500 and said:
        return False
    return status < 400 or (status >= 500 and status not in (501, 503))


def _failure_class(status: int, said: Mapping[str, Any]) -> FailureClass:
    if (named := said.get("failure_class")) in tuple(FailureClass):
        return FailureClass(named)
    if status in (429, 503):
        return FailureClass.CASCADING
    if status == 500:
        return FailureClass.UNKNOWN
    return FailureClass.TRANSIENT if status in (408, 425) else FailureClass.PERMANENT


def _said(content: bytes | None) -> Mapping[str, Any]:
    """What a refusal says of itself; empty when it does not keep to the contract."""
    body = _mapping(content)
    if not isinstance(body.get("error_type"), str):
        return {}
    words = ("error_type", "failure_class", "message")
    said = {key: body[key] for key in words if isinstance(body.get(key), str) and body[key]}
    return {**said, "terminal": body.get("terminal") is True}


def _mapping(content: bytes | None) -> Mapping[str, Any]:
    try:
        body = json.loads(content or b"")
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _output(content: bytes) -> Any:
    if not content:
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace")
