"""What the fold remembers of one service, and what the end of an attempt says of it.

Sums, times and what is under way tolerate signals that arrive late (`decay.py`). The last outcome, the streak
and the sickness do not: a signal earlier than the last one of its service changes none of them, because its
place among those in between is unknown.

An attempt that an open breaker or a full queue turned away was no call of the service. It counts as a failed
attempt, which is what a forecast predicts, and says nothing of the service's health.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from sagacity_data.decay import WIDTH, DecayedSums, Moment
from sagacity_data.rows import AttemptOutcome, unhealthy
from sagacity_data.sickness import Sickness, evidence_of
from sagacity_data.signals import CallEnded
from sagacity_data.under_way import UnderWay
from sagacity_engine import Direction, FailureClass

FIRST, FAILED, CALLS, HEALTH_FAILED, TIMED, LOG_S = range(0, 6 * WIDTH, WIDTH)
"""Places of a service's or a step's sums: first attempts, those that failed, all calls, those that failed for
the service's health, calls whose duration is known, and the sum of its logarithm."""

CALL_SUMS: Final = 6

STREAK_MAX: Final = 100


class ServiceHistory:
    """One service: its decayed sums, what is under way, and how its last call ended."""

    __slots__ = (
        "answered_at",
        "breaker_open_at",
        "calls",
        "health_failure_at",
        "last_at",
        "last_outcome",
        "sickness",
        "streak",
        "success_at",
        "sums",
    )

    def __init__(self, now: Moment) -> None:
        self.sums = DecayedSums.zero(now, CALL_SUMS)
        self.calls = UnderWay()
        self.sickness = Sickness()
        self.success_at: float | None = None
        self.answered_at: float | None = None
        self.health_failure_at: float | None = None
        self.breaker_open_at: float | None = None
        self.last_at: float | None = None
        self.last_outcome = "none"
        self.streak = 0

    @property
    def breaker(self) -> str:
        """`open` from an attempt that a breaker turned away until an answer; `none` if none ever did."""
        if self.breaker_open_at is None:
            return "none"
        answered = self.answered_at is not None and self.answered_at > self.breaker_open_at
        return "closed" if answered else "open"

    def end(self, call: CallEnded, meaning: Meaning) -> None:
        """An attempt at the service ended."""
        at = call.at
        if not call.called:
            if call.breaker_open:
                self.breaker_open_at = _later(self.breaker_open_at, at)
            return
        if meaning.likelier_ill is not None and call.direction is Direction.FORWARD:
            self.sickness.hear(at, meaning.likelier_ill)
        if meaning.sick:
            self.health_failure_at = _later(self.health_failure_at, at)
        else:
            self.answered_at = _later(self.answered_at, at)
            if call.outcome is AttemptOutcome.SUCCEEDED:
                self.success_at = _later(self.success_at, at)
        if self.last_at is None or at >= self.last_at:
            self.last_at = at
            self.streak = min(self.streak + 1, STREAK_MAX) if meaning.sick else 0
            self.last_outcome = "health_failure" if meaning.sick else call.outcome.value

    def snapshot(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            **{name: getattr(self, name) for name in _SERVICE_SCALARS},
            "sums": plain_sums(self.sums),
            "calls": self.calls.snapshot(),
            "sickness": [self.sickness.at, *self.sickness.ill],
        }

    @classmethod
    def restore(cls, plain: Mapping[str, Any]) -> ServiceHistory:
        """The history that gave this snapshot."""
        history = cls(Moment(0.0))
        history.sums = restored_sums(plain["sums"], CALL_SUMS)
        history.calls.restore(plain["calls"])
        heard_at, *chances = plain["sickness"]
        if len(chances) != len(history.sickness.ill):
            raise ValueError(f"{len(chances)} sickness scores, not {len(history.sickness.ill)}")
        history.sickness.at = None if heard_at is None else float(heard_at)
        history.sickness.ill = [float(chance) for chance in chances]
        for name in _SERVICE_SCALARS:
            setattr(history, name, plain[name])
        return history


_SERVICE_SCALARS: Final = (
    "success_at",
    "answered_at",
    "health_failure_at",
    "breaker_open_at",
    "last_at",
    "last_outcome",
    "streak",
)


class Meaning(NamedTuple):
    """What the end of an attempt says, whenever and wherever it happens."""

    amounts: tuple[tuple[int, float], ...]  # What it adds to its service's and its step's sums.
    sick: bool  # Whether it speaks against the service.
    timed: bool  # Whether its duration, if known, counts.
    likelier_ill: float | None  # How many times likelier it is when the service is ill.


@cache  # Few arguments, each with few values.
def meaning_of(
    outcome: AttemptOutcome, failure_class: FailureClass | None, is_first: bool, called: bool
) -> Meaning | None:
    """What such an end says; None if nothing. `is_first`: a first forward attempt.

    A timed-out call counts with its timeout as its duration: a lower bound, but dropping it would make a slow
    service look fast.
    """
    if not outcome.tells:
        return None
    sick = called and unhealthy(outcome, failure_class)
    places = [CALLS] if called else []
    places += [HEALTH_FAILED] if sick else []
    if is_first:
        places += [FIRST] if outcome is AttemptOutcome.SUCCEEDED else [FIRST, FAILED]
    timed = outcome is AttemptOutcome.SUCCEEDED or outcome is AttemptOutcome.TIMED_OUT
    evidence = evidence_of(outcome, failure_class) if called else None
    return Meaning(
        amounts=tuple((place, 1.0) for place in places),
        sick=sick,
        timed=timed,
        likelier_ill=None if evidence is None else math.exp(evidence),
    )


def _later(before: float | None, at: float) -> float:
    return at if before is None or at > before else before


def plain_sums(sums: DecayedSums) -> list[Any]:
    """Plain JSON."""
    return [sums.at, sums.week, *sums.sums]


def restored_sums(plain: list[Any], kinds: int) -> DecayedSums:
    """The sums that `plain_sums` gave; raises a built-in error for anything else."""
    at, week, *sums = plain
    if len(sums) != kinds * WIDTH:
        raise ValueError(f"{len(sums)} sums, not {kinds * WIDTH}")
    return DecayedSums(float(at), int(week), [float(amount) for amount in sums])
