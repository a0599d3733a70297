"""How long to wait before the next attempt.

Field names are Temporal's. The wait before attempt k+1 is drawn uniformly from
[0, min(maximum_interval, initial_interval * coefficient^(k-1))] ("full jitter"), so that callers who failed
together do not come back together. The uniform number is handed in: it is recorded with the failure, hence a
replay computes the same due time.
"""

from __future__ import annotations

from dataclasses import dataclass

UNDO_ATTEMPTS = 10
"""Attempts of a compensation unless the definition says otherwise: an undo must get every chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Retry numbers of one step or one compensation. Intervals in seconds."""

    initial_interval_s: float = 1.0
    backoff_coefficient: float = 2.0
    maximum_interval_s: float = 30.0
    maximum_attempts: int = 3
    non_retryable_error_types: tuple[str, ...] = ()

    def ceiling_s(self, attempt: int) -> float:
        """The longest wait after failed attempt number `attempt` (1-based), in seconds.

        >>> [RetryPolicy().ceiling_s(k) for k in (1, 2, 3, 99)]
        [1.0, 2.0, 4.0, 30.0]
        """
        # 2**64 intervals exceed any maximum; the cap keeps the power from overflowing.
        grown = self.initial_interval_s * self.backoff_coefficient ** min(attempt - 1, 64)
        return min(self.maximum_interval_s, grown)

    def delay_s(self, attempt: int, jitter: float) -> float:
        """The wait after failed attempt `attempt`, for a uniform draw `jitter` in [0, 1]."""
        return self.ceiling_s(attempt) * jitter
