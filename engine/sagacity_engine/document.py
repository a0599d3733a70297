"""The saga document: a definition as a plain mapping, read from JSON or YAML by the caller.

The document and the Python face build the same `Saga` value; `saga_document` writes it back without defaults.
Plans travel the same way, so that an advisor elsewhere can send one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sagacity_engine.errors import PlanRefused, SagaRefused
from sagacity_engine.plan import Plan
from sagacity_engine.rules.saga_rules import STEPS_MAX
from sagacity_engine.rules.step_rules import SUB_SAGA_DEPTH_MAX
from sagacity_engine.saga import Saga
from sagacity_engine.wire import from_plain, schema_of, to_plain


def read_saga(document: object) -> Saga:
    """The checked definition; raises `SagaRefused` naming the place, the value and the way out."""
    _require_bounded(document)
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


def _require_bounded(document: object) -> None:
    """Refuses too many steps and too deep a nesting of sagas before any step is looked at closely."""
    level, depth, count = [document], 0, 0
    while level:
        if depth == SUB_SAGA_DEPTH_MAX:
            raise SagaRefused(f"the document nests sagas more than {depth} deep; make it flatter")
        count += sum(len(_steps(saga)) for saga in level)
        if count > STEPS_MAX:
            also = " with its sub-sagas" if depth else ""
            raise SagaRefused(f"the document has {count} steps{also}; the most is {STEPS_MAX}")
        inner = (_inner(step) for saga in level for step in _steps(saga))
        level, depth = [saga for saga in inner if saga is not None], depth + 1


def _steps(document: object) -> Sequence[object]:
    steps = document.get("steps") if isinstance(document, Mapping) else None
    return steps if isinstance(steps, list | tuple) else ()


def _inner(step: object) -> object:
    sub_saga = step.get("sub_saga") if isinstance(step, Mapping) else None
    return sub_saga.get("saga") if isinstance(sub_saga, Mapping) else None
