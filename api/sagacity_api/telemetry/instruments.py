"""The counters, gauges and histograms of runs, each with its name, unit, meaning and labels.

No label ever holds a run's id, an error's type or any other text from outside: sagas, steps and services come
from definitions and are capped, the rest are words of our own.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_STEP: Final = ("saga", "step", "service")

ATTEMPT_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
RUN_BUCKETS_S: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21_600, 86_400, 604_800)


class Instruments:
    """Everything that is counted as events come in, registered in `registry` and nowhere else."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, says: str, *labels: str) -> Counter:
            return Counter(f"sagacity_{name}", says, labels, registry=registry)

        def gauge(name: str, says: str, *labels: str) -> Gauge:
            return Gauge(f"sagacity_{name}", says, labels, registry=registry)

        def histogram(name: str, says: str, buckets_s: tuple[float, ...], *labels: str) -> Histogram:
            named = f"sagacity_{name}_seconds"
            return Histogram(named, says, labels, buckets=buckets_s, registry=registry)

        self.runs_started = counter("runs_started", "Runs started.", "saga")
        self.runs_ended = counter(
            "runs_ended", "Runs ended, by status; a run that is re-opened ends again.", "saga", "status"
        )
        self.runs_open = gauge("runs_open", "Runs heard of that have not ended.", "saga")
        self.run_duration = histogram(
            "run_duration", "From a run's start to its end.", RUN_BUCKETS_S, "saga", "status"
        )
        self.attempts = counter(
            "attempts", "Attempts ended, by outcome.", *_STEP, "direction", "outcome", "failure_class"
        )
        self.attempts_in_flight = gauge(
            "attempts_in_flight", "Attempts started that have not ended.", *_STEP, "direction"
        )
        self.attempt_duration = histogram(
            "attempt_duration",
            "From an attempt's start to its end.",
            ATTEMPT_BUCKETS_S,
            *_STEP,
            "direction",
            "outcome",
        )
        self.retries = counter("retries", "Attempts that repeat an earlier one.", *_STEP, "direction")
        self.timeouts = counter("timeouts", "Attempts ended by a timeout of ours.", *_STEP, "direction")
        self.hedges = counter("hedges", "Second calls made beside a slow first one.", *_STEP)
        self.undos = counter("undos", "Compensations ended for good, by outcome.", *_STEP, "outcome")
        self.rollbacks = counter("rollbacks", "Returns to a savepoint.", "saga")
        self.deadlines = counter("deadlines", "Deadlines that passed.", "saga")
        self.cancels = counter("cancels", "Requests to cancel a run.", "saga")
        self.operator_actions = counter("operator_actions", "What people did to runs.", "saga", "action")
        self.needs_attention = counter(
            "needs_attention", "Runs that ended with a person, by the step to look at.", *_STEP
        )
