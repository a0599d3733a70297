"""A step as the Python face holds it: what is declared, and the functions that were written for it.

A `StepFunction` wraps the action; its compensation and its probe are added by decorators beside it. What has
no function of its own, an approval or a saga within the saga, is a `DeclaredStep`. Either may be named in
another step's `after`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Generic, ParamSpec, TypeVar

from sagacity_engine.errors import SagaRefused
from sagacity_engine.handlers import BoundSaga
from sagacity_engine.parts import Compensation, Probe
from sagacity_engine.retry import UNDO_ATTEMPTS, RetryPolicy
from sagacity_engine.saga import Step

P = ParamSpec("P")
R = TypeVar("R")
Q = ParamSpec("Q")
S = TypeVar("S")


class DeclaredStep:
    """A step without a function: an approval, or a saga of its own (then `inner` holds its functions)."""

    def __init__(self, step: Step, inner: BoundSaga | None = None) -> None:
        self.step = step
        self.inner = inner

    @property
    def name(self) -> str:
        """The step's name."""
        return self.step.name


class StepFunction(DeclaredStep, Generic[P, R]):
    """A step's function. Calling it calls the function itself.

    `compensation` adds its undo, `probe` the question whether it took effect.
    """

    def __init__(self, step: Step, action: Callable[P, R]) -> None:
        super().__init__(step)
        self.action = action
        self.undo: Callable[..., Any] | None = None
        self.question: Callable[..., Any] | None = None
        self.__doc__ = action.__doc__
        self.__wrapped__ = action  # So that doctest and inspect look at the function.

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the function."""
        return self.action(*args, **kwargs)

    def compensation(
        self,
        *,
        cost: float = 0.0,
        start_to_close_timeout_s: float = 10.0,
        retry: RetryPolicy | None = None,
        action: Mapping[str, object] | None = None,
        after_failure: bool = False,
    ) -> Callable[[Callable[Q, S]], Callable[Q, S]]:
        """Declares how the step is undone; the decorated function is returned as it was.

        Compensations must be idempotent, and succeed when there is nothing to undo. Raises `SagaRefused`
        when the step has one already.
        """
        declared = Compensation(
            action=action,
            cost=cost,
            start_to_close_timeout_s=start_to_close_timeout_s,
            retry=retry or RetryPolicy(maximum_attempts=UNDO_ATTEMPTS),
            after_failure=after_failure,
        )

        def keep(undo: Callable[Q, S]) -> Callable[Q, S]:
            self.compensate(declared, undo)
            return undo

        return keep

    def compensate(self, declared: Compensation, undo: Callable[..., Any]) -> None:
        """Declares and binds the undo in one call; raises `SagaRefused` when the step has one already."""
        if self.undo is not None:
            raise SagaRefused(f"step {self.name!r} has two compensations; keep one")
        self.step = replace(self.step, compensation=declared)
        self.undo = undo

    def probe(
        self,
        *,
        start_to_close_timeout_s: float = 10.0,
        retry: RetryPolicy | None = None,
        action: Mapping[str, object] | None = None,
    ) -> Callable[[Callable[Q, S]], Callable[Q, S]]:
        """Declares how to ask whether the action took effect; the decorated function is returned as it was.

        It returns `Found`, or True or False, and must change nothing. Raises `SagaRefused` when the step has
        one already.
        """
        declared = Probe(
            action=action,
            start_to_close_timeout_s=start_to_close_timeout_s,
            retry=retry or RetryPolicy(maximum_attempts=UNDO_ATTEMPTS),
        )

        def keep(question: Callable[Q, S]) -> Callable[Q, S]:
            self.ask(declared, question)
            return question

        return keep

    def ask(self, declared: Probe, question: Callable[..., Any]) -> None:
        """Declares and binds the probe in one call; raises `SagaRefused` when the step has one already."""
        if self.question is not None:
            raise SagaRefused(f"step {self.name!r} has two probes; keep one")
        self.step = replace(self.step, probe=declared)
        self.question = question
