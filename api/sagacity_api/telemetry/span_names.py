"""What spans are called and what they may carry: the whole vocabulary, so that nothing else slips in.

A name holds the saga's or the step's name, never a run's. No attribute holds an input, an output, a message
or who asked for something: those are the journal's.
"""

from __future__ import annotations

from typing import Final

from sagacity_engine import Direction, RunState

SAGA: Final = "saga {}"
STEP: Final = "step {}"
COMPENSATION: Final = "compensation {}"
ATTEMPTS: Final = {
    Direction.FORWARD: "attempt {}",
    Direction.UNDO: "undo {}",
    Direction.PROBE: "probe {}",
}
SPANS: Final = (SAGA, STEP, COMPENSATION, *ATTEMPTS.values())

SPAN_EVENTS: Final = (
    "locks_acquired",
    "deadline",
    "cancel",
    "signal",
    "operator",
    "rolled_back",
    "hedged",
    "breaker",
)

ATTRIBUTES: Final = (
    "sagacity.run_id",
    "sagacity.saga",
    "sagacity.saga_version",
    "sagacity.definition_hash",
    "sagacity.status",
    "sagacity.arm",
    "sagacity.fallback",
    "sagacity.advice_id",
    "sagacity.model_version",
    "sagacity.parent_run",
    "sagacity.resumed",
    "sagacity.step",
    "sagacity.service",
    "sagacity.kind",
    "sagacity.direction",
    "sagacity.attempt",
    "sagacity.outcome",
    "sagacity.failure_class",
    "sagacity.start_unseen",
    "sagacity.action",
    "sagacity.signal",
    "sagacity.approved",
    "sagacity.savepoint",
    "sagacity.breaker_state",
    "sagacity.link",
    "error.type",
)
"""All that spans, their events and their links carry."""

RESUMES, CALL = "resumes", "call"
"""What `sagacity.link` says: the link leads to an earlier part of the run, or to what a call was given."""

Attributes = dict[str, str | bool | int]


def of_run(state: RunState) -> Attributes:
    """What a saga's span carries from its start; what is empty is left out."""
    run = state.started
    told: Attributes = {
        "sagacity.run_id": run.run_id,
        "sagacity.saga": state.saga.name,
        "sagacity.saga_version": state.saga.version,
        "sagacity.definition_hash": run.definition_hash,
        "sagacity.arm": run.arm,
        "sagacity.fallback": run.fallback,
        "sagacity.advice_id": run.advice_id,
        "sagacity.model_version": run.model_version,
        "sagacity.parent_run": run.parent,
    }
    return {name: value for name, value in told.items() if value != ""}


def of_step(state: RunState, step: str, direction: Direction) -> Attributes:
    """What the spans of a step and of its attempts carry."""
    declared = state.saga.by_name[step]
    return {
        "sagacity.run_id": state.started.run_id,
        "sagacity.saga": state.saga.name,
        "sagacity.step": step,
        "sagacity.service": declared.service,
        "sagacity.kind": declared.kind.value,
        "sagacity.direction": direction.value,
    }
