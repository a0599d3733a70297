"""What of a definition the evaluator cannot price yet.

A figure that leaves half of a saga out would be worse than none: such a saga keeps its author's plan, and
whoever asks for a prediction is told which part stands in the way. What only delays or limits calls (probes,
breakers, budgets, locks, further timeouts) is left out of the price and stands in nobody's way.
"""

from __future__ import annotations

from sagacity_engine.saga import Saga, Step


def unpriced(saga: Saga) -> str:
    """The first part of the saga that has no price yet, in words; empty when all of it has."""
    for step in saga.steps:
        if part := _unpriced_part(step):
            return f"step {step.name!r} {part}, which is not priced yet"
    return ""


def _unpriced_part(step: Step) -> str:
    parts = {
        "waits for an approval": step.approval is not None,
        "is a saga of its own": step.sub_saga is not None,
        f"is an alternative to {step.alternative_to!r}": bool(step.alternative_to),
        "is a savepoint": step.savepoint,
        "has a skip_loss": step.skip_loss > 0,
        "decides on_timeout by itself": step.on_timeout is not None,
        "is undone after a refusal too": step.compensation is not None and step.compensation.after_failure,
    }
    return next((words for words, present in parts.items() if present), "")
