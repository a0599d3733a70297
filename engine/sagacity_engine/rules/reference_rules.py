"""The rules for what a step's declared texts may refer to: outputs that are there when the text is used.

An action, and what a sub-saga is given, may use the outputs of earlier steps. A compensation may use its own
step's output too, which is null when the action did not return. A probe may not: it is asked because there is
no output. An alternative may not use that of the step in whose place it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sagacity_engine.errors import SagaRefused
from sagacity_engine.references import referenced_steps

if TYPE_CHECKING:
    from sagacity_engine.saga import Saga, Step


def referred_to(step: Step) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each declared text of the step with the steps it refers to; raises `SagaRefused` on a bad reference."""
    for where, value in _texts(step):
        if value is not None:
            yield where, referenced_steps(value, f"step {step.name!r}: {where}")


def require_legal_references(saga: Saga) -> None:
    """Raises `SagaRefused` for the first reference to what is not there when it is used."""
    earlier: set[str] = set()
    for step in saga.steps:
        for where, names in referred_to(step):
            for name in names:
                _require_there(saga, step, where, name, earlier)
        earlier.add(step.name)


def _texts(step: Step) -> Iterator[tuple[str, object]]:
    yield "action", step.action
    if step.sub_saga is not None:
        yield "sub_saga.input", step.sub_saga.input
    if step.compensation is not None:
        yield "compensation.action", step.compensation.action
    if step.probe is not None:
        yield "probe.action", step.probe.action


def _require_there(saga: Saga, step: Step, where: str, name: str, earlier: set[str]) -> None:
    said = f"step {step.name!r}: {where} refers to the output of {name!r}"
    if name not in saga.by_name:
        raise SagaRefused(f"{said}, which is no step of this saga; the steps are {', '.join(saga.names)}")
    if name == step.name and where != "compensation.action":
        raise SagaRefused(f"{said}, its own, which is not there yet; refer to an earlier step")
    if name == step.alternative_to:
        raise SagaRefused(f"{said}, in whose place it runs, so there is none; refer to another step")
    if name != step.name and name not in earlier:
        raise SagaRefused(f"{said}, which is listed after it; swap them, or refer to an earlier step")
