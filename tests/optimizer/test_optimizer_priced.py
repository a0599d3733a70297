"""Sagas with parts that have no price yet are told so, and keep their author's plan."""

import asyncio
from typing import Any

import pytest

from sagacity_engine.advisor import Launch
from sagacity_engine.document import read_saga
from sagacity_engine.errors import SagaRefused
from sagacity_engine.plan import author_plan
from sagacity_engine.saga import Saga
from sagacity_models.base_rate_forecaster import BaseRateForecaster
from sagacity_models.base_rates import BaseRates
from sagacity_optimizer.advisor import ModelAdvisor
from sagacity_optimizer.propose import optimize

INNER = {"saga": "inner", "steps": [{"name": "deep"}]}
PARTS: dict[str, tuple[dict[str, Any], str]] = {
    "approval": ({"kind": "read_only", "approval": {}}, "waits for an approval"),
    "sub_saga": ({"sub_saga": {"saga": INNER}}, "is a saga of its own"),
    "alternative": ({"alternative_to": "a"}, "is an alternative to 'a'"),
    "savepoint": ({"savepoint": True}, "is a savepoint"),
    "skip_loss": ({"optional": True, "skip_loss": 2.0}, "has a skip_loss"),
    "on_timeout": ({"on_timeout": "COMPENSATE"}, "decides on_timeout"),
    "after_failure": ({"compensation": {"after_failure": True}}, "is undone after a refusal too"),
}


def saga_with(fields: dict[str, Any]) -> Saga:
    return read_saga({"saga": "s", "steps": [{"name": "a"}, {"name": "b", **fields}]})


@pytest.mark.parametrize("part", PARTS)
def test_a_part_without_a_price_is_named(part: str) -> None:
    """A prediction is refused with the part's name, and advice is the author's plan with the same words."""
    fields, words = PARTS[part]
    saga, rates = saga_with(fields), BaseRateForecaster(BaseRates.estimate({}))
    with pytest.raises(SagaRefused, match=words):
        optimize(saga, rates.forecast(saga, {}, 0.0))
    launch = Launch(run_id="r", context={}, at=0.0)
    advice = asyncio.run(ModelAdvisor(rates).advise(saga, launch))
    assert advice.plan == author_plan(saga)
    assert advice.fallback
    assert words in advice.reasons[0]


def test_what_only_holds_calls_back_is_priced_without_it() -> None:
    """Probes, breakers, budgets and locks stand in no prediction's way."""
    saga = read_saga(
        {
            "saga": "s",
            "retry_budget": 3,
            "locks": [{"key": "room"}],
            "steps": [{"name": "a", "probe": {}, "breaker": {}, "schedule_to_close_timeout_s": 60}],
        }
    )
    assert (
        optimize(
            saga, BaseRateForecaster(BaseRates.estimate({})).forecast(saga, {}, 0.0)
        ).author.expected_cost
        >= 0
    )
