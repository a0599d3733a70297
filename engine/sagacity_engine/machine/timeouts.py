"""How long one attempt may take.

An action has its plan's start-to-close timeout, cut short where the step's schedule-to-close timeout, which
runs over all its attempts, ends first. Undos and probes have their own. Waiting for an approval, or for a
sub-saga, ends by other means.
"""

from __future__ import annotations

from sagacity_engine.events import AttemptStarted, Direction
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.parts import Kind
from sagacity_engine.saga import Step

_FORWARD = Direction.FORWARD

SHORTEST_S = 0.001
"""A call that is made at all gets this long: a timeout of nothing would fail it unheard."""


def attempt_timeout_s(state: RunState, attempt: AttemptStarted) -> float:
    """The start-to-close timeout in force for an attempt, in seconds."""
    declared = state.saga.by_name[attempt.step]
    if attempt.direction is _FORWARD:
        return _action_timeout_s(state, attempt, declared)
    if attempt.direction is Direction.UNDO:
        assert declared.compensation is not None, "an undo of a step without a compensation was started"
        return declared.compensation.start_to_close_timeout_s
    assert declared.probe is not None, "a step without a probe was asked about"
    return declared.probe.start_to_close_timeout_s


def _action_timeout_s(state: RunState, attempt: AttemptStarted, declared: Step) -> float:
    timeout_s = state.plan.by_name[attempt.step].start_to_close_timeout_s
    limit_s = declared.schedule_to_close_timeout_s
    if limit_s is None:
        return timeout_s
    step = state.steps[attempt.step]
    first_at = step.first_at
    in_doubt = declared.kind is Kind.PIVOT and step.effect_possible  # Nothing but another try settles it.
    if first_at is None or in_doubt:
        return timeout_s
    return max(SHORTEST_S, min(timeout_s, first_at + limit_s - attempt.at))
