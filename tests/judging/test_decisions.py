"""What plans would have cost against what happened, worked out by hand on a saga of two steps."""

from collections.abc import Iterator, Sequence

import pytest

from sagacity_data import AttemptOutcome, AttemptRow
from sagacity_engine import (
    Compensation,
    Direction,
    FailureClass,
    Kind,
    RetryPolicy,
    Saga,
    Step,
    author_plan,
)
from sagacity_engine.parts import CostPolicy, SagaFreedom
from sagacity_engine.plan import Plan, staged_steps
from sagacity_models.forecast import Latency, Regime, SagaForecast, StepForecast, UndoForecast
from sagacity_optimizer.problem import Problem
from sagacity_training.held_out import calls_of
from sagacity_training.judging.decisions import HeldOutRun, judge_decisions
from sagacity_training.judging.realised import SeenCall, law_of_calls, realised_cost

SOON = Latency(1.0, 0.01)
RETRIES = RetryPolicy(maximum_attempts=3, initial_interval_s=2.0, backoff_coefficient=1.0)
ONCE = RetryPolicy(maximum_attempts=1)


def saga(retry: RetryPolicy = ONCE) -> Saga:
    """Booking costs 2 and cancelling it 1; asking costs 3. A run that fails costs 10 more."""
    return Saga(
        name="trip",
        steps=(
            Step(
                name="book",
                cost=2.0,
                start_to_close_timeout_s=5.0,
                retry=retry,
                compensation=Compensation(cost=1.0, retry=ONCE),
            ),
            Step(name="ask", cost=3.0, kind=Kind.READ_ONLY, start_to_close_timeout_s=5.0, retry=retry),
        ),
        policy=CostPolicy(failure_penalty=10.0),
        freedom=SagaFreedom(reorder=True),
    )


def forecast(book: float, ask: float) -> SagaForecast:
    """Both steps by their chance of a permanent failure; undos never fail."""

    def step(failure: float) -> StepForecast:
        regime = Regime(1.0, {FailureClass.PERMANENT: failure} if failure else {}, SOON, SOON)
        return StepForecast(regimes=(regime,), undo=UndoForecast(0.0, SOON))

    return SagaForecast(steps={"book": step(book), "ask": step(ask)})


def passed(seconds: float = 1.0) -> SeenCall:
    return SeenCall(succeeded=True, failure_class=None, seconds=seconds)


def refused(failure_class: FailureClass = FailureClass.PERMANENT) -> SeenCall:
    return SeenCall(succeeded=False, failure_class=failure_class, seconds=1.0)


def asking_first(of: Saga) -> Plan:
    return Plan(
        saga=of.name,
        definition_hash=of.definition_hash,
        steps=staged_steps(of, (("ask",), ("book",))),
    )


def test_a_failure_is_cheaper_before_there_is_anything_to_undo() -> None:
    """Asking last costs 2 + 3 + 1 + 10, asking first 3 + 10; where all passes both cost 5."""
    trip = saga()
    problem = Problem(trip, forecast(0.0, 0.0))
    failed = {"book": [passed()], "ask": [refused()]}
    fine = {"book": [passed()], "ask": [passed()]}
    assert realised_cost(author_plan(trip), problem, failed) == pytest.approx(16.0)
    assert realised_cost(asking_first(trip), problem, failed) == pytest.approx(13.0)
    assert realised_cost(author_plan(trip), problem, fine) == pytest.approx(5.0)
    assert realised_cost(asking_first(trip), problem, fine) == pytest.approx(5.0)


def test_a_step_that_was_not_reached_is_priced_at_mean_rates() -> None:
    """Asking was refused at once and nobody booked: with booking at a 10 % failure rate it costs
    0.1 (2 + 10) + 0.9 (2 + 3 + 1 + 10) to book first."""
    trip = saga()
    problem = Problem(trip, forecast(0.1, 0.5))
    cost = realised_cost(author_plan(trip), problem, {"ask": [refused()]})
    assert cost == pytest.approx(0.1 * 12 + 0.9 * 16)


def law(calls: Sequence[SeenCall], retry: RetryPolicy) -> tuple[float, float, float]:
    """(success, attempts, seconds) of the booking."""
    trip = saga(retry)
    step, plan = trip.steps[0], author_plan(trip).by_name["book"]
    told = law_of_calls(step, plan, calls)
    return told.success, told.attempts, told.seconds


def test_retries_meet_the_same_attempts() -> None:
    """A second attempt that passed is met by plans with retries only; waits are half their ceiling."""
    calls = [refused(FailureClass.TRANSIENT), passed()]
    assert law(calls, RETRIES) == pytest.approx((1.0, 2.0, 1 + 1 + 1))
    assert law(calls, ONCE) == pytest.approx((0.0, 1.0, 1.0))


def test_attempts_beyond_the_logged_ones_fail_too() -> None:
    """One logged refusal under a plan with three attempts is three refusals."""
    success, attempts, _ = law([refused(FailureClass.TRANSIENT)], RETRIES)
    assert (success, attempts) == (0.0, 3.0)


def test_a_timeout_cuts_what_took_longer() -> None:
    """Success after 9 s under a timeout of 5 s is a timeout of 5 s, and may have left an effect."""
    trip = saga()
    told = law_of_calls(trip.steps[0], author_plan(trip).by_name["book"], [passed(9.0)])
    assert (told.success, told.seconds, sum(told.tainted), sum(told.refused)) == (0.0, 5.0, 1.0, 0.0)


def test_advice_is_judged_by_what_it_saves() -> None:
    """Of 40 runs half are refused; forecasts that know which save 3 in those, so 1.5 on average."""
    trip = saga()
    runs = [
        HeldOutRun(
            saga=trip,
            advised=forecast(0.0, 0.9 if number % 2 else 0.0),
            static=forecast(0.3, 0.0),
            seen={"book": [passed()], "ask": [refused() if number % 2 else passed()]},
        )
        for number in range(40)
    ]
    told = judge_decisions(runs, seed=1, draws=100, clock=lambda: 0.0, budget_s=1.0)
    assert told.runs == 40
    assert told.realised is not None
    assert told.realised["author"] == pytest.approx((16 + 5) / 2)
    assert told.realised["advised"] == pytest.approx((13 + 5) / 2)
    assert told.saved_author is not None
    assert told.saved_author.value == pytest.approx(1.5)
    assert told.changed == 0.5


def test_judging_plans_takes_bounded_time() -> None:
    """Once the time is over, the other runs are left out and counted."""
    ticks = iter(range(1_000))
    run = HeldOutRun(saga=saga(), advised=forecast(0.0, 0.5), static=forecast(0.0, 0.5), seen={})
    told = judge_decisions([run] * 60, seed=1, draws=20, clock=lambda: float(next(ticks)), budget_s=30.0)
    assert (told.runs, told.left_out) == (30, {"the time for judging plans was over": 30})


def test_too_few_runs_are_not_reported() -> None:
    """Fewer than twenty runs give no figures but a reason."""

    def none() -> Iterator[HeldOutRun]:
        yield from ()

    told = judge_decisions(none(), seed=1, draws=20, clock=lambda: 0.0, budget_s=1.0)
    assert told.realised is None
    assert told.skipped == "0 held-out runs could be priced, fewer than 20"


def row(number: int, outcome: AttemptOutcome, failure_class: FailureClass | None = None) -> AttemptRow:
    return AttemptRow(
        run_id="r", saga="trip", definition_hash="d", step="book", service="s", region="",
        kind=Kind.COMPENSATABLE, direction=Direction.FORWARD, attempt=number, position=0, steps_done=0,
        in_flight=0, scheduled_at=0.0, started_at=10.0, timeout_s=4.0, maximum_attempts=3, ended_at=11.5,
        outcome=outcome, error_type="", failure_class=failure_class, launch_at=0.0, arm="author",
        propensity=1.0, fallback=False, advice_id="", model_version="", context={}, features={},
    )  # fmt: skip


def test_attempts_become_calls() -> None:
    """What tells nothing is passed over; a timeout has lasted at least its timeout; an undeclared refusal
    is seen as unknown."""
    rows = [
        row(1, AttemptOutcome.CRASHED),
        row(2, AttemptOutcome.TIMED_OUT),
        row(3, AttemptOutcome.FAILED),
        row(4, AttemptOutcome.SUCCEEDED),
    ]
    assert calls_of(rows) == [
        SeenCall(succeeded=False, failure_class=None, seconds=4.0, known=False),
        SeenCall(succeeded=False, failure_class=FailureClass.UNKNOWN, seconds=1.5),
        SeenCall(succeeded=True, failure_class=None, seconds=1.5),
    ]
