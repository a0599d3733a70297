"""What a Python author may write in place of exact values: a step for its name, a text for a member.

Each turns into the exact value, or is refused in the words in which a document is.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from sagacity_engine.errors import SagaRefused
from sagacity_engine.step_function import DeclaredStep
from sagacity_engine.strategy import OnFailure, Strategy

E = TypeVar("E", bound=StrEnum)

AnyStep = str | DeclaredStep
"""A step, by name or as it was declared."""

AnyStrategy = OnFailure | Strategy | str
"""Strategies by class of failure, or one for every class."""


def step_name(step: AnyStep) -> str:
    """The step's name."""
    return step if isinstance(step, str) else step.name


def step_names(steps: Iterable[AnyStep]) -> tuple[str, ...]:
    """The steps' names."""
    return tuple(step_name(step) for step in steps)


def seconds(given: float | None) -> float | None:
    """The time as a document has it."""
    return None if given is None else float(given)


def strategies(given: AnyStrategy | None) -> OnFailure | None:
    """The strategies by class of failure; raises `SagaRefused` for an unknown one."""
    if given is None or isinstance(given, OnFailure):
        return given
    return OnFailure.all(member(Strategy, given, "on_failure"))


def member(words: type[E], given: E | str, where: str) -> E:
    """The member with that value; raises `SagaRefused` naming those there are."""
    for each in words:
        if each.value == given:
            return each
    raise SagaRefused(f"{where} is {given!r}; it must be one of {', '.join(each.value for each in words)}")
