"""The saga document: a definition as a plain mapping, read from JSON or YAML by the caller.

The document and the Python face build the same `Saga` value; `saga_document` writes it back without defaults.
Plans travel the same way, so that an advisor elsewhere can send one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagacity_engine.errors import PlanRefused, SagaRefused
from sagacity_engine.plan import Plan
from sagacity_engine.saga import Saga
from sagacity_engine.saga_rules import STEPS_MAX
from sagacity_engine.wire import from_plain, schema_of, to_plain


def read_saga(document: object) -> Saga:
    """The checked definition; raises `SagaRefused` naming the place, the value and the way out."""
    steps = document.get("steps") if isinstance(document, Mapping) else None
    if isinstance(steps, list | tuple) and len(steps) > STEPS_MAX:  # Before each of them is looked at.
        raise SagaRefused(f"the document has {len(steps)} steps; the most is {STEPS_MAX}")
    return from_plain(Saga, document)


def saga_document(saga: Saga) -> dict[str, Any]:
    """The definition as a JSON-able mapping that `read_saga` turns back into an equal value."""
    document: dict[str, Any] = to_plain(saga, omit_defaults=True)
    return document


def read_plan(document: object) -> Plan:
    """A plan of the right shape; raises `PlanRefused`. Whether it is legal is for `check` to say."""
    try:
        return from_plain(Plan, document, "plan")
    except SagaRefused as refusal:
        raise PlanRefused(str(refusal)) from None


def plan_document(plan: Plan) -> Mapping[str, Any]:
    """The plan as a JSON-able mapping that `read_plan` turns back into an equal value."""
    document: Mapping[str, Any] = to_plain(plan)
    return document


def saga_schema() -> dict[str, Any]:
    """The published JSON Schema of the saga document."""
    return schema_of(Saga, "Sagacity saga document")
