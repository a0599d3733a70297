"""The rules for what a step may be besides a plain call, each with the message an author sees.

Timeouts and strategies that could never apply are refused as well as those that would be unsafe: whoever
wrote them expected something that will not happen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sagacity_engine.errors import SagaRefused
from sagacity_engine.parts import Breaker, Kind, WhenHeld
from sagacity_engine.rules.number_rules import COST_MAX, SECONDS_MAX, in_range, retry_numbers, whole_in_range
from sagacity_engine.strategy import OnFailure, OnTimeout, Strategy

if TYPE_CHECKING:
    from sagacity_engine.saga import Saga, Step

SUB_SAGA_DEPTH_MAX = 4
BREAKER_THRESHOLD_MAX = 1_000_000
SIGNAL_MAX = 128


def require_legal_steps(saga: Saga) -> None:
    """Raises `SagaRefused` for the first step that breaks one of these rules."""
    for step in saga.steps:
        for rule in RULES:
            for breach in rule(saga, step):
                raise SagaRefused(f"step {step.name!r}: {breach}")


def require_legal_alternatives(saga: Saga) -> None:
    """Raises `SagaRefused` for the first alternative that could not stand in for its step."""
    for step in saga.steps:
        for breach in _alternative(saga, step):
            raise SagaRefused(f"step {step.name!r}: {breach}")


def strategy_breach(saga: Saga, step: Step, strategy: Strategy) -> str:
    """Why the strategy cannot be carried out for the step; empty when it can.

    Compared by value, here and below: plans may bring the words as plain texts.
    """
    if strategy == Strategy.FORWARD_RECOVERY and step.name not in saga.alternatives:
        return "FORWARD_RECOVERY needs a step that is 'alternative_to' this one; add it, or choose another"
    if strategy == Strategy.ROLLBACK_TO_SAVEPOINT:
        if step.kind is Kind.PIVOT or saga.follows_pivot(step.name):
            return "ROLLBACK_TO_SAVEPOINT ends at the pivot; nothing is taken back from there on"
        if step.optional:
            return "ROLLBACK_TO_SAVEPOINT never applies to an optional step, without which the run goes on"
        later = saga.dependants[step.name] | {step.name}
        if not any(other.savepoint and other.name not in later for other in saga.steps):
            return "ROLLBACK_TO_SAVEPOINT needs a step with 'savepoint: true' that may come before; mark one"
    return ""


def timeout_breach(step: Step, on_timeout: OnTimeout | None) -> str:
    """Why a timeout of the step may not lead to this; empty when it may."""
    if on_timeout == OnTimeout.RETRY and not (step.idempotent or step.kind is Kind.READ_ONLY):
        return "on_timeout RETRY needs an idempotent step: the call that timed out may have taken effect"
    if on_timeout == OnTimeout.SKIP and not step.optional:
        return "on_timeout SKIP needs an optional step"
    if on_timeout == OnTimeout.COMPENSATE and step.kind is Kind.PIVOT:
        return "on_timeout COMPENSATE never applies to the pivot: what it may have done is not taken back"
    return ""


def breaker_numbers(where: str, breaker: Breaker) -> None:
    """Raises `SagaRefused` for a number of the breaker out of range."""
    where += ": breaker."
    whole_in_range(where + "failure_threshold", breaker.failure_threshold, 1, BREAKER_THRESHOLD_MAX)
    in_range(where + "open_s", breaker.open_s, 0, SECONDS_MAX, above=True)
    whole_in_range(where + "probes", breaker.probes, 1, BREAKER_THRESHOLD_MAX)


def _timeouts(saga: Saga, step: Step) -> Iterator[str]:
    del saga
    for name in ("schedule_to_start_timeout_s", "schedule_to_close_timeout_s", "heartbeat_timeout_s"):
        value: float | None = getattr(step, name)
        if value is not None:
            in_range(f"step {step.name!r}: {name}", value, 0, SECONDS_MAX, above=True)
    if step.heartbeat_timeout_s is not None and step.heartbeat_timeout_s >= step.start_to_close_timeout_s:
        yield (
            f"heartbeat_timeout_s is {step.heartbeat_timeout_s:g}, which start_to_close_timeout_s "
            f"{step.start_to_close_timeout_s:g} always forestalls; make it shorter"
        )
    if breach := timeout_breach(step, step.on_timeout):
        yield f"{breach}; choose another, or leave it out"


def _calls(saga: Saga, step: Step) -> Iterator[str]:
    """What only a call of a participant can have."""
    del saga
    if step.freedom.hedge_delay_s is not None and not step.idempotent:
        yield "freedom.hedge_delay_s needs an idempotent step, which a hedge may call twice; leave it out"
    if step.approval is None and step.sub_saga is None:
        return
    what = "waits for an approval" if step.approval is not None else "is a saga of its own"
    for name in (
        "schedule_to_start_timeout_s",
        "schedule_to_close_timeout_s",
        "heartbeat_timeout_s",
        "on_timeout",
        "breaker",
        "probe",
    ):
        if getattr(step, name) is not None:
            yield f"{what} and has {name}, which only a call of a service can have; remove it"
    if step.freedom.hedge_delay_s is not None:
        yield f"{what} and has freedom.hedge_delay_s, which only a call of a service can have; remove it"


def _losses(saga: Saga, step: Step) -> Iterator[str]:
    del saga
    in_range(f"step {step.name!r}: skip_loss", step.skip_loss, 0, COST_MAX)
    if step.skip_loss and not step.optional:
        yield "has a skip_loss and is not optional; make it optional, or leave the loss out"


def _probe(saga: Saga, step: Step) -> Iterator[str]:
    del saga
    if step.probe is None:
        return
    where = f"step {step.name!r}: probe."
    in_range(
        where + "start_to_close_timeout_s", step.probe.start_to_close_timeout_s, 0, SECONDS_MAX, above=True
    )
    retry_numbers(where + "retry.", step.probe.retry)
    if step.kind is Kind.READ_ONLY:
        yield "is read_only and has a probe, but leaves no effect to ask about; remove the probe"


def _breaker(saga: Saga, step: Step) -> Iterator[str]:
    del saga
    if step.breaker is None:
        return iter(())
    breaker_numbers(f"step {step.name!r}", step.breaker)
    return iter(())


def _waiting(saga: Saga, step: Step) -> Iterator[str]:
    if step.approval is None:
        return
    if step.kind not in (Kind.READ_ONLY, Kind.RETRIABLE) or step.compensation is not None:
        yield f"waits for an approval, which leaves no effect, and is {step.kind.value}; make it read_only"
    if step.action is not None or step.sub_saga is not None:
        yield "waits for an approval and has an action; put the action into a step after it"
    signal = step.approval.signal
    if not (len(signal) <= SIGNAL_MAX and signal.isprintable()):
        yield f"approval.signal is {signal[:60]!r}; it must be at most {SIGNAL_MAX} printable characters"
    for other in saga.steps:
        if other.name != step.name and other.approval is not None and other.approval.signal == signal:
            yield f"waits for signal {signal!r}, as step {other.name!r} does; give each a signal of its own"
    if step.approval.expires_after_s is not None:
        where = f"step {step.name!r}: approval.expires_after_s"
        in_range(where, step.approval.expires_after_s, 0, SECONDS_MAX, above=True)


def _inner(saga: Saga, step: Step) -> Iterator[str]:
    if step.sub_saga is None:
        return
    inner = step.sub_saga.saga
    if step.action is not None:
        yield "is a saga of its own and has an action; keep one of them"
    if step.compensation is not None and step.compensation.action is not None:
        yield "is a saga of its own, whose compensation takes it back; remove the compensation's action"
    if step.compensation is not None and step.compensation.after_failure:
        yield "is a saga of its own, which takes itself back when it fails; leave out after_failure"
    if any(lock.when_held is not WhenHeld.REJECT for lock in inner.locks):
        yield (
            f"is the saga {inner.name!r}, whose locks are waited for while this run may hold others, for "
            "ever if two such runs meet; declare the locks on the outermost saga, or let them reject"
        )
    if step.kind is Kind.READ_ONLY:
        yield "is a saga of its own and read_only; make it compensatable"
    if inner.pivot is not None and step.compensation is not None:
        yield (
            f"is a saga with a pivot, {inner.pivot.name!r}, so it cannot be taken back; make it the pivot, "
            "or retriable after it"
        )
    if _depth(saga) > SUB_SAGA_DEPTH_MAX:
        yield f"nests sagas more than {SUB_SAGA_DEPTH_MAX} deep; make it flatter"


def _depth(saga: Saga) -> int:
    return 1 + max((_depth(step.sub_saga.saga) for step in saga.steps if step.sub_saga), default=0)


def _alternative(saga: Saga, step: Step) -> Iterator[str]:
    replaced = saga.by_name.get(step.alternative_to)
    if replaced is None:
        return
    if saga.alternatives[replaced.name] != step.name:
        yield f"{replaced.name!r} has another alternative, {saga.alternatives[replaced.name]!r}; keep one"
    if replaced.alternative_to:
        yield f"is the alternative to {replaced.name!r}, which is one itself; an alternative has none"
    if Kind.PIVOT in (step.kind, replaced.kind):
        yield f"is the alternative to {replaced.name!r}, and one of them is the pivot; a pivot has none"
    if step.optional or replaced.optional:
        yield f"is the alternative to {replaced.name!r}, and one of them is optional; make both required"
    for other in saga.steps:
        if step.name in other.after and other.alternative_to != step.name:
            yield f"step {other.name!r} is after it; name {replaced.name!r}, for which it stands in"


def _savepoint(saga: Saga, step: Step) -> Iterator[str]:
    if not step.savepoint:
        return
    if step.kind is Kind.PIVOT or saga.follows_pivot(step.name):
        yield "is a savepoint at or after the pivot, where nothing is taken back; move it before the pivot"
    if step.optional or step.alternative_to:
        yield "is a savepoint and may not run at all; mark a step that always runs"


def _ways(saga: Saga, step: Step) -> Iterator[str]:
    for name in OnFailure.__slots__ if step.on_failure is not None else ():
        strategy: Strategy = getattr(step.on_failure, name)
        if breach := strategy_breach(saga, step, strategy):
            yield f"on_failure.{name}: {breach}"


RULES: tuple[Callable[[Saga, Step], Iterator[str]], ...] = (
    _timeouts,
    _calls,
    _losses,
    _probe,
    _breaker,
    _waiting,
    _inner,
    _savepoint,
    _ways,
)
"""Each says what it has against a step; read in this order."""
