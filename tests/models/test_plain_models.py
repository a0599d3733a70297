"""Models and maps served as plain numbers say what the libraries they came from say."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from sagacity_models.boosted import BoostedModel
from sagacity_models.bundle import Bundle
from sagacity_models.calibration import Identity, Isotonic, Platt, read_calibration
from sagacity_models.linear import PROBABILITY_MIN, LinearModel, logistic, logit


@pytest.fixture
def sample() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(4)
    rows = draw.normal(size=(600, 3))
    return rows, (draw.random(600) < 1 / (1 + np.exp(-rows[:, 0] + 0.5))).astype(int)


def test_binary_scores_are_the_librarys(sample: tuple[np.ndarray, np.ndarray]) -> None:
    """A dot product and a logistic function give scikit-learn's probabilities."""
    rows, outcomes = sample
    theirs = LogisticRegression(C=0.5).fit(rows, outcomes)
    ours = LinearModel((float(theirs.intercept_[0]),), (tuple(theirs.coef_[0]),))
    told = [logistic(ours.scores(list(row))[0]) for row in rows]
    np.testing.assert_allclose(told, theirs.predict_proba(rows)[:, 1], rtol=1e-10)


def test_isotonic_is_the_librarys(sample: tuple[np.ndarray, np.ndarray]) -> None:
    """Knots and straight lines give scikit-learn's isotonic map, inside the knots, on them and outside."""
    rows, outcomes = sample
    forecasts = 1 / (1 + np.exp(-rows[:, 0]))
    theirs = IsotonicRegression(out_of_bounds="clip").fit(forecasts, outcomes)
    ours = Isotonic(tuple(theirs.X_thresholds_), tuple(theirs.y_thresholds_))
    asked = np.concatenate([np.linspace(0, 1, 501), theirs.X_thresholds_])
    expected = np.clip(theirs.predict(asked), PROBABILITY_MIN, 1 - PROBABILITY_MIN)
    np.testing.assert_allclose([ours(each) for each in asked], expected, rtol=1e-9)


@pytest.mark.parametrize(
    "kind",
    [Identity(), Platt(1.7, -0.4), Isotonic((0.1, 0.4, 0.8), (0.0, 0.3, 0.35)), Isotonic((0.5,), (0.2,))],
)
def test_many_are_mapped_as_one_is(kind: Identity | Platt | Isotonic) -> None:
    """An array of any form is mapped to the numbers that its values alone are mapped to."""
    grid = np.linspace(0, 1, 60).reshape(3, 20)
    expected = [[kind(float(value)) for value in row] for row in grid]
    np.testing.assert_allclose(kind.many(grid), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", [Identity(), Platt(0.8, -0.2), Isotonic((0.1, 0.4, 0.9), (0.05, 0.3, 0.8))])
def test_maps_are_monotone_and_survive_json(kind: Identity | Platt | Isotonic) -> None:
    """Every map keeps the order of forecasts, stays inside (0, 1), and comes back equal from JSON."""
    told = [kind(step / 200) for step in range(201)]
    assert told == sorted(told)
    assert 0 < told[0] <= told[-1] < 1
    assert read_calibration(kind.as_json()) == kind


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [((), ()), ((0.1, 0.1), (0.2, 0.3)), ((0.1, 0.2), (0.3, 0.2)), ((0.1,), (0.1, 0.2))],
)
def test_maps_that_are_no_maps_are_refused(inputs: tuple[float, ...], outputs: tuple[float, ...]) -> None:
    """Knots that repeat, fall or do not pair up are refused."""
    with pytest.raises(ValueError, match="isotonic"):
        Isotonic(inputs, outputs)


def test_logit_and_logistic_are_inverse() -> None:
    """There and back again, also far out, without overflow."""
    for probability in (PROBABILITY_MIN, 0.01, 0.5, 0.999):
        assert logistic(logit(probability)) == pytest.approx(probability)
    assert (logistic(1e9), logistic(-1e9)) == (1.0, 0.0)


def test_trees_do_not_care_what_comes_along(bundle: Bundle) -> None:
    """A row's score is the same alone and among others: one call for all steps is safe."""
    model = bundle.service.boosted
    assert model is not None
    rows = [[1.0, 0.0, 1.0], [6.0, 1.0, 0.0], [float("nan"), 2.0, float("nan")]]
    assert model.scores(rows) == [model.scores([row])[0] for row in rows]
    assert BoostedModel(model.text).scores(rows) == model.scores(rows)
