"""The Python face: a saga and its functions, written together.

A decorated function stays an ordinary function, and builds the same `Saga` value that a document would:

>>> trip = define("goa-trip", deadline_s=900)
>>> @trip.step(service="indigo", cost=2.0, retry=RetryPolicy(maximum_attempts=2))
... def book_flight(call):
...     return {"id": f"flight for {call.input['who']}"}
>>> @book_flight.compensation(cost=5.0)
... def cancel_flight(call):
...     return None
>>> @trip.step(kind="pivot", after=[book_flight], idempotent=True)
... async def pay(call):
...     return {"paid": True}
>>> bound = trip.bind()
>>> bound.saga.names, bound.saga.by_name["pay"].after
(('book_flight', 'pay'), ('book_flight',))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, ParamSpec, TypeVar

from sagacity_engine.errors import SagaRefused
from sagacity_engine.handlers import BoundSaga, Handler, bind
from sagacity_engine.retry import UNDO_ATTEMPTS, RetryPolicy
from sagacity_engine.saga import Compensation, CostPolicy, Kind, Saga, SagaFreedom, Step, StepFreedom

P = ParamSpec("P")
R = TypeVar("R")
Q = ParamSpec("Q")
S = TypeVar("S")

__all__ = ["SagaBuilder", "StepFunction", "bind", "define"]


def define(
    name: str,
    *,
    version: str = "1",
    deadline_s: float | None = None,
    stages: Sequence[Sequence[str | StepFunction[..., Any]]] = (),
    freedom: SagaFreedom | None = None,
    policy: CostPolicy | None = None,
) -> SagaBuilder:
    """Begins a definition; steps are added by decorating functions, in the author's order."""
    return SagaBuilder(
        name,
        version=version,
        deadline_s=deadline_s,
        stages=stages,
        freedom=freedom or SagaFreedom(),
        policy=policy or CostPolicy(),
    )


class StepFunction(Generic[P, R]):
    """A step's function. Calling it calls the function itself; `compensation` adds its undo."""

    def __init__(self, step: Step, action: Callable[P, R]) -> None:
        self.step = step
        self.action = action
        self.undo: Callable[..., Any] | None = None
        self.__doc__ = action.__doc__
        self.__wrapped__ = action  # So that doctest and inspect look at the function.

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the function."""
        return self.action(*args, **kwargs)

    @property
    def name(self) -> str:
        """The step's name."""
        return self.step.name

    def compensation(
        self,
        *,
        cost: float = 0.0,
        start_to_close_timeout_s: float = 10.0,
        retry: RetryPolicy | None = None,
        action: Mapping[str, object] | None = None,
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


class SagaBuilder:
    """A definition in the making. `build` gives the `Saga`, `bind` the saga with its functions."""

    def __init__(
        self,
        name: str,
        *,
        version: str,
        deadline_s: float | None,
        stages: Sequence[Sequence[str | StepFunction[..., Any]]],
        freedom: SagaFreedom,
        policy: CostPolicy,
    ) -> None:
        self._name = name
        self._version = version
        self._deadline_s = deadline_s
        self._freedom = freedom
        self._policy = policy
        self._stages = stages
        self._steps: list[StepFunction[..., Any]] = []

    def step(
        self,
        *,
        name: str = "",
        service: str = "",
        region: str = "",
        kind: Kind | str = Kind.COMPENSATABLE,
        after: Iterable[str | StepFunction[..., Any]] = (),
        action: Mapping[str, object] | None = None,
        start_to_close_timeout_s: float = 10.0,
        retry: RetryPolicy | None = None,
        idempotent: bool = False,
        optional: bool = False,
        cost: float = 0.0,
        compensate: Callable[..., Any] | None = None,
        compensation: Compensation | None = None,
        freedom: StepFreedom | None = None,
    ) -> Callable[[Callable[P, R]], StepFunction[P, R]]:
        """Declares the decorated function as the next step, named after it unless `name` is given.

        The fields are the document's. `compensate` is the undo's function, with `compensation` as its
        numbers; the decorator `.compensation(...)` of the result says the same in another place.
        """

        known_kind, named = _kind(kind), _names(after)

        def keep(function: Callable[P, R]) -> StepFunction[P, R]:
            step = Step(
                name=name or getattr(function, "__name__", ""),
                service=service,
                region=region,
                kind=known_kind,
                after=named,
                action=action,
                start_to_close_timeout_s=float(start_to_close_timeout_s),
                retry=retry or RetryPolicy(),
                idempotent=idempotent,
                optional=optional,
                cost=float(cost),
                compensation=compensation,
                freedom=freedom or StepFreedom(),
            )
            authored = StepFunction(step, function)
            if compensate is not None:
                authored.compensate(compensation or Compensation(), compensate)
            self._steps.append(authored)
            return authored

        return keep

    def build(self) -> Saga:
        """The checked definition; raises `SagaRefused`."""
        return Saga(
            name=self._name,
            version=self._version,
            deadline_s=None if self._deadline_s is None else float(self._deadline_s),
            steps=tuple(authored.step for authored in self._steps),
            stages=tuple(_names(stage) for stage in self._stages),
            freedom=self._freedom,
            policy=self._policy,
        )

    def bind(self) -> BoundSaga:
        """The definition with its functions; raises `SagaRefused`, also for a compensation without one."""
        return bind(
            self.build(), {authored.name: Handler(authored.action, authored.undo) for authored in self._steps}
        )


def _names(steps: Iterable[str | StepFunction[..., Any]]) -> tuple[str, ...]:
    return tuple(step if isinstance(step, str) else step.name for step in steps)


def _kind(kind: Kind | str) -> Kind:
    for member in Kind:
        if member.value == kind:
            return member
    raise SagaRefused(f"kind is {kind!r}; it must be one of {', '.join(member.value for member in Kind)}")
