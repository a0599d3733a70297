"""What a failed or unknown attempt leads to, given the step and its plan.

A definite refusal may be retried as long as the plan's strategy for its class, the attempts and the error
type allow. An unknown outcome is retried only under an idempotency key the participant honours, and it is
never forgotten: a later refusal does not prove that the earlier attempt left no effect.
"""

from __future__ import annotations

from dataclasses import dataclass

from sagacity_engine.errors import FailureClass
from sagacity_engine.events import AttemptFailed, AttemptUnknown, Direction
from sagacity_engine.phases import Turn
from sagacity_engine.plan import StepPlan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Kind, Step


@dataclass(frozen=True, slots=True)
class Verdict:
    """The turn a step takes, and what it must remember."""

    turn: Turn
    error: str
    due_at: float | None = None
    effect_possible: bool = False
    undo_in_parallel: bool = True


def verdict(
    step: Step,
    plan: StepPlan,
    event: AttemptFailed | AttemptUnknown,
    *,
    effect_possible: bool,
    aborting: bool,
) -> Verdict:
    """The turn after a failed attempt in either direction; `effect_possible` is what was known before it."""
    if event.direction is Direction.UNDO:
        return _undo_verdict(step, event, effect_possible)
    unknown = isinstance(event, AttemptUnknown)
    effect_possible = effect_possible or (unknown and step.kind is not Kind.READ_ONLY)
    strategy = plan.on_failure.of(_failure_class(event))
    # An uncertain pivot is asked again whatever the plan or an abort says: nothing else can settle it.
    must_settle = step.kind is Kind.PIVOT and effect_possible
    repeatable = not unknown or step.idempotent or step.kind is Kind.READ_ONLY
    willing = must_settle or (strategy.retries and not aborting)
    if repeatable and willing and _attempts_left(plan.retry, event):
        turn = Turn.RETRY_LATER
        due_at = event.at + plan.retry.delay_s(event.attempt, event.jitter)
    else:
        turn, due_at = _final(step, effect_possible), None
    return Verdict(turn, describe(event), due_at, effect_possible, strategy.undoes_in_parallel)


def describe(event: AttemptFailed | AttemptUnknown) -> str:
    """The failure in words, for people."""
    if isinstance(event, AttemptUnknown):
        words = f"outcome unknown ({event.reason.value.replace('_', ' ')})"
    else:
        words = event.error_type
    return f"{words}: {event.message}" if event.message and event.message != words else words


def _final(step: Step, effect_possible: bool) -> Turn:
    if effect_possible:
        return Turn.LOSE
    return Turn.SKIP if step.optional else Turn.FAIL


def _failure_class(event: AttemptFailed | AttemptUnknown) -> FailureClass:
    return event.failure_class if isinstance(event, AttemptFailed) else FailureClass.UNKNOWN


def _attempts_left(retry: RetryPolicy, event: AttemptFailed | AttemptUnknown) -> bool:
    if isinstance(event, AttemptFailed) and event.error_type in retry.non_retryable_error_types:
        return False
    return event.attempt < retry.maximum_attempts


def _undo_verdict(step: Step, event: AttemptFailed | AttemptUnknown, effect_possible: bool) -> Verdict:
    """Compensations are idempotent by contract, so an unknown undo is simply tried again."""
    assert step.compensation is not None, "an undo of a step without a compensation was started"
    retry = step.compensation.retry
    if _attempts_left(retry, event):
        due_at = event.at + retry.delay_s(event.attempt, event.jitter)
        return Verdict(Turn.RETRY_UNDO_LATER, describe(event), due_at, effect_possible)
    return Verdict(Turn.FAIL_UNDO, describe(event), None, effect_possible)
