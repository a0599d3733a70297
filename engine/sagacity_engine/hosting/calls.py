"""What a function is told about the attempt it carries out."""

from __future__ import annotations

from sagacity_engine.events import AttemptStarted, Direction
from sagacity_engine.handlers import Call, Effect, new_call
from sagacity_engine.machine.run_state import RunState, StepState
from sagacity_engine.machine.timeouts import attempt_timeout_s

_FORWARD, _SUCCEEDED = Direction.FORWARD, Effect.SUCCEEDED


def call_of(state: RunState, started: AttemptStarted) -> Call:
    """The call of an attempt of this run."""
    run, step = state.started, state.steps[started.step]
    return new_call(
        run_id=run.run_id,
        saga=state.saga.name,
        step=started.step,
        direction=started.direction,
        attempt=started.attempt,
        input=run.input,
        outputs=state.outputs,
        context=run.context,
        timeout_s=attempt_timeout_s(state, started),
        deadline_at=state.deadline_at,
        effect=_SUCCEEDED if started.direction is _FORWARD else effect_of(step),
        again=step.round,
        trace=run.traceparent,
    )


def effect_of(step: StepState) -> Effect:
    """What is known of a step's action when it is to be undone."""
    if step.landed:
        return Effect.SUCCEEDED
    return Effect.UNKNOWN if step.effect_possible else Effect.FAILED
