"""Forecasts of one run from a bundle and the features of this moment: the request path.

No data frame, no learning library but LightGBM's own predict (one call per model for all steps together), no
clock. Notes say in words what moves a step's refusal most; they read the linear model even where trees make
the forecast, because its contributions are additive and cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from sagacity_engine.saga import Saga
from sagacity_models.base_rates import StepRates, step_key
from sagacity_models.bundle import Bundle
from sagacity_models.encoding import Features
from sagacity_models.forecast import SagaForecast, StepForecast
from sagacity_models.step_models import StepRows

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
        refusals = bundle.refusal.probabilities(rows)
        shares = bundle.classes.shares(rows)
        latencies = bundle.durations.latencies(rows)
        steps: dict[str, StepForecast] = {}
        notes: dict[str, str] = {}
        for place, name in enumerate(saga.names):
            rates = rows.rates[place]
            regimes = rates.regimes(refusals[place], shares[place], latencies[place])
            steps[name] = StepForecast(regimes=regimes, undo=rates.undo)
            notes[name] = self._note(rows, place, refusals[place], told[name])
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
            rates.append(base.steps.get(key, base.pooled))
            tree = encoding.tree_row(features)
            trees.append(tree)
            designs.append(encoding.design_row(tree))
        return StepRows(keys, rates, designs, trees)

    def _note(self, rows: StepRows, place: int, refusal: float, features: Features) -> str:
        """The strongest reason for a rate that differs from the step's mean; else what the mean is."""
        rates = rows.rates[place]
        model = self._bundle.refusal.linear_of(rows.keys[place])
        mean = f"refused in {rates.refusal:.1%} of runs"
        if model is None:
            return f"{mean}; nothing in this run's features changes that"
        parts = model.contributions(rows.designs[place])
        column = max(range(len(parts)), key=parts.__getitem__)
        if refusal < rates.refusal:
            column = min(range(len(parts)), key=parts.__getitem__)
        if abs(parts[column]) < _NOTE_MIN:
            return f"{mean}, {refusal:.1%} now; no single reason stands out"
        name = self._bundle.encoding.design_names[column]
        direction = "raises" if parts[column] > 0 else "lowers"
        value = features.get(name)
        cause = f"{name} = {value:.3g}" if isinstance(value, (int, float)) else name
        return f"{mean}, {refusal:.1%} now; {cause} {direction} it most"
