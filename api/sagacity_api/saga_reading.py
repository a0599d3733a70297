"""Parsed documents from strangers to checked values, with the sizes bounded before any rule is applied.

The engine's rules compare steps with each other, so a list of a hundred thousand steps would cost minutes
before it is refused for its length. Lengths are looked at first.
"""

from __future__ import annotations

from collections.abc import Mapping

from sagacity_engine import Plan, PlanRefused, Saga, SagaRefused, read_plan, read_saga
from sagacity_engine.rules.saga_rules import ARCS_MAX, STEPS_MAX

CONTEXT_KEYS_MAX = 64
CONTEXT_TEXT_MAX = 256


def saga_from(document: object) -> Saga:
    """The checked definition; raises `SagaRefused`."""
    if isinstance(document, Mapping):
        _bounded_list("steps", document.get("steps"), STEPS_MAX)
        steps = document.get("steps")
        if isinstance(steps, list):
            for position, step in enumerate(steps):
                if isinstance(step, Mapping):
                    _bounded_list(f"steps[{position}].after", step.get("after"), ARCS_MAX)
        _bounded_stages(document.get("stages"))
    return read_saga(document)


def plan_from(document: object) -> Plan:
    """A plan of the right shape, not yet checked against its saga; raises `PlanRefused`."""
    steps = document.get("steps") if isinstance(document, Mapping) else None
    if isinstance(steps, list) and len(steps) > STEPS_MAX:
        raise PlanRefused(f"plan.steps has {len(steps)} entries; the most is {STEPS_MAX}")
    return read_plan(document)


def context_from(pairs: Mapping[str, str | float | bool]) -> dict[str, str | float | bool]:
    """The caller's context within its bounds; raises `SagaRefused`."""
    if len(pairs) > CONTEXT_KEYS_MAX:
        raise SagaRefused(f"the context has {len(pairs)} keys; the most is {CONTEXT_KEYS_MAX}")
    for key, value in pairs.items():
        if len(key) > CONTEXT_TEXT_MAX or (isinstance(value, str) and len(value) > CONTEXT_TEXT_MAX):
            raise SagaRefused(f"context {key[:40]!r} is longer than {CONTEXT_TEXT_MAX} characters")
    return dict(pairs)


def _bounded_stages(stages: object) -> None:
    _bounded_list("stages", stages, STEPS_MAX)
    if isinstance(stages, list):
        named = sum(len(stage) for stage in stages if isinstance(stage, list))
        if named > STEPS_MAX:
            raise SagaRefused(f"stages name {named} steps; the most is {STEPS_MAX}")


def _bounded_list(where: str, value: object, most: int) -> None:
    if isinstance(value, list) and len(value) > most:
        raise SagaRefused(f"{where} has {len(value)} entries; the most is {most}")
