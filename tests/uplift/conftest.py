"""Runs of a simulated trial: what advice does is known, days differ, the holdout is drawn by chance."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from sagacity_data.rows import RunRow
from sagacity_engine import Status

BEGIN = 1_760_000_000.0
DAY_S = 86_400.0

Simulate = Callable[..., list[RunRow]]


def simulated(
    *,
    seed: int,
    days: int = 40,
    per_day: int = 50,
    effect: float = 0.0,
    holdout: float = 0.2,
    day_spread: float = 2.0,
) -> list[RunRow]:
    """Runs that cost 20 on average, those advised `effect` more, with a part that all runs of a day share."""
    draw = random.Random(seed)
    rows: list[RunRow] = []
    for day in range(days):
        shared = draw.gauss(0.0, day_spread)
        for number in range(per_day):
            advised = draw.random() >= holdout
            high = draw.random() < 0.5
            cost = 20 + shared + (4.0 if high else 0.0) + draw.gauss(0.0, 3.0) + effect * advised
            rows.append(
                run(
                    f"run-{day}-{number}",
                    BEGIN + day * DAY_S + number * 60.0,
                    advised=advised,
                    propensity=1 - holdout if advised else holdout,
                    cost=cost,
                    season="high" if high else "low",
                )
            )
    return rows


def run(
    run_id: str,
    launch_at: float,
    *,
    advised: bool,
    propensity: float,
    cost: float | None = 1.0,
    season: str = "low",
    saga: str = "trip",
    status: Status = Status.COMPLETED,
    fallback: bool = False,
) -> RunRow:
    """One ended run."""
    return RunRow(
        run_id=run_id,
        saga=saga,
        definition_hash="d",
        launch_at=launch_at,
        ended_at=launch_at + 30.0,
        status=status,
        reason="",
        arm="advised" if advised else "author",
        propensity=propensity,
        fallback=fallback,
        advice_id="",
        model_version="",
        cost=cost,
        wasted_cost=None if cost is None else 0.0,
        latency_s=30.0,
        context={"season": season},
    )


@pytest.fixture
def simulate() -> Simulate:
    """The simulation, as a fixture, so that test files need not import each other."""
    return simulated


@pytest.fixture
def one_run() -> Callable[..., RunRow]:
    """One ended run, as a fixture."""
    return run
