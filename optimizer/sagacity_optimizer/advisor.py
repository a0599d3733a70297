"""The in-process advisor: forecast, optimise, and say so as the engine's `Advice`.

It knows nothing of how forecasts are made: a `Forecaster` is handed in, and so is the clock if advice is to
expire. `plan_for` is the synchronous core, used as it is in virtual time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

from sagacity_engine.advisor import Advice, Context, Launch, author_advice
from sagacity_engine.saga import Saga
from sagacity_models.forecast import SagaForecast
from sagacity_optimizer.evaluation import Evaluation
from sagacity_optimizer.priced import unpriced
from sagacity_optimizer.propose import Proposal, optimize


class Forecaster(Protocol):
    """Anything that can forecast the steps of one run. `at` is in seconds since the epoch."""

    def forecast(self, saga: Saga, context: Context, at: float) -> SagaForecast:
        """What is expected of every step of `saga` in a run launched at `at` with this context."""
        ...


def advice_id(definition_hash: str, run_id: str, model_version: str) -> str:
    """An identifier that the same question always gets again: 32 hexadecimal digits."""
    text = f"advice\x00{definition_hash}\x00{run_id}\x00{model_version}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class ModelAdvisor:
    """Implements `sagacity_engine.advisor.Advisor` with forecasts and the optimizer.

    `clock` (seconds since the epoch) and `valid_for_s` set when advice expires; without them it does not.
    `ids` makes the advice id from (definition hash, run id, model version).
    """

    def __init__(
        self,
        forecaster: Forecaster,
        *,
        clock: Callable[[], float] | None = None,
        ids: Callable[[str, str, str], str] = advice_id,
        valid_for_s: float | None = None,
        exact: bool = False,
    ) -> None:
        self._forecaster = forecaster
        self._clock = clock
        self._ids = ids
        self._valid_for_s = valid_for_s
        self._exact = exact
        self._last: tuple[str, SagaForecast, Proposal] | None = None

    async def advise(self, saga: Saga, launch: Launch) -> Advice:
        """`plan_for`; it computes for a few milliseconds and awaits nothing."""
        return self.plan_for(saga, launch)

    def plan_for(self, saga: Saga, launch: Launch) -> Advice:
        """The advised plan for this run with both plans' expected numbers and the reasons in words."""
        if part := unpriced(saga):
            return author_advice(saga, part)
        forecast = self._forecaster.forecast(saga, launch.context, launch.at)
        return self._advice(saga, launch, forecast.model_version, self._proposal(saga, forecast))

    def _proposal(self, saga: Saga, forecast: SagaForecast) -> Proposal:
        """The best plan; a forecaster that answers with the same object twice gets the same one."""
        last = self._last
        if last is None or last[0] != saga.definition_hash or last[1] is not forecast:
            last = saga.definition_hash, forecast, optimize(saga, forecast, exact=self._exact)
            self._last = last
        return last[2]

    def _advice(self, saga: Saga, launch: Launch, model_version: str, proposal: Proposal) -> Advice:
        asked_at = launch.at if self._clock is None else self._clock()
        return Advice(
            plan=proposal.plan,
            advice_id=self._ids(saga.definition_hash, launch.run_id, model_version),
            model_version=model_version,
            reasons=tuple(reason.text for reason in proposal.reasons),
            expires_at=None if self._valid_for_s is None else asked_at + self._valid_for_s,
            expected={"author": expected(proposal.author), "advised": expected(proposal.advised)},
        )


def expected(evaluation: Evaluation) -> dict[str, float]:
    """The numbers of an evaluation that advice reports; money in the owner's unit, times in seconds."""
    return {
        "cost": evaluation.expected_cost,
        "success_probability": evaluation.success_probability,
        "compensated_probability": evaluation.compensated_probability,
        "attention_probability": evaluation.attention_probability,
        "latency_s_mean": evaluation.latency_s_mean,
        "wasted_cost": evaluation.wasted_cost,
        "undo_cost": evaluation.undo_cost,
        "worst_case_s": evaluation.worst_case_s,
    }
