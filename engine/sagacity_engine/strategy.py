"""What a failure may lead to: one word per way out, chosen per class of failure.

The author chooses in the document, advice may choose in the plan, and an advisor asked at the time of the
failure may choose once more; the engine carries out whichever of them is legal and latest.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sagacity_engine.errors import FailureClass


class Strategy(StrEnum):
    """What a step's failure leads to."""

    STANDARD_COMPENSATION = "STANDARD_COMPENSATION"  # Retries, then undos one at a time, reverse start order.
    RETRY_WITH_COMPENSATION = "RETRY_WITH_COMPENSATION"  # Retries, then undos as reversed dependencies allow.
    IMMEDIATE_FULL_COMPENSATION = "IMMEDIATE_FULL_COMPENSATION"  # No retries; undos as dependencies allow.
    FORWARD_RECOVERY = "FORWARD_RECOVERY"  # Retries, then the step's alternative in its place.
    ROLLBACK_TO_SAVEPOINT = "ROLLBACK_TO_SAVEPOINT"  # Retries, then back to the savepoint and on.

    @property
    def retries(self) -> bool:
        """Whether the step's retry numbers apply to a failure handled this way."""
        return self is not Strategy.IMMEDIATE_FULL_COMPENSATION

    @property
    def undoes_in_parallel(self) -> bool:
        """Whether undos run side by side where the reversed dependencies allow."""
        return self is not Strategy.STANDARD_COMPENSATION


@dataclass(frozen=True, slots=True, kw_only=True)
class OnFailure:
    """The strategy for each class of failure."""

    transient: Strategy = Strategy.STANDARD_COMPENSATION
    permanent: Strategy = Strategy.STANDARD_COMPENSATION
    cascading: Strategy = Strategy.STANDARD_COMPENSATION
    unknown: Strategy = Strategy.STANDARD_COMPENSATION

    def of(self, failure_class: FailureClass) -> Strategy:
        """The strategy for one class."""
        strategy: Strategy = getattr(self, failure_class.value)
        return strategy

    @staticmethod
    def all(strategy: Strategy) -> OnFailure:
        """One strategy for every class."""
        return OnFailure(transient=strategy, permanent=strategy, cascading=strategy, unknown=strategy)


class OnTimeout(StrEnum):
    """What an attempt's timeout leads to, before strategies are asked."""

    RETRY = "RETRY"  # Try again: only where trying again is safe.
    SKIP = "SKIP"  # Go on without the step: only where it is optional.
    COMPENSATE = "COMPENSATE"  # Treat the step as given up.
