"""Is a service ill right now? A two-state filter over how its calls ended, in event time.

A service is well or ill, and changes between the two at random moments. Between calls P(ill) drifts back to
the long-run share,  share + (P - share) exp(-dt / memory);  each forward call that ends multiplies the odds
by how much likelier its end is when ill. This is the exact filter of a two-state Markov process. Its numbers
are stated here, not learnt: they need only be of the right order, because models learn what a score is worth.
Two memories stand for services that are ill for minutes and for hours.

Refusals that blame the input are answers and speak for the service. Undos do not count: they often have a
desk of their own. A call that ended before the last one folded is ignored, as its place is unknown.
"""

from __future__ import annotations

import math
from typing import Final

from sagacity_data.rows import AttemptOutcome, unhealthy
from sagacity_engine import FailureClass

MEMORIES_S: Final[dict[str, float]] = {"1h": 3_600.0, "8h": 28_800.0}
"""Mean length of an ill spell, per score; about as long as the memory, because ill spells are rare."""

SHARE_ILL: Final = 0.04
"""The share of its time that a service is ill in the long run."""

LOG_ODDS_MAX: Final = 9.0
"""Scores stay within this: no history makes the filter deaf to what comes next."""

_ENDS: Final = {
    "answered": (0.15, 0.96),
    "transient": (0.20, 0.02),
    "cascading": (0.50, 0.01),
    "no reply": (0.15, 0.01),
}
"""P(a call ends so) when the service is ill, and when it is well."""

_EVIDENCE: Final = {end: math.log(ill / well) for end, (ill, well) in _ENDS.items()}


class Sickness:
    """The score of one service, in each memory, as of the last call folded in."""

    __slots__ = ("at", "log_odds")

    def __init__(self) -> None:
        self.at: float | None = None
        self.log_odds = [_LONG_RUN] * len(MEMORIES_S)

    def end(self, at: float, outcome: AttemptOutcome, failure_class: FailureClass | None) -> None:
        """A forward call ended at `at`; ignored when it comes late."""
        evidence = evidence_of(outcome, failure_class)
        if evidence is None or (self.at is not None and at < self.at):
            return
        self.log_odds = [min(max(score + evidence, -LOG_ODDS_MAX), LOG_ODDS_MAX) for score in self.as_of(at)]
        self.at = at

    def as_of(self, at: float) -> list[float]:
        """The log-odds of being ill at `at`, per memory; `at` is not before the last call."""
        if self.at is None:
            return [_LONG_RUN] * len(MEMORIES_S)
        age_s = at - self.at
        return [
            _drifted(score, math.exp(-age_s / memory))
            for score, memory in zip(self.log_odds, MEMORIES_S.values(), strict=True)
        ]


def evidence_of(outcome: AttemptOutcome, failure_class: FailureClass | None) -> float | None:
    """What the end of a call adds to the log-odds of being ill; None where it says nothing.

    >>> evidence_of(AttemptOutcome.REFUSED, FailureClass.UNKNOWN) is None
    True
    """
    if outcome is AttemptOutcome.SUCCEEDED:
        return _EVIDENCE["answered"]
    if outcome is AttemptOutcome.REFUSED:
        if failure_class is FailureClass.PERMANENT:
            return _EVIDENCE["answered"]
        return _EVIDENCE.get(failure_class.value) if failure_class is not None else None
    return _EVIDENCE["no reply"] if unhealthy(outcome, failure_class) else None


def _drifted(log_odds: float, kept: float) -> float:
    probability = SHARE_ILL + (1 / (1 + math.exp(-log_odds)) - SHARE_ILL) * kept
    return math.log(probability / (1 - probability))


_LONG_RUN: Final = math.log(SHARE_ILL / (1 - SHARE_ILL))
