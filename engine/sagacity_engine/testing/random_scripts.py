"""Random misfortunes: replies that fail, get lost, come late or twice, for any definition."""

from __future__ import annotations

from random import Random

from sagacity_engine.errors import FailureClass
from sagacity_engine.events import Direction
from sagacity_engine.saga import Saga, Step
from sagacity_engine.testing.scripts import CANNOT_TELL, LATE, LOST, REFUSED, calling_steps
from sagacity_engine.testing.services import (
    SUCCESS,
    TRUTH,
    Duplicated,
    Hedged,
    Script,
    Scripted,
)
from sagacity_engine.virtual.calls import Reply

_FAILURES = tuple(
    Reply(duration_s=duration_s, error_type="Down", failure_class=failure_class)
    for failure_class in FailureClass
    for duration_s in (0.0, 1.0)
)
_BUSY = Reply(duration_s=0.5, error_type="Busy", failure_class=FailureClass.CASCADING, retry_after_s=7.0)
_QUICK, _LONG = Reply(duration_s=0.0), Reply(duration_s=3.0)
_FORWARD: tuple[Scripted, ...] = (SUCCESS, _QUICK, _LONG, *_FAILURES, _BUSY, REFUSED, LOST, LOST, LATE, LATE)
_PROBES: tuple[Scripted, ...] = (TRUTH, TRUTH, TRUTH, CANNOT_TELL, CANNOT_TELL, LOST, LATE)
_SURE: tuple[Scripted, ...] = (
    Hedged(_LONG, SUCCESS),
    Hedged(LATE, SUCCESS),
    Hedged(_LONG, REFUSED),
    Hedged(LATE, LOST),
    Hedged(Reply(duration_s=4.0, error_type="Down"), Reply(duration_s=1.0, error_type="Down")),
    Duplicated(SUCCESS),
    Duplicated(LOST),
)


def random_script(saga: Saga, rng: Random, *, trouble: float = 0.35) -> Script:
    """A script in which each step goes wrong with probability `trouble`, and its undo half as often."""
    script: dict[tuple[str, Direction], tuple[Scripted, ...]] = {}
    draw = rng.random
    for _, step in calling_steps(saga):
        if draw() < trouble:
            script[step.name, Direction.FORWARD] = _replies(step, rng)
            if step.probe is not None:
                script[step.name, Direction.PROBE] = _some(_PROBES, rng)
        if step.compensation is not None and draw() < trouble / 2:
            script[step.name, Direction.UNDO] = _some(_FORWARD, rng)
    return script


def _replies(step: Step, rng: Random) -> tuple[Scripted, ...]:
    return _some(_FORWARD + _SURE if step.idempotent else _FORWARD, rng)


def _some(replies: tuple[Scripted, ...], rng: Random) -> tuple[Scripted, ...]:
    """One to four replies, of which the last is repeated; half of the time all is well in the end."""
    some = tuple(rng.choices(replies, k=rng.randint(1, 3)))
    return (*some, TRUTH if replies is _PROBES else SUCCESS) if rng.random() < 0.5 else some
