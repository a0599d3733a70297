"""In a world without hidden state the one yardstick and the engine agree."""

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import mean, stdev

import pytest

from sagacity_engine.advisor import Advice, Launch, author_advice
from sagacity_engine.saga import Saga
from sagacity_engine.worlds import GOA_LAW, World, goa_trip, trips
from sagacity_engine.worlds.law import DAY_S
from sagacity_engine.worlds.outages import OutageLaw
from sagacity_optimizer import evaluate, optimize
from sagacity_training.ladder.play import play
from sagacity_training.ladder.truth import TruthForecaster

BEGIN = 1_736_121_600.0
TRIPS = 1_200
OPEN = replace(
    GOA_LAW,
    burst_size=1.0,  # Trips come one by one, so that none meets another's load.
    trips_per_day=96.0,
    steps={
        name: replace(law, outages=OutageLaw(0.0, 3_600.0), load_weight=0.0)
        for name, law in GOA_LAW.steps.items()
    },
)


def author(saga: Saga, launch: Launch, truth: TruthForecaster) -> Advice:
    del launch, truth
    return author_advice(saga, "test")


def advised(saga: Saga, launch: Launch, truth: TruthForecaster) -> Advice:
    return Advice(plan=optimize(saga, truth.forecast(saga, launch.context, launch.at)).plan)


@pytest.mark.slow
@pytest.mark.parametrize("policy", [author, advised])
def test_expected_and_real_cost_agree(policy: Callable[[Saga, Launch, TruthForecaster], Advice]) -> None:
    """Over many trips the engine's means are the evaluator's, within 3.3 standard errors."""
    saga = goa_trip()
    some = trips(OPEN, seed=11, label="open", begin=BEGIN, count=TRIPS)
    world = World(OPEN, seed=11, begin=BEGIN, span_s=some[-1].at + DAY_S - BEGIN)
    truth = TruthForecaster(world, lambda _service, _at: 0.0, "truth")
    expected = []

    def plan(saga: Saga, launch: Launch) -> Advice:
        advice = policy(saga, launch, truth)
        expected.append(evaluate(advice.plan, saga, truth.forecast(saga, launch.context, launch.at)))
        return advice

    outcomes = play(saga, world, some, plan)
    for real, told in (
        ([o.cost for o in outcomes], [e.expected_cost for e in expected]),
        ([float(o.completed) for o in outcomes], [e.success_probability for e in expected]),
        ([o.wasted for o in outcomes], [e.wasted_cost for e in expected]),
        ([o.latency_s for o in outcomes], [e.latency_s_mean for e in expected]),
    ):
        off = [one - two for one, two in zip(real, told, strict=True)]
        assert abs(mean(off)) <= 3.3 * stdev(off) / math.sqrt(TRIPS)
