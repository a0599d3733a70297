"""What must hold when an attempt's intent is written: order, the pivot, and who may be asked what again."""

from __future__ import annotations

from collections.abc import Iterator

from sagacity_engine.events import (
    Answer,
    AttemptFailed,
    AttemptHedged,
    AttemptStarted,
    AttemptUnknown,
    Direction,
    ProbeAnswered,
    UnknownReason,
)
from sagacity_engine.parts import Kind
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.strategy import OnTimeout
from sagacity_engine.testing.checker.settled_story import (
    FORWARD,
    is_final,
    is_settled,
    no_undo_owed,
)
from sagacity_engine.testing.checker.step_story import StepStory, Unhappy, strategy_after
from sagacity_engine.testing.checker.story import Story

CLOSE_S = 1e-6
"""Clocks that differ by less are the same: a wait is a sum of several numbers."""


def start_breaches(story: Story, event: AttemptStarted) -> Iterator[str]:
    """Breaches by any attempt, whichever way it goes."""
    step = story.steps[event.step]
    if step.open is not None:
        yield f"I9 step {event.step!r} has two attempts in flight"
    if event.attempt != step.made[event.direction] + 1:
        yield f"I8 step {event.step!r}: attempt {event.attempt} follows {step.made[event.direction]}"
    if story.paused_at is not None:
        yield f"I10 step {event.step!r} was started while the run was paused"
    if story.abandoned:
        yield f"I1 step {event.step!r} was started after the run was abandoned"
    if not story.locked:
        yield f"I9 step {event.step!r} was started before the run held its locks"


def forward_breaches(story: Story, event: AttemptStarted) -> Iterator[str]:
    """Breaches by an attempt at the action, or by beginning to wait for an approval."""
    name, step = event.step, story.steps[event.step]
    wait_s = story.plan.launch_delay_s
    if not story.starts and story.clock < story.started.at + wait_s - CLOSE_S:
        yield f"I10 step {name!r} was started before the launch was due"
    if step.landed or step.gone or step.skipped:
        yield f"I2 step {name!r} was started again after it was done, undone or skipped"
    if step.relied_on:
        yield f"I2 step {name!r} was started again after others went on without it"
    in_doubt = story.saga.by_name[name].kind is Kind.PIVOT and step.maybe
    if story.undoing:
        yield f"I5 step {name!r} was started forward after the run turned back"
    elif story.asked_back and not story.committed and not in_doubt:
        yield f"I5 step {name!r} was started forward though the run was to turn back"
    if step.tries(FORWARD):
        yield from _again_breaches(story, name, step, in_doubt=in_doubt)
    else:  # Later a person may have sent the undo of something before it off again.
        yield from _order_breaches(story, name)


def _order_breaches(story: Story, name: str) -> Iterator[str]:
    for before in story.plan.by_name[name].after:
        if before == story.saga.by_name[name].alternative_to:
            continue
        if not is_settled(story, before):
            yield f"I2 step {name!r} was started before {before!r} was settled"
    replaced = story.saga.by_name[name].alternative_to
    if replaced and not (story.goes_forward(replaced) and story.steps[replaced].open is None):
        yield f"I2 step {name!r} was started in place of {replaced!r}, which was not given up"
    elif replaced and not no_undo_owed(story, replaced):
        yield f"I3 step {name!r} was started beside {replaced!r}, whose effect may stand"


def _again_breaches(story: Story, name: str, step: StepStory, *, in_doubt: bool) -> Iterator[str]:
    """A retry: the step's own numbers, the budgets and the class of the failure must all allow it."""
    retry, last = story.plan.by_name[name].retry, step.last
    if last is None:
        yield f"I8 step {name!r} was tried again before its attempt ended"
        return
    if step.tries(FORWARD) >= retry.maximum_attempts:
        yield f"I6 step {name!r}: more than its plan's {retry.maximum_attempts} attempts"
    if is_final(last, retry.non_retryable_error_types):
        yield f"I6 step {name!r} was tried again after a refusal that is final"
    if _unsafe(story, name, last):
        yield f"I6 step {name!r} is not idempotent and was repeated after an unknown outcome"
    due = step.last_clock + _wait_s(retry, step.tries(FORWARD), last)
    if story.clock < due - CLOSE_S:
        yield f"I10 step {name!r} was tried again before its wait was over"
    if in_doubt:
        return  # Nothing but another try can settle a pivot in doubt.
    limit_s = story.saga.by_name[name].schedule_to_close_timeout_s
    if limit_s is not None and step.first_clock is not None and due >= step.first_clock + limit_s + CLOSE_S:
        yield f"I10 step {name!r} was tried again beyond its schedule-to-close timeout"
    if not _willing(story, name, last):
        yield f"I6 step {name!r} was tried again against its plan's strategy or a spent retry budget"
    budget = story.saga.retry_budget
    if budget is not None and story.retries >= budget:
        yield f"I6 step {name!r} was tried again beyond the run's retry budget of {budget}"


def _unsafe(story: Story, name: str, last: Unhappy) -> bool:
    unknown = isinstance(last, AttemptUnknown) or (
        isinstance(last, ProbeAnswered) and last.answer is Answer.CANNOT_TELL
    )
    declared = story.saga.by_name[name]
    return unknown and not declared.idempotent and declared.kind is not Kind.READ_ONLY


def _willing(story: Story, name: str, last: Unhappy) -> bool:
    if isinstance(last, AttemptFailed | AttemptUnknown) and last.retry_refused:
        return False
    on_timeout = story.plan.by_name[name].on_timeout
    timed_out = isinstance(last, AttemptUnknown) and last.reason in (
        UnknownReason.TIMED_OUT,
        UnknownReason.HEARTBEAT_LOST,
    )
    if timed_out and on_timeout is not None:
        return on_timeout is OnTimeout.RETRY
    return strategy_after(story.plan.by_name[name], last).retries


def _wait_s(retry: RetryPolicy, tries: int, last: Unhappy) -> float:
    """Worked out here and not by the policy itself: full jitter under a capped exponential ceiling."""
    grown = retry.initial_interval_s * retry.backoff_coefficient ** min(tries - 1, 64)
    wait_s = last.jitter * min(retry.maximum_interval_s, grown)
    asked_s = last.retry_after_s if isinstance(last, AttemptFailed) else None
    return wait_s if asked_s is None else max(wait_s, asked_s)


def probe_breaches(story: Story, event: AttemptStarted) -> Iterator[str]:
    """Breaches by asking whether an action took effect."""
    name, step = event.step, story.steps[event.step]
    probe = story.saga.by_name[name].probe
    if probe is None:
        yield f"I8 step {name!r} has no probe and was asked about"
        return
    if not step.maybe or step.landed or step.gone:
        yield f"I6 step {name!r} was asked about though nothing was in doubt"
    if isinstance(step.last, ProbeAnswered):
        tries = step.tries(Direction.PROBE)
        if tries >= probe.retry.maximum_attempts:
            yield f"I6 step {name!r} was asked about more than {probe.retry.maximum_attempts} times"
        if story.clock < step.last_clock + _wait_s(probe.retry, tries, step.last) - CLOSE_S:
            yield f"I10 step {name!r} was asked about again before the wait was over"


def undo_wait_breaches(story: Story, event: AttemptStarted) -> Iterator[str]:
    """Breaches by trying an undo once more."""
    name, step = event.step, story.steps[event.step]
    undo = story.saga.by_name[name].compensation
    if undo is None or step.last_undo is None:
        return
    if step.tries(Direction.UNDO) >= undo.retry.maximum_attempts:
        yield f"I6 step {name!r}: more than its compensation's {undo.retry.maximum_attempts} attempts"
    if is_final(step.last_undo, undo.retry.non_retryable_error_types):
        yield f"I6 step {name!r}: its undo was tried again after a refusal that is final"
    due = step.last_undo_clock + _wait_s(undo.retry, step.tries(Direction.UNDO), step.last_undo)
    if story.clock < due - CLOSE_S:
        yield f"I10 step {name!r}: its undo was tried again before its wait was over"


def hedge_breaches(story: Story, event: AttemptHedged) -> Iterator[str]:
    """Breaches by a second call beside the first."""
    name, step = event.step, story.steps[event.step]
    opened, delay_s = step.open, story.plan.by_name[name].hedge_delay_s
    if opened is None or opened.direction is not FORWARD or opened.attempt != event.attempt:
        yield f"I7 step {name!r} was hedged, but attempt {event.attempt} was not in flight"
    if step.hedged:
        yield f"I9 step {name!r} was hedged twice"
    if delay_s is None or not story.saga.by_name[name].idempotent:
        yield f"I6 step {name!r} was hedged, which its plan does not say or its kind does not bear"
    elif story.clock < step.open_clock + delay_s - CLOSE_S:
        yield f"I10 step {name!r} was hedged before its delay was over"
    if story.paused_at is not None:
        yield f"I10 step {name!r} was hedged while the run was paused"
