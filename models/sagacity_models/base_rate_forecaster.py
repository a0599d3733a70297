"""The forecaster that knows no run from another: the mean rates of a saga's steps."""

from __future__ import annotations

from collections.abc import Mapping

from sagacity_engine.saga import Saga
from sagacity_models.base_rates import BaseRates
from sagacity_models.forecast import SagaForecast, StepForecast


class BaseRateForecaster:
    """Forecasts that are the same for every run of a saga: its steps' mean rates."""

    def __init__(self, rates: BaseRates, version: str = "base-rates") -> None:
        self._rates = rates
        self._version = version
        self._last: tuple[str, SagaForecast] | None = None  # The latest definition's, as callers ask in rows.

    def forecast(self, saga: Saga, context: Mapping[str, object], at: float) -> SagaForecast:
        """The mean rates of the saga's steps; neither `context` nor `at` (seconds since 1970) matters.

        Asked again for the same definition, it answers with the same object.
        """
        del context, at
        if self._last is None or self._last[0] != saga.definition_hash:
            self._last = saga.definition_hash, self._means(saga)
        return self._last[1]

    def _means(self, saga: Saga) -> SagaForecast:
        steps: dict[str, StepForecast] = {}
        for name in saga.names:
            rates = self._rates.of(saga.name, name, saga.by_name[name].service)
            steps[name] = StepForecast(regimes=rates.regimes(), undo=rates.undo)
        return SagaForecast(steps=steps, model_version=self._version)
