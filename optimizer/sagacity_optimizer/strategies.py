"""What a step does per class of failure: retry or turn back at once, undo one at a time or side by side.

By expected cost a class has two questions. Retry it at all? That is part of a step's options, because it
changes how often the step fails; `choices.strategy_choices` lists the combinations. Undo side by side? The
money is the same and the time never longer, so RETRY_WITH_COMPENSATION is at least as good as
STANDARD_COMPENSATION wherever time costs anything; the forecast knows no harm that parallel undos could do
to an overloaded service. Where neither gains anything, the author's STANDARD_COMPENSATION stays.
"""

from __future__ import annotations

from sagacity_engine.errors import FailureClass
from sagacity_engine.strategy import OnFailure, Strategy
from sagacity_optimizer.options import Choice, Effects
from sagacity_optimizer.problem import Problem

GAIN = 1e-9


def on_failure(problem: Problem, i: int, choice: Choice, *, together: bool) -> OnFailure:
    """The strategies of step i; classes that its forecast never shows keep the author's."""
    chosen = {
        failure_class.value: _strategy(retries, together=together)
        for failure_class, retries in zip(FailureClass, choice.retries, strict=True)
        if _can_show(problem, i, failure_class)
    }
    return OnFailure(**chosen)


def gains_by_joining(problem: Problem, i: int, effect: Effects) -> bool:
    """Whether side-by-side undos save time when step i fails, with or without an undo of its own."""
    own = problem.per_s * problem.undos[i].seconds
    saved = max(effect.one_by_one - effect.side_by_side, effect.one_by_one + own - effect.side_by_side_own)
    return saved > GAIN * (1 + effect.one_by_one)


def _strategy(retries: bool, *, together: bool) -> Strategy:
    if not retries:
        return Strategy.IMMEDIATE_FULL_COMPENSATION
    return Strategy.RETRY_WITH_COMPENSATION if together else Strategy.STANDARD_COMPENSATION


def _can_show(problem: Problem, i: int, failure_class: FailureClass) -> bool:
    """Whether the step can meet the class; timeouts make UNKNOWN possible for every step."""
    forecast = problem.forecast.steps[problem.saga.names[i]]
    return failure_class is FailureClass.UNKNOWN or any(
        regime.weight > 0 and regime.failures.get(failure_class, 0.0) > 0 for regime in forecast.regimes
    )
