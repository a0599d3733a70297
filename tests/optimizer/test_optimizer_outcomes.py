"""Closed forms of one step against enumeration of every history of attempts."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from sagacity_engine.errors import FailureClass
from sagacity_engine.parts import Compensation, Kind
from sagacity_engine.plan import author_plan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Step
from sagacity_engine.strategy import OnFailure, Strategy
from sagacity_models.forecast import Latency, Regime, StepForecast, UndoForecast
from sagacity_optimizer.masses import FIELDS
from sagacity_optimizer.options import option_table
from sagacity_optimizer.outcomes import CLASSES, step_law, undo_law
from sagacity_optimizer.problem import Problem

IMMEDIATE = Strategy.IMMEDIATE_FULL_COMPENSATION
LATENCY, FAILURE_LATENCY = Latency(1.0, 0.8), Latency(0.7, 0.5)
FORECAST = StepForecast(
    regimes=(
        Regime(0.6, {FailureClass.TRANSIENT: 0.2, FailureClass.UNKNOWN: 0.05}, LATENCY, FAILURE_LATENCY),
        Regime(0.3, {FailureClass.PERMANENT: 0.9, FailureClass.CASCADING: 0.05}, LATENCY, FAILURE_LATENCY),
        Regime(0.1, {FailureClass.CASCADING: 1.0}, Latency(3.0, 0.4), FAILURE_LATENCY),
    ),
    undo=UndoForecast(0.2, Latency(2.0, 0.5)),
)


def histories(step: Step, on_failure: OnFailure, timeout_s: float, most: int) -> Iterator[dict[str, Any]]:
    """Every history of attempts with its probability, by the engine's rules alone."""
    for regime in FORECAST.regimes:
        yield from _continued(step, on_failure, regime, timeout_s, (most, regime.weight, 1, False))


def _continued(
    step: Step,
    on_failure: OnFailure,
    regime: Regime,
    timeout_s: float,
    state: tuple[int, float, int, bool],
) -> Iterator[dict[str, Any]]:
    most, probability, attempt, tainted = state
    hides, hides_failure = regime.latency.survival(timeout_s), regime.failure_latency.survival(timeout_s)
    wins = 1 - regime.failure_probability
    yield {"end": "ok", "p": probability * wins * (1 - hides), "attempts": attempt, "tainted": tainted}
    lost = wins * hides + regime.failure_probability * hides_failure
    events = [(c, False, mass * (1 - hides_failure)) for c, mass in regime.failures.items()]
    for failure_class, hidden, mass in [*events, (FailureClass.UNKNOWN, True, lost)]:
        stained = tainted or (hidden and step.kind is not Kind.READ_ONLY)
        asks = on_failure.of(failure_class).retries or (step.kind is Kind.PIVOT and stained)
        may = not hidden or step.idempotent or step.kind is Kind.READ_ONLY
        if asks and may and attempt < most:
            yield from _continued(
                step, on_failure, regime, timeout_s, (most, probability * mass, attempt + 1, stained)
            )
        else:
            yield {
                "end": failure_class,
                "p": probability * mass,
                "attempts": attempt,
                "tainted": stained,
            }


@pytest.mark.parametrize("kind", [Kind.COMPENSATABLE, Kind.PIVOT, Kind.READ_ONLY])
@pytest.mark.parametrize("idempotent", [True, False])
def test_a_step_s_law_is_the_sum_over_all_histories(kind: Kind, idempotent: bool) -> None:
    """Success, attempts and final failures by class and taint equal enumeration, for every strategy."""
    for flags in product((False, True), repeat=4):
        on_failure = OnFailure(**{c.value: IMMEDIATE for c, cut in zip(CLASSES, flags, strict=True) if cut})
        for most, timeout_s in ((1, 1.5), (3, 1.5), (4, 0.6)):
            step = Step(
                name="s",
                kind=kind,
                idempotent=idempotent,
                cost=2.0,
                start_to_close_timeout_s=timeout_s,
                retry=RetryPolicy(maximum_attempts=most),
            )
            law = step_law(step, _plan_of(step, on_failure), FORECAST)
            seen = list(histories(step, on_failure, timeout_s, most))
            assert sum(h["p"] for h in seen) == pytest.approx(1)
            assert law.success == pytest.approx(sum(h["p"] for h in seen if h["end"] == "ok"), abs=1e-12)
            assert law.attempts == pytest.approx(sum(h["p"] * h["attempts"] for h in seen))
            assert law.money == pytest.approx(2 * law.attempts)
            for c, failure_class in enumerate(CLASSES):
                for masses, tainted in ((law.refused, False), (law.tainted, True)):
                    expected = sum(
                        h["p"] for h in seen if h["end"] == failure_class and h["tainted"] == tainted
                    )
                    assert masses[c] == pytest.approx(expected, abs=1e-12)


def test_seconds_are_attempt_durations_cut_at_the_timeout_plus_half_the_ceilings() -> None:
    """With one regime and geometric attempts the expected seconds follow by hand."""
    regime = Regime(1.0, {FailureClass.TRANSIENT: 0.4}, LATENCY, FAILURE_LATENCY)
    forecast = replace(FORECAST, regimes=(regime,))
    step = Step(name="s", start_to_close_timeout_s=2.0, idempotent=True)
    law = step_law(step, _plan_of(step, OnFailure()), forecast)
    steps = 4_000
    width = 2.0 / steps
    attempt_s = sum(
        (0.6 * LATENCY.survival((k + 0.5) * width) + 0.4 * FAILURE_LATENCY.survival((k + 0.5) * width))
        * width
        for k in range(steps)
    )
    again = 1 - 0.6 * (1 - LATENCY.survival(2.0))
    assert law.seconds == pytest.approx(
        attempt_s * (1 + again + again**2) + again * 0.5 + again**2 * 1.0, rel=1e-6
    )
    assert law.worst_s == pytest.approx(3 * 2.0 + 1.0 + 2.0)


def test_an_undo_counts_timeouts_as_failures() -> None:
    """Attempts, seconds and exhaustion of a compensation follow from its one-attempt failure probability."""
    undo = Compensation(cost=3.0, start_to_close_timeout_s=4.0, retry=RetryPolicy(maximum_attempts=3))
    forecast = UndoForecast(0.2, Latency(2.0, 0.5))
    law = undo_law(undo, forecast)
    fails = 1 - 0.8 * (1 - forecast.latency.survival(4.0))
    assert law.failure == pytest.approx(fails**3)
    assert law.attempts == pytest.approx(1 + fails + fails**2)
    assert law.money == pytest.approx(3 * law.attempts)
    assert law.seconds == pytest.approx(
        law.attempts * forecast.latency.mean_until(4.0) + fails * 0.5 + fails**2 * 1.0
    )
    assert law.worst_s == pytest.approx(3 * 4 + 3)


def test_many_attempts_stay_finite_and_exact() -> None:
    """A thousand attempts of a step that nearly always fails neither overflow nor lose probability."""
    regime = Regime(1.0, {FailureClass.TRANSIENT: 0.999}, LATENCY, FAILURE_LATENCY)
    step = Step(name="s", retry=RetryPolicy(maximum_attempts=1_000), start_to_close_timeout_s=1e6)
    law = step_law(step, _plan_of(step, OnFailure()), replace(FORECAST, regimes=(regime,)))
    assert law.success == pytest.approx(1 - 0.999**1000)
    assert law.success + law.failure == pytest.approx(1)
    assert math.isfinite(law.seconds)


def test_the_option_table_is_the_closed_form_of_every_choice(random_case: Callable[..., Any]) -> None:
    """Every entry of the vectorised table equals the scalar law of that choice."""
    for seed in range(12):
        case = random_case(seed)
        problem = Problem(case.saga, case.forecast)
        table = option_table(problem, author_plan(case.saga), joined=True)
        for i, step in enumerate(case.saga.steps):
            for number in range(0, len(table[i].base), 7):
                choice = table[i].choice(number)
                on_failure = OnFailure(
                    **{
                        c.value: IMMEDIATE
                        for c, keep in zip(CLASSES, choice.retries, strict=True)
                        if not keep
                    }
                )
                plan = replace(
                    author_plan(case.saga).by_name[step.name],
                    start_to_close_timeout_s=choice.timeout_s,
                    retry=replace(step.retry, maximum_attempts=choice.attempts),
                    on_failure=on_failure,
                )
                law = step_law(step, plan, case.forecast.steps[step.name])
                goes_on = 1.0 if step.optional else law.success
                assert table[i].go[number] == pytest.approx(goes_on, abs=1e-12)
                undo = problem.undos[i].worst_s if step.optional else 0.0
                assert table[i].worst_s[number] == pytest.approx(law.worst_s + undo)
                if not step.optional:
                    cost = law.money + problem.per_s * law.seconds + law.failure * problem.penalty
                    assert table[i].base_committed[number] == pytest.approx(cost, abs=1e-12)
                    # An uncertain pivot is priced like one that failed: somebody has to settle it.
                    tainted = sum(law.tainted)
                    assert table[i].back[number] == pytest.approx(sum(law.refused) + tainted, abs=1e-12)
                    assert table[i].together_own[number] == pytest.approx(tainted, abs=1e-12)
    assert len(FIELDS) == 7


def _plan_of(step: Step, on_failure: OnFailure) -> Any:
    from sagacity_engine.plan import StepPlan

    return StepPlan(
        name=step.name,
        after=(),
        start_to_close_timeout_s=step.start_to_close_timeout_s,
        retry=step.retry,
        on_failure=on_failure,
    )
