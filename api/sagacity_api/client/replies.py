"""The reader of the service's answers, which trusts no reply.

Fields it does not know are passed over: the service may add some. Fields it needs must be there, of the right
type, finite and in range, or the reply is refused whole.
"""

from __future__ import annotations

import math
from typing import Any

from sagacity_api.answers import (
    FreedomValue,
    Model,
    Numbers,
    Prediction,
    Reason,
    Recommendation,
    RiskFactor,
    StepRisk,
)
from sagacity_api.client.errors import ReplyRefused
from sagacity_api.saga_reading import plan_from
from sagacity_engine import EngineError


def read_prediction(reply: object) -> Prediction:
    """The typed reply; raises `ReplyRefused` naming the field."""
    fields = _Fields(reply, "the reply")
    return Prediction(
        expected=_numbers(fields.inner("expected")),
        steps=tuple(_step_risk(step) for step in fields.items("steps")),
        risk_factors=_risk_factors(fields),
        model=_model(fields),
        fallback=fields.boolean("fallback"),
        expires_at=fields.number("expires_at"),
        request_id=fields.text("request_id"),
    )


def read_recommendation(reply: object) -> Recommendation:
    """The typed reply; raises `ReplyRefused` naming the field. Whether the plan is legal is not asked."""
    fields = _Fields(reply, "the reply")
    try:
        plan = plan_from(fields.value("plan"))
    except EngineError as refusal:
        raise ReplyRefused(f"the reply holds no plan: {refusal}") from None
    return Recommendation(
        advice_id=fields.text("advice_id"),
        plan=plan,
        author=_numbers(fields.inner("author")),
        advised=_numbers(fields.inner("advised")),
        gap=fields.number("gap"),
        reasons=tuple(
            Reason(change=each.text("change"), step=each.text("step"), text=each.text("text"))
            for each in fields.items("reasons")
        ),
        freedoms=tuple(
            FreedomValue(
                freedom=each.text("freedom"),
                saved=each.number("saved"),
                share=each.number("share"),
                text=each.text("text"),
            )
            for each in fields.items("freedoms")
        ),
        risk_factors=_risk_factors(fields),
        model=_model(fields),
        fallback=fields.boolean("fallback"),
        expires_at=fields.number("expires_at"),
        request_id=fields.text("request_id"),
    )


def _numbers(fields: _Fields) -> Numbers:
    return Numbers(
        cost=fields.number("cost"),
        success_probability=fields.share("success_probability"),
        compensated_probability=fields.share("compensated_probability"),
        attention_probability=fields.share("attention_probability"),
        latency_s_mean=fields.number("latency_s_mean"),
        wasted_cost=fields.number("wasted_cost"),
        undo_cost=fields.number("undo_cost"),
        worst_case_s=fields.number("worst_case_s"),
    )


def _step_risk(fields: _Fields) -> StepRisk:
    classes = fields.inner("classes")
    return StepRisk(
        name=fields.text("name"),
        failure_probability=fields.share("failure_probability"),
        first_refusal_probability=fields.share("first_refusal_probability"),
        classes={name: classes.share(name) for name in classes.names()},
        duration_s_p50=fields.number("duration_s_p50"),
        duration_s_p90=fields.number("duration_s_p90"),
    )


def _risk_factors(fields: _Fields) -> tuple[RiskFactor, ...]:
    return tuple(
        RiskFactor(
            step=each.text("step"),
            loss=each.number("loss"),
            share=each.share("share"),
            reason=each.text("reason"),
        )
        for each in fields.items("risk_factors")
    )


def _model(fields: _Fields) -> Model:
    model = fields.inner("model")
    return Model(version=model.text("version"), kind=model.text("kind"))


class _Fields:
    """A mapping from a stranger, read field by field."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise ReplyRefused(f"{where} is no JSON object")
        self._mapping: dict[str, Any] = value
        self._where = where

    def names(self) -> list[str]:
        return list(self._mapping)

    def value(self, name: str) -> Any:
        if name not in self._mapping:
            raise ReplyRefused(f"{self._where} lacks {name!r}")
        return self._mapping[name]

    def text(self, name: str) -> str:
        value = self.value(name)
        return value if isinstance(value, str) else self._refuse(name, value, "text")

    def boolean(self, name: str) -> bool:
        value = self.value(name)
        return value if isinstance(value, bool) else self._refuse(name, value, "true or false")

    def number(self, name: str) -> float:
        value = self.value(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self._refuse(name, value, "a finite number")
        return float(value)

    def share(self, name: str) -> float:
        value = self.number(name)
        return value if 0.0 <= value <= 1.0 else self._refuse(name, value, "between 0 and 1")

    def inner(self, name: str) -> _Fields:
        return _Fields(self.value(name), f"{self._where}'s {name}")

    def items(self, name: str) -> list[_Fields]:
        return [_Fields(item, f"{self._where}'s {name}[{i}]") for i, item in enumerate(self._list(name))]

    def _list(self, name: str) -> list[Any]:
        value = self.value(name)
        return value if isinstance(value, list) else self._refuse(name, value, "a list")

    def _refuse(self, name: str, value: object, wanted: str) -> Any:
        raise ReplyRefused(f"{self._where}'s {name} is {repr(value)[:60]}; it must be {wanted}")
