"""Forecasts of whole runs held to how runs ended: a map where it surely helps, none where it does not."""

import random
from dataclasses import replace

import pytest

from sagacity_data.rows import RunRow
from sagacity_engine import Kind, Saga, Status, Step
from sagacity_engine.parts import Approval
from sagacity_models.base_rate_forecaster import BaseRateForecaster
from sagacity_models.base_rates import BaseRates, StepEvidence
from sagacity_models.calibration import Platt
from sagacity_models.forecast import SagaForecast
from sagacity_training.judging.decisions import HeldOutRun
from sagacity_training.saga_calibration import completed_runs, learn_saga_calibrations

SAGA = Saga(name="trip", steps=(Step(name="pay"),))


def forecast(refusals: int) -> SagaForecast:
    """A step that was refused in so many of a thousand first attempts."""
    evidence = StepEvidence(first_attempts=1_000, first_refusals=refusals)
    return BaseRateForecaster(BaseRates.estimate({"trip/pay": evidence})).forecast(SAGA, {}, 0.0)


GOOD, BAD = forecast(20), forecast(400)


def history(count: int, chances: tuple[float, float]) -> tuple[list[HeldOutRun], dict[str, bool]]:
    """Runs of both forecasts in turn that complete with these chances."""
    draw = random.Random(4)
    runs = [
        HeldOutRun(SAGA, (GOOD, BAD)[number % 2], GOOD, {}, run_id=str(number)) for number in range(count)
    ]
    return runs, {run.run_id: draw.random() < chances[int(run.run_id) % 2] for run in runs}


def promised(told: SagaForecast) -> float:
    from sagacity_engine.plan import author_plan
    from sagacity_optimizer import evaluate

    return evaluate(author_plan(SAGA), SAGA, told).success_probability


def test_forecasts_that_came_true_are_left_alone() -> None:
    """Where runs complete as often as was said there is no map."""
    assert learn_saga_calibrations(*history(1_000, (promised(GOOD), promised(BAD)))) == {}


def test_a_map_is_learnt_where_runs_end_otherwise() -> None:
    """Runs that complete far less often than was said give a map to what happened, for their saga alone."""
    (found,) = learn_saga_calibrations(*history(1_000, (0.7, 0.3))).items()
    assert found[0] == "trip"
    assert isinstance(found[1], Platt)
    assert found[1](promised(GOOD)) == pytest.approx(0.7, abs=0.06)
    assert found[1](promised(BAD)) == pytest.approx(0.3, abs=0.06)


def test_few_runs_and_runs_of_other_plans_teach_nothing() -> None:
    """Fewer than 200 runs, or runs of which nobody knows the end under the author's plan, give no map."""
    assert learn_saga_calibrations(*history(198, (0.5, 0.1))) == {}
    runs, _ = history(1_000, (0.5, 0.1))
    assert learn_saga_calibrations(runs, {}) == {}


def row(run_id: str, status: Status, arm: str, *, fallback: bool = False) -> RunRow:
    return RunRow(
        run_id=run_id, saga="trip", definition_hash="h", launch_at=0.0, ended_at=1.0, status=status,
        reason="", arm=arm, propensity=0.5, fallback=fallback, advice_id="", model_version="", cost=None,
        wasted_cost=None, latency_s=None, context={},
    )  # fmt: skip


def test_runs_under_the_authors_plan_count() -> None:
    """Ended runs of the holdout and those whose advice fell back are told; no others are."""
    rows = [
        row("a", Status.COMPLETED, "author"),
        row("b", Status.COMPENSATED, "author"),
        row("c", Status.COMPLETED, "advised"),
        row("d", Status.COMPLETED, "advised", fallback=True),
        row("e", Status.RUNNING, "author"),
    ]
    assert completed_runs(rows) == {"a": True, "b": False, "d": True}


def test_a_saga_whose_chance_is_not_computed_is_left_alone() -> None:
    """Runs of a saga that waits for an approval give no map, and stop nobody's training."""
    waits = Saga(name="trip", steps=(Step(name="pay", kind=Kind.READ_ONLY, approval=Approval()),))
    runs, completed = history(1_000, (0.7, 0.3))
    assert learn_saga_calibrations([replace(run, saga=waits) for run in runs], completed) == {}
