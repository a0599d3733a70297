"""Local activities in Temporal's histories: markers, whose details every client library writes its own way.

Go and the libraries built on the Rust core (Python, TypeScript, .NET, Ruby) put one JSON object under `data`;
Java puts the type, the id and the time under members of their own, and the attempt under `meta`. Nothing else
of a marker is read: results and inputs are payloads.
"""

from __future__ import annotations

from typing import Any, Final

from sagacity_data.importers.reading import Tally
from sagacity_data.importers.temporal_failures import fault_of
from sagacity_data.importers.workflow_history_calls import LocalActivity
from sagacity_data.importers.workflow_history_values import (
    Attributes,
    attributes_in,
    bytes_of,
    instant_in,
    json_in,
    member,
    name_in,
    text_in,
    whole_in,
)

MARKERS: Final = ("LocalActivity", "core_local_activity")


def local_activity_of(attributes: Attributes, tally: Tally) -> LocalActivity | None:
    """What a marker tells of a local activity; None for other markers, and for one that cannot be read."""
    if attributes.get("markerName") not in MARKERS:
        return None
    details = attributes_in(attributes.get("details"))
    data = _value(details.get("data"))
    told = _of_java(details) if "type" in details else attributes_in(data)
    name = name_in(member(told, "ActivityType", "activity_type", "activityType"))
    if not name:
        tally.notes["local activities whose name cannot be read are left out"] += 1
        return None
    backoff = member(told, "Backoff", "backoff")
    return LocalActivity(
        name,
        text_in(member(told, "ActivityID", "activity_id", "activityId")),
        whole_in(member(told, "Attempt", "attempt")),
        instant_in(member(told, "original_schedule_time", "originalScheduleTime"), tally),
        instant_in(member(told, "ReplayTime", "complete_time", "completeTime"), tally),
        fault_of(attributes),
        bool(backoff) and backoff != "0s",
    )


def _of_java(details: Attributes) -> Attributes:
    """Java's details under the names that the others use; its times are in ms."""
    meta = attributes_in(_value(details.get("meta")))
    return {
        "activity_type": _value(details.get("type")),
        "activity_id": _value(details.get("activityId")),
        "attempt": meta.get("atpt"),
        "backoff": meta.get("backoff"),
        "complete_time": _nanoseconds(_value(details.get("time"))),
        "original_schedule_time": _nanoseconds(meta.get("firstSkd")),
    }


def _nanoseconds(milliseconds: object) -> int | None:
    told = whole_in(milliseconds)
    return None if told is None else told * 1_000_000


def _value(payloads: Any) -> Any:
    """The first payload's value, decoded if it is not already."""
    if isinstance(payloads, dict) and isinstance(payloads.get("payloads"), list):
        payloads = payloads["payloads"]
    first = (payloads[0] if payloads else None) if isinstance(payloads, list) else payloads
    if isinstance(first, dict) and "metadata" in first:
        return json_in(bytes_of(first.get("data")) or b"")
    return first
