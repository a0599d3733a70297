"""Profiles of trouble: what a bad day does to all participants at once, drawn from a seeded generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from sagacity_engine.errors import FailureClass
from sagacity_engine.events import Direction
from sagacity_engine.saga import Saga, Step
from sagacity_engine.testing.random_scripts import random_script
from sagacity_engine.testing.scripts import CANNOT_TELL, LOST, calling_steps
from sagacity_engine.testing.services import SUCCESS, Script, Scripted
from sagacity_engine.virtual.calls import Reply

Profile = Callable[[Saga, Random], Script]
"""What one bad day looks like to one saga."""


def slow(saga: Saga, rng: Random) -> Script:
    """Everybody takes their time, and some take longer than their callers wait."""
    return _for_each(saga, lambda step: tuple(_slow(step, rng) for _ in range(3)))


def partition(saga: Saga, rng: Random) -> Script:
    """Some services are cut off: calls arrive and answers do not, until the network heals."""
    cut_off = {step.service: rng.randint(1, 4) for _, step in calling_steps(saga) if rng.random() < 0.5}

    def replies(step: Step) -> tuple[Scripted, ...]:
        return (LOST,) * cut_off.get(step.service, 0) + (SUCCESS,)

    blind = {
        (step.name, Direction.PROBE): (CANNOT_TELL,) * cut_off[step.service] + (Reply(duration_s=1.0),)
        for _, step in calling_steps(saga)
        if step.probe is not None and step.service in cut_off
    }
    return {**_for_each(saga, replies), **blind}


def exhaustion(saga: Saga, rng: Random) -> Script:
    """Services are overloaded: they refuse, and say when to come back."""

    def replies(step: Step) -> tuple[Scripted, ...]:
        del step
        full = Reply(
            duration_s=0.1,
            error_type="Overloaded",
            failure_class=FailureClass.CASCADING,
            retry_after_s=rng.choice((None, 2.0, 20.0)),
        )
        return (full,) * rng.randint(0, 4) + (SUCCESS,)

    return _for_each(saga, replies)


PROFILES: Mapping[str, Profile] = {
    "slow": slow,
    "partition": partition,
    "random": random_script,
    "exhaustion": exhaustion,
}


def _for_each(
    saga: Saga, replies: Callable[[Step], tuple[Scripted, ...]]
) -> dict[tuple[str, Direction], tuple[Scripted, ...]]:
    script: dict[tuple[str, Direction], tuple[Scripted, ...]] = {}
    for _, step in calling_steps(saga):
        script[step.name, Direction.FORWARD] = replies(step)
        if step.compensation is not None:
            script[step.name, Direction.UNDO] = replies(step)
    return script


def _slow(step: Step, rng: Random) -> Reply:
    return Reply(duration_s=step.start_to_close_timeout_s * rng.paretovariate(2.0) / 4)
