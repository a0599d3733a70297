"""The two questions, answered: how would this run go, and which plan should it follow.

Saga in, forecast of its steps, one evaluator, answer out. The service and the command line ask the same
`Counsel`, so both give the same answer. It holds a forecaster and nothing that changes; a forecaster may keep
history that is not safe for several threads, so forecasts are made one at a time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from sagacity_api.answers import (
    FreedomValue,
    Model,
    Numbers,
    Prediction,
    Reason,
    Recommendation,
    RiskFactor,
    StepRisk,
)
from sagacity_engine import Launch, Plan, Saga, author_plan
from sagacity_engine.parts import SagaFreedom
from sagacity_engine.plan import require_legal
from sagacity_models.calibration import Calibration
from sagacity_models.forecast import SagaForecast, StepForecast

if TYPE_CHECKING:
    from sagacity_optimizer import Evaluation, Forecaster

LOGGER = logging.getLogger("sagacity_api.counsel")
ADVICE_TTL_S = 60.0


class Counsel:
    """Answers with one forecaster; answers hold for `ttl_s` seconds.

    When the forecaster fails, `standby` answers and the answer is marked as a fallback; without one the error
    goes through. `fallback` marks every answer. Raises `PlanRefused` for an illegal plan.
    """

    def __init__(
        self,
        forecaster: Forecaster,
        model: Model,
        *,
        standby: Forecaster | None = None,
        ttl_s: float = ADVICE_TTL_S,
        fallback: bool = False,
        calibrations: Mapping[str, Calibration] = MappingProxyType({}),
    ) -> None:
        self._forecaster = forecaster
        self._calibrations = calibrations
        self._model = model
        self._standby = standby
        self._ttl_s = ttl_s
        self._fallback = fallback
        self._one_at_a_time = threading.Lock()

    @property
    def model(self) -> Model:
        """Which model answers."""
        return self._model

    def predict(self, saga: Saga, launch: Launch, plan: Plan | None, request_id: str) -> Prediction:
        """How the run would go under `plan`, or under the author's."""
        from sagacity_optimizer import evaluate

        followed = author_plan(saga) if plan is None else require_legal(plan, saga)
        forecast, fallback = self._forecast(saga, launch)
        evaluation = evaluate(followed, saga, forecast)
        return Prediction(
            expected=self._calibrated(saga, _numbers(evaluation), fallback=fallback),
            steps=tuple(_step_risk(name, forecast.steps[name], evaluation) for name in followed.names),
            risk_factors=_risk_factors(evaluation, forecast),
            model=self._model,
            fallback=fallback,
            expires_at=launch.at + self._ttl_s,
            request_id=request_id,
        )

    def optimize(self, saga: Saga, launch: Launch, *, exact: bool, request_id: str) -> Recommendation:
        """The advised plan beside the author's; for a saga without freedom, what each freedom would earn."""
        from sagacity_optimizer import optimize
        from sagacity_optimizer.advisor import advice_id

        forecast, fallback = self._forecast(saga, launch)
        proposal = optimize(saga, forecast, exact=exact)
        return Recommendation(
            advice_id=advice_id(saga.definition_hash, launch.run_id, self._model.version),
            plan=proposal.plan,
            author=_numbers(proposal.author),
            advised=_numbers(proposal.advised),
            gap=proposal.gap,
            reasons=tuple(
                Reason(change=reason.change.value, step=reason.step, text=reason.text)
                for reason in proposal.reasons
            ),
            freedoms=_freedoms(saga, forecast),
            risk_factors=_risk_factors(proposal.advised, forecast),
            model=self._model,
            fallback=fallback,
            expires_at=launch.at + self._ttl_s,
            request_id=request_id,
        )

    def _calibrated(self, saga: Saga, numbers: Numbers, *, fallback: bool) -> Numbers:
        """P(the run completes) as runs of this saga type bore it out; plans are compared without this map."""
        known = None if fallback else self._calibrations.get(saga.name)
        if known is None:
            return numbers
        success = known(numbers.success_probability)
        rest = 1 - numbers.success_probability
        share = (1 - success) / rest if rest > 0 else 0.0
        return replace(
            numbers,
            success_probability=success if rest > 0 else 1.0,
            compensated_probability=numbers.compensated_probability * share,
            attention_probability=numbers.attention_probability * share,
        )

    def _forecast(self, saga: Saga, launch: Launch) -> tuple[SagaForecast, bool]:
        with self._one_at_a_time:
            try:
                return self._forecaster.forecast(saga, launch.context, launch.at), self._fallback
            except Exception as error:
                if self._standby is None:
                    raise
                LOGGER.warning("the model failed (%s); mean rates stand in", type(error).__name__)
                return self._standby.forecast(saga, launch.context, launch.at), True


def duration_quantile(step: StepForecast, level: float) -> float:
    """The time in seconds within which a share `level` of successful attempts ends, over all regimes."""
    laws = [
        (regime.weight * (1 - regime.failure_probability), regime.latency)
        for regime in step.regimes
        if regime.weight * (1 - regime.failure_probability) > 0
    ]
    if not laws:
        return step.regimes[0].latency.quantile(level)
    total = sum(weight for weight, _ in laws)
    low = min(latency.quantile(level) for _, latency in laws)
    high = max(latency.quantile(level) for _, latency in laws)
    for _ in range(60):  # halving: the quantile of a mixture lies between those of its parts
        if high - low <= 1e-9 * high:
            break
        middle = (low + high) / 2
        ended = sum(weight * (1 - latency.survival(middle)) for weight, latency in laws)
        low, high = (low, middle) if ended >= level * total else (middle, high)
    return high


def _risk_factors(evaluation: Evaluation, forecast: SagaForecast) -> tuple[RiskFactor, ...]:
    from sagacity_optimizer import risk_factors

    return tuple(
        RiskFactor(
            step=risk.step,
            loss=risk.loss,
            share=_share(risk.share),
            reason="; ".join(filter(None, (risk.text, forecast.notes.get(risk.step)))),
        )
        for risk in risk_factors(evaluation)
    )


def _numbers(evaluation: Evaluation) -> Numbers:
    from sagacity_optimizer.advisor import expected

    told = expected(evaluation)
    return Numbers(
        **{name: _share(value) if name.endswith("probability") else value for name, value in told.items()}
    )


def _step_risk(name: str, step: StepForecast, evaluation: Evaluation) -> StepRisk:
    return StepRisk(
        name=name,
        failure_probability=_share(evaluation.by_name[name].failure_probability),
        first_refusal_probability=_share(step.failure_probability),
        classes={key.value: _share(share) for key, share in sorted(step.class_shares.items())},
        duration_s_p50=duration_quantile(step, 0.5),
        duration_s_p90=duration_quantile(step, 0.9),
    )


def _share(value: float) -> float:
    """Sums of many products miss 0 and 1 by rounding."""
    return min(1.0, max(0.0, float(value)))


def _freedoms(saga: Saga, forecast: SagaForecast) -> tuple[FreedomValue, ...]:
    if saga.freedom != SagaFreedom():
        return ()
    from sagacity_optimizer.earnings import what_freedoms_would_earn

    return tuple(
        FreedomValue(freedom=earning.freedom, saved=earning.saved, share=earning.share, text=earning.text)
        for earning in what_freedoms_would_earn(saga, forecast)
    )
