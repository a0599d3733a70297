"""What a run is pinned to when it starts: definition, input, plan, the advice behind it and its arm.

Everything a caller or an advisor hands in is checked here, before anything is written. Advice is foreign:
whatever it holds, the run starts, at worst with the author's plan and the reason for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sagacity_engine.advisor import (
    Advice,
    Advisor,
    Arm,
    Context,
    Launch,
    NoAdvisor,
    ask,
    assign_arm,
    author_advice,
)
from sagacity_engine.document import plan_document, read_plan
from sagacity_engine.drafts import maker
from sagacity_engine.errors import RunRefused, SagaRefused
from sagacity_engine.events import RunStarted, run_started
from sagacity_engine.handlers import BoundSaga
from sagacity_engine.hosting.counsel import Counsel, FailureAdvisor, Patience
from sagacity_engine.hosting.outcomes import journaled
from sagacity_engine.trace_context import valid

RUN_ID_MAX = 200
REASONS_MAX, TEXT_MAX = 20, 500
HOLDOUT = "the run is in the holdout, which keeps the author's plan"
RESTING = "the advisor keeps failing and is left alone for a while"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A run that somebody wants: its input and context are `kept` already."""

    run_id: str
    run_input: Mapping[str, Any]
    context: Context
    locks: tuple[str, ...] = ()
    parent: str = ""
    traceparent: str = ""


new_order = maker(Order)
"""Makes an order as `Order(...)` does, faster."""


class Admission:
    """Turns a request for a run into its `RunStarted`. Raises `SagaRefused` for settings without sense."""

    def __init__(
        self,
        sagas: Iterable[BoundSaga],
        advisor: Advisor | None,
        holdout_share: float,
        advice_budget_s: float,
        clock: Callable[[], float],
    ) -> None:
        sagas = tuple(sagas)
        self.by_hash = _by_hash(sagas)
        self.sagas = {bound.saga.name: bound for bound in sagas}
        self._unadvised = {
            known: author_advice(bound.saga, "no advisor is configured")
            for known, bound in self.by_hash.items()
        }
        self._advisor = None if isinstance(advisor, NoAdvisor) else advisor
        self._patience = Patience(clock)
        self._holdout_share = _share(holdout_share)
        self._advice_budget_s = advice_budget_s
        self._clock = clock

    def bound(self, saga: str) -> BoundSaga:
        """The registered saga; raises `RunRefused` naming those there are."""
        if saga not in self.sagas:
            registered = ", ".join(sorted(self.sagas)) or "none"
            raise RunRefused(f"saga {saga!r} is not registered; the sagas are {registered}")
        return self.sagas[saga]

    def counsel(self) -> Counsel | None:
        """Who is asked when a step fails; None when the advisor cannot be."""
        if not isinstance(self._advisor, FailureAdvisor):
            return None
        return Counsel(self._advisor, self._advice_budget_s, self._patience)

    async def admit(self, bound: BoundSaga, order: Order) -> RunStarted:
        """The start of the run."""
        advice, arm, propensity = self._unadvised[bound.saga.definition_hash], Arm.AUTHOR, 1.0
        if self._advisor is not None:
            advice, arm, propensity = await self._advice(self._advisor, bound, order.run_id, order.context)
        return run_started(
            run_id=order.run_id,
            at=self._clock(),
            definition_hash=bound.saga.definition_hash,
            plan=advice.plan,
            input=order.run_input,
            context=order.context,
            arm=arm.value,
            propensity=propensity,
            fallback=advice.fallback,
            advice_id=advice.advice_id,
            model_version=advice.model_version,
            reasons=advice.reasons,
            locks=order.locks,
            parent=order.parent,
            traceparent=order.traceparent if order.traceparent and valid(order.traceparent) else "",
        )

    async def _advice(
        self, advisor: Advisor, bound: BoundSaga, run_id: str, context: Context
    ) -> tuple[Advice, Arm, float]:
        arm, propensity = assign_arm(run_id, self._holdout_share)
        if arm is Arm.AUTHOR:
            unadvised = self._unadvised[bound.saga.definition_hash]
            kept_plan = replace(unadvised, fallback=False, reasons=(HOLDOUT,))
            return kept_plan, arm, propensity
        if not self._patience.lasts():
            return author_advice(bound.saga, RESTING), arm, propensity
        launch = Launch(run_id=run_id, context=context, at=self._clock())
        advice = await ask(advisor, bound.saga, launch, budget_s=self._advice_budget_s)
        self._patience.learn(answered=not advice.unusable)
        try:
            return _writable(advice), arm, propensity
        except Exception as problem:  # noqa: BLE001  advice is foreign; nothing in it may keep a run from starting
            reason = f"the advice cannot be written down: {type(problem).__name__}: {problem}"
            return author_advice(bound.saga, reason[:TEXT_MAX]), arm, propensity


def usable(run_id: str) -> str:
    """The run id; raises `RunRefused` when it is not 1 to `RUN_ID_MAX` printable characters."""
    if not isinstance(run_id, str):  # pyright: ignore[reportUnnecessaryIsInstance]  callers need not check types
        raise RunRefused(f"run id {run_id!r:.60} is not usable; it must be text")
    if not (0 < len(run_id) <= RUN_ID_MAX and run_id.isprintable()):
        raise RunRefused(f"run id {run_id[:60]!r} is not usable; use 1 to {RUN_ID_MAX} printable characters")
    return run_id


def kept(what: str, value: Mapping[str, Any] | None) -> dict[str, Any]:
    """The mapping as the journal gives it back; raises `SagaRefused` when it cannot be kept."""
    if not value and (value is None or isinstance(value, Mapping)):
        return {}
    try:
        as_kept = journaled(dict(value))
    except (TypeError, ValueError, RecursionError) as problem:
        raise SagaRefused(f"the run's {what} cannot be kept as JSON: {problem}") from None
    assert isinstance(as_kept, dict), "a mapping stays one"
    return as_kept


def _writable(advice: Advice) -> Advice:
    """The advice with its words cut to size; raises whatever its values raise when they are written."""
    return replace(
        advice,
        # Legal numbers may still be of kinds that no journal knows, such as fractions.
        plan=read_plan(plan_document(advice.plan)),
        fallback=bool(advice.fallback),
        advice_id=str(advice.advice_id)[:TEXT_MAX],
        model_version=str(advice.model_version)[:TEXT_MAX],
        reasons=tuple(str(reason)[:TEXT_MAX] for reason in advice.reasons[:REASONS_MAX]),
    )


def _by_hash(sagas: Iterable[BoundSaga]) -> dict[str, BoundSaga]:
    """Every definition that may be run, with those inside others; the same one twice is refused."""
    known: dict[str, BoundSaga] = {}
    for bound in sagas:
        if bound.saga.definition_hash in known:
            raise SagaRefused(
                f"saga {bound.saga.name!r} is registered twice with one definition; leave one of them out"
            )
        known[bound.saga.definition_hash] = bound
    for bound in tuple(known.values()):
        for inner in _inner(bound):
            known.setdefault(inner.saga.definition_hash, inner)
    return known


def _inner(bound: BoundSaga) -> Iterator[BoundSaga]:
    for inner in bound.inner.values():
        yield inner
        yield from _inner(inner)


def _share(share: float) -> float:
    if not 0 <= share <= 1:
        raise SagaRefused(f"holdout_share is {share!r}; it must be between 0 and 1")
    return share
