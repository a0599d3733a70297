"""What a failed or unknown attempt leads to, given the step, its plan and what it has been through.

A definite refusal may be retried as long as the strategy for its class, the attempts, the retry budgets, the
time left and the error type allow. An unknown outcome is first asked about, where the step has a probe; it is
retried only under an idempotency key the participant honours, and it is never forgotten: a later refusal does
not prove that the earlier attempt left no effect. A timeout may be told by the plan to do something else.
"""

from __future__ import annotations

from dataclasses import dataclass

from sagacity_engine.errors import FailureClass
from sagacity_engine.events import (
    Answer,
    AttemptFailed,
    AttemptUnknown,
    Direction,
    ProbeAnswered,
    UnknownReason,
)
from sagacity_engine.machine.phases import StepPhase, Turn
from sagacity_engine.machine.run_state import RunState, StepState
from sagacity_engine.parts import Kind
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Step
from sagacity_engine.strategy import OnTimeout, Strategy

TIMEOUTS = (UnknownReason.TIMED_OUT, UnknownReason.HEARTBEAT_LOST)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The turn a step takes, and what it must remember. `strategy` matters when the turn is final."""

    turn: Turn
    error: str = ""
    due_at: float | None = None
    effect_possible: bool = False
    strategy: Strategy = Strategy.STANDARD_COMPENSATION


def verdict(state: RunState, name: str, event: AttemptFailed | AttemptUnknown) -> Verdict:
    """The turn after a failed attempt in either direction."""
    step, own = state.saga.by_name[name], state.steps[name]
    if event.direction is Direction.UNDO:
        return _undo_verdict(state, step, own, event)
    if isinstance(event, AttemptFailed):
        return _refused(state, step, own, event)
    effect_possible = own.effect_possible or step.kind is not Kind.READ_ONLY
    if step.probe is not None and effect_possible and _worth_asking(state, step):
        return Verdict(Turn.DOUBT, describe(event), _clock(state, event.at), effect_possible=True)
    return _unknown(state, step, own, event, effect_possible=effect_possible)


def probe_verdict(state: RunState, name: str, event: ProbeAnswered) -> Verdict:
    """The turn after a probe; the step's own outcome was unknown before it."""
    step, own = state.saga.by_name[name], state.steps[name]
    assert step.probe is not None, "a step without a probe was asked about"
    if event.answer is Answer.HAPPENED:
        return Verdict(Turn.SUCCEED, effect_possible=True)
    if event.answer is Answer.DID_NOT_HAPPEN:
        refusal = AttemptFailed(
            at=event.at,
            step=name,
            direction=Direction.FORWARD,
            attempt=own.attempts,
            error_type="DidNotHappen",
            message=own.error,
            jitter=event.jitter,
        )
        own = own.copy()
        own.effect_possible = False
        return _refused(state, step, own, refusal)
    asked = event.attempt - own.probe_base
    if asked < step.probe.retry.maximum_attempts and _worth_asking(state, step):
        due_at = _clock(state, event.at) + step.probe.retry.delay_s(asked, event.jitter)
        return Verdict(Turn.DOUBT, own.error, due_at, effect_possible=True)
    unknown = AttemptUnknown(
        at=event.at,
        step=name,
        direction=Direction.FORWARD,
        attempt=own.attempts,
        reason=UnknownReason.LOST_REPLY,
        message=own.error,
        jitter=event.jitter,
    )
    return _unknown(state, step, own, unknown, effect_possible=True)


def would_retry(state: RunState, event: AttemptFailed | AttemptUnknown) -> bool:
    """Whether the event, folded now, would lead to another forward attempt: what a retry budget pays for."""
    return (
        event.direction is Direction.FORWARD
        and verdict(state, event.step, event).turn is Turn.RETRY_LATER
        and not _must_settle(state.saga.by_name[event.step], state.steps[event.step])
    )


def describe(event: AttemptFailed | AttemptUnknown) -> str:
    """The failure in words, for people."""
    if isinstance(event, AttemptUnknown):
        words = f"outcome unknown ({event.reason.value.replace('_', ' ')})"
    else:
        words = event.error_type
    return f"{words}: {event.message}" if event.message and event.message != words else words


def _clock(state: RunState, at: float) -> float:
    """The run's time, from which waits are counted: it stands still while the run is paused."""
    return at if state.paused_at is None else state.paused_at


def _worth_asking(state: RunState, step: Step) -> bool:
    """A run that turns back undoes what may have happened anyway, unless the step cannot be undone."""
    return not state.aborting or step.compensation is None


def _refused(state: RunState, step: Step, own: StepState, event: AttemptFailed) -> Verdict:
    plan = state.plan.by_name[step.name]
    strategy = event.strategy or plan.on_failure.of(event.failure_class)
    return _again_or_final(
        state,
        step,
        own,
        event,
        effect_possible=own.effect_possible,
        willing=strategy.retries,
        strategy=strategy,
    )


def _unknown(
    state: RunState, step: Step, own: StepState, event: AttemptUnknown, *, effect_possible: bool
) -> Verdict:
    plan = state.plan.by_name[step.name]
    strategy = event.strategy or plan.on_failure.of(FailureClass.UNKNOWN)
    willing = strategy.retries
    if event.reason in TIMEOUTS and plan.on_timeout is not None:
        willing = plan.on_timeout is OnTimeout.RETRY
    willing = willing and (step.idempotent or step.kind is Kind.READ_ONLY)
    return _again_or_final(
        state, step, own, event, effect_possible=effect_possible, willing=willing, strategy=strategy
    )


def _again_or_final(
    state: RunState,
    step: Step,
    own: StepState,
    event: AttemptFailed | AttemptUnknown,
    *,
    effect_possible: bool,
    willing: bool,
    strategy: Strategy,
) -> Verdict:
    plan = state.plan.by_name[step.name]
    # An uncertain pivot is asked again whatever the plan, a budget or an abort says: nothing else settles it.
    must_settle = step.kind is Kind.PIVOT and effect_possible
    if must_settle:
        willing = isinstance(event, AttemptFailed) or step.idempotent
    elif willing:
        willing = not (state.aborting or state.rollback is not None) and _affordable(state, event)
    if willing and _attempts_left(plan.retry, event, own.base):
        due_at = _clock(state, event.at) + _delay_s(plan.retry, event, own.base)
        if must_settle or _in_time(step, own, due_at):
            return Verdict(Turn.RETRY_LATER, describe(event), due_at, effect_possible)
    return Verdict(
        _final(step, effect_possible=effect_possible), describe(event), None, effect_possible, strategy
    )


def _must_settle(step: Step, own: StepState) -> bool:
    return step.kind is Kind.PIVOT and own.effect_possible


def _final(step: Step, *, effect_possible: bool) -> Turn:
    if effect_possible:
        return Turn.LOSE
    leaves_something = step.compensation is not None and step.compensation.after_failure
    return Turn.SKIP if step.optional and not leaves_something else Turn.FAIL


def _affordable(state: RunState, event: AttemptFailed | AttemptUnknown) -> bool:
    budget = state.saga.retry_budget
    if event.retry_refused or budget is None:
        return not event.retry_refused
    waiting = sum(
        each.phase is StepPhase.BACKING_OFF and each.attempts > each.base for each in state.steps.values()
    )
    return state.retries + waiting < budget


def _attempts_left(retry: RetryPolicy, event: AttemptFailed | AttemptUnknown, base: int) -> bool:
    if isinstance(event, AttemptFailed) and (
        event.terminal or event.error_type in retry.non_retryable_error_types
    ):
        return False
    return event.attempt - base < retry.maximum_attempts


def _delay_s(retry: RetryPolicy, event: AttemptFailed | AttemptUnknown, base: int) -> float:
    """The backoff, or longer when the participant asked for it."""
    delay_s = retry.delay_s(event.attempt - base, event.jitter)
    asked_s = event.retry_after_s if isinstance(event, AttemptFailed) else None
    return delay_s if asked_s is None else max(delay_s, asked_s)


def _in_time(step: Step, own: StepState, due_at: float) -> bool:
    """Whether an attempt at `due_at` would come before the step's schedule-to-close timeout."""
    limit_s = step.schedule_to_close_timeout_s
    return limit_s is None or own.first_at is None or due_at < own.first_at + limit_s


def _undo_verdict(
    state: RunState, step: Step, own: StepState, event: AttemptFailed | AttemptUnknown
) -> Verdict:
    """Compensations are idempotent by contract, so an unknown undo is simply tried again."""
    assert step.compensation is not None, "an undo of a step without a compensation was started"
    retry = step.compensation.retry
    if _attempts_left(retry, event, own.undo_base):
        due_at = _clock(state, event.at) + _delay_s(retry, event, own.undo_base)
        return Verdict(Turn.RETRY_UNDO_LATER, describe(event), due_at, own.effect_possible)
    return Verdict(Turn.FAIL_UNDO, describe(event), None, own.effect_possible)
