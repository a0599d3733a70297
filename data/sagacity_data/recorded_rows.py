"""One row from what a recorder knows of an attempt, or of a run: plain functions of values."""

from __future__ import annotations

from dataclasses import dataclass

from sagacity_data.cost import state_cost
from sagacity_data.plan_facts import AttemptFacts
from sagacity_data.redaction import storable
from sagacity_data.rows import AttemptOutcome, AttemptRow, ContextValues, RunRow, StepFeatures
from sagacity_data.telling import Words
from sagacity_engine.drafts import maker
from sagacity_engine.events import AttemptFailed, AttemptSucceeded, AttemptUnknown, RunEnded
from sagacity_engine.machine.run_state import RunState

Ending = AttemptSucceeded | AttemptFailed | AttemptUnknown

new_attempt_row, new_run_row = maker(AttemptRow), maker(RunRow)


@dataclass(frozen=True, slots=True)
class Launched:
    """What was known of a run at its launch, as the dataset may have it."""

    context: ContextValues
    tenant: str
    input_bytes: int


@dataclass(slots=True)  # Not frozen: one is made for every attempt, and that takes a fifth of the time so.
class Start:
    """What was known when an attempt started."""

    service: str
    at: float
    scheduled_at: float
    steps_done: int
    in_flight: int | None  # None where only the journal told of the start.
    rank: int
    breaker_state: str


def attempt_row(
    state: RunState,
    event: Ending,
    launched: Launched,
    facts: AttemptFacts,
    *,
    start: Start | None,
    features: StepFeatures,
    words: Words,
) -> AttemptRow:
    """The row of an attempt that has ended; `start` is None where nobody saw it."""
    started, step = state.started, facts.step
    refused = event if isinstance(event, AttemptFailed) else None
    return new_attempt_row(
        run_id=started.run_id,
        saga=state.saga.name,
        definition_hash=started.definition_hash,
        step=event.step,
        service=step.service,
        region=step.region,
        kind=step.kind,
        direction=event.direction,
        attempt=event.attempt,
        position=state.steps[event.step].rank,
        steps_done=None if start is None else start.steps_done,
        in_flight=None if start is None else start.in_flight,
        scheduled_at=None if start is None else start.scheduled_at,
        started_at=None if start is None else start.at,
        timeout_s=facts.timeout_s,
        maximum_attempts=facts.maximum_attempts,
        ended_at=event.at,
        outcome=_outcome(event),
        error_type="" if refused is None else storable(refused.error_type),
        failure_class=None if refused is None else refused.failure_class,
        launch_at=started.at,
        arm=started.arm,
        propensity=started.propensity,
        fallback=started.fallback,
        advice_id=started.advice_id,
        model_version=started.model_version,
        context=launched.context,
        tenant=launched.tenant,
        version=state.saga.version,
        rank=None if start is None else start.rank,
        input_bytes=launched.input_bytes,
        stage=facts.stage,
        breaker=facts.breaker,
        breaker_state="" if start is None else start.breaker_state,
        error_message=words.kept,
        failure_kind=words.kind,
        kind_source=words.source,
        kind_known_at=None if words.kind is None else event.at,
        features=features,
    )


def _outcome(event: Ending) -> AttemptOutcome:
    match event:
        case AttemptSucceeded():
            return AttemptOutcome.SUCCEEDED
        case AttemptFailed():
            return AttemptOutcome.FAILED
        case AttemptUnknown():
            return AttemptOutcome.of_unknown(event.reason)


def run_row(state: RunState, event: RunEnded, launched: Launched, reason: str) -> RunRow:
    """The row of a run that has ended; `reason` is what is kept of the event's."""
    started, cost = state.started, state_cost(state)
    return new_run_row(
        run_id=started.run_id,
        saga=state.saga.name,
        definition_hash=started.definition_hash,
        launch_at=started.at,
        ended_at=event.at,
        status=event.status,
        reason=reason,
        arm=started.arm,
        propensity=started.propensity,
        fallback=started.fallback,
        advice_id=started.advice_id,
        model_version=started.model_version,
        cost=cost.total,
        wasted_cost=cost.wasted,
        latency_s=event.at - started.at,
        context=launched.context,
        tenant=launched.tenant,
        version=state.saga.version,
        parent=started.parent,
        input_bytes=launched.input_bytes,
    )
