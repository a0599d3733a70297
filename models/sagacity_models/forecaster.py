"""Forecasts of one run from a bundle and the features of this moment: the request path.

No data frame, no learning library but LightGBM's own predict (one call per model for all steps together), no
clock. Only who asks for reasons pays for them (`influences`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from sagacity_engine.errors import FailureClass
from sagacity_engine.saga import Saga
from sagacity_models.base_rates import StepRates, step_key
from sagacity_models.bundle import Bundle
from sagacity_models.encoding import Features
from sagacity_models.forecast import SagaForecast, StepForecast
from sagacity_models.influences import Influence, Influences
from sagacity_models.step_models import KnownSteps, StepRows, composed

STEP_FEATURE: Final = "step"
"""The feature that this package adds: which step it is, by its key."""
SAGAS_KEPT: Final = 256
"""Definitions whose base rates are kept at hand."""


class FeatureSource(Protocol):
    """Where the features of a launch come from: `sagacity_data.features.LaunchFeatures`."""

    def features(
        self, saga: Saga, context: Mapping[str, str | float | bool], at: float
    ) -> Mapping[str, Features]:
        """For each step of `saga`, its features as of a launch at `at`."""
        ...


class BundleForecaster:
    """Forecasts from one bundle; `features` is asked at each forecast, so that it may learn meanwhile.

    With `explain` each forecast says in its `notes`, step by step, what moves it.
    """

    def __init__(self, bundle: Bundle, features: FeatureSource, *, explain: bool = False) -> None:
        self._bundle = bundle
        self._features = features
        self._known: dict[str, KnownSteps] = {}
        self._influences = Influences(bundle.service, bundle.request, bundle.encoding) if explain else None

    def forecast(self, saga: Saga, context: Mapping[str, str | float | bool], at: float) -> SagaForecast:
        """What is expected of each step of a run of `saga` launched at `at` (seconds since the epoch).

        Raises what the source of features raises, which for `LaunchFeatures` is `HistoryAhead`.
        """
        bundle = self._bundle
        told = self._features.features(saga, context, at)
        rows = self.rows(saga, told)
        service, request = bundle.service.probabilities(rows), bundle.request.probabilities(rows)
        latencies = bundle.durations.pairs(rows)
        steps: dict[str, StepForecast] = {}
        for place, name in enumerate(saga.names):
            rates = rows.rates[place]
            refusal, hopeless = composed(service[place], request[place])
            regimes = rates.regimes(refusal, {FailureClass.PERMANENT: hopeless}, *latencies[place])
            steps[name] = StepForecast(regimes=regimes, undo=rates.undo)
        notes = self._notes(saga, rows, told, steps) if self._influences is not None else {}
        return SagaForecast(steps=steps, model_version=bundle.version, notes=notes)

    def influences(
        self, saga: Saga, context: Mapping[str, str | float | bool], at: float
    ) -> dict[str, tuple[Influence, ...]]:
        """For each step what moves its forecast most, the strongest first; raises what `forecast` does."""
        told = self._features.features(saga, context, at)
        return self._found(saga, self.rows(saga, told), told)

    def rows(self, saga: Saga, told: Mapping[str, Features]) -> StepRows:
        """The steps of `saga`, encoded for the models, in the author's order."""
        steps = self._known_steps(saga)
        named = [{**told[name], STEP_FEATURE: key} for name, key in zip(saga.names, steps.keys, strict=True)]
        return StepRows.of(steps, self._bundle.encoding, named)

    def _known_steps(self, saga: Saga) -> KnownSteps:
        """What the bundle knows of the saga's steps, kept for the definitions that were asked about last."""
        known = self._known.pop(saga.definition_hash, None)
        if known is None:
            keys = [step_key(saga.name, name) for name in saga.names]
            pairs = zip(keys, saga.steps, strict=True)
            known = KnownSteps(keys, [self._bundle.base.of_key(key, step.service) for key, step in pairs])
        self._known[saga.definition_hash] = known
        if len(self._known) > SAGAS_KEPT:
            del self._known[next(iter(self._known))]
        return known

    def _found(
        self, saga: Saga, rows: StepRows, told: Mapping[str, Features]
    ) -> dict[str, tuple[Influence, ...]]:
        if self._influences is None:
            self._influences = Influences(self._bundle.service, self._bundle.request, self._bundle.encoding)
        features, services = [told[name] for name in saga.names], [step.service for step in saga.steps]
        return dict(zip(saga.names, self._influences.of(rows, features, services), strict=True))

    def _notes(
        self, saga: Saga, rows: StepRows, told: Mapping[str, Features], steps: Mapping[str, StepForecast]
    ) -> dict[str, str]:
        found = self._found(saga, rows, told)
        return {
            name: _note(rates, steps[name].failure_probability, found[name])
            for name, rates in zip(saga.names, rows.rates, strict=True)
        }


def _note(rates: StepRates, now: float, influences: tuple[Influence, ...]) -> str:
    mean = f"refused in {rates.refusal:.1%} of runs"
    if not influences:
        return f"{mean}; nothing in this run's features changes that"
    return f"{mean}, {now:.1%} now; {'; '.join(each.text for each in influences)}"
