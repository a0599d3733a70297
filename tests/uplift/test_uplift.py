"""What advice earned, in trials of which the truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sagacity_data.rows import RunRow
from sagacity_engine import Status
from sagacity_training.uplift.blocks import BLOCKS_MIN, Blocks
from sagacity_training.uplift.effect import Verdict, uplift
from sagacity_training.uplift.trial import NoTrial, trial_of

Simulate = Callable[..., list[RunRow]]
MakeRun = Callable[..., RunRow]


def test_a_real_effect_is_found(simulate: Simulate) -> None:
    """Advice that saves 3 of 20 is called better, and both intervals hold the truth."""
    told = uplift(trial_of(simulate(seed=1, effect=-3.0)))
    difference = told.effects["cost"].difference
    assert told.verdict is Verdict.BETTER
    assert difference.low < -3.0 < difference.high
    assert difference.always_low < difference.low
    assert difference.always_high > difference.high


def test_advice_that_does_nothing_is_left_open(simulate: Simulate) -> None:
    """Advice without an effect gets no verdict, though the days differ by far more than the arms."""
    assert uplift(trial_of(simulate(seed=2, day_spread=10.0))).verdict is Verdict.OPEN


def test_harmful_advice_is_called_worse(simulate: Simulate) -> None:
    """Advice that costs 3 more is called worse."""
    assert uplift(trial_of(simulate(seed=3, effect=3.0))).verdict is Verdict.WORSE


def test_one_look_misses_the_truth_as_seldom_as_it_says(simulate: Simulate) -> None:
    """Of 120 trials without effect, the interval for one look misses zero in few (6 are expected)."""
    held = 0
    for seed in range(120):
        difference = uplift(trial_of(simulate(seed=seed, days=30, per_day=12))).effects["cost"].difference
        held += difference.low <= 0 <= difference.high
    assert held >= 107


@pytest.mark.slow
def test_looking_every_day_does_not_make_the_sequence_lie(simulate: Simulate) -> None:
    """Of 100 trials without effect that are looked at every fifth day, few ever get a verdict (5 % may)."""
    wrong = 0
    for seed in range(100):
        runs = simulate(seed=1_000 + seed, days=100, per_day=10)
        looks = (uplift(trial_of(runs[: 10 * day])).verdict for day in range(25, 101, 5))
        wrong += any(verdict is not Verdict.OPEN for verdict in looks)
    assert wrong <= 9


def test_a_changed_holdout_share_does_no_harm(simulate: Simulate, one_run: MakeRun) -> None:
    """Runs are weighted by their own probability: a share that grew while prices rose makes no effect."""
    cheap = [
        one_run(
            f"a{n}", 1e9 + 3600.0 * n, advised=n % 10 != 0, propensity=0.1 if n % 10 == 0 else 0.9, cost=10.0
        )
        for n in range(1_000)
    ]
    dear = [
        one_run(f"b{n}", 2e9 + 3600.0 * n, advised=n % 2 != 0, propensity=0.5, cost=30.0)
        for n in range(1_000)
    ]
    assert uplift(trial_of([*cheap, *dear])).effects["cost"].difference.value == pytest.approx(0.0)


def test_arms_are_compared_by_assignment(one_run: MakeRun) -> None:
    """A run whose advice failed open stays in the advised arm, and is counted as a fallback."""
    runs = [
        one_run(f"r{n}", 1e9 + 7200.0 * n, advised=n % 2 == 0, propensity=0.5, cost=1.0, fallback=n % 4 == 0)
        for n in range(400)
    ]
    told = uplift(trial_of(runs))
    assert told.effects["cost"].n == (200, 200)
    assert told.fallback_share == 0.5


def test_runs_that_were_not_randomised_tell_nothing(one_run: MakeRun) -> None:
    """Runs that were advised for certain leave no trial, and the refusal says how many there were."""
    runs = [one_run(f"r{n}", 1e9 + n, advised=True, propensity=1.0) for n in range(100)]
    with pytest.raises(NoTrial, match="of 100 runs 0 were assigned at random to advice and 0"):
        uplift(trial_of(runs))


def test_open_runs_and_second_tellings_do_not_count(one_run: MakeRun) -> None:
    """Of a run told twice the first telling counts; one that has not ended, or has no launch, does not."""
    first = one_run("r", 1e9, advised=True, propensity=0.5, cost=1.0)
    again = one_run("r", 1e9, advised=True, propensity=0.5, cost=9.0)
    still = one_run("s", 1e9, advised=True, propensity=0.5, status=Status.RUNNING)
    assert trial_of([first, again, still]).metrics["cost"].tolist() == [1.0]
    with pytest.raises(NoTrial, match="saga 'other'"):
        trial_of([first], saga="other")


def test_success_decides_where_nothing_is_priced(one_run: MakeRun) -> None:
    """Without costs the verdict is by success, of which more is better."""
    runs = [
        one_run(
            f"r{n}",
            1e9 + 7200.0 * n,
            advised=n % 2 == 0,
            propensity=0.5,
            cost=None,
            status=Status.COMPLETED if n % 2 == 0 or n % 3 == 0 else Status.COMPENSATED,
        )
        for n in range(1_200)
    ]
    told = uplift(trial_of(runs))
    assert told.judged_by == "success"
    assert told.verdict is Verdict.BETTER


def test_a_difference_of_means_by_hand() -> None:
    """Weighted means 2 and 5 differ by -3; with few blocks nothing is said of how sure that is."""
    blocks = Blocks(np.array([0, 0, 1, 1]), alpha=0.05)
    values, one, other = np.array([1.0, 3.0, 4.0, 6.0]), np.array([1.0, 1, 0, 0]), np.array([0.0, 0, 1, 1])
    estimate = blocks.difference((values * one, one), (values * other, other))
    assert estimate.value == -3.0
    assert estimate.as_json() == {
        "value": -3.0, "low": None, "high": None, "always_low": None, "always_high": None,
    }  # fmt: skip
    assert BLOCKS_MIN > 2


def test_students_quantile_is_the_table_s() -> None:
    """Ten blocks of 1 and -1 in turn: half the width is the table's 2.262 for nine degrees, times 1/3."""
    blocks = Blocks(np.arange(10), alpha=0.05)
    estimate = blocks.difference((np.array([1.0, -1.0] * 5), np.ones(10)))
    assert estimate.high == pytest.approx(2.2622 / 3, abs=5e-4)
