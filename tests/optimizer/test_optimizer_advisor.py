"""What people and programs get to read: advice, reasons, risk factors, earnings and graphs."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sagacity_engine.advisor import Context, Launch, ask
from sagacity_engine.parts import SagaFreedom
from sagacity_engine.plan import author_plan
from sagacity_engine.saga import Saga
from sagacity_models.forecast import SagaForecast
from sagacity_optimizer import (
    ModelAdvisor,
    evaluate,
    optimize,
    risk_factors,
    what_freedoms_would_earn,
)
from sagacity_optimizer.graph import fixed_arcs, precedence_graph

LAUNCH = Launch(run_id="run-1", context={"season": "monsoon"}, at=1_000.0)


class FixedForecaster:
    """Always the same forecast; remembers what it was asked."""

    def __init__(self, forecast: SagaForecast) -> None:
        self.answer = forecast
        self.asked: list[tuple[Context, float]] = []

    def forecast(self, saga: Saga, context: Context, at: float) -> SagaForecast:
        self.asked.append((context, at))
        return self.answer


def test_advice_carries_the_plan_both_costs_and_the_reasons(random_case: Callable[..., Any]) -> None:
    """The advisor asks with the launch's context and time, and reports what the optimizer found."""
    case = random_case(4)
    forecaster = FixedForecaster(case.forecast)
    advice = ModelAdvisor(forecaster, valid_for_s=60.0).plan_for(case.saga, LAUNCH)
    proposal = optimize(case.saga, case.forecast)
    assert forecaster.asked == [({"season": "monsoon"}, 1_000.0)]
    assert advice.plan == proposal.plan
    assert advice.expected["author"]["cost"] == proposal.author.expected_cost
    assert advice.expected["advised"]["cost"] == proposal.advised.expected_cost
    assert advice.reasons == tuple(reason.text for reason in proposal.reasons)
    assert advice.model_version == "test"
    assert advice.expires_at == 1_060.0
    assert not advice.fallback


def test_the_advice_id_depends_on_definition_run_and_model_alone(random_case: Callable[..., Any]) -> None:
    """The same question gets the same id; another run, definition or model another one."""
    case = random_case(4)
    advisor = ModelAdvisor(FixedForecaster(case.forecast))
    first = advisor.plan_for(case.saga, LAUNCH).advice_id
    assert first == advisor.plan_for(case.saga, replace(LAUNCH, at=5.0)).advice_id
    assert first != advisor.plan_for(case.saga, replace(LAUNCH, run_id="run-2")).advice_id
    assert first != advisor.plan_for(replace(case.saga, version="2"), LAUNCH).advice_id
    other = ModelAdvisor(FixedForecaster(replace(case.forecast, model_version="next")))
    assert first != other.plan_for(case.saga, LAUNCH).advice_id


def test_the_engine_accepts_the_advice(random_case: Callable[..., Any]) -> None:
    """Asked through the engine's port, advice arrives as it was given."""
    case = random_case(4)
    advisor = ModelAdvisor(FixedForecaster(case.forecast))
    advice = asyncio.run(ask(advisor, case.saga, LAUNCH, budget_s=30.0))
    assert advice == advisor.plan_for(case.saga, LAUNCH)
    assert not advice.fallback


def test_an_injected_clock_decides_when_advice_expires(random_case: Callable[..., Any]) -> None:
    """With a clock, validity counts from when the advice was made."""
    case = random_case(4)
    advisor = ModelAdvisor(FixedForecaster(case.forecast), clock=lambda: 7.0, valid_for_s=1.0)
    assert advisor.plan_for(case.saga, LAUNCH).expires_at == 8.0


def test_every_reason_names_its_step_and_numbers(random_case: Callable[..., Any]) -> None:
    """A reason about a step quotes its name and at least one number, unless it names a class of failure."""
    told = set()
    for seed in range(30):
        case = random_case(seed)
        proposal = optimize(case.saga, case.forecast)
        for reason in proposal.reasons:
            told.add(reason.change)
            assert re.search(r"\d", reason.text)
            if reason.step:
                assert f"'{reason.step}'" in reason.text
    assert told >= {"order", "timeout", "attempts", "strategy"}


def test_every_changed_number_has_a_reason(random_case: Callable[..., Any]) -> None:
    """Timeouts and attempts that differ from the author's are each explained once."""
    for seed in range(15):
        case = random_case(seed)
        proposal = optimize(case.saga, case.forecast)
        own = author_plan(case.saga).by_name
        changed = {
            ("timeout", s.name)
            for s in proposal.plan.steps
            if s.start_to_close_timeout_s != own[s.name].start_to_close_timeout_s
        } | {
            ("attempts", s.name)
            for s in proposal.plan.steps
            if s.retry.maximum_attempts != own[s.name].retry.maximum_attempts
        }
        explained = [
            (r.change.value, r.step) for r in proposal.reasons if r.change.value in ("timeout", "attempts")
        ]
        assert sorted(explained) == sorted(changed)


def test_risk_factors_are_the_dearest_failures(random_case: Callable[..., Any]) -> None:
    """At most three steps, by falling expected loss, with their share of all of it."""
    case = random_case(6, steps=(6, 6))
    evaluation = evaluate(author_plan(case.saga), case.saga, case.forecast)
    factors = risk_factors(evaluation)
    losses = sorted(
        (s.start_probability * s.failure_probability * s.rollback_cost for s in evaluation.steps),
        reverse=True,
    )
    assert [f.loss for f in factors] == pytest.approx(losses[:3])
    assert sum(f.share for f in factors) <= 1 + 1e-9


def test_what_freedoms_would_earn_says_what_each_alone_would_save(random_case: Callable[..., Any]) -> None:
    """A saga that grants nothing learns, best first, what each freedom would save; nothing is negative."""
    case = random_case(4, freedom=SagaFreedom())
    earnings = what_freedoms_would_earn(case.saga, case.forecast)
    assert {e.freedom for e in earnings} == {"reorder", "timeouts", "retries", "compensation"}
    assert [e.saved for e in earnings] == sorted((e.saved for e in earnings), reverse=True)
    assert min(e.saved for e in earnings) >= 0
    reorder = next(e for e in earnings if e.freedom == "reorder")
    alone = optimize(replace(case.saga, freedom=SagaFreedom(reorder=True)), case.forecast)
    assert reorder.saved == pytest.approx(alone.author.expected_cost - alone.advised.expected_cost)
    granted = replace(case.saga, freedom=SagaFreedom(reorder=True))
    assert "reorder" not in {e.freedom for e in what_freedoms_would_earn(granted, case.forecast)}


def test_graphs_show_what_no_longer_path_implies(plain_case: Callable[..., Any]) -> None:
    """Every arc is in the graph; what is told to people leaves out those that a longer path implies."""
    case = plain_case([(1, 0.1, 1, ()), (1, 0.1, 1, (0,)), (1, 0.1, 1, (0, 1)), (1, 0.1, 1, ())])
    assert set(precedence_graph(case.saga).edges) == {("s0", "s1"), ("s0", "s2"), ("s1", "s2")}
    assert fixed_arcs(case.saga) == (("s0", "s1"), ("s1", "s2"))
