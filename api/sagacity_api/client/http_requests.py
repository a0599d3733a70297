"""What a step's HTTP call sends: its URL, headers and body, with every reference filled in.

References in a URL are percent-encoded and cannot stand before its path, so that no input chooses the host.
What refers to the output of the very step that an undo takes back is null in a body, and a header is left
out, where the step did not succeed as far as anybody knows; in a URL it fails the call, because a path with a
hole in it means something else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import quote

from sagacity_engine import Call, Direction, FailureClass, SagaRefused, StepError
from sagacity_engine.handlers import Effect
from sagacity_engine.references import resolve

_REFERENCE = re.compile(r"\$\{[^}]*\}")


def filled_url(url: str, call: Call) -> str:
    """The URL of one call; raises `StepError` when a referenced value is not there."""

    def encoded(match: re.Match[str]) -> str:
        return quote(str(_resolved(match.group(), call)), safe="")

    return _REFERENCE.sub(encoded, url)


def filled_headers(declared: Mapping[str, str], call: Call) -> dict[str, str]:
    """The declared headers, except where ours say the same; raises `StepError` as above."""
    ours = _ours(call)
    own = {name.lower() for name in ours}
    theirs = {
        name: str(_resolved(value, call))
        for name, value in declared.items()
        if name.lower() not in own and not _lacks(value, call)
    }
    return {"Content-Type": "application/json", **theirs, **ours}


def filled_body(request: Mapping[str, object], call: Call) -> bytes | None:
    """The body as JSON, or None when none is declared; raises `StepError` as above."""
    if "body" not in request:
        return None
    return json.dumps(_filled(request["body"], call)).encode()


def _ours(call: Call) -> dict[str, str]:
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Saga-Id": call.run_id if call.run_id.isascii() else quote(call.run_id),
        "Step-Name": call.step,
        "Attempt": str(call.attempt),
        "Idempotency-Key": call.idempotency_key,
    }
    if call.undoes:
        headers["Undoes-Idempotency-Key"] = call.undoes
    if call.direction is Direction.UNDO:
        headers["Saga-Effect"] = call.effect.value
    if call.traceparent:
        headers["traceparent"] = call.traceparent
    return headers


def _filled(value: object, call: Call) -> object:
    if isinstance(value, Mapping):
        return {key: _filled(item, call) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(item, call) for item in value]
    return None if _lacks(value, call) else _resolved(value, call)


def _lacks(value: object, call: Call) -> bool:
    """Whether the text refers to an output that the step itself never gave."""
    own = f"${{steps.{call.step}.output"
    return call.effect is not Effect.SUCCEEDED and isinstance(value, str) and own in value


def _resolved(value: object, call: Call) -> object:
    try:
        return resolve(value, call.input, call.outputs)
    except SagaRefused as refusal:
        raise StepError("UnresolvedReference", str(refusal), FailureClass.PERMANENT) from None
