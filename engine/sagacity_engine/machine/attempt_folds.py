"""What an attempt does to its step: it starts, succeeds, fails, is hedged, or a probe answers for it.

These are the folds of the events about attempts. Each refuses with `IllegalEvent` what cannot happen there:
an attempt that is not in flight, or is wrongly numbered. What a failure leads to is `verdict`'s to say.
"""

from __future__ import annotations

from sagacity_engine.errors import IllegalEvent
from sagacity_engine.events import (
    Answer,
    AttemptFailed,
    AttemptHedged,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    Direction,
    ProbeAnswered,
)
from sagacity_engine.machine.giving_up import after_final_failure
from sagacity_engine.machine.moves import moved, own
from sagacity_engine.machine.operations import keep_output
from sagacity_engine.machine.phases import StepPhase, Turn
from sagacity_engine.machine.run_state import RunState, StepState
from sagacity_engine.machine.verdict import Verdict, probe_verdict, verdict
from sagacity_engine.parts import Kind

_FORWARD, _UNDO = Direction.FORWARD, Direction.UNDO
_START, _SUCCEED = Turn.START, Turn.SUCCEED


def start(state: RunState, event: AttemptStarted) -> None:
    """An intent became durable: of an action, an undo, a probe, or the wait for an approval."""
    step, name = _known(state, event.step), event.step
    if event.direction is _FORWARD:
        _require_number(event, step.attempts + 1)
        _start_forward(state, event)
    elif event.direction is Direction.UNDO:
        _require_number(event, step.undo_attempts + 1)
        if state.saga.by_name[name].compensation is None:
            raise IllegalEvent(f"step {name!r} has no compensation; its undo cannot start")
        moved(state, name, Turn.START_UNDO).undo_attempts = event.attempt
    else:
        _require_number(event, step.probes + 1)
        moved(state, name, Turn.ASK).probes = event.attempt


def _start_forward(state: RunState, event: AttemptStarted) -> None:
    declared = state.saga.by_name[event.step]
    step = moved(state, event.step, _START if declared.approval is None else Turn.AWAIT)
    if event.attempt > step.base + 1:
        state.retries += 1
    step.attempts = event.attempt
    step.started_at = event.at
    step.hedged = False
    if step.first_at is None:
        step.first_at = event.at
        step.rank = state.starts
        state.starts += 1
    if declared.approval is not None:
        expires_after_s = declared.approval.expires_after_s
        step.due_at = None if expires_after_s is None else event.at + expires_after_s
    else:
        hedge_delay_s = state.plan.by_name[event.step].hedge_delay_s
        if hedge_delay_s is None or declared.sub_saga is not None:
            return  # A second inner run would be no second call.
        if not state.aborting:
            step.due_at = event.at + hedge_delay_s


def hedge(state: RunState, event: AttemptHedged) -> None:
    """A second call is about to be made beside the first."""
    step = _known(state, event.step)
    if step.phase is not StepPhase.RUNNING or step.hedged:
        raise IllegalEvent(f"step {event.step!r} is {step.phase.value}; it cannot be hedged now")
    _require_number(event, step.attempts)
    step = own(state, event.step)
    step.hedged, step.due_at = True, None


def succeed(state: RunState, event: AttemptSucceeded) -> None:
    """A participant confirmed what it was asked for."""
    step = _in_flight_step(state, event)
    if event.direction is _UNDO:
        _require_number(event, step.undo_attempts)
        moved(state, event.step, Turn.UNDO).error = ""
        return
    _require_number(event, step.attempts)
    _landed(state, event.step, event.output)


def _landed(state: RunState, name: str, output: object) -> None:
    step = moved(state, name, _SUCCEED)
    step.error, step.landed = "", True
    keep_output(state, name, output)
    if state.rollback is not None and state.saga.by_name[name].kind is Kind.PIVOT:
        state.rollback = None  # Nothing is taken back any more.


def fail(state: RunState, event: AttemptFailed | AttemptUnknown) -> None:
    """An attempt was refused, or nobody can tell."""
    step = _in_flight_step(state, event)
    forward = event.direction is Direction.FORWARD
    _require_number(event, step.attempts if forward else step.undo_attempts)
    decision = verdict(state, event.step, event)
    _judged(state, event.step, decision)
    if forward and decision.turn in (Turn.FAIL, Turn.LOSE):
        after_final_failure(state, event.step, decision)


def answered(state: RunState, event: ProbeAnswered) -> None:
    """A probe ended."""
    step = _known(state, event.step)
    if step.phase is not StepPhase.PROBING:
        raise IllegalEvent(f"step {event.step!r} is {step.phase.value}; no probe is in flight")
    _require_number(event, step.probes)
    decision = probe_verdict(state, event.step, event)
    if decision.turn is Turn.SUCCEED:
        _landed(state, event.step, event.output)
        return
    _judged(state, event.step, decision)
    if event.answer is Answer.DID_NOT_HAPPEN:
        # The participant may have closed the old key for ever, to make its answer stay true.
        state.steps[event.step].round += 1
    if decision.turn in (Turn.FAIL, Turn.LOSE):
        after_final_failure(state, event.step, decision)


def _judged(state: RunState, name: str, decision: Verdict) -> None:
    step = moved(state, name, decision.turn)
    step.error = decision.error
    step.due_at = decision.due_at
    step.effect_possible = decision.effect_possible


def _known(state: RunState, name: str) -> StepState:
    step = state.steps.get(name)
    if step is None:
        raise IllegalEvent(f"run {state.started.run_id!r} has no step {name!r}")
    return step


_AWAITED = {
    Direction.FORWARD: (StepPhase.RUNNING, StepPhase.AWAITING),
    Direction.UNDO: (StepPhase.UNDOING,),
    Direction.PROBE: (),  # A probe is answered, it neither fails nor succeeds.
}


def _in_flight_step(state: RunState, event: AttemptSucceeded | AttemptFailed | AttemptUnknown) -> StepState:
    """The state of the step an outcome is about; raises `IllegalEvent` when no such attempt is in flight."""
    step = _known(state, event.step)
    if step.phase not in _AWAITED[event.direction]:
        raise IllegalEvent(
            f"step {event.step!r} of run {state.started.run_id!r} is {step.phase.value}; "
            f"{type(event).__name__} ({event.direction.value}) cannot happen"
        )
    return step


def _require_number(
    event: AttemptStarted | AttemptHedged | AttemptSucceeded | AttemptFailed | AttemptUnknown | ProbeAnswered,
    due: int,
) -> None:
    if event.attempt != due:
        raise IllegalEvent(
            f"{type(event).__name__} of step {event.step!r} is numbered {event.attempt}, not {due}"
        )
