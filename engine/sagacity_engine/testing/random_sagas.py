"""Random definitions, legal by construction: every shape that the rules allow, small ones most often.

All choices come from one `random.Random`, so that a seed names a saga. A saga may use everything there is:
a pivot, parallel branches, optional steps, alternatives, savepoints, approvals, probes, sagas within it,
locks, budgets, deadlines, compensations after failure and every timeout. It grants every freedom or none.
Its input is `{"room": ...}`, which its locks refer to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from sagacity_engine.parts import (
    Approval,
    Breaker,
    Compensation,
    CostPolicy,
    Kind,
    LaunchFreedom,
    Lock,
    OnExpiry,
    Probe,
    SagaFreedom,
    StepFreedom,
    WhenHeld,
)
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step, SubSaga
from sagacity_engine.strategy import OnFailure, OnTimeout, Strategy

STEPS_MAX = 30
DEPTH_MAX = 2
"""How deep sagas are nested at most: a saga with an inner one is two deep."""

RETRIES = tuple(
    RetryPolicy(maximum_attempts=attempts, initial_interval_s=initial_s, non_retryable_error_types=never)
    for attempts in (1, 2, 3)
    for initial_s in (0.0, 1.0)
    for never in ((), ("Busy",))
)
_UNDOS = tuple(
    Compensation(retry=retry, after_failure=after_failure, start_to_close_timeout_s=5.0)
    for retry in RETRIES[2:]
    for after_failure in (False, False, True)
)
_PROBES = tuple(Probe(retry=retry, start_to_close_timeout_s=4.0) for retry in RETRIES)
_APPROVALS = (
    None,
    None,
    Approval(expires_after_s=4.0),
    Approval(expires_after_s=9.0, on_expiry=OnExpiry.APPROVE),
)
_FREE = StepFreedom(start_to_close_timeout_s=(1.0, 20.0), maximum_attempts=(1, 5))
_FREE_TO_HEDGE = replace(_FREE, hedge_delay_s=(0.5, 3.0))
_ALL = SagaFreedom(
    reorder=True,
    parallel=True,
    timeouts=True,
    retries=True,
    breakers=True,
    compensation=True,
    launch=LaunchFreedom(wait_s_max=5.0),
)
_ALWAYS = (
    Strategy.STANDARD_COMPENSATION,
    Strategy.RETRY_WITH_COMPENSATION,
    Strategy.IMMEDIATE_FULL_COMPENSATION,
)
_SIZES = (1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 6, 7, 8)
_POLICY = CostPolicy(latency_cost_per_s=0.01, failure_penalty=5.0)


def random_saga(
    rng: Random, *, steps_max: int = STEPS_MAX, depth: int = DEPTH_MAX, name: str = "random"
) -> Saga:
    """A legal saga of 1 to `steps_max` steps, nested at most `depth` deep."""
    return _Author(rng, steps_max, depth, name, pivots=True).write()


@dataclass(slots=True)
class _Author:
    """One saga in the making. `pivots` says whether it may have a pivot."""

    rng: Random
    steps_max: int
    depth: int
    name: str
    pivots: bool

    def write(self) -> Saga:
        rng = self.rng
        size = min(self.steps_max, rng.randint(1, STEPS_MAX) if rng.random() < 0.04 else rng.choice(_SIZES))
        pivot = rng.randrange(size) if self.pivots and rng.random() < 0.6 else size
        steps: list[Step] = []
        while len(steps) < size:
            steps += self._place(steps, len(steps), pivot)
            if len(steps) > pivot and not any(step.kind is Kind.PIVOT for step in steps):
                pivot = len(steps)  # An alternative took its place.
        steps = self._with_strategies(steps)
        stages = tuple((step.name,) for step in steps) if rng.random() < 0.05 else ()
        return Saga(
            name=self.name,
            steps=tuple(steps),
            stages=stages,
            deadline_s=rng.choice((3.0, 9.0, 30.0)) if rng.random() < 0.2 else None,
            freedom=_ALL if rng.random() < 0.8 else SagaFreedom(),
            policy=_POLICY,
            locks=self._locks(),
            retry_budget=rng.randint(0, 3) if rng.random() < 0.15 else None,
            rollbacks_max=rng.randint(0, 3),
        )

    def _locks(self) -> tuple[Lock, ...]:
        """Keys of one saga are apart from those of another: nobody waits for what it holds itself."""
        if self.rng.random() < 0.9:
            return ()
        keys = ("room-${input.room}", "till")[: self.rng.randint(1, 2)]
        outermost = self.depth == DEPTH_MAX
        way = self.rng.choice(tuple(WhenHeld)) if outermost else WhenHeld.REJECT
        return tuple(Lock(key=f"{self.name}-{key}", when_held=way) for key in keys)

    def _place(self, steps: list[Step], place: int, pivot: int) -> list[Step]:
        """The next step, with its alternative right after it if it has one."""
        rng = self.rng
        kind = self._kind(place, pivot)
        step = self._step(f"{self.name}-{place}", kind, self._before(steps), follows=place > pivot)
        if kind is Kind.PIVOT:
            return [step]
        if step.approval is None and rng.random() < 0.12:
            other = self._step(f"{self.name}-{place + 1}", kind, (), follows=place > pivot)
            return [step, replace(other, alternative_to=step.name, after=(step.name,))]
        if rng.random() < 0.15:
            return [replace(step, optional=True, skip_loss=0.5)]
        if place < pivot and rng.random() < 0.15:
            return [replace(step, savepoint=True)]
        return [step]

    def _kind(self, place: int, pivot: int) -> Kind:
        if place == pivot:
            return Kind.PIVOT
        if place > pivot:
            return Kind.RETRIABLE
        return self.rng.choice((Kind.COMPENSATABLE,) * 4 + (Kind.READ_ONLY, Kind.RETRIABLE))

    def _before(self, steps: list[Step]) -> tuple[str, ...]:
        names = [step.name for step in steps if not step.alternative_to]
        return tuple(dict.fromkeys(self.rng.choices(names, k=self.rng.randint(0, 2)))) if names else ()

    def _step(self, name: str, kind: Kind, after: tuple[str, ...], *, follows: bool) -> Step:
        """One step. A retriable one that need not follow the pivot must be undoable if there is a pivot."""
        rng = self.rng
        draw = rng.random()
        undoable = kind is Kind.COMPENSATABLE or (kind is Kind.RETRIABLE and (not follows or draw < 0.3))
        undo = rng.choice(_UNDOS) if undoable else None
        if kind in (Kind.READ_ONLY, Kind.RETRIABLE) and undo is None and draw > 0.8:
            return Step(name=name, kind=kind, after=after, approval=rng.choice(_APPROVALS))
        if kind is not Kind.READ_ONLY and self.depth > 1 and draw > 0.93:
            return self._nested(name, kind, after, undo)
        idempotent = rng.random() < 0.5
        return Step(
            name=name,
            service=f"service-{rng.randint(1, 4)}",
            kind=kind,
            after=after,
            start_to_close_timeout_s=5.0,
            retry=rng.choice(RETRIES),
            idempotent=idempotent,
            cost=1.0,
            compensation=undo,
            freedom=_FREE_TO_HEDGE if idempotent else _FREE,
            probe=rng.choice(_PROBES) if kind is not Kind.READ_ONLY and rng.random() < 0.25 else None,
            breaker=Breaker() if rng.random() < 0.1 else None,
            on_timeout=None if kind is Kind.PIVOT else self._on_timeout(kind, idempotent=idempotent),
            schedule_to_start_timeout_s=3.0 if rng.random() < 0.1 else None,
            schedule_to_close_timeout_s=rng.choice((2.0, 6.0)) if rng.random() < 0.15 else None,
            heartbeat_timeout_s=2.0 if rng.random() < 0.1 else None,
        )

    def _nested(self, name: str, kind: Kind, after: tuple[str, ...], undo: Compensation | None) -> Step:
        inner = _Author(self.rng, min(self.steps_max, 4), self.depth - 1, name, pivots=undo is None).write()
        sub_saga = SubSaga(saga=inner, input={"room": "${input.room}"})
        undo = undo and replace(undo, after_failure=False)
        return Step(name=name, kind=kind, after=after, compensation=undo, sub_saga=sub_saga)

    def _on_timeout(self, kind: Kind, *, idempotent: bool) -> OnTimeout | None:
        if self.rng.random() < 0.8:
            return None
        safe = idempotent or kind is Kind.READ_ONLY
        return self.rng.choice((OnTimeout.RETRY, OnTimeout.COMPENSATE) if safe else (OnTimeout.COMPENSATE,))

    def _with_strategies(self, steps: list[Step]) -> list[Step]:
        """A third of the steps say what to do about failures; only what is legal for each."""
        alternatives = {step.alternative_to: step.name for step in steps}
        savepoints = False
        past_pivot: set[str] = set()
        written = []
        for step in steps:
            before = {*step.after, *(alternatives.get(name, "") for name in step.after)}
            waits = bool(past_pivot) and step.kind is Kind.RETRIABLE and step.compensation is None
            if step.kind is Kind.PIVOT or waits or past_pivot & before:
                past_pivot.add(step.name)
            back = savepoints and step.name not in past_pivot and not step.optional
            ways = [*_ALWAYS, *([Strategy.FORWARD_RECOVERY] * 4 if step.name in alternatives else ())]
            ways += [Strategy.ROLLBACK_TO_SAVEPOINT] * 4 if back else []
            chosen = None
            if back or self.rng.random() < 0.33:
                chosen = OnFailure(**{each: self.rng.choice(ways) for each in OnFailure.__slots__})
            written.append(step if chosen is None else replace(step, on_failure=chosen))
            savepoints = savepoints or step.savepoint
        return written
