"""What `evaluate` says about a plan. Money in the owner's unit, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEvaluation:
    """One step's part in the run.

    `cost` is what the step adds to the expected cost: its attempts, their time, and, when it is this step
    that fails for good, the undos, their time and the penalty that follow. They sum to the whole.
    """

    name: str
    start_probability: float
    failure_probability: float  # P(it finally fails | it starts)
    cost: float
    seconds: float  # E[start to settled | it starts]
    attempts: float  # E[attempts | it starts]
    rollback_cost: float  # E[undos, their time and the penalty | this step ends the run]; 0 if it never does


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Expectations of one plan under one forecast; the three probabilities sum to 1."""

    expected_cost: float
    success_probability: float  # the run COMPLETES
    compensated_probability: float  # every effect was undone
    attention_probability: float  # a person must look
    latency_s_mean: float  # launch to terminal, over all runs
    wasted_cost: float  # attempts that failed or were undone, plus undos
    undo_cost: float  # money of compensation attempts
    worst_case_s: (
        float  # no forward run takes longer: every attempt at its timeout, every wait at its ceiling
    )
    deadline_probability: float  # the saga's deadline turns the run back
    error: float  # standard error of expected_cost; 0 where no sampling is involved
    steps: tuple[StepEvaluation, ...]  # in the plan's listing order

    @cached_property
    def by_name(self) -> dict[str, StepEvaluation]:
        """The step evaluations by name."""
        return {step.name: step for step in self.steps}
