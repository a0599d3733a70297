"""What each freedom would earn: for owners who granted none and wonder whether they should.

Each freedom is granted alone, on a copy of the definition, and the best plan under it is compared with the
author's by the one yardstick. Where the owner set no bounds, a stated range is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sagacity_engine.parts import SagaFreedom, StepFreedom
from sagacity_engine.saga import Saga, Step
from sagacity_models.forecast import SagaForecast
from sagacity_optimizer.propose import optimize

TIMEOUT_FACTORS = (0.5, 2.0)
ATTEMPTS_MORE = 2
FREEDOMS = ("reorder", "timeouts", "retries", "compensation")


@dataclass(frozen=True, slots=True)
class Earning:
    """What one freedom, granted alone, would save per run in the owner's unit, and as a share of the cost."""

    freedom: str
    saved: float
    share: float
    text: str


def what_freedoms_would_earn(saga: Saga, forecast: SagaForecast) -> tuple[Earning, ...]:
    """The freedoms the saga does not grant yet, best first; `parallel` and `breakers` are not searched."""
    missing = [freedom for freedom in FREEDOMS if not getattr(saga.freedom, freedom)]
    earnings = [_earning(saga, forecast, freedom) for freedom in missing]
    return tuple(sorted(earnings, key=lambda earning: (-earning.saved, earning.freedom)))


def _alone(freedom: str) -> SagaFreedom:
    return SagaFreedom(
        reorder=freedom == "reorder",
        timeouts=freedom == "timeouts",
        retries=freedom == "retries",
        compensation=freedom == "compensation",
    )


def _earning(saga: Saga, forecast: SagaForecast, freedom: str) -> Earning:
    granted = replace(
        saga,
        steps=tuple(_with_bounds(step, freedom) for step in saga.steps),
        freedom=_alone(freedom),
    )
    proposal = optimize(granted, forecast)
    cost = proposal.author.expected_cost
    saved = cost - proposal.advised.expected_cost
    share = saved / cost if cost > 0 else 0.0
    return Earning(freedom, saved, share, _text(saga, freedom, saved, share))


def _text(saga: Saga, freedom: str, saved: float, share: float) -> str:
    if saved <= 0:
        return f"freedom '{freedom}' would earn nothing: the author's choice is already the cheapest found"
    assumed = ""
    if freedom == "timeouts" and any(step.freedom.start_to_close_timeout_s is None for step in saga.steps):
        assumed = ", assuming timeouts between half and twice the author's where no bounds are set"
    elif freedom == "retries" and any(step.freedom.maximum_attempts is None for step in saga.steps):
        assumed = (
            f", assuming from 1 to {ATTEMPTS_MORE} more attempts than the author's where no bounds are set"
        )
    return f"freedom '{freedom}' alone would save {saved:.2f} per run ({share:.1%} of its cost){assumed}"


def _with_bounds(step: Step, freedom: str) -> Step:
    bounds = step.freedom
    if freedom == "timeouts" and bounds.start_to_close_timeout_s is None:
        low, high = (factor * step.start_to_close_timeout_s for factor in TIMEOUT_FACTORS)
        return replace(step, freedom=StepFreedom(start_to_close_timeout_s=(low, high)))
    if freedom == "retries" and bounds.maximum_attempts is None:
        most = step.retry.maximum_attempts + ATTEMPTS_MORE
        return replace(step, freedom=StepFreedom(maximum_attempts=(1, most)))
    return step
