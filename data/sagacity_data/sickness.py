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
    """P(ill) of one service, in each memory, as of the last call folded in."""

    __slots__ = ("at", "ill")

    def __init__(self) -> None:
        self.at: float | None = None
        self.ill = [SHARE_ILL] * len(MEMORIES_S)

    def end(self, at: float, outcome: AttemptOutcome, failure_class: FailureClass | None) -> None:
        """A forward call ended at `at`; ignored when it comes late."""
        evidence = evidence_of(outcome, failure_class)
        if evidence is not None:
            self.hear(at, math.exp(evidence))

    def hear(self, at: float, likelier: float) -> None:
        """Something came at `at` that is so many times likelier when ill; ignored when it comes late."""
        if self.at is not None and at < self.at:
            return
        self.ill = [_judged(chance, likelier) for chance in self.chances(at)]
        self.at = at

    def chances(self, at: float) -> tuple[float, float]:
        """P(ill) at `at`, per memory; `at` is not before the last call."""
        short, long = self.ill
        if self.at is None:
            return short, long
        age_s, exp, share = self.at - at, math.exp, SHARE_ILL
        return (
            share + (short - share) * exp(age_s / _SHORT_S),
            share + (long - share) * exp(age_s / _LONG_S),
        )

    def as_of(self, at: float) -> tuple[float, float]:
        """The log-odds of being ill at `at`, per memory; `at` is not before the last call."""
        short, long = self.chances(at)
        return math.log(short / (1.0 - short)), math.log(long / (1.0 - long))


def _judged(chance: float, likelier: float) -> float:
    odds = min(max(chance / (1.0 - chance) * likelier, 1.0 / _ODDS_MAX), _ODDS_MAX)
    return odds / (1.0 + odds)


def evidence_of(outcome: AttemptOutcome, failure_class: FailureClass | None) -> float | None:
    """What the end of a call adds to the log-odds of being ill; None where it says nothing.

    >>> evidence_of(AttemptOutcome.FAILED, FailureClass.UNKNOWN) is None
    True
    """
    if outcome is AttemptOutcome.SUCCEEDED:
        return _EVIDENCE["answered"]
    if outcome is AttemptOutcome.FAILED:
        if failure_class is FailureClass.PERMANENT:
            return _EVIDENCE["answered"]
        return _EVIDENCE.get(failure_class.value) if failure_class is not None else None
    return _EVIDENCE["no reply"] if unhealthy(outcome, failure_class) else None


_SHORT_S, _LONG_S = MEMORIES_S.values()
_ODDS_MAX: Final = math.exp(LOG_ODDS_MAX)
