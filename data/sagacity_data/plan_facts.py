"""What a run's plan says of each step's attempts, worked out once per plan: it is the same for many runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sagacity_engine import Breaker, Direction, Plan, Saga
from sagacity_engine.saga import Step

PLANS_MAX: Final = 256
"""The most plans whose facts are kept."""


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """What is true of every attempt of a step in one direction under one plan. Times in seconds."""

    step: Step
    timeout_s: float
    maximum_attempts: int
    stage: int
    breaker: str
    is_call: bool  # Of a service; not a wait for an approval, nor a run of its own.


Facts = dict[tuple[str, Direction], AttemptFacts]


class PlanFacts:
    """The facts of the latest plans."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Plan, Facts]] = {}

    def of(self, saga: Saga, plan: Plan) -> Facts:
        """The facts of each step and direction; probes have none."""
        known = self._known.get(id(plan))
        if known is not None and known[0] is plan:
            return known[1]
        facts = plan_facts(saga, plan)
        if len(self._known) >= PLANS_MAX:
            self._known.clear()
        self._known[id(plan)] = (plan, facts)
        return facts


def plan_facts(saga: Saga, plan: Plan) -> Facts:
    """The facts of one plan for its saga."""
    stages = {name: number for number, names in enumerate(plan.stages()) for name in names}
    facts: Facts = {}
    for step in saga.steps:
        planned, stage = plan.by_name[step.name], stages[step.name]
        is_call = step.approval is None and step.sub_saga is None
        facts[step.name, Direction.FORWARD] = AttemptFacts(
            step=step,
            timeout_s=planned.start_to_close_timeout_s,
            maximum_attempts=planned.retry.maximum_attempts,
            stage=stage,
            breaker=breaker_words(planned.breaker),
            is_call=is_call,
        )
        if step.compensation is not None:
            facts[step.name, Direction.UNDO] = AttemptFacts(
                step=step,
                timeout_s=step.compensation.start_to_close_timeout_s,
                maximum_attempts=step.compensation.retry.maximum_attempts,
                stage=stage,
                breaker="",  # No breaker holds up an undo.
                is_call=is_call,
            )
    return facts


def breaker_words(breaker: Breaker | None) -> str:
    """A plan's breaker as the dataset has it.

    >>> breaker_words(Breaker(failure_threshold=3, open_s=2.5))
    'opens after 3 failures for 2.5 s, 1 probe at a time'
    """
    if breaker is None:
        return ""
    failures = f"{breaker.failure_threshold} failure{'s' * (breaker.failure_threshold != 1)}"
    probes = f"{breaker.probes} probe{'s' * (breaker.probes != 1)}"
    return f"opens after {failures} for {breaker.open_s:g} s, {probes} at a time"
