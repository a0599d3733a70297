"""Durations of any shape: levels, quantiles and cut means of one law, and the normal's untouched."""

import copy
import json
import math
from statistics import NormalDist

import numpy as np
import pytest

from sagacity_engine.errors import FailureClass
from sagacity_models.forecast import Latency, Regime, StepForecast, UndoForecast
from sagacity_models.shape import NORMAL, Shape
from sagacity_models.shape_arrays import heights_at, levels_at, normal_levels

NORMAL_LAW = NormalDist()
BY_HAND = Shape((0.0, 0.5, 0.9), (-1.0, 0.0, 2.0), tail_rate=4.0, shown_to=0.9)
"""Half of the calls even over [-1, 0], two fifths over [0, 2], and a tail that falls with rate 4."""
GAP = Shape((0.0, 0.5, 0.8, 0.8, 0.95, 0.999), (-0.5, 0.0, 0.5, 2.5, 3.0, 3.5), tail_rate=5.0)
"""Nothing ends between 0.5 and 2.5: four fifths are quick, one fifth stalls."""
ATOM = Shape((0.0, 0.3, 0.5, 0.7, 0.99), (-1.0, 0.0, 0.0, 0.0, 1.0), tail_rate=2.0)
"""Two fifths of all calls take exactly the median."""


def numeric_mean(latency: Latency, t_s: float, cells: int = 40_000) -> float:
    """E[min(duration, t)] as the area under the survival, in cells that are even in the logarithm."""
    edges = np.concatenate([[0.0], np.geomspace(t_s * 1e-12, t_s, cells)])
    middles = (edges[1:] + edges[:-1]) / 2
    return float(np.dot([latency.survival(t) for t in middles.tolist()], np.diff(edges)))


def test_levels_by_hand() -> None:
    """Between knots the level grows in a straight line; above the last one the survival falls as exp."""
    assert [BY_HAND.survival(z) for z in (-2.0, -0.5, 0.0, 1.0)] == pytest.approx([1.0, 0.75, 0.5, 0.3])
    assert BY_HAND.survival(2.5) == pytest.approx(0.1 * math.exp(-2.0))
    assert [BY_HAND.quantile(level) for level in (0.25, 0.5, 0.7)] == pytest.approx([-0.5, 0.0, 1.0])
    assert BY_HAND.quantile(1 - 0.1 * math.exp(-2.0)) == pytest.approx(2.5)


def test_means_by_hand() -> None:
    """The whole mean is the sum of the pieces' closed forms, with the tail's rate / (rate - sigma)."""
    body = 0.5 * (1 - math.exp(-1.0)) + 0.4 * (math.exp(2.0) - 1) / 2
    whole = body + 0.1 * math.exp(2.0) * 4 / 3
    assert Latency(1.0, 1.0, BY_HAND).mean_until(1e12) == pytest.approx(whole)
    assert Latency(3.0, 1.0, BY_HAND).mean_until(3 * math.exp(2.0)) == pytest.approx(
        3 * (body + 0.1 * math.exp(2.0))
    )


@pytest.mark.parametrize("shape", [BY_HAND, GAP, ATOM], ids=["by hand", "gap", "atom"])
@pytest.mark.parametrize("sigma", [0.1, 0.8, 4.0])
def test_cut_means_are_areas_under_the_survival(shape: Shape, sigma: float) -> None:
    """E[min(D, t)] is the integral of the survival, below, between and above the knots."""
    latency = Latency(2.0, sigma, shape)
    for z in (-2.0, -0.4, 0.2, 1.0, 2.7, 3.8):
        t_s = 2.0 * math.exp(sigma * z)
        assert latency.mean_until(t_s) == pytest.approx(numeric_mean(latency, t_s), rel=2e-3)


@pytest.mark.parametrize("shape", [BY_HAND, GAP, ATOM], ids=["by hand", "gap", "atom"])
def test_quantiles_invert_the_survival(shape: Shape) -> None:
    """A quantile is the least duration that a share of the calls does not exceed; it grows with the level."""
    latency, levels = Latency(1.5, 0.7, shape), np.linspace(0.005, 0.9995, 400).tolist()
    quantiles = [latency.quantile(level) for level in levels]
    assert quantiles == sorted(quantiles)
    for level, quantile in zip(levels, quantiles, strict=True):
        assert latency.done_by(quantile * (1 + 1e-9)) >= level - 1e-9
        assert latency.done_by(quantile * (1 - 1e-9)) <= level + 1e-9


def test_a_gap_and_an_atom_are_kept() -> None:
    """In a gap no call ends however long one waits; a share that takes equally long ends at one instant."""
    stalling, even = Latency(1.0, 1.0, GAP), Latency(1.0, 1.0, ATOM)
    assert stalling.survival(math.exp(0.6)) == pytest.approx(stalling.survival(math.exp(2.4)))
    assert even.done_by(1.0) - even.done_by(1 - 1e-12) == pytest.approx(0.4, abs=1e-6)


def test_the_median_is_the_median_of_every_shape() -> None:
    """`median_s` means what it says."""
    for shape in (NORMAL, BY_HAND, GAP, ATOM):
        assert Latency(2.5, 0.9, shape).quantile(0.5) == pytest.approx(2.5)


def test_log_normals_are_what_they_were() -> None:
    """Without a shape the closed forms hold to the last bit."""
    latency = Latency(1.3, 0.6)
    assert latency.shape is NORMAL
    for t_s in (0.2, 1.3, 4.0, 50.0):
        z = math.log(t_s / 1.3) / 0.6
        survival = 0.5 * math.erfc((math.log(t_s / 1.3)) / (0.6 * math.sqrt(2)))
        below = 0.5 * math.erfc(-(z - 0.6) / math.sqrt(2))
        assert latency.survival(t_s) == survival
        assert latency.mean_until(t_s) == 1.3 * math.exp(0.6**2 / 2) * below + t_s * survival
    assert latency.quantile(0.9) == 1.3 * math.exp(0.6 * NORMAL_LAW.inv_cdf(0.9))


def test_a_constant_has_no_shape() -> None:
    """With sigma 0 every call takes the median, whatever the shape."""
    latency = Latency(2.0, 0.0, GAP)
    assert (latency.survival(1.9), latency.survival(2.0), latency.mean_until(5.0)) == (1.0, 0.0, 2.0)


def test_extreme_times_stay_finite() -> None:
    """Tiny and huge times, and a mean that the tail makes infinite, stay finite and in their range."""
    heavy = Latency(1.0, 3.0, Shape((0.0, 0.5, 0.9), (-1.0, 0.0, 150.0), tail_rate=0.5))
    for t_s in (1e-300, 1e-9, 1.0, 1e9, 1e300):
        assert 0 <= heavy.survival(t_s) <= 1
        assert 0 < heavy.mean_until(t_s) <= t_s * (1 + 1e-9)
    assert math.isfinite(heavy.quantile(0.95))


@pytest.mark.parametrize("shape", [NORMAL, BY_HAND, GAP, ATOM], ids=["normal", "by hand", "gap", "atom"])
def test_arrays_say_what_numbers_say(shape: Shape) -> None:
    """Whole arrays of quantiles and levels are those of the scalar methods."""
    latency, levels = Latency(1.0, 1.0, shape), np.array([1e-6, 0.01, 0.3, 0.6, 0.81, 0.97, 0.9999])
    heights = heights_at(shape, levels)
    assert np.exp(heights) == pytest.approx([latency.quantile(level) for level in levels.tolist()], rel=1e-4)
    between = np.array([-3.0, -0.7, 0.3, 1.1, 2.9, 3.4, 6.0])
    told = [latency.done_by(math.exp(z)) for z in between.tolist()]
    assert levels_at(shape, between) == pytest.approx(told, abs=1e-5)


def test_normal_levels_are_exact_enough() -> None:
    """The table agrees with the standard library within 1e-5."""
    heights = np.array([-5.0, -1.2, 0.0, 0.4, 2.3, 5.0])
    exact = [NORMAL_LAW.cdf(float(z)) for z in heights]
    assert normal_levels(heights) == pytest.approx(exact, abs=1e-5)


def test_a_shape_never_changes_and_comes_back() -> None:
    """It is a value: no attribute can be set, and JSON and copies are equal, hash and all."""
    with pytest.raises(AttributeError):
        BY_HAND.tail_rate = 1.0
    for shape in (NORMAL, BY_HAND, GAP):
        again = Shape.from_json(json.loads(json.dumps(shape.as_json())))
        assert again == shape
        assert hash(again) == hash(shape)
        assert copy.deepcopy(shape) == shape
    assert BY_HAND not in (NORMAL, GAP, "a shape")


@pytest.mark.parametrize(
    ("levels", "heights", "what"),
    [
        ((0.0, 0.5, 0.9), (0.0, math.nan, 1.0), "not finite"),
        ((0.0, 0.5, 0.4), (-1.0, 0.0, 1.0), "levels from 0"),
        ((0.0, 0.5, 0.9), (-1.0, 0.0, -0.5), "fall"),
        ((0.0, 0.5, 0.9), (-1.0, 0.2, 1.0), "median"),
        ((0.0, 0.4, 0.9), (-1.0, 0.0, 1.0), "median"),
        ((0.0, 0.5, 1.0), (-1.0, 0.0, 1.0), "levels from 0"),
        ((0.0, 0.5), (-1.0, 0.0, 1.0), "as many heights"),
        ((0.0, 0.5, 0.9), (-1.0, 0.0, 1e9), "within"),
    ],
)
def test_what_is_no_shape_is_refused(
    levels: tuple[float, ...], heights: tuple[float, ...], what: str
) -> None:
    """Knots that fall, are not finite or have their median elsewhere are refused, saying so."""
    with pytest.raises(ValueError, match=what):
        Shape(levels, heights)


def test_the_best_restart_lies_before_the_stall() -> None:
    """For 90 % lognormal(.3), 10 % fifteen times as long and 0.2 s a restart, it is that of the exact law."""
    slow = math.log(15)
    grid = np.linspace(-1.2, slow + 1.2, 250).tolist()
    quick, stall = NormalDist(0.0, 0.3), NormalDist(slow, 0.3)
    levels = [0.9 * quick.cdf(z) + 0.1 * stall.cdf(z) for z in grid]
    middle = float(np.interp(0.5, levels, grid))
    knots = sorted([(0.0, -1.5), *zip(levels, grid, strict=True), (0.5, middle)])
    shape = Shape(tuple(p for p, _ in knots), tuple(z - middle for _, z in knots), tail_rate=10.0)
    median_s = math.exp(middle)

    def expected_s(tau_s: float) -> float:
        parts = ((0.9, Latency(1.0, 0.3)), (0.1, Latency(15.0, 0.3)))
        late = sum(share * law.survival(tau_s) for share, law in parts)
        return (sum(share * law.mean_until(tau_s) for share, law in parts) + 0.2 * late) / (1 - late)

    best = min(expected_s(tau) for tau in np.linspace(0.8, 60.0, 6_000).tolist())
    tau = median_s * math.exp(shape.restart_height(1.0, 0.2 / median_s))
    assert expected_s(tau) == pytest.approx(best, rel=1e-3)
    assert 1.2 < tau < 4.0
    assert Latency(median_s, 1.0, shape).mean_until(1e9) == pytest.approx(2.4 * math.exp(0.045), rel=0.01)


def test_a_step_is_answered_by_success_or_refusal() -> None:
    """P(answered by t) is the mixture over regimes of both kinds of durations."""
    quick, slow = Latency(1.0, 0.0), Latency(4.0, 0.0)
    refused = {FailureClass.TRANSIENT: 0.25}
    step = StepForecast(regimes=(Regime(1.0, refused, slow, quick),), undo=UndoForecast(0.0, quick))
    assert [step.done_by(t) for t in (0.5, 2.0, 5.0)] == pytest.approx([0.0, 0.25, 1.0])
