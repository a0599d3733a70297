"""What happened when a step failed, and who says so: the words of `taxonomy` and `labels`."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sagacity_engine import FailureClass


class FailureKind(StrEnum):
    """What happened when a step failed, as finely as a history can tell.

    A plan distinguishes classes, not kinds: `failure_class` is the class that a kind belongs to.
    """

    TRANSIENT = "transient"  # It passed: the same call may well succeed a moment later.
    SLOW = "slow"  # No reply in time.
    OVERLOAD = "overload"  # The service fails for many, or sheds load; more calls make it worse.
    BUSINESS = "business"  # This input will not succeed, however often it is tried.
    UNAVAILABLE = "unavailable"  # Something that the service needs, or the service itself, cannot be reached.
    UNKNOWN = "unknown"  # Nothing says which.

    @property
    def failure_class(self) -> FailureClass:
        """What a plan makes of it.

        >>> FailureKind.UNAVAILABLE.failure_class
        <FailureClass.CASCADING: 'cascading'>
        """
        return _CLASSES[self]


_CLASSES: Final = {
    FailureKind.TRANSIENT: FailureClass.TRANSIENT,
    FailureKind.SLOW: FailureClass.TRANSIENT,
    FailureKind.OVERLOAD: FailureClass.CASCADING,
    FailureKind.BUSINESS: FailureClass.PERMANENT,
    FailureKind.UNAVAILABLE: FailureClass.CASCADING,
    FailureKind.UNKNOWN: FailureClass.UNKNOWN,
}

KIND_OF_CLASS: Final = {
    FailureClass.TRANSIENT: FailureKind.TRANSIENT,
    FailureClass.CASCADING: FailureKind.OVERLOAD,
    FailureClass.PERMANENT: FailureKind.BUSINESS,
    FailureClass.UNKNOWN: FailureKind.UNKNOWN,
}
"""The kind that stands for a class of which nothing finer is known."""


class LabelSource(StrEnum):
    """Who says what kind a failure is, in rising order of trust."""

    HINDSIGHT = "hindsight"  # Concluded from what happened next.
    TAXONOMY = "taxonomy"  # Read from the error's type, status and text.
    DECLARED = "declared"  # The participant said so.
    USER = "user"  # The user said so.
