"""A service's retry budget: retries never multiply an outage."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagacity_engine.events import AttemptFailed, AttemptStarted, Direction, RunStarted
from sagacity_engine.guards.retry_budget import RetryBudget
from sagacity_engine.guards.service_guards import ServiceGuard, ServiceGuards, ServicePolicy
from sagacity_engine.machine.machine import advance
from sagacity_engine.machine.run_state import begin
from sagacity_engine.machine.verdict import would_retry
from sagacity_engine.parts import Kind
from sagacity_engine.plan import author_plan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step

FIRST, RETRY = True, False
CALLS = st.lists(st.sampled_from([FIRST, FIRST, RETRY]), max_size=200)
SHARES = st.integers(0, 3_000_000).map(lambda millionths: Fraction(millionths, 1_000_000))
BURSTS = st.integers(0, 5_000_000).map(lambda millionths: Fraction(millionths, 1_000_000))


@given(SHARES, BURSTS, CALLS)
def test_it_is_a_bucket_of_tokens(share: Fraction, burst: Fraction, calls: list[bool]) -> None:
    """Each first attempt adds the share, up to the burst or one token; each retry takes a whole token."""
    budget, tokens = RetryBudget(float(share), float(burst)), burst
    for first in calls:
        assert budget.left == tokens // 1
        if first:
            budget.earn()
            tokens = min(max(burst, Fraction(1)), tokens + share)
        else:
            assert budget.spend() is (tokens >= 1)
            tokens -= tokens >= 1


@given(SHARES, BURSTS, CALLS)
def test_retries_are_a_share_of_first_attempts(share: Fraction, burst: Fraction, calls: list[bool]) -> None:
    """At every moment the load is at most (1 + share) x first attempts + burst, to the last retry."""
    budget, first_attempts, load = RetryBudget(float(share), float(burst)), 0, 0
    for first in calls:
        if first:
            budget.earn()
            first_attempts += 1
        load += first or budget.spend()
        assert load <= (1 + share) * first_attempts + burst


def test_tenths_add_up() -> None:
    """Ten first attempts at a share of a tenth pay for exactly one retry: nothing is lost to rounding."""
    budget = RetryBudget(0.1, 0)
    for _ in range(10):
        assert budget.spend() is False
        budget.earn()
    assert [budget.spend(), budget.spend()] == [True, False]


def test_without_a_share_retries_are_free() -> None:
    """A share of None counts nothing."""
    budget = RetryBudget(None, 0)
    budget.earn()
    assert [budget.spend() for _ in range(1_000)] == [True] * 1_000
    assert budget.left is None


SAGA = Saga(
    name="storm",
    steps=(
        Step(
            name="ask",
            kind=Kind.READ_ONLY,
            service="down",
            retry=RetryPolicy(maximum_attempts=10, initial_interval_s=0.0),
        ),
    ),
)


def calls_of_a_failing_run(number: int, guard: ServiceGuard) -> int:
    """Carries out a run whose every call is refused, as a host does; how many calls it made."""
    started = RunStarted(
        run_id=f"r{number}", at=0.0, definition_hash=SAGA.definition_hash, plan=author_plan(SAGA)
    )
    state = begin(SAGA, started)
    _, launches = advance(state, [], 0.0)
    calls = 0
    while launches:
        (launch,) = launches
        assert isinstance(launch, AttemptStarted)
        calls += 1
        if launch.attempt == 1:
            guard.earn()
        refused = AttemptFailed(
            at=0.0, step="ask", direction=Direction.FORWARD, attempt=launch.attempt, error_type="Down"
        )
        if would_retry(state, refused) and not guard.spend():
            refused = replace(refused, retry_refused=True)
        _, launches = advance(state, [refused], 0.0)
    assert state.ended is not None
    return calls


@pytest.mark.parametrize(("share", "expected"), [(0.2, 1_209), (0.0, 1_010), (None, 10_000)])
def test_retries_cannot_amplify_an_outage(share: float | None, expected: int) -> None:
    """A thousand runs with ten attempts each ask a dead service at most 1,210 times, not 10,000 times."""
    guard = ServiceGuards({"down": ServicePolicy(retry_share=share, retry_burst=10)}).of("down")
    load = sum(calls_of_a_failing_run(number, guard) for number in range(1_000))
    assert load == expected
    assert share is None or load <= (1 + share) * 1_000 + 10
