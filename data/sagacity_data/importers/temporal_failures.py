"""Temporal's failures: a chain of causes, each with words and one member that says what kind it is.

The activity's and the child workflow's own wrappers say nothing but which call failed, so what they wrap
counts. The error's type is the application's where it names one, else the kind of failure. The cause of a
timeout is the failure of the attempt before, no cause of the timeout: it is asked for by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sagacity_data.importers.workflow_history_faults import Fault, TimeoutKind, timeout_kind
from sagacity_data.importers.workflow_history_values import (
    WORDS_MAX,
    Attributes,
    attributes_in,
    member,
    text_in,
)

CAUSES_MAX: Final = 20
"""Causes of causes beyond this are not read."""

_WRAPPERS: Final = {
    "activityFailureInfo": "ActivityFailure",
    "childWorkflowExecutionFailureInfo": "ChildWorkflowExecutionFailure",
    "nexusOperationExecutionFailureInfo": "NexusOperationFailure",
}
_KINDS: Final = {
    "applicationFailureInfo": "ApplicationFailure",
    "serverFailureInfo": "ServerFailure",
    "resetWorkflowFailureInfo": "ResetWorkflow",
    "nexusHandlerFailureInfo": "NexusHandlerFailure",
    "terminatedFailureInfo": "Terminated",
}
_TIMEOUTS: Final = {
    1: TimeoutKind.START_TO_CLOSE,
    2: TimeoutKind.SCHEDULE_TO_START,
    3: TimeoutKind.SCHEDULE_TO_CLOSE,
    4: TimeoutKind.HEARTBEAT,
}


def fault_in(failure: object) -> Fault | None:
    """What a failure says; None where there is none."""
    if not isinstance(failure, dict) or not failure:
        return None
    chain = list(_chain(failure))
    while len(chain) > 1 and any(chain[0].get(wrapper) is not None for wrapper in _WRAPPERS):
        del chain[0]
    head = chain[0]
    words = text_in(head.get("message"), WORDS_MAX)
    if isinstance(head.get("timeoutFailureInfo"), dict):
        return Fault.timed_out(timeout_kind(head["timeoutFailureInfo"].get("timeoutType"), _TIMEOUTS), words)
    if head.get("canceledFailureInfo") is not None:
        return Fault("Canceled", words, cancelled=True)
    return Fault(_type_of(chain), _words_of(chain))


def fault_of(attributes: Attributes) -> Fault | None:
    """The fault that the end of a call, of a marker or of a run tells."""
    return fault_in(attributes.get("failure"))


def timeout_of(attributes: Attributes) -> Fault:
    """The fault of an event that says that something timed out."""
    fault = fault_of(attributes)
    if fault is not None and fault.timeout is not None:
        return fault
    return Fault.timed_out(
        timeout_kind(attributes.get("timeoutType"), _TIMEOUTS), fault.words if fault else ""
    )


def earlier_fault_of(attributes: Attributes) -> Fault | None:
    """The fault of the attempt before, as a start or a timeout tells it."""
    return fault_in(
        member(attributes, "lastFailure") or attributes_in(attributes.get("failure")).get("cause")
    )


def _chain(failure: Attributes) -> Iterator[Attributes]:
    each: object = failure
    for _ in range(CAUSES_MAX):
        if not isinstance(each, dict):
            return
        yield each
        each = each.get("cause")


def _type_of(chain: list[Attributes]) -> str:
    for each in chain:
        told = attributes_in(member(each, "applicationFailureInfo", "nexusHandlerFailureInfo"))
        if name := text_in(told.get("type")).strip():
            return name
    kinds = _KINDS | _WRAPPERS
    return next((kinds[key] for key in kinds if chain[0].get(key) is not None), "")


def _words_of(chain: list[Attributes]) -> str:
    said = ""
    for each in chain:
        words = text_in(each.get("message"), WORDS_MAX).strip()
        if words and words not in said:
            said = f"{said}; caused by: {words}" if said else words
    return said[:WORDS_MAX]
