"""The fits themselves: held to the libraries where those can do the same, and to what they must not do."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from sagacity_models.calibration import Identity, Isotonic, Platt
from sagacity_models.step_models import Recipe
from sagacity_training.fit_calibration import fit_calibration, fit_isotonic, fit_platt
from sagacity_training.fit_linear import fit_logistic
from sagacity_training.recipes import choose
from sagacity_training.scores import (
    auc,
    binary_scores,
    calibration_error,
    improvement,
    log_losses,
    pinball_losses,
)


@pytest.fixture
def draw() -> np.random.Generator:
    return np.random.default_rng(8)


def test_logistic_is_the_librarys(draw: np.random.Generator) -> None:
    """Newton's solution is scikit-learn's, and an offset shifts it exactly as a known score must."""
    rows = draw.normal(size=(500, 4))
    outcomes = (draw.random(500) < 1 / (1 + np.exp(1 - rows[:, 0]))).astype(float)
    theirs = LogisticRegression(C=1 / 30, tol=1e-10, max_iter=1_000).fit(rows, outcomes)
    ours = fit_logistic(rows, outcomes, np.zeros(500), 30.0)
    np.testing.assert_allclose(ours, [theirs.intercept_[0], *theirs.coef_[0]], atol=2e-5)
    shifted = fit_logistic(rows, outcomes, np.full(500, 2.0), 30.0)
    np.testing.assert_allclose(shifted, ours - [2, 0, 0, 0, 0], atol=1e-5)


def test_logistic_without_events_is_finite(draw: np.random.Generator) -> None:
    """A slice without any event gives a very low intercept and no slopes, not an error."""
    weights = fit_logistic(draw.normal(size=(50, 2)), np.zeros(50), np.zeros(50), 30.0)
    assert np.isfinite(weights).all()
    assert weights[0] < -4


def test_calibration_suits_the_events(draw: np.random.Generator) -> None:
    """Few events are left alone, some get Platt's two numbers, many get isotonic steps."""
    told = draw.random(5_000)
    happened = (draw.random(5_000) < told).astype(float)
    assert isinstance(fit_calibration(happened[:40], told[:40]), Identity)
    assert isinstance(fit_calibration(happened[:400], told[:400]), Platt)
    assert isinstance(fit_calibration(happened, told), Isotonic)


def test_calibration_mends_overconfidence(draw: np.random.Generator) -> None:
    """Logits that are twice too large are halved, by either map, to what really happens."""
    score = draw.normal(-1, 1, size=20_000)
    happened = (draw.random(20_000) < 1 / (1 + np.exp(-score))).astype(float)
    told = 1 / (1 + np.exp(-2 * score))
    platt = fit_platt(happened, told)
    assert isinstance(platt, Platt)
    assert platt.slope == pytest.approx(0.5, abs=0.03)
    for mend in (platt, fit_isotonic(happened, told)):
        mended = np.array([mend(each) for each in told])
        assert calibration_error(happened, mended) < 0.01 < calibration_error(happened, told)


def test_isotonic_is_exact(draw: np.random.Generator) -> None:
    """The knots give scikit-learn's map everywhere, not only where it was fitted."""
    told = draw.random(3_000)
    happened = (draw.random(3_000) < told).astype(float)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(told, happened)
    ours = fit_isotonic(happened, told)
    asked = draw.random(1_000)
    expected = np.clip(theirs.predict(asked), 1e-4, 1 - 1e-4)
    np.testing.assert_allclose([ours(each) for each in asked], expected, rtol=1e-9)


def test_a_map_that_would_turn_the_order_is_none(draw: np.random.Generator) -> None:
    """Forecasts that rank the wrong way round are not turned round: nothing is corrected."""
    told = draw.random(400)
    assert isinstance(fit_platt((draw.random(400) > told).astype(float), told), Identity)


def test_scores_have_their_known_values() -> None:
    """Log loss, Brier, AUC and pinball agree with values that were worked out by hand."""
    outcomes, told = np.array([1.0, 0.0, 0.0, 1.0]), np.array([0.8, 0.4, 0.1, 0.4])
    scores = binary_scores(outcomes, told)
    assert scores.log_loss == pytest.approx(-np.log([0.8, 0.6, 0.9, 0.4]).mean())
    assert scores.brier == pytest.approx((0.04 + 0.16 + 0.01 + 0.36) / 4)
    assert scores.auc == pytest.approx(3.5 / 4)
    assert auc(np.zeros(3), told[:3]) is None
    np.testing.assert_allclose(pinball_losses(np.array([2.0, 0.0]), np.array([1.0, 1.0]), 0.9), [0.9, 0.1])


def test_the_floor_cannot_be_beaten(draw: np.random.Generator) -> None:
    """The truth has the lowest log loss, near its entropy, and the mean rate a higher one."""
    truth = draw.beta(1, 9, size=50_000)
    happened = (draw.random(50_000) < truth).astype(float)
    entropy = float(-(truth * np.log(truth) + (1 - truth) * np.log1p(-truth)).mean())
    floor = log_losses(happened, truth).mean()
    assert floor == pytest.approx(entropy, abs=0.005)
    for other in (np.full_like(truth, happened.mean()), np.clip(truth * 1.5, 0, 1), truth**0.8):
        assert log_losses(happened, other).mean() > floor


def test_failures_that_come_together_count_once(draw: np.random.Generator) -> None:
    """Errors shared by neighbours in time give a larger standard error than the same errors scattered."""
    gains = np.repeat(draw.normal(size=60), 50)
    together = improvement(gains, np.zeros_like(gains))
    scattered = improvement(draw.permutation(gains), np.zeros_like(gains))
    assert together.mean == pytest.approx(scattered.mean)
    assert together.standard_error > 2 * scattered.standard_error


def test_chance_is_no_signal(draw: np.random.Generator) -> None:
    """Of many candidates that only differ from the base rates by noise, nearly none is chosen."""
    chosen = 0
    for _ in range(200):
        base = draw.exponential(size=600)
        noise = {recipe: base + draw.normal(0, 0.1, size=600) for recipe in (Recipe.LINEAR, Recipe.BOOSTED)}
        chosen += choose(base, noise).recipe is not Recipe.BASE
    assert chosen <= 20


def test_the_simpler_of_two_equals_is_chosen(draw: np.random.Generator) -> None:
    """Trees that gain no more than the linear model do not replace it; trees that gain clearly more do."""
    base = draw.exponential(size=3_000) + 1
    linear = base - 0.1
    alike = linear + draw.normal(0, 0.05, size=3_000)
    assert choose(base, {Recipe.LINEAR: linear, Recipe.BOOSTED: alike + 0.001}).recipe is Recipe.LINEAR
    assert choose(base, {Recipe.LINEAR: linear, Recipe.BOOSTED: alike - 0.05}).recipe is Recipe.BOOSTED


def test_too_little_to_judge_is_no_signal() -> None:
    """A slice of a few rows cannot prove a gain, however large it looks."""
    assert choose(np.full(20, 5.0), {Recipe.LINEAR: np.zeros(20)}).recipe is Recipe.BASE
