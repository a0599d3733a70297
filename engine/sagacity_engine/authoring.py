"""The Python face: a saga and its functions, written together.

A decorated function stays an ordinary function, and builds the same `Saga` value that a document would:

>>> trip = define("goa-trip", deadline_s=900)
>>> @trip.step(service="indigo", cost=2.0, retry=RetryPolicy(maximum_attempts=2))
... def book_flight(call):
...     return {"id": f"flight for {call.input['who']}"}
>>> @book_flight.compensation(cost=5.0)
... def cancel_flight(call):
...     return None
>>> visa = trip.approval("visa", expires_after_s=86_400)
>>> @trip.step(kind="pivot", after=[book_flight, visa], idempotent=True)
... async def pay(call):
...     return {"paid": True}
>>> bound = trip.bind()
>>> bound.saga.names, bound.saga.by_name["pay"].after
(('book_flight', 'visa', 'pay'), ('book_flight', 'visa'))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ParamSpec, TypeVar

from sagacity_engine.handlers import BoundSaga, Handler, bind
from sagacity_engine.parts import (
    Approval,
    Breaker,
    Compensation,
    CostPolicy,
    Kind,
    Lock,
    OnExpiry,
    Probe,
    SagaFreedom,
    StepFreedom,
)
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step, SubSaga
from sagacity_engine.shorthand import AnyStep, AnyStrategy, member, seconds, step_name, step_names, strategies
from sagacity_engine.step_function import DeclaredStep, StepFunction
from sagacity_engine.strategy import OnTimeout

P = ParamSpec("P")
R = TypeVar("R")

__all__ = ["DeclaredStep", "SagaBuilder", "StepFunction", "bind", "define"]


def define(
    name: str,
    *,
    version: str = "1",
    deadline_s: float | None = None,
    stages: Sequence[Sequence[AnyStep]] = (),
    freedom: SagaFreedom | None = None,
    policy: CostPolicy | None = None,
    locks: Iterable[Lock | str] = (),
    retry_budget: int | None = None,
    rollbacks_max: int = 1,
) -> SagaBuilder:
    """Begins a definition; steps are added by decorating functions, in the author's order.

    A lock may be given as its key alone; a run that finds it held queues for it.
    """
    named = tuple(lock if isinstance(lock, Lock) else Lock(key=lock) for lock in locks)
    make = partial(
        Saga,
        name=name,
        version=version,
        deadline_s=seconds(deadline_s),
        freedom=freedom or SagaFreedom(),
        policy=policy or CostPolicy(),
        locks=named,
        retry_budget=retry_budget,
        rollbacks_max=rollbacks_max,
    )
    return SagaBuilder(make, stages)


class SagaBuilder:
    """A definition in the making. `build` gives the `Saga`, `bind` the saga with its functions."""

    def __init__(self, make: Callable[..., Saga], stages: Sequence[Sequence[AnyStep]]) -> None:
        self._make = make
        self._stages = stages
        self._steps: list[DeclaredStep] = []

    def step(
        self,
        *,
        name: str = "",
        service: str = "",
        region: str = "",
        kind: Kind | str = Kind.COMPENSATABLE,
        after: Iterable[AnyStep] = (),
        action: Mapping[str, object] | None = None,
        start_to_close_timeout_s: float = 10.0,
        schedule_to_start_timeout_s: float | None = None,
        schedule_to_close_timeout_s: float | None = None,
        heartbeat_timeout_s: float | None = None,
        retry: RetryPolicy | None = None,
        idempotent: bool = False,
        optional: bool = False,
        cost: float = 0.0,
        skip_loss: float = 0.0,
        on_timeout: OnTimeout | str | None = None,
        on_failure: AnyStrategy | None = None,
        breaker: Breaker | None = None,
        alternative_to: AnyStep = "",
        savepoint: bool = False,
        compensate: Callable[..., Any] | None = None,
        compensation: Compensation | None = None,
        probe: Callable[..., Any] | None = None,
        probe_policy: Probe | None = None,
        freedom: StepFreedom | None = None,
    ) -> Callable[[Callable[P, R]], StepFunction[P, R]]:
        """Declares the decorated function as the next step, named after it unless `name` is given.

        The fields are the document's. `compensate` is the undo's function and `compensation` its numbers,
        `probe` the probe's function and `probe_policy` its numbers; the decorators `.compensation(...)` and
        `.probe(...)` of the result say the same in another place. One strategy as `on_failure` is meant for
        every class of failure.
        """
        declared = partial(
            Step,
            service=service,
            region=region,
            kind=member(Kind, kind, "kind"),
            after=step_names(after),
            action=action,
            start_to_close_timeout_s=float(start_to_close_timeout_s),
            schedule_to_start_timeout_s=seconds(schedule_to_start_timeout_s),
            schedule_to_close_timeout_s=seconds(schedule_to_close_timeout_s),
            heartbeat_timeout_s=seconds(heartbeat_timeout_s),
            retry=retry or RetryPolicy(),
            idempotent=idempotent,
            optional=optional,
            cost=float(cost),
            skip_loss=float(skip_loss),
            on_timeout=None if on_timeout is None else member(OnTimeout, on_timeout, "on_timeout"),
            on_failure=strategies(on_failure),
            breaker=breaker,
            alternative_to=step_name(alternative_to),
            savepoint=savepoint,
            compensation=compensation,
            probe=probe_policy,
            freedom=freedom or StepFreedom(),
        )

        def keep(function: Callable[P, R]) -> StepFunction[P, R]:
            step = declared(name=name or getattr(function, "__name__", ""))
            authored = StepFunction(step, function)
            if compensate is not None:
                authored.compensate(compensation or Compensation(), compensate)
            if probe is not None:
                authored.ask(probe_policy or Probe(), probe)
            self._steps.append(authored)
            return authored

        return keep

    def approval(
        self,
        name: str,
        *,
        signal: str = "",
        expires_after_s: float | None = None,
        on_expiry: OnExpiry | str = OnExpiry.REJECT,
        kind: Kind | str = Kind.READ_ONLY,
        after: Iterable[AnyStep] = (),
        optional: bool = False,
        skip_loss: float = 0.0,
        on_failure: AnyStrategy | None = None,
        alternative_to: AnyStep = "",
        savepoint: bool = False,
    ) -> DeclaredStep:
        """Declares a step that waits until somebody signals `signal`, its own name when left out."""
        step = Step(
            name=name,
            kind=member(Kind, kind, "kind"),
            after=step_names(after),
            optional=optional,
            skip_loss=float(skip_loss),
            on_failure=strategies(on_failure),
            alternative_to=step_name(alternative_to),
            savepoint=savepoint,
            approval=Approval(
                signal=signal,
                expires_after_s=seconds(expires_after_s),
                on_expiry=member(OnExpiry, on_expiry, "on_expiry"),
            ),
        )
        return self._declared(DeclaredStep(step))

    def sub_saga(
        self,
        inner: SagaBuilder | BoundSaga,
        *,
        name: str = "",
        input: Mapping[str, object] | None = None,  # noqa: A002  the document's word
        kind: Kind | str = Kind.COMPENSATABLE,
        after: Iterable[AnyStep] = (),
        service: str = "",
        region: str = "",
        idempotent: bool = False,
        optional: bool = False,
        cost: float = 0.0,
        skip_loss: float = 0.0,
        compensation: Compensation | None = None,
        on_failure: AnyStrategy | None = None,
        alternative_to: AnyStep = "",
        savepoint: bool = False,
    ) -> DeclaredStep:
        """Declares a step that is the saga `inner` with its functions, named after it unless `name` is given.

        `input` is what `inner` is given, and may hold references. Raises `SagaRefused` when `inner` does.
        """
        bound = inner if isinstance(inner, BoundSaga) else inner.bind()
        step = Step(
            name=name or bound.saga.name,
            service=service,
            region=region,
            kind=member(Kind, kind, "kind"),
            after=step_names(after),
            idempotent=idempotent,
            optional=optional,
            cost=float(cost),
            skip_loss=float(skip_loss),
            compensation=compensation,
            on_failure=strategies(on_failure),
            alternative_to=step_name(alternative_to),
            savepoint=savepoint,
            sub_saga=SubSaga(saga=bound.saga, input=input or {}),
        )
        return self._declared(DeclaredStep(step, bound))

    def build(self) -> Saga:
        """The checked definition; raises `SagaRefused`."""
        return self._make(
            steps=tuple(declared.step for declared in self._steps),
            stages=tuple(step_names(stage) for stage in self._stages),
        )

    def bind(self) -> BoundSaga:
        """The definition with its functions; raises `SagaRefused`, also for a compensation without one."""
        return bind(
            self.build(),
            {
                each.name: Handler(each.action, each.undo, each.question)
                for each in self._steps
                if isinstance(each, StepFunction)
            },
            {each.name: each.inner for each in self._steps if each.inner is not None},
        )

    def _declared(self, step: DeclaredStep) -> DeclaredStep:
        self._steps.append(step)
        return step
