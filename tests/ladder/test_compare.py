"""The ladder's figures: definitions by hand, and intervals that know that days share outages."""

import numpy as np
import pytest

from sagacity_training.ladder.compare import Comparison, summary
from sagacity_training.ladder.play import TripOutcome


def outcomes(costs: list[float], days: list[int]) -> list[TripOutcome]:
    """One outcome a trip; a trip completes when its cost is under 10."""
    return [
        TripOutcome(f"t{n}", day, cost < 10, "COMPLETED", cost, cost / 2, cost, fallback=False)
        for n, (cost, day) in enumerate(zip(costs, days, strict=True))
    ]


DAYS = [n // 10 for n in range(200)]


def ladder(advised_share: float) -> Comparison:
    """Author 9 + noise, static 2 lower, informed 4 lower, advised in between by its share."""
    noise = np.random.default_rng(5).normal(0, 1, 200)
    below = {"author": 0.0, "static": 2.0, "informed": 4.0, "advised": 2.0 + 2.0 * advised_share}
    below["oracle"] = 5.0
    return Comparison({name: outcomes(list(9 + noise - cut), DAYS) for name, cut in below.items()}, seed=1)


def test_gap_closed_is_the_definition() -> None:
    """gap_closed_static is (static - advised) / (static - informed), unclipped; likewise from author."""
    for share in (-0.5, 0.7, 1.2):
        figures = summary(ladder(share), ["author", "static", "advised", "informed", "oracle"])
        assert figures["gap_closed_static"] == pytest.approx(share)
        assert figures["gap_closed_author"] == pytest.approx((2 + 2 * share) / 4)
        assert figures["advised_minus_author"]["mean"] == pytest.approx(-2 - 2 * share)


def test_no_gap_no_share() -> None:
    """Where informed is not clearly better there is no gap to close, so the share is None."""
    noise = np.random.default_rng(5).normal(0, 1, (2, 200))
    both = {"static": 9 + noise[0], "informed": 9 + noise[1], "advised": 9 + noise[0], "author": 9 + noise[0]}
    comparison = Comparison({name: outcomes(list(costs), DAYS) for name, costs in both.items()}, seed=1)
    assert comparison.gap_closed("advised", "static", "informed") is None


def test_days_are_resampled_not_trips() -> None:
    """When a day's trips share their luck, the interval is as wide as days are few, not as trips are many."""
    by_day = np.repeat(np.random.default_rng(3).normal(0, 1, 20), 10)
    shared = Comparison({"a": outcomes(list(5 + by_day), DAYS)}, seed=1).row("a").mean_cost
    spread = by_day[::10].std(ddof=1) / np.sqrt(20)
    assert (shared.high - shared.low) / 2 == pytest.approx(1.96 * spread, rel=0.2)


def test_only_the_same_trips_compare() -> None:
    """Policies that were played over different trips are refused."""
    with pytest.raises(ValueError, match="'b' was not played over the same trips"):
        Comparison({"a": outcomes([1.0, 2.0], [0, 0]), "b": outcomes([1.0], [0])}, seed=1)


def test_rows_are_plain_means() -> None:
    """Success rate, mean cost, wasted cost and p95 latency are those of the outcomes."""
    row = Comparison({"a": outcomes([1.0, 5.0, 12.0, 14.0], [0, 1, 2, 3])}, seed=1).row("a")
    assert (row.n, row.success_rate.mean, row.mean_cost.mean, row.wasted_cost.mean) == (4, 0.5, 8.0, 4.0)
    assert row.latency_s_p95.mean == pytest.approx(np.quantile([1.0, 5.0, 12.0, 14.0], 0.95))
