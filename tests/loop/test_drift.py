"""Drift of forecasts and of features, on outcomes of which the truth is known."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest

from sagacity_training.loop import drift
from sagacity_training.loop.drift import CalibrationWatch, moved_category, moved_number


def outcomes_until_alarm(told: float, true: float, seed: int, at_most: int, threshold: float) -> int | None:
    """How many outcomes it took until the first alarm."""
    draw, watch = random.Random(seed), CalibrationWatch(threshold)
    for number in range(1, at_most + 1):
        if watch.observe("trip/pay", told, draw.random() < true, float(number)):
            return number
    return None


def test_right_forecasts_give_no_alarm() -> None:
    """Over 40 steps of 5,000 outcomes each, as forecast, nothing is said at one false alarm in a million."""
    threshold = math.log(drift.FALSE_ALARM_OUTCOMES)
    assert not [seed for seed in range(40) if outcomes_until_alarm(0.05, 0.05, seed, 5_000, threshold)]


def test_false_alarms_come_as_seldom_as_stated() -> None:
    """At h = ln 200 the mean time to a false alarm, over 100 steps, is at least 200 outcomes."""
    waits = [outcomes_until_alarm(0.3, 0.3, seed, 20_000, math.log(200)) or 20_000 for seed in range(100)]
    assert sum(waits) / len(waits) >= 200


@pytest.mark.parametrize(("told", "true"), [(0.05, 0.2), (0.3, 0.1)])
def test_a_change_is_found_soon(told: float, true: float) -> None:
    """Rates that have moved several-fold either way are told within some hundred outcomes."""
    threshold = math.log(drift.FALSE_ALARM_OUTCOMES)
    waits = [outcomes_until_alarm(told, true, seed, 5_000, threshold) for seed in range(20)]
    assert all(wait is not None and wait < 800 for wait in waits)


def test_one_outcome_by_hand() -> None:
    """At q = 1/2 what happens adds ln 2 - ln 1.5 to the sum for more; two of them add twice that."""
    watch = CalibrationWatch(10.0)
    for _ in range(2):
        assert watch.observe("s", 0.5, True, 0.0) is None
    assert watch.snapshot()["steps"]["s"] == [pytest.approx(2 * math.log(4 / 3)), 0.0, 2]


def test_an_alarm_says_which_way_and_begins_anew() -> None:
    """Failures of what never failed: the alarm names the step and the way, and the sum starts again."""
    watch = CalibrationWatch(math.log(100))
    alarms = [alarm for at in range(20) if (alarm := watch.observe("trip/pay", 0.01, True, float(at)))]
    assert [(alarm.step, alarm.more, alarm.outcomes) for alarm in alarms[:2]] == [("trip/pay", True, 7)] * 2
    assert alarms[0].words == "trip/pay fails more often than forecast, as 7 outcomes show"


def test_a_watch_survives_a_restart() -> None:
    """A watch restored from its snapshot through JSON goes on where it was; anything else is refused."""
    watch = CalibrationWatch(5.0)
    for happened in (True, False, True):
        watch.observe("s", 0.4, happened, 0.0)
    again = CalibrationWatch.restore(json.loads(json.dumps(watch.snapshot())))
    assert again.snapshot() == watch.snapshot()
    with pytest.raises(ValueError, match="begin a new one"):
        CalibrationWatch.restore({"steps": {"s": [1]}})


def test_steps_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the most steps, others are watched together."""
    monkeypatch.setattr(drift, "STEPS_MAX", 2)
    watch = CalibrationWatch()
    for number in range(10):
        watch.observe(f"s{number}", 0.5, True, 0.0)
    assert set(watch.snapshot()["steps"]) == {"s0", "s1", drift.OTHERS}


def test_the_index_of_what_has_not_moved_is_chance() -> None:
    """Two samples of one law: the index is near its expectation by chance, and not much."""
    rng = np.random.default_rng(1)
    moved = moved_number("load", rng.normal(size=2_000), rng.normal(size=500))
    assert moved.index < 4 * moved.chance
    assert not moved.much


def test_moved_features_are_told() -> None:
    """A shift by one deviation, values gone missing, and a category nobody had seen all count as much."""
    rng = np.random.default_rng(2)
    trained = rng.normal(size=2_000)
    assert moved_number("load", trained, rng.normal(1.0, size=500)).much
    assert moved_number("load", trained, np.full(500, np.nan)).much
    assert moved_category("region", ["a", "b"] * 500, ["c"] * 300).much
    assert not moved_category("region", ["a", "b", None] * 500, ["b", "a", None] * 100).much


def test_the_index_by_hand() -> None:
    """Shares of 0.5/0.5 against 0.8/0.2 give 0.3 ln 1.6 - 0.3 ln 0.4, but for the half counts."""
    moved = moved_category("c", ["a"] * 5_000 + ["b"] * 5_000, ["a"] * 8_000 + ["b"] * 2_000)
    assert moved.index == pytest.approx(0.3 * math.log(1.6) - 0.3 * math.log(0.4), abs=1e-3)


def test_nothing_to_compare_has_not_moved() -> None:
    """An empty sample, and a feature that is always missing, have not moved."""
    empty, missing = np.zeros(0), np.full(10, np.nan)
    assert moved_number("x", empty, empty).index == 0.0
    assert moved_number("x", missing, missing).index == 0.0
