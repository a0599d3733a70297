"""A small bundle with every kind of model in it, trained on planted noise-free laws, and its features."""

import random
from collections.abc import Mapping

import lightgbm
import numpy as np
import pytest

from sagacity_engine import FailureClass, Saga, Step
from sagacity_models.base_rates import BaseRates, StepEvidence
from sagacity_models.boosted import BoostedModel
from sagacity_models.bundle import Bundle, stamped
from sagacity_models.calibration import Platt
from sagacity_models.censored import Durations
from sagacity_models.durations import DurationModel
from sagacity_models.encoding import FeatureEncoding, Features, columns_of
from sagacity_models.linear import LinearModel
from sagacity_models.step_models import Cause, Recipe, RefusalModel


class FixedFeatures:
    """The context, as features of every step."""

    def features(
        self, saga: Saga, context: Mapping[str, str | float | bool], at: float
    ) -> Mapping[str, Features]:
        return {name: {f"context.{key}": value for key, value in context.items()} for name in saga.names}


def boosted(rows: np.ndarray, targets: np.ndarray, **objective: object) -> BoostedModel:
    parameters = {"verbosity": -1, "num_leaves": 4, "min_data_in_leaf": 5, "num_threads": 1, **objective}
    data = lightgbm.Dataset(rows, targets, params=parameters)
    return BoostedModel(lightgbm.train(parameters, data, num_boost_round=8).model_to_string())


@pytest.fixture(scope="session")
def features() -> FixedFeatures:
    return FixedFeatures()


@pytest.fixture(scope="session")
def saga() -> Saga:
    return Saga(name="trip", steps=(Step(name="flight"), Step(name="hotel")))


@pytest.fixture(scope="session")
def rows() -> list[Features]:
    draw = random.Random(5)
    return [
        {
            "context.party": float(draw.randint(1, 6)),
            "context.season": draw.choice(["high", "low"]),
            "step": draw.choice(["trip/flight", "trip/hotel"]),
        }
        for _ in range(400)
    ]


@pytest.fixture(scope="session")
def base() -> BaseRates:
    flight = StepEvidence(first_attempts=900, first_refusals=90, durations=Durations.of([1.0, 2.0, 1.5] * 50))
    flight.classes.update({FailureClass.TRANSIENT: 60, FailureClass.PERMANENT: 25, FailureClass.CASCADING: 5})
    hotel = StepEvidence(first_attempts=900, first_refusals=45, durations=Durations.of([0.5, 0.7, 0.6] * 50))
    hotel.classes.update({FailureClass.TRANSIENT: 10, FailureClass.PERMANENT: 35})
    return BaseRates.estimate({"trip/flight": flight, "trip/hotel": hotel})


@pytest.fixture(scope="session")
def bundle(rows: list[Features], base: BaseRates) -> Bundle:
    encoding = FeatureEncoding.learn(columns_of(rows))
    trees = encoding.tree_rows(columns_of(rows), len(rows))
    party = trees[:, encoding.names.index("context.party")]
    slopes = tuple(0.9 if name == "context.party" else 0.0 for name in encoding.design_names)
    linear = LinearModel((0.0,), (slopes,))
    return stamped(
        Bundle(
            base=base,
            encoding=encoding,
            service=RefusalModel(
                Recipe.MEAN,
                {"trip/flight": linear, "trip/hotel": linear},
                linear,
                boosted(trees, (party > 3).astype(float), objective="binary"),
                Platt(1.0, 0.1),
            ),
            request=RefusalModel(
                Recipe.BOOSTED,
                boosted=boosted(trees, (party > 4).astype(float), objective="binary"),
                cause=Cause.REQUEST,
            ),
            durations=DurationModel(
                Recipe.BOOSTED,
                boosted(trees, party / 10, objective="quantile", alpha=0.5),
                boosted(trees, party / 8, objective="quantile", alpha=0.9),
            ),
            facts={"seed": 5},
        )
    )
