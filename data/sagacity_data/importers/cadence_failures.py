"""Cadence's failures: a reason, which is the error's type, and details, which are bytes of whoever failed.

Details are a payload as much as a result is, so words are taken from them only where the client's own
library put an error's words there: for reasons of its own (`cadenceInternal:Generic` and the like), and the
`detailMessage` of a Java exception. Elsewhere the reason is all the words there are.
"""

from __future__ import annotations

from typing import Final

from sagacity_data.importers.workflow_history_faults import Fault, TimeoutKind, timeout_kind
from sagacity_data.importers.workflow_history_values import (
    WORDS_MAX,
    Attributes,
    attributes_in,
    bytes_of,
    json_in,
    member,
    text_in,
)

_OWN: Final = "cadenceInternal:"
_TIMEOUT: Final = "cadenceInternal:Timeout"
_CANCELLED: Final = "cadenceInternal:Canceled"
_TIMEOUTS: Final = {
    0: TimeoutKind.START_TO_CLOSE,
    1: TimeoutKind.SCHEDULE_TO_START,
    2: TimeoutKind.SCHEDULE_TO_CLOSE,
    3: TimeoutKind.HEARTBEAT,
}


def fault_in(reason: object, details: object) -> Fault | None:
    """What a reason and its details say; None where there is no reason."""
    told = text_in(reason).strip()
    if not told:
        return None
    if told.startswith(_TIMEOUT):
        return Fault.timed_out(timeout_kind(told.removeprefix(_TIMEOUT).strip(), _TIMEOUTS))
    if told == _CANCELLED:
        return Fault(told, cancelled=True)
    return Fault(told, _words(told, details))


def fault_of(attributes: Attributes) -> Fault | None:
    """The fault that the end of a call or of a run tells."""
    failure = attributes_in(attributes.get("failure"))
    reason = member(attributes, "reason", "failureReason") or failure.get("reason")
    details = member(attributes, "details", "failureDetails") or failure.get("details")
    return fault_in(reason, details)


def timeout_of(attributes: Attributes) -> Fault:
    """The fault of an event that says that something timed out."""
    return Fault.timed_out(timeout_kind(attributes.get("timeoutType"), _TIMEOUTS))


def earlier_fault_of(attributes: Attributes) -> Fault | None:
    """The fault of the attempt before, as a start or a timeout tells it."""
    failure = attributes_in(attributes.get("lastFailure"))
    reason = member(attributes, "lastFailureReason") or failure.get("reason")
    return fault_in(reason, member(attributes, "lastFailureDetails") or failure.get("details"))


def plain_text(details: object) -> str:
    """The text of bytes that may be written as base64, as `{"data": base64}`, or as they stand."""
    told = details.get("data") if isinstance(details, dict) else details
    decoded = bytes_of(told)
    if decoded is not None:
        try:
            return decoded.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return told if isinstance(told, str) else ""


def _words(reason: str, details: object) -> str:
    text = plain_text(details)
    value = json_in(text) if text.lstrip()[:1] in ("{", '"') else None
    if isinstance(value, dict):
        return text_in(value.get("detailMessage"), WORDS_MAX) or reason
    if not reason.startswith(_OWN):
        return reason
    said = value if isinstance(value, str) else text
    return text_in(said, WORDS_MAX).strip() or reason
