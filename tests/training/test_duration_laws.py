"""Durations are learnt as they are, whatever their law and although timeouts cut some off."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from sagacity_models.censored import Durations, fit_latency
from sagacity_models.durations import ResidualLaw, ResidualLaws
from sagacity_models.forecast import Latency
from sagacity_models.step_models import Recipe
from sagacity_training.duration_calls import Calls, CallSlices, judged
from sagacity_training.duration_laws import LearntDurations, learn_durations
from sagacity_training.residual_laws import OWN_CALLS_MIN, fit_laws
from sagacity_training.survival import Array, kaplan_meier, shares_within, timeout_shares

PRIOR = Latency(0.5, 1.0)


def stalls(draw: np.random.Generator, count: int) -> Array:
    return draw.lognormal(0.0, 0.3, count) * np.where(draw.random(count) < 0.1, 15.0, 1.0)


FAMILIES: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "lognormal": lambda draw, count: draw.lognormal(0.0, 1.0, count),
    "weibull": lambda draw, count: draw.weibull(0.7, count),
    "gamma": lambda draw, count: draw.gamma(3.0, 1.0, count),
    "lomax": lambda draw, count: draw.pareto(1.5, count),
    "stalls": stalls,
}


def learnt(seconds: Array, timeout_s: float) -> Latency:
    """What training makes of one step's calls: the shrunk base, and the law of what it leaves."""
    cut = seconds > timeout_s
    base = fit_latency(Durations.of(seconds[~cut].tolist(), [timeout_s] * int(cut.sum())), PRIOR, 5.0)
    logs = np.log(np.maximum(np.minimum(seconds, timeout_s), 1e-3))
    residuals = (logs - math.log(base.median_s)) / base.sigma
    codes = np.zeros(len(seconds), dtype=np.int64)
    return fit_laws(residuals, cut, np.ones(len(seconds)), codes, ["s/a"]).of("s/a").around(base)


def test_product_limit_by_hand() -> None:
    """Ends at 1, 3, 4, 6 and cuts at 2, 5 of six calls leave 5/6, 5/8, 5/12 and 0."""
    values, cut = np.array([6.0, 1, 2, 5, 4, 3]), np.array([False, False, True, True, False, False])
    survival = kaplan_meier(values, cut)
    assert survival.ends.tolist() == [1, 3, 4, 6]
    assert survival.after == pytest.approx([5 / 6, 5 / 8, 5 / 12, 0])
    assert survival.before == pytest.approx([1, 5 / 6, 5 / 8, 5 / 12])
    assert survival.shown_to == 1


def test_product_limit_counts_weights_and_ties() -> None:
    """A call of weight 2 is two calls, one of weight 0 none, and an end comes before a cut of its time."""
    values, cut = np.array([1.0, 2.0, 2.0, 9.0]), np.array([False, False, True, False])
    survival = kaplan_meier(values, cut, np.array([2.0, 1.0, 1.0, 0.0]))
    assert survival.ends.tolist() == [1, 2]
    assert survival.after == pytest.approx([1 / 2, 1 / 4])


def test_nothing_seen_shows_nothing() -> None:
    """Without an end there is no estimate, and no share can be told but below the cuts."""
    cut = np.array([True, True])
    assert kaplan_meier(np.array([0.4, 0.6]), cut).shown_to == 0
    assert shares_within(np.array([0.4, 0.6]), cut, [0.5, 0.9]) == [0.0, None]


def test_shares_within_a_quantile_mend_what_was_cut() -> None:
    """Uniform places of which many are cut at random are still found uniform; dropping the cut is not."""
    draw = np.random.default_rng(5)
    places, limits = draw.random(40_000), draw.uniform(0.3, 1.2, 40_000)
    cut = places > limits
    told = shares_within(np.minimum(places, limits), cut, [0.5, 0.9])
    assert told == pytest.approx([0.5, 0.9], abs=0.01)
    assert np.mean(places[~cut] <= 0.5) > 0.55


@pytest.mark.parametrize("family", FAMILIES)
def test_every_law_is_covered(family: str) -> None:
    """With 20,000 calls the quantiles hold 1.5 points at p50, p90, p95 and 0.4 at p99, whatever the law."""
    draw = np.random.default_rng(11)
    truth = FAMILIES[family](draw, 400_000)
    latency = learnt(FAMILIES[family](draw, 20_000), float(np.quantile(truth, 0.9995)))
    for level, points in ((0.5, 1.5), (0.9, 1.5), (0.95, 1.5), (0.99, 0.4)):
        assert 100 * np.mean(truth <= latency.quantile(level)) == pytest.approx(100 * level, abs=points)
    for level in np.linspace(0.05, 0.99, 95).tolist():
        t_s = float(np.quantile(truth, level))
        assert latency.done_by(t_s) == pytest.approx(level, abs=0.015)
    assert latency.shape.shown_to > 0.998


def test_censored_lognormals_keep_their_mean() -> None:
    """Twenty times, with one call in ten cut off: base and law both have the uncensored mean within 3 %."""
    mean, timeout_s = math.exp(0.5), math.exp(1.2815515655446004)
    for seed in range(20):
        seconds = np.random.default_rng((7, seed)).lognormal(0.0, 1.0, 20_000)
        cut = seconds > timeout_s
        base = fit_latency(Durations.of(seconds[~cut].tolist(), [timeout_s] * int(cut.sum())), PRIOR, 5.0)
        assert base.mean_until(1e12) == pytest.approx(mean, rel=0.03)
        law = learnt(seconds, timeout_s)
        assert law.mean_until(1e12) == pytest.approx(mean, rel=0.03)
        assert law.quantile(0.95) == pytest.approx(5.18, rel=0.05)
        assert law.shape.shown_to == pytest.approx(0.9, abs=0.01)


def test_what_dropping_and_taking_timeouts_for_durations_would_cost() -> None:
    """Of the same calls, means 1.12 and 1.37 instead of 1.65: what censoring must not become."""
    timeout_s = math.exp(1.2815515655446004)
    seconds = np.random.default_rng(3).lognormal(0.0, 1.0, 200_000)
    assert np.mean(seconds[seconds <= timeout_s]) == pytest.approx(1.12, abs=0.02)
    dropped = fit_latency(Durations.of(seconds[seconds <= timeout_s].tolist()), PRIOR, 5.0)
    taken = fit_latency(Durations.of(np.minimum(seconds, timeout_s).tolist()), PRIOR, 5.0)
    assert dropped.mean_until(1e12) < 1.25
    assert taken.mean_until(1e12) < 1.5
    assert learnt(seconds, timeout_s).mean_until(1e12) == pytest.approx(1.65, rel=0.03)


def test_equal_durations_stay_equal() -> None:
    """A step whose calls all take two seconds is told to take two seconds."""
    latency = learnt(np.full(500, 2.0), 10.0)
    assert latency.quantile(0.05) == pytest.approx(2.0, rel=0.06)
    assert latency.quantile(0.95) == pytest.approx(2.0, rel=0.06)


def test_few_calls_follow_all_steps() -> None:
    """Under ten calls a step has the pooled law; with some it lies between that and its own."""
    draw = np.random.default_rng(2)
    many, few = draw.standard_normal(5_000), np.full(OWN_CALLS_MIN - 1, 3.0)
    some = draw.uniform(2.9, 3.1, 40)
    residuals = np.concatenate([many, few, some])
    codes = np.repeat([0, 1, 2], [len(many), len(few), len(some)])
    laws = fit_laws(residuals, np.zeros(len(codes), bool), np.ones(len(codes)), codes, ["a", "b", "c"])
    assert set(laws.steps) == {"a", "c"}
    assert laws.of("b") == laws.pooled
    below = laws.of("c").around(Latency(1.0, 1.0)).done_by(math.exp(2.5))
    # 20 believed calls of the pooled law, all but 1 % of it below, and 40 of one's own that are not.
    assert below == pytest.approx(20 / 60, abs=0.02)
    assert laws.of("c").calls == 40


def test_no_calls_are_log_normal() -> None:
    """Without a single end the law is what was believed before."""
    nothing = np.zeros(0)
    codes = np.zeros(0, dtype=np.int64)
    assert fit_laws(nothing, nothing.astype(bool), nothing, codes, ["a"]) == ResidualLaws()
    assert fit_laws(np.ones(3), np.ones(3, bool), np.ones(3), np.zeros(3, np.int64), ["a"]) == ResidualLaws()


def test_cut_calls_are_refusals_as_often_as_slow_ones_are() -> None:
    """Quick refusals have no part in the timeouts; refusals as slow as successes have their share."""
    draw = np.random.default_rng(9)
    logs, refused = draw.standard_normal(20_000), draw.random(20_000) < 0.2
    steps = np.repeat([0, 1], 10_000)
    logs[refused & (steps == 0)] -= 8.0
    shares = timeout_shares(steps, logs, refused, 3)
    assert shares[0] == pytest.approx(0.0, abs=0.01)
    assert shares[1] == pytest.approx(0.2, abs=0.04)
    assert shares[2] == pytest.approx((shares[0] + shares[1]) / 2, abs=0.01)


def test_refused_timeouts_do_not_fatten_the_tail_of_success() -> None:
    """With a quarter refused, as slow as successes, weights give back the mean that plain counting misses."""
    draw = np.random.default_rng(21)
    seconds, refused = draw.lognormal(0.0, 1.0, 60_000), draw.random(60_000) < 0.25
    timeout_s = math.exp(1.2815515655446004)
    cut = seconds > timeout_s
    successes, timeouts = seconds[~cut & ~refused].tolist(), [timeout_s] * int(cut.sum())
    ended = ~cut
    share = timeout_shares(
        np.zeros(int(ended.sum()), dtype=np.int64), np.log(seconds[ended]), refused[ended], 1
    )
    weighted = fit_latency(Durations.of(successes, timeouts, 1 - float(share[0])), PRIOR, 5.0)
    counted = fit_latency(Durations.of(successes, timeouts), PRIOR, 5.0)
    assert weighted.mean_until(1e12) == pytest.approx(math.exp(0.5), rel=0.03)
    assert counted.mean_until(1e12) > 1.08 * math.exp(0.5)


def test_many_timeouts_are_counted_with_their_neighbours() -> None:
    """Thousands of different timeouts stay a few hundred numbers, and give the same law."""
    draw = np.random.default_rng(6)
    seconds, limits = draw.lognormal(0.0, 0.7, 8_000), draw.uniform(1.0, 9.0, 8_000)
    cut = seconds > limits
    told = Durations.of(seconds[~cut].tolist(), limits[cut].tolist())
    assert len(told.censored) <= 256
    assert told.calls == pytest.approx(8_000)
    assert fit_latency(told, PRIOR, 5.0).mean_until(1e12) == pytest.approx(math.exp(0.245), rel=0.03)


def calls(draw: np.random.Generator, count: int, slope: float, timeout_s: float = math.inf) -> Calls:
    """Calls of two steps over a plain base; the first column of trees moves them by `slope` a unit."""
    steps, feature = draw.integers(0, 2, count), draw.uniform(-1, 1, count)
    seconds = np.where(steps == 0, draw.weibull(2.0, count), stalls(draw, count)) * np.exp(slope * feature)
    cut = seconds > timeout_s
    return Calls(
        keys=("s/a", "s/b"),
        steps=steps,
        logs=np.log(np.minimum(seconds, timeout_s)),
        cut=cut,
        limits=np.full(count, math.log(timeout_s)),
        weights=np.ones(count),
        location=np.zeros(count),
        scale=np.full(count, 0.8),
        trees=np.column_stack([feature, steps.astype(np.float64)]),
    )


def learning(slope: float, count: int, timeout_s: float = math.inf) -> LearntDurations:
    draw = np.random.default_rng(13)
    kinds = [
        CallSlices(*(calls(draw, part, slope, timeout_s) for part in (6 * n, n, 2 * n, 2 * n)))
        for n in (count, count // 2)
    ]
    whole = (calls(draw, 11 * count, slope, timeout_s), calls(draw, 5 * count, slope, timeout_s))
    return learn_durations(kinds[0], kinds[1], whole, categories=(), seed=3)


@pytest.fixture(scope="module")
def found() -> LearntDurations:
    return learning(1.2, 1_000, timeout_s=40.0)


def test_what_moves_durations_is_found(found: LearntDurations) -> None:
    """A feature that moves durations is chosen over the base, with lower losses and refusals that follow."""
    assert found.choice.recipe is Recipe.BOOSTED
    assert found.model.refusals_follow
    base, boosted = found.figures["base"], found.figures["boosted"]
    for level in ("p50", "p90", "p95"):
        assert boosted[f"pinball_{level}"] < base[f"pinball_{level}"]
    assert set(found.model.successes.steps) == set(found.model.refusals.steps) == {"s/a", "s/b"}


def test_what_is_found_is_covered_step_by_step(found: LearntDurations) -> None:
    """On later calls every step's quantiles cover what they say, within the error of a thousand calls."""
    assert set(found.by_step) == {"s/a", "s/b"}
    for figures in (*found.by_step.values(), found.refusal_figures):
        assert figures["coverage_p50"] == pytest.approx(0.5, abs=0.06)
        assert figures["coverage_p90"] == pytest.approx(0.9, abs=0.035)
        assert figures["coverage_p99"] == pytest.approx(0.99, abs=0.012)


def test_noise_moves_nothing() -> None:
    """Where no feature tells, the base with its residual laws is kept."""
    kept = learning(0.0, 600)
    assert kept.choice.recipe is Recipe.BASE
    assert kept.model.median is None
    assert kept.figures["base"]["coverage_p90"] == pytest.approx(0.9, abs=0.03)


def test_little_history_keeps_the_base() -> None:
    """With a handful of calls, or none, no trees are tried and nothing breaks."""
    for count in (0, 4):
        kept = learning(1.0, count)
        assert kept.choice.recipe is Recipe.BASE
        assert "too little" in kept.choice.reason


def test_judgement_is_fair_to_the_truth() -> None:
    """The true law scores less than one that is off, and covers what it says in spite of timeouts."""
    draw = np.random.default_rng(8)
    seconds, limits = draw.lognormal(0.0, 0.8, 30_000), draw.uniform(1.0, 12.0, 30_000)
    zero = np.zeros(30_000)
    told = Calls(
        keys=("s/a",), steps=zero.astype(np.int64), logs=np.log(np.minimum(seconds, limits)),
        cut=seconds > limits, limits=np.log(limits), weights=zero + 1, location=zero, scale=zero + 0.8,
        trees=np.zeros((30_000, 0)),
    )  # fmt: skip
    true, off = judged(told, ResidualLaws()), judged(told, ResidualLaws({}, ResidualLaw(0.4)))
    assert true.losses.mean() < off.losses.mean()
    for level in (0.5, 0.9, 0.95, 0.99):
        assert true.figures[f"coverage_p{100 * level:g}"] == pytest.approx(level, abs=0.01)
    assert off.figures["coverage_p50"] > 0.6
