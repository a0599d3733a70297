"""Which fields of an event leave the process: decided field by field, for every kind of event.

What stays is whatever a caller, a participant or a person may have put something private into: inputs,
outputs, messages, reasons, names of people, and resource keys, which are made of inputs. A field that nobody
has decided about stays too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from sagacity_engine import Event

TOLD: Final[Mapping[str, frozenset[str]]] = {
    "RunStarted": frozenset(
        {
            "run_id",
            "at",
            "definition_hash",
            "plan",
            "context",
            "arm",
            "propensity",
            "fallback",
            "advice_id",
            "model_version",
            "parent",
            "traceparent",
        }
    ),
    "LocksAcquired": frozenset({"at"}),
    "AttemptStarted": frozenset({"at", "step", "direction", "attempt"}),
    "AttemptHedged": frozenset({"at", "step", "attempt"}),
    "AttemptSucceeded": frozenset({"at", "step", "direction", "attempt"}),
    "AttemptFailed": frozenset(
        {
            "at",
            "step",
            "direction",
            "attempt",
            "error_type",
            "failure_class",
            "jitter",
            "retry_after_s",
            "terminal",
            "retry_refused",
            "strategy",
        }
    ),
    "AttemptUnknown": frozenset(
        {"at", "step", "direction", "attempt", "reason", "jitter", "retry_refused", "strategy"}
    ),
    "ProbeAnswered": frozenset({"at", "step", "attempt", "answer", "jitter"}),
    "SignalReceived": frozenset({"at", "name", "approve"}),
    "DeadlineReached": frozenset({"at"}),
    "CancelRequested": frozenset({"at"}),
    "OperatorActed": frozenset({"at", "action", "step"}),
    "RolledBack": frozenset({"at", "savepoint"}),
    "RunEnded": frozenset({"at", "status", "step"}),
}
"""The fields that leave, by kind of event."""


def redacted(event: Event) -> Event:
    """The event with everything private left at its default, or empty where it has none."""
    kind = type(event)
    told = TOLD.get(kind.__name__, frozenset())
    kept: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.name in told:
            kept[field.name] = getattr(event, field.name)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            kept[field.name] = ""
    return kind(**kept)
