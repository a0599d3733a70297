"""What went wrong with a call, and how the attempt therefore ended.

A timeout tells how far the call had come. Start-to-close and heartbeat run out while it is being worked on:
whether it takes effect is open. Schedule-to-start runs out before anybody took it up: nothing happened, which
is a failure with an error type that says so. Schedule-to-close is either, depending on whether the last
attempt had started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sagacity_data.importers.workflow_history_values import whole_in
from sagacity_data.rows import AttemptOutcome


class TimeoutKind(StrEnum):
    """Which limit of a call ran out."""

    START_TO_CLOSE = "StartToClose"
    SCHEDULE_TO_START = "ScheduleToStart"
    SCHEDULE_TO_CLOSE = "ScheduleToClose"
    HEARTBEAT = "Heartbeat"
    UNTOLD = ""  # The history does not say which.


_BY_NAME: Final = {kind.value.lower(): kind for kind in TimeoutKind if kind.value}


@dataclass(frozen=True, slots=True)
class Fault:
    """What a history says of a failure: its type, its words, and whether it was no failure of the work."""

    type: str
    words: str = ""
    timeout: TimeoutKind | None = None
    cancelled: bool = False

    @classmethod
    def timed_out(cls, kind: TimeoutKind, words: str = "") -> Fault:
        """The fault of a limit that ran out."""
        return cls(f"{kind.value}Timeout", words or f"{kind.value} timeout".strip(), timeout=kind)

    def outcome(self, *, started: bool) -> AttemptOutcome:
        """How an attempt with this fault ended; `started` says whether somebody had taken it up."""
        if self.cancelled:
            return AttemptOutcome.CANCELLED
        match self.timeout:
            case TimeoutKind.START_TO_CLOSE | TimeoutKind.HEARTBEAT:
                return AttemptOutcome.TIMED_OUT
            case TimeoutKind.SCHEDULE_TO_CLOSE | TimeoutKind.UNTOLD:
                return AttemptOutcome.TIMED_OUT if started else AttemptOutcome.FAILED
            case _:
                return AttemptOutcome.FAILED


def timeout_kind(value: object, numbers: Mapping[int, TimeoutKind]) -> TimeoutKind:
    """The kind of a timeout as either server writes it: a name in any spelling, or an enum's number."""
    if isinstance(value, str) and not value.isdigit():
        name = value[:60].replace("_", "").lower().removeprefix("timeouttype")
        return _BY_NAME.get(name, TimeoutKind.UNTOLD)
    number = whole_in(value)
    return TimeoutKind.UNTOLD if number is None else numbers.get(number, TimeoutKind.UNTOLD)
