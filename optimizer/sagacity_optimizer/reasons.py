"""Why the advised plan differs from the author's, in words a person understands, each naming its numbers.

Reasons explain; they decide nothing. They are read off the two plans and the two evaluations, so they
cannot claim an effect that the yardstick did not find.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sagacity_engine.errors import FailureClass
from sagacity_engine.plan import Plan, StepPlan
from sagacity_engine.strategy import Strategy
from sagacity_models.forecast import StepForecast
from sagacity_optimizer.evaluation import Evaluation, StepEvaluation
from sagacity_optimizer.problem import Problem

MOVES_TOLD = 3
RISKS_TOLD = 3


class Change(StrEnum):
    """What a reason is about."""

    ORDER = "order"  # The step runs at another place.
    TIMEOUT = "timeout"  # Its start_to_close timeout differs.
    ATTEMPTS = "attempts"  # Its maximum_attempts differs.
    STRATEGY = "strategy"  # It handles a class of failure differently.
    NONE = "none"  # The author's plan is kept.


@dataclass(frozen=True, slots=True)
class Reason:
    """One difference and what speaks for it. `step` is empty when it is about the whole plan."""

    change: Change
    step: str
    text: str


@dataclass(frozen=True, slots=True)
class RiskFactor:
    """A step's part in what failures are expected to cost a run, in the owner's unit and as a share."""

    step: str
    loss: float
    share: float
    text: str


def reasons_for(problem: Problem, plan: Plan, author: Evaluation, advised: Evaluation) -> tuple[Reason, ...]:
    """Every difference between `plan` and the author's plan; one sentence when there is none."""
    own = problem.structure.author
    if plan == own:
        text = f"the author's plan is kept: nothing found in the freedoms beats {author.expected_cost:.2f}"
        return (Reason(Change.NONE, "", text),)
    reasons = list(_moves(plan, own, author, advised))
    for name in problem.saga.names:
        before, after = own.by_name[name], plan.by_name[name]
        forecast = problem.forecast.steps[name]
        reasons.extend(_timeout(before, after, problem))
        reasons.extend(_attempts(before, after, author.by_name[name], advised.by_name[name]))
        reasons.extend(_strategies(before, after, forecast))
    return tuple(reasons)


def risk_factors(evaluation: Evaluation) -> tuple[RiskFactor, ...]:
    """The steps whose final failures cost most, dearest first; at most three, empty when none can fail."""
    losses = [
        (step.start_probability * step.failure_probability * step.rollback_cost, step)
        for step in evaluation.steps
    ]
    total = sum(loss for loss, _ in losses)
    told = sorted((pair for pair in losses if pair[0] > 0), key=lambda pair: (-pair[0], pair[1].name))
    return tuple(
        RiskFactor(
            step.name,
            loss,
            loss / total,
            f"'{step.name}' fails for good in {_percent(step.failure_probability)} of the runs that reach "
            f"it, which then costs {step.rollback_cost:.2f}: {_percent(loss / total)} of all expected loss",
        )
        for loss, step in told[:RISKS_TOLD]
    )


def _moves(plan: Plan, own: Plan, author: Evaluation, advised: Evaluation) -> Iterator[Reason]:
    """The steps that moved furthest, and why."""
    shift = {name: plan.names.index(name) - own.names.index(name) for name in own.names}
    moved = sorted((n for n in own.names if shift[n]), key=lambda n: (-abs(shift[n]), own.names.index(n)))
    for name in moved[:MOVES_TOLD]:
        yield Reason(
            Change.ORDER, name, _move_text(name, shift[name], author.by_name[name], advised.by_name[name])
        )


def _move_text(name: str, shift: int, was: StepEvaluation, now: StepEvaluation) -> str:
    places = f"{abs(shift)} place{'s' if abs(shift) > 1 else ''}"
    fails = _percent(now.failure_probability)
    if shift < 0:
        return (
            f"'{name}' runs {places} earlier: it fails for good in {fails} of such runs; in the "
            f"author's place that costs {was.rollback_cost:.2f} in undos, time and penalty, "
            f"here {now.rollback_cost:.2f}"
        )
    return (
        f"'{name}' runs {places} later: it fails for good in only {fails} of such runs, so riskier steps go "
        f"first; it now starts in {_percent(now.start_probability)} of the runs instead of "
        f"{_percent(was.start_probability)}"
    )


def _timeout(before: StepPlan, after: StepPlan, problem: Problem) -> Iterator[Reason]:
    was, now = before.start_to_close_timeout_s, after.start_to_close_timeout_s
    if was != now:
        yield Reason(
            Change.TIMEOUT,
            after.name,
            f"'{after.name}' is given {now:g} s instead of {was:g} s: "
            f"{_percent(_late(problem, after.name, now))} of its calls are then given up as unknown, "
            f"{_percent(_late(problem, after.name, was))} with the author's timeout",
        )


def _attempts(
    before: StepPlan, after: StepPlan, was: StepEvaluation, now: StepEvaluation
) -> Iterator[Reason]:
    own, chosen = before.retry.maximum_attempts, after.retry.maximum_attempts
    if own != chosen:
        yield Reason(
            Change.ATTEMPTS,
            after.name,
            f"'{after.name}' gets {chosen} attempt{'s' if chosen > 1 else ''} instead of {own}: it then "
            f"fails for good in {_percent(now.failure_probability)} of the runs instead of "
            f"{_percent(was.failure_probability)}, with {now.attempts:.2f} attempts on average instead of "
            f"{was.attempts:.2f}",
        )


def _strategies(before: StepPlan, after: StepPlan, forecast: StepForecast) -> Iterator[Reason]:
    shares = forecast.class_shares
    by_strategy: dict[Strategy, list[FailureClass]] = {}
    for failure_class in FailureClass:
        strategy = after.on_failure.of(failure_class)
        if strategy is not before.on_failure.of(failure_class):
            by_strategy.setdefault(strategy, []).append(failure_class)
    for strategy, classes in by_strategy.items():
        named = " or ".join(f"{c.value} ({_percent(shares.get(c, 0.0))} of its refusals)" for c in classes)
        yield Reason(Change.STRATEGY, after.name, f"'{after.name}' {_STRATEGY_TEXT[strategy]} {named}")


_STRATEGY_TEXT = {
    Strategy.STANDARD_COMPENSATION: "retries, then undoes one step at a time, when its failure is",
    Strategy.RETRY_WITH_COMPENSATION: "retries, then undoes side by side to save time, when its failure is",
    Strategy.IMMEDIATE_FULL_COMPENSATION: "turns back at once, as retries rarely help, when its failure is",
}


def _late(problem: Problem, name: str, timeout_s: float) -> float:
    """P(an attempt takes longer than `timeout_s`)."""
    total = 0.0
    for regime in problem.forecast.steps[name].regimes:
        fails = regime.failure_probability
        late, _ = problem.cuts(regime.latency, timeout_s)
        late_refusal, _ = problem.cuts(regime.failure_latency, timeout_s)
        total += regime.weight * (max(0.0, 1 - fails) * late + fails * late_refusal)
    return total


def _percent(share: float) -> str:
    """A share in words: '22 %', '0.4 %'; never a false zero."""
    if 0 < share < 0.0005:
        return "under 0.1 %"
    return f"{share:.1%}".replace(".0%", "%").replace("%", " %")
