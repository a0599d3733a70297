"""Figures of held-out forecasts: worked out by hand, or known by how the data were made."""

import math

import numpy as np
import pytest

from sagacity_training.judging.blocks import Blocks, hall_quantile, student_quantile
from sagacity_training.judging.classes import class_figures
from sagacity_training.judging.coverage import coverages
from sagacity_training.judging.figures import auc_interval, figures_of
from sagacity_training.judging.judged import Judged
from sagacity_training.judging.learning_curve import learning_curve
from sagacity_training.judging.policy import GatePolicy
from sagacity_training.judging.reliability import (
    brier_parts,
    calibration_error,
    calibration_interval,
    reliability_points,
)
from sagacity_training.judging.slices import slices_of

POLICY = GatePolicy()


def judged(outcomes: list[float], forecasts: list[float], /, **given: object) -> Judged:
    rows = len(outcomes)
    values: dict[str, object] = {
        "task": "step_failure",
        "outcomes": np.array(outcomes, dtype=float),
        "forecasts": np.array(forecasts, dtype=float),
        "base": np.full(rows, 0.5),
        "champion": None,
        "at": np.arange(rows, dtype=float),
        "cases": np.arange(rows),
        "n_train": 7,
        "chosen": "linear",
        "reason": "it gains",
    }
    return Judged(**{**values, **given})  # type: ignore[arg-type]  # tests give what they mean to


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"base": np.array([0.5])}, "1 values of base for 2 outcomes"),
        ({"groups": {"service": ["a"]}}, "1 values of service"),
        ({"forecasts": np.array([0.5, 1.5])}, "no probability"),
        ({"forecasts": np.array([0.5, math.nan])}, "no probability"),
        ({"outcomes": np.array([0.0, 0.5])}, "something else than 0 and 1"),
        ({"at": np.array([2.0, 1.0])}, "time order"),
    ],
)
def test_what_cannot_be_judged_is_refused(given: dict[str, object], why: str) -> None:
    """Arrays that do not fit together, and forecasts that are no probabilities, say so."""
    with pytest.raises(ValueError, match=why):
        judged([0.0, 1.0], [0.2, 0.8], **given)


def test_a_champion_may_have_learnt_from_a_row() -> None:
    """Only the champion's forecasts may be unknown."""
    told = judged([0.0, 1.0], [0.2, 0.8], champion=np.array([math.nan, 0.5]))
    assert set(told.forecasters()) == {"chosen", "base", "champion"}


def test_brier_falls_into_its_parts() -> None:
    """Two forecasts of 0.2 and 0.6: the parts are those worked out by hand, and they add up."""
    outcomes = np.array([0.0] * 150 + [1.0] * 50 + [0.0] * 100 + [1.0] * 100)
    forecasts = np.array([0.2] * 200 + [0.6] * 200)
    parts = brier_parts(outcomes, forecasts)
    assert parts.reliability == pytest.approx((0.05**2 + 0.1**2) / 2)
    assert parts.resolution == pytest.approx(0.125**2)
    assert parts.uncertainty == pytest.approx(0.375 * 0.625)
    assert parts.within == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("rows", [3, 250, 2_000])
def test_the_parts_are_an_identity(rows: int) -> None:
    """For any forecasts the parts add up to the Brier score."""
    rng = np.random.default_rng(rows)
    forecasts = rng.random(rows).round(2)
    outcomes = (rng.random(rows) < forecasts**2).astype(float)
    parts = brier_parts(outcomes, forecasts)
    told = parts.reliability - parts.resolution + parts.uncertainty + parts.within
    assert told == pytest.approx(((forecasts - outcomes) ** 2).mean(), abs=1e-12)


def test_equal_forecasts_share_a_bin() -> None:
    """A constant is judged by its one distance, however the outcomes lie in time."""
    outcomes = np.array([1.0] * 300 + [0.0] * 700)
    assert calibration_error(outcomes, np.full(1_000, 0.25)) == pytest.approx(0.05)
    (point,) = reliability_points(outcomes, np.full(1_000, 0.25))
    assert (point.forecast, point.observed, point.rows) == (0.25, 0.3, 1_000)


def test_bins_hold_equal_mass() -> None:
    """A thousand different forecasts make ten bins of a hundred, five hundred make five."""
    for rows, bins in ((1_000, 10), (500, 5), (40, 1)):
        points = reliability_points(np.zeros(rows), np.arange(rows) / rows)
        assert [point.rows for point in points] == pytest.approx([rows / bins] * bins, abs=1)


def test_intervals_of_errors_hold_the_truth() -> None:
    """Of 40 samples of forecasts that are 0.1 too high, about 38 have an interval that holds 0.1."""
    held = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = rng.choice([0.2, 0.5, 0.8], 3_000)
        outcomes = (rng.random(3_000) < truth).astype(float)
        blocks = Blocks(np.arange(3_000), 30)
        told = calibration_interval(outcomes, truth + 0.1, blocks, blocks.draws(200, seed))
        held += told.low <= 0.1 <= told.high
    assert held >= 34


def test_rows_of_a_case_stay_together() -> None:
    """Blocks are stretches of whole cases: rows of one case never part, and earlier cases come first."""
    cases = np.array([5, 5, 3, 5, 3, 9, 9, 1])
    blocks = Blocks(cases, 2)
    assert blocks.count == 2
    assert blocks.of_row.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]


def test_a_repeated_row_proves_nothing() -> None:
    """Ten rows of each case have the standard error of one."""
    rng = np.random.default_rng(3)
    gains = rng.normal(size=600)
    once = Blocks(np.arange(600), 30).bounded(gains, 0.05)
    tenfold = Blocks(np.repeat(np.arange(600), 10), 30).bounded(np.repeat(gains, 10), 0.05)
    assert tenfold.standard_error == pytest.approx(once.standard_error)
    assert tenfold.lower == pytest.approx(once.lower)


@pytest.mark.parametrize(
    ("share", "freedom", "quantile"), [(0.975, 10, 2.228), (0.9995, 29, 3.659), (0.95, 19, 1.729)]
)
def test_students_quantiles_are_the_tables(share: float, freedom: int, quantile: float) -> None:
    """The expansion gives the values that tables of Student's t print."""
    assert student_quantile(share, freedom) == pytest.approx(quantile, abs=1e-3)


def test_halls_quantile_undoes_the_transform() -> None:
    """Putting the quantile back into the transform gives what was asked for."""
    for skewness in (-2.0, -0.3, 0.5, 1.7):
        for wanted in (1.7, 3.4):
            u = hall_quantile(wanted, skewness, 30)
            cubic = u + skewness * u**2 / 3 + skewness**2 * u**3 / 27 + skewness / 180
            assert math.sqrt(30) * cubic == pytest.approx(wanted)


def test_a_rare_failure_does_not_fool_the_bound() -> None:
    """A forecast of the same expected loss as another passes a bound at 3 % in about 3 % of draws."""
    rows, truth, high = 6_000, 0.007, 0.014
    low = _partner(truth, high)
    rng = np.random.default_rng(5)
    passed = 0
    for _ in range(2_000):
        failures = rng.binomial(rows // 30, truth, 30)
        on_failure, else_ = math.log(low / high), math.log((1 - low) / (1 - high))
        gains = np.concatenate([[on_failure * n + else_ * (rows // 30 - n)] for n in failures])
        passed += Blocks(np.arange(30).repeat(2), 30).bounded(gains.repeat(2), 0.03).lower > 0
    assert passed / 2_000 < 0.03 + 3 * math.sqrt(0.03 * 0.97 / 2_000)


def _partner(truth: float, forecast: float) -> float:
    """The other constant forecast, on the far side of the truth, with the same expected log loss."""
    low, high = 1e-9, truth
    wanted = truth * math.log(forecast) + (1 - truth) * math.log1p(-forecast)
    for _ in range(200):
        middle = (low + high) / 2
        less = truth * math.log(middle) + (1 - truth) * math.log1p(-middle) < wanted
        low, high = (middle, high) if less else (low, middle)
    return low


def test_figures_of_a_perfect_ranking() -> None:
    """Scores of four forecasts by hand: AUC 1, Brier 0.04, log loss -ln 0.8."""
    figures = figures_of(judged([0, 0, 1, 1] * 50, [0.2, 0.2, 0.8, 0.8] * 50), POLICY, draws=50, seed=1)
    told = figures.summary()
    assert told["auc"] == 1.0
    assert told["brier"] == pytest.approx(0.04)
    assert told["brier_base"] == pytest.approx(0.25)
    assert told["log_loss"] == pytest.approx(-math.log(0.8))
    assert told["log_loss_base"] == pytest.approx(math.log(2))
    assert told["ece"] == pytest.approx(0.2)
    assert (told["n_train"], told["n_test"]) == (7, 200)


def test_figures_without_rows_are_absent() -> None:
    """A task without held-out rows has no figures, and one with a single outcome no AUC."""
    none = figures_of(judged([], []), POLICY, draws=50, seed=1).summary()
    assert none == {**dict.fromkeys(none), "n_train": 7, "n_test": 0}
    assert figures_of(judged([0, 0], [0.1, 0.2]), POLICY, draws=50, seed=1).summary()["auc"] is None


def test_ties_count_half() -> None:
    """One event among three rows, tied with one of the others: AUC 3/4."""
    blocks = Blocks(np.arange(3), 30)
    told = auc_interval(np.array([1.0, 0.0, 0.0]), np.array([0.5, 0.5, 0.1]), blocks, blocks.draws(20, 1))
    assert told is not None
    assert told.value == 0.75


def test_f1_of_classes() -> None:
    """Precision and recall of three classes by hand; a class that nobody met is left out of the mean."""
    told = class_figures(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), ["a", "b", "c"])
    assert told.confusion == ((2, 1, 0), (0, 1, 0), (0, 0, 0))
    assert told.f1[:2] == pytest.approx((0.8, 2 / 3))
    assert told.f1[2] is None
    assert told.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)


def test_coverage_counts_what_is_known() -> None:
    """Of four values one was cut off below the quantile: it is left out; one above it counts as above."""
    values, cut = np.array([1.0, 2.0, 3.0, 9.0]), np.array([False, False, True, True])
    (told,) = coverages(values, {0.5: np.full(4, 4.0)}, cut)
    assert (told.rows, told.left_out) == (3, 0.25)
    assert told.share == pytest.approx(2 / 3)
    assert told.pinball == pytest.approx(0.5 * ((4 - 1) + (4 - 2)) / 2)


def test_a_slice_that_is_badly_worse_is_found() -> None:
    """A forecaster that is right for one service and wrong for the other is harmed in the other alone."""
    rng = np.random.default_rng(8)
    truth = np.where(np.arange(4_000) % 2, 0.1, 0.3)
    outcomes = (rng.random(4_000) < truth).astype(float)
    told = judged(
        outcomes.tolist(),
        np.where(np.arange(4_000) % 2, 0.1, 0.05).tolist(),
        base=np.full(4_000, 0.2),
        groups={"service": ["good", "bad"] * 2_000, "few": ["x"] * 3_900 + ["rare"] * 100},
    )
    # Even rows, of the label "good", are those with the truth 0.3 that are forecast at 0.05.
    parts = {(part.group, part.label): part for part in slices_of(told, POLICY)}
    assert parts["service", "good"].harmed
    assert not parts["service", "bad"].harmed
    assert ("few", "rare") not in parts


def test_a_learning_curve_is_by_rows() -> None:
    """Points come by rising rows, each with the losses of its forecasts."""
    outcomes = np.array([0.0, 1.0])
    curve = learning_curve(
        "outcome", outcomes, np.full(2, 0.5), [(20, np.array([0.2, 0.8])), (10, np.array([0.5, 0.5]))]
    )
    assert [point.rows for point in curve.points] == [10, 20]
    assert curve.last_gain == pytest.approx(math.log(2) + math.log(0.8))
    assert curve.log_loss_base == pytest.approx(math.log(2))
