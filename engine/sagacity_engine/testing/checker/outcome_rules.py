"""What must hold when an attempt ends: it was in flight, and an approval was really given or refused."""

from __future__ import annotations

from collections.abc import Iterator

from sagacity_engine.events import (
    AttemptFailed,
    AttemptSucceeded,
    Direction,
    ProbeAnswered,
)
from sagacity_engine.parts import Approval, OnExpiry
from sagacity_engine.testing.checker.start_rules import CLOSE_S
from sagacity_engine.testing.checker.step_story import Outcome
from sagacity_engine.testing.checker.story import Story


def outcome_breaches(story: Story, event: Outcome | ProbeAnswered) -> Iterator[str]:
    """Breaches by the end of an attempt."""
    opened = story.steps[event.step].open
    direction = Direction.PROBE if isinstance(event, ProbeAnswered) else event.direction
    if opened is None or (opened.direction, opened.attempt) != (direction, event.attempt):
        which = f"({direction.value}, {event.attempt})"
        yield f"I7 step {event.step!r}: the outcome of {which} has no intent before it"
    approval = story.saga.by_name[event.step].approval
    if approval is not None and not isinstance(event, ProbeAnswered):
        yield from _approval_breaches(story, event, approval)


def _approval_breaches(story: Story, event: Outcome, approval: Approval) -> Iterator[str]:
    signal = story.signals.get(approval.signal)
    waited_s = story.clock - story.steps[event.step].open_clock
    expired = approval.expires_after_s is not None and waited_s >= approval.expires_after_s - CLOSE_S
    if isinstance(event, AttemptSucceeded):
        given = signal.approve if signal is not None else expired and approval.on_expiry is OnExpiry.APPROVE
        if not given:
            yield f"I2 step {event.step!r} went on though nobody approved it"
    elif isinstance(event, AttemptFailed):
        refused = not signal.approve if signal is not None else expired
        if not refused:
            yield f"I2 step {event.step!r} was refused though nobody refused it"
    else:
        yield f"I2 step {event.step!r} waits for an approval, whose outcome cannot be unknown"
