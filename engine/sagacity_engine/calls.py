"""What a function is told about the attempt it carries out."""

from __future__ import annotations

from sagacity_engine.events import AttemptStarted, Direction
from sagacity_engine.handlers import Call, Effect, idempotency_key
from sagacity_engine.run_state import RunState, StepState
from sagacity_engine.timeouts import attempt_timeout_s
from sagacity_engine.trace_context import child


def call_of(state: RunState, started: AttemptStarted) -> Call:
    """The call of an attempt of this run."""
    run, direction = state.started, started.direction
    step = state.steps[started.step]
    again, undoes, effect = step.round, "", Effect.SUCCEEDED
    if direction is not Direction.FORWARD:
        effect = effect_of(step)
        undoes = idempotency_key(run.run_id, started.step, Direction.FORWARD, again)
    return Call(
        run_id=run.run_id,
        saga=state.saga.name,
        step=started.step,
        direction=direction,
        attempt=started.attempt,
        idempotency_key=idempotency_key(run.run_id, started.step, direction, again),
        input=run.input,
        outputs=state.outputs,
        context=run.context,
        timeout_s=attempt_timeout_s(state, started),
        deadline_at=state.deadline_at,
        effect=effect,
        undoes=undoes,
        traceparent=child(run.traceparent, run.run_id, started.step, direction, started.attempt),
    )


def effect_of(step: StepState) -> Effect:
    """What is known of a step's action when it is to be undone."""
    if step.landed:
        return Effect.SUCCEEDED
    return Effect.UNKNOWN if step.effect_possible else Effect.FAILED
