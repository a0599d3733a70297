"""What every proposal promises: legal, never dearer, repeatable, not sold at the price of completing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagacity_engine.errors import FailureClass
from sagacity_engine.parts import CostPolicy, SagaFreedom, StepFreedom
from sagacity_engine.plan import author_plan, check
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Step
from sagacity_engine.strategy import Strategy
from sagacity_models.forecast import Latency, Regime, SagaForecast, StepForecast, UndoForecast
from sagacity_optimizer import evaluate, optimize

FREEDOMS = st.builds(
    SagaFreedom,
    reorder=st.booleans(),
    parallel=st.booleans(),
    timeouts=st.booleans(),
    retries=st.booleans(),
    compensation=st.booleans(),
)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), freedom=FREEDOMS, deadline=st.booleans())
def test_every_proposal_is_legal_never_dearer_and_repeatable(
    random_case: Callable[..., Any], seed: int, freedom: SagaFreedom, deadline: bool
) -> None:
    """For random sagas and freedoms: legal, not above the author's cost, and twice the same."""
    case = random_case(seed, freedom=freedom, deadline=deadline)
    proposal = optimize(case.saga, case.forecast)
    assert check(proposal.plan, case.saga) == ()
    assert proposal.author == evaluate(author_plan(case.saga), case.saga, case.forecast)
    assert proposal.advised == evaluate(proposal.plan, case.saga, case.forecast)
    assert proposal.advised.expected_cost <= proposal.author.expected_cost
    assert 0 <= proposal.gap <= 1
    assert proposal.reasons
    assert optimize(case.saga, case.forecast) == proposal


@settings(derandomize=True, max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), deadline=st.booleans())
def test_exact_is_not_worse_than_fast(random_case: Callable[..., Any], seed: int, deadline: bool) -> None:
    """The exact search finds the same plan without a deadline; with one its plan is legal and not dearer."""
    case = random_case(seed, deadline=deadline)
    fast, exact = (optimize(case.saga, case.forecast, exact=flag) for flag in (False, True))
    assert check(exact.plan, case.saga) == ()
    assert exact.advised.expected_cost <= exact.author.expected_cost
    if not deadline:
        assert exact == fast


def test_no_freedom_means_the_author_s_plan(random_case: Callable[..., Any]) -> None:
    """A saga that grants nothing gets its author's plan, and a reason that says so."""
    for seed in range(20):
        case = random_case(seed, freedom=SagaFreedom())
        proposal = optimize(case.saga, case.forecast)
        assert proposal.plan == author_plan(case.saga)
        assert [reason.change for reason in proposal.reasons] == ["none"]


def test_bounds_of_one_step_bind_only_with_the_saga_s_freedom(random_case: Callable[..., Any]) -> None:
    """Numbers change only inside the step's bounds, and only where the saga grants that kind of change."""
    for seed in range(20):
        case = random_case(seed, freedom=SagaFreedom(retries=True))
        for step in optimize(case.saga, case.forecast).plan.steps:
            own = case.saga.by_name[step.name]
            assert step.start_to_close_timeout_s == own.start_to_close_timeout_s
            assert 1 <= step.retry.maximum_attempts <= 6


def test_stages_are_kept(random_case: Callable[..., Any]) -> None:
    """A document with stages keeps every step's waits; only its options are chosen."""
    case = random_case(3, steps=(4, 6), pivot=False, density=0.0)
    names = case.saga.names
    saga = replace(case.saga, stages=(names[:2], names[2:]))
    proposal = optimize(saga, case.forecast)
    own = author_plan(saga).by_name
    assert {s.name: s.after for s in proposal.plan.steps} == {n: own[n].after for n in names}
    assert proposal.advised.expected_cost <= proposal.author.expected_cost


def flaky(failures: dict[FailureClass, float]) -> StepForecast:
    """One regime with the given refusals, quick and steady."""
    quick = Latency(0.5, 0.3)
    return StepForecast(
        regimes=(Regime(1.0, failures, quick, quick),), undo=UndoForecast(0.0, Latency(1.0, 0.2))
    )


def one_step(freedom: SagaFreedom, **changes: Any) -> Any:
    """A saga of one step with wide bounds."""
    from sagacity_engine.saga import Saga

    step = Step(
        name="a",
        cost=1.0,
        idempotent=True,
        freedom=StepFreedom(start_to_close_timeout_s=(0.1, 60.0), maximum_attempts=(1, 10)),
        **changes,
    )
    return Saga(
        name="one",
        steps=(step,),
        freedom=freedom,
        policy=CostPolicy(latency_cost_per_s=0.01, failure_penalty=50.0),
    )


def test_transient_failures_earn_more_attempts() -> None:
    """A step that fails now and then, with a dear failure, is retried more often than the author does."""
    saga = one_step(SagaFreedom(retries=True), retry=RetryPolicy(maximum_attempts=1))
    proposal = optimize(saga, SagaForecast(steps={"a": flaky({FailureClass.TRANSIENT: 0.3})}))
    assert proposal.plan.by_name["a"].retry.maximum_attempts >= 4
    assert "attempts instead of 1" in proposal.reasons[0].text


def test_permanent_failures_are_not_retried() -> None:
    """In a mixture of permanent and transient refusals only the permanent ones turn back at once."""
    quick = Latency(0.5, 0.3)
    forecast = StepForecast(
        regimes=(
            Regime(0.2, {FailureClass.PERMANENT: 1.0}, quick, quick),
            Regime(0.8, {FailureClass.TRANSIENT: 0.2}, quick, quick),
        ),
        undo=UndoForecast(0.0, Latency(1.0, 0.2)),
    )
    proposal = optimize(one_step(SagaFreedom(compensation=True)), SagaForecast(steps={"a": forecast}))
    on_failure = proposal.plan.by_name["a"].on_failure
    assert on_failure.permanent is Strategy.IMMEDIATE_FULL_COMPENSATION
    assert on_failure.transient is Strategy.STANDARD_COMPENSATION


def test_failing_on_purpose_is_never_advised() -> None:
    """Where failing is free and going on is dear, no timeout is set to cut off replies that would come."""
    saga = replace(
        one_step(SagaFreedom(timeouts=True)), policy=CostPolicy(latency_cost_per_s=5.0, failure_penalty=0.0)
    )
    forecast = SagaForecast(steps={"a": flaky({FailureClass.TRANSIENT: 0.05})})
    proposal = optimize(saga, forecast)
    kept = proposal.author.success_probability - proposal.advised.success_probability
    assert kept <= 2e-3


def test_an_uncertain_pivot_is_no_bargain() -> None:
    """A pivot whose refusal would undo much is given no timeout that leaves its outcome unknown instead."""
    from sagacity_engine.parts import Compensation, Kind
    from sagacity_engine.saga import Saga

    bounds = StepFreedom(start_to_close_timeout_s=(0.1, 60.0), maximum_attempts=(1, 5))
    saga = Saga(
        name="two",
        steps=(
            Step(name="a", cost=1.0, compensation=Compensation(cost=50.0)),
            Step(name="pay", kind=Kind.PIVOT, idempotent=True, freedom=bounds),
        ),
        freedom=SagaFreedom(timeouts=True, retries=True),
        policy=CostPolicy(failure_penalty=1.0),
    )
    told = flaky({FailureClass.TRANSIENT: 0.3})
    proposal = optimize(saga, SagaForecast(steps={"a": told, "pay": told}))
    assert proposal.advised.attention_probability <= proposal.author.attention_probability + 2e-3


def test_hopeless_attempts_are_given_up() -> None:
    """Where a step is nearly always refused and an attempt costs more than it can win, one is enough."""
    saga = one_step(SagaFreedom(retries=True))
    saga = replace(
        saga,
        steps=(replace(saga.steps[0], cost=2.0),),
        policy=CostPolicy(latency_cost_per_s=1.0, failure_penalty=20.0),
    )
    sick = SagaForecast(steps={"a": flaky({FailureClass.CASCADING: 0.98})})
    well = SagaForecast(steps={"a": flaky({FailureClass.TRANSIENT: 0.2})})
    attempts = [optimize(saga, told).plan.by_name["a"].retry.maximum_attempts for told in (sick, well)]
    assert attempts[0] == 1 < attempts[1]


def test_a_deadline_the_author_keeps_is_kept(random_case: Callable[..., Any]) -> None:
    """Where the author's plan fits under the deadline in the worst case, so does the advised one."""
    tested = 0
    for seed in range(30):
        case = random_case(seed, pivot=False)
        worst = evaluate(author_plan(case.saga), case.saga, case.forecast).worst_case_s
        saga = replace(case.saga, deadline_s=worst)
        proposal = optimize(saga, case.forecast)
        assert proposal.advised.worst_case_s <= worst + 1e-9
        assert proposal.advised.deadline_probability == 0
        tested += proposal.plan != author_plan(saga)
    assert tested > 10


def test_a_twenty_step_saga_is_searched_as_a_whole(random_case: Callable[..., Any]) -> None:
    """A large saga with every freedom gets a legal plan that is cheaper than the author's."""
    case = random_case(11, steps=(20, 20), density=0.2)
    saga = replace(case.saga, policy=CostPolicy(latency_cost_per_s=0.05, failure_penalty=300.0))
    proposal = optimize(saga, case.forecast)
    assert proposal.advised.expected_cost < 0.95 * proposal.author.expected_cost


def test_more_steps_than_bits_still_get_a_legal_order(plain_case: Callable[..., Any]) -> None:
    """Past the 62 steps of the exact recursion, list scheduling orders eighty steps in eight chains."""
    rows = [(1.0, 0.01 * (i % 7), 0.5 * (i % 5), (i - 8,) if i >= 8 else ()) for i in range(80)]
    case = plain_case(rows, penalty=100.0)
    proposal = optimize(case.saga, case.forecast)
    assert check(proposal.plan, case.saga) == ()
    assert proposal.advised.expected_cost < proposal.author.expected_cost
    assert proposal.gap < 0.05


@pytest.mark.parametrize("missing", ["reorder", "timeouts", "retries", "compensation"])
def test_each_freedom_is_respected(missing: str, random_case: Callable[..., Any]) -> None:
    """Without one freedom, what it covers stays the author's."""
    for seed in range(8):
        case = random_case(seed)
        saga = replace(case.saga, freedom=replace(case.saga.freedom, **{missing: False}))
        plan, own = optimize(saga, case.forecast).plan, author_plan(saga)
        for step in plan.steps:
            was = own.by_name[step.name]
            if missing == "reorder":
                assert step.after == was.after
            elif missing == "timeouts":
                assert step.start_to_close_timeout_s == was.start_to_close_timeout_s
            elif missing == "retries":
                assert step.retry == was.retry
            else:
                assert step.on_failure == was.on_failure
