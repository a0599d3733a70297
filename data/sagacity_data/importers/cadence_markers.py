"""Local activities in Cadence's histories: markers with one JSON object, in the details or in the header.

The Go library writes it into the marker's details, the Java library under `LocalActivityHeader`, with the
time in ms. Nothing else of a marker is read: results are payloads.
"""

from __future__ import annotations

from typing import Any, Final

from sagacity_data.importers.cadence_failures import fault_in, plain_text
from sagacity_data.importers.reading import Tally
from sagacity_data.importers.workflow_history_calls import LocalActivity
from sagacity_data.importers.workflow_history_faults import Fault
from sagacity_data.importers.workflow_history_values import (
    Attributes,
    attributes_in,
    instant_in,
    json_in,
    member,
    name_in,
    text_in,
    whole_in,
)

MARKER: Final = "LocalActivity"
_HEADER: Final = "LocalActivityHeader"


def local_activity_of(attributes: Attributes, tally: Tally) -> LocalActivity | None:
    """What a marker tells of a local activity; None for other markers, and for one that cannot be read."""
    if attributes.get("markerName") != MARKER:
        return None
    fields = attributes_in(attributes_in(attributes.get("header")).get("fields"))
    told = _value(fields.get(_HEADER)) or _value(attributes.get("details"))
    name = name_in(told.get("activityType"))
    if not name:
        tally.notes["local activities whose name cannot be read are left out"] += 1
        return None
    attempt, milliseconds = whole_in(told.get("attempt")), whole_in(told.get("replayTimeMillis"))
    ended = told.get("replayTime") if milliseconds is None else milliseconds * 1_000_000
    return LocalActivity(
        name,
        text_in(told.get("activityId")),
        1 if attempt is None else max(0, attempt) + 1,
        None,
        instant_in(ended, tally),
        _fault(told, attributes),
        bool(told.get("backoff")),
    )


def _fault(told: Attributes, attributes: Attributes) -> Fault | None:
    if told.get("isCancelled") is True:
        return Fault("cancelled", cancelled=True)
    return fault_in(told.get("errReason"), member(told, "errJson") or attributes.get("details"))


def _value(details: Any) -> Attributes:
    """The object that details hold, decoded if they are not already."""
    if isinstance(details, dict) and "data" not in details:
        return details
    return attributes_in(json_in(plain_text(details)))
