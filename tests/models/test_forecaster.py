"""What a bundle forecasts: the right direction, whatever is missing or new, and honest fallbacks."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from sagacity_engine import FailureClass, Saga, Step
from sagacity_models.base_rate_forecaster import BaseRateForecaster
from sagacity_models.bundle import Bundle, save_bundle
from sagacity_models.durations import DurationModel
from sagacity_models.forecast import SagaForecast
from sagacity_models.forecaster import BundleForecaster, FeatureSource
from sagacity_models.step_models import Cause, Recipe, RefusalModel

Context = Mapping[str, str | float | bool]


@pytest.fixture
def forecaster(bundle: Bundle, features: FeatureSource) -> BundleForecaster:
    return BundleForecaster(bundle, features)


def refusal(told: SagaForecast, step: str = "flight") -> float:
    return told.steps[step].failure_probability


def test_direction(forecaster: BundleForecaster, saga: Saga) -> None:
    """What raised refusals in the history raises the forecast, at every step and size."""
    told = [
        refusal(forecaster.forecast(saga, {"party": party, "season": "low"}, 0.0))
        for party in (1.0, 3.0, 6.0)
    ]
    assert told == sorted(told)
    assert told[2] > 3 * told[0]


def test_forecasts_are_probabilities(forecaster: BundleForecaster, saga: Saga) -> None:
    """Regime weights sum to 1 and reproduce a refusal probability strictly between 0 and 1."""
    for party in (-1e9, 0.0, 6.0, 1e9):
        told = forecaster.forecast(saga, {"party": party}, 0.0)
        for step in told.steps.values():
            assert sum(regime.weight for regime in step.regimes) == pytest.approx(1)
            assert 0 < step.failure_probability < 1
            assert sum(step.class_shares.values()) == pytest.approx(1)


def test_missing_and_strange_features(forecaster: BundleForecaster, saga: Saga) -> None:
    """A missing number, NaN, infinity and text are all missing; a new category and key pass."""
    nothing = forecaster.forecast(saga, {}, 0.0)
    assert 0 < refusal(nothing) < 1
    assert refusal(forecaster.forecast(saga, {"party": float("nan")}, 0.0)) == refusal(nothing)
    assert refusal(forecaster.forecast(saga, {"party": float("inf")}, 0.0)) == refusal(nothing)
    assert refusal(forecaster.forecast(saga, {"party": "six"}, 0.0)) == refusal(nothing)
    assert refusal(forecaster.forecast(saga, {"party": 2.0, "season": "monsoon", "new": 1.0}, 0.0)) > 0


def test_an_unknown_step_gets_pooled_rates(forecaster: BundleForecaster, bundle: Bundle) -> None:
    """A step nobody has seen is forecast from what is true of steps in general."""
    stranger = Saga(name="trip", steps=(Step(name="visa"),))
    told = forecaster.forecast(stranger, {"party": 1.0}, 0.0)
    more = forecaster.forecast(stranger, {"party": 6.0}, 0.0)
    assert refusal(told, "visa") < bundle.base.pooled.refusal < refusal(more, "visa")


def test_without_signal_it_is_the_base_rates(bundle: Bundle, features: FeatureSource, saga: Saga) -> None:
    """A bundle whose every recipe is the base forecasts exactly what the base-rate forecaster does."""
    plain = replace(
        bundle, service=RefusalModel(), request=RefusalModel(cause=Cause.REQUEST), durations=DurationModel()
    )
    ours = BundleForecaster(plain, features).forecast(saga, {"party": 6.0}, 0.0)
    theirs = BaseRateForecaster(bundle.base).forecast(saga, {"party": 6.0}, 0.0)
    assert ours.steps == theirs.steps


def test_notes_name_the_reason(bundle: Bundle, features: FeatureSource, saga: Saga) -> None:
    """Who asks for reasons is told each step's usual rate and what moves it which way; others are not."""
    explaining = BundleForecaster(bundle, features, explain=True)
    large = explaining.forecast(saga, {"party": 6.0}, 0.0)
    assert re.fullmatch(
        r"refused in \d+\.\d% of runs, \d+\.\d% now; "
        r"context\.party is 6, usually 3\.\d+: raises it by \d+\.\d points",
        large.notes["flight"],
    )
    assert "lowers it by" in explaining.forecast(saga, {"party": 1.0}, 0.0).notes["flight"]
    plain = BundleForecaster(bundle, features).forecast(saga, {"party": 6.0}, 0.0)
    assert (plain.steps, plain.notes) == (large.steps, {})


def test_durations_and_classes_follow_the_features(forecaster: BundleForecaster, saga: Saga) -> None:
    """Large parties take longer and fail for the last class in the planted history."""
    small, large = (
        forecaster.forecast(saga, {"party": party, "season": "low"}, 0.0).steps["flight"]
        for party in (1.0, 6.0)
    )
    assert large.regimes[0].latency.median_s > small.regimes[0].latency.median_s
    transient = FailureClass.TRANSIENT
    assert large.class_shares.get(transient, 0.0) <= small.class_shares.get(transient, 0.0)


@pytest.mark.slow
def test_serving_needs_few_libraries(bundle: Bundle, tmp_path: Path) -> None:
    """A bundle without trees loads and forecasts without LightGBM, scikit-learn or pandas."""
    plain = replace(
        bundle,
        service=RefusalModel(Recipe.LINEAR, bundle.service.linear, bundle.service.pooled),
        request=RefusalModel(cause=Cause.REQUEST),
        durations=DurationModel(),
    )
    save_bundle(plain, tmp_path / "bundle", created_at="x")
    script = (
        "import json, sys\n"
        "from sagacity_engine import Saga, Step\n"
        "from sagacity_models.bundle import load_bundle\n"
        "from sagacity_models.forecaster import BundleForecaster\n"
        "class Source:\n"
        "    def features(self, saga, context, at): return {name: {} for name in saga.names}\n"
        "saga = Saga(name='trip', steps=(Step(name='flight'),))\n"
        "BundleForecaster(load_bundle(sys.argv[1]), Source()).forecast(saga, {}, 0.0)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "bundle")], capture_output=True, text=True, check=True
    )
    assert set(json.loads(done.stdout)) & {"lightgbm", "sklearn", "pandas", "mlflow"} == set()
