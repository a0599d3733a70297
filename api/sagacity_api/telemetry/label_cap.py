"""Labels of metrics that stay few, whatever definitions come along: beyond a cap they become `other`.

Sagas, and steps with their services, are admitted in the order in which they are first seen. A time series
is never made for a run.
"""

from __future__ import annotations

from typing import Final, TypeVar

from sagacity_engine import SagaRefused

T = TypeVar("T")

OTHER: Final = "other"

Place = tuple[str, str, str]
"""A saga, a step of it, and the step's service."""


class LabelCap:
    """Gives at most `sagas_max` sagas and `steps_max` steps, over all sagas, labels of their own."""

    def __init__(self, sagas_max: int, steps_max: int) -> None:
        for name, number in (("sagas_max", sagas_max), ("steps_max", steps_max)):
            if number < 1:
                raise SagaRefused(f"{name} is {number!r}; it must be at least 1")
        self._sagas_max = sagas_max
        self._steps_max = steps_max
        self._sagas: set[str] = set()
        self._places: set[Place] = set()

    def saga(self, name: str) -> str:
        """The label of a saga."""
        return name if _admitted(name, self._sagas, self._sagas_max) else OTHER

    def place(self, saga: str, step: str, service: str) -> Place:
        """The labels of a step."""
        named = self.saga(saga)
        if named == saga and _admitted((saga, step, service), self._places, self._steps_max):
            return saga, step, service
        return named, OTHER, OTHER


def _admitted(value: T, known: set[T], most: int) -> bool:
    if value not in known:
        if len(known) >= most:
            return False
        known.add(value)
    return True
