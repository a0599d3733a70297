"""Forecasts of one run from a bundle and the features of this moment: the request path.

No data frame, no learning library but LightGBM's own predict (one call per model for all steps together), no
clock. Notes say in words what moves a step's refusal most; they read the linear model even where trees make
the forecast, because its contributions are additive and cost nothing.
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
from sagacity_models.step_models import StepRows, composed

STEP_FEATURE: Final = "step"
"""The feature that this package adds: which step it is, by its key."""
_NOTE_MIN: Final = 0.2
"""Contributions under a fifth of a nat are not worth a sentence."""


class FeatureSource(Protocol):
    """Where the features of a launch come from: `sagacity_data.features.LaunchFeatures`."""

    def features(
        self, saga: Saga, context: Mapping[str, str | float | bool], at: float
    ) -> Mapping[str, Features]:
        """For each step of `saga`, its features as of a launch at `at`."""
        ...


class BundleForecaster:
    """Forecasts from one bundle; `features` is asked at each forecast, so that it may learn meanwhile."""

    def __init__(self, bundle: Bundle, features: FeatureSource) -> None:
        self._bundle = bundle
        self._features = features

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
        notes: dict[str, str] = {}
        for place, name in enumerate(saga.names):
            rates = rows.rates[place]
            refusal, hopeless = composed(service[place], request[place])
            regimes = rates.regimes(refusal, {FailureClass.PERMANENT: hopeless}, *latencies[place])
            steps[name] = StepForecast(regimes=regimes, undo=rates.undo)
            notes[name] = self._note(rows, place, (service[place], request[place]), told[name])
        return SagaForecast(steps=steps, model_version=bundle.version, notes=notes)

    def rows(self, saga: Saga, told: Mapping[str, Features]) -> StepRows:
        """The steps of `saga`, encoded for the models, in the author's order."""
        base, encoding = self._bundle.base, self._bundle.encoding
        keys: list[str] = []
        rates: list[StepRates] = []
        designs: list[list[float]] = []
        trees: list[list[float]] = []
        for name in saga.names:
            key = step_key(saga.name, name)
            features = {**told[name], STEP_FEATURE: key}
            keys.append(key)
            rates.append(base.of_key(key, saga.by_name[name].service))
            tree = encoding.tree_row(features)
            trees.append(tree)
            designs.append(encoding.design_row(tree))
        return StepRows(keys, rates, designs, trees)

    def _note(self, rows: StepRows, place: int, now: tuple[float, float], features: Features) -> str:
        """The strongest reason for a refusal rate unlike the step's mean; else what the mean is."""
        rates = rows.rates[place]
        mean = f"refused in {rates.refusal:.1%} of runs"
        models = (self._bundle.service, self._bundle.request)
        moves = [chance - model.cause.base_of(rates) for chance, model in zip(now, models, strict=True)]
        most = max((0, 1), key=lambda number: abs(moves[number]))
        linear = models[most].linear_of(rows.keys[place])
        if linear is None:
            return f"{mean}; nothing in this run's features changes that"
        parts = linear.contributions(rows.designs[place])
        column = (max if moves[most] > 0 else min)(range(len(parts)), key=parts.__getitem__)
        if abs(parts[column]) < _NOTE_MIN:
            return f"{mean}, {composed(*now)[0]:.1%} now; no single reason stands out"
        name = self._bundle.encoding.design_names[column]
        direction = "raises" if parts[column] > 0 else "lowers"
        value = features.get(name)
        cause = f"{name} = {value:.3g}" if isinstance(value, (int, float)) else name
        return f"{mean}, {composed(*now)[0]:.1%} now; {cause} {direction} it most"
