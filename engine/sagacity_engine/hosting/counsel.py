"""Asking the advisor again when a step fails, without ever letting it hold a run up.

An advisor that also implements `advise_on_failure` is asked, with the progress so far, what this failure
should lead to. Its answer counts when it arrives within the budget, the owner grants the freedom
'compensation' and the strategy can be carried out; else the plan's strategy stands. After `REFUSALS_MAX`
failures in a row it is left alone for a while, before runs as well as during them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from sagacity_engine.advisor import Arm, Context
from sagacity_engine.errors import FailureClass
from sagacity_engine.events import AttemptFailed, AttemptUnknown, Direction, Event
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.plan import Plan
from sagacity_engine.rules.step_rules import strategy_breach
from sagacity_engine.saga import Saga
from sagacity_engine.strategy import Strategy

REFUSALS_MAX = 5
"""After so many failures in a row an advisor is not asked for a while."""

RESTS_S = 30.0
"""How long an advisor that keeps failing is left alone, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A step's failed attempt, and how far the run had come. `at` is in seconds since the epoch."""

    run_id: str
    context: Context
    at: float
    step: str
    attempt: int
    error_type: str
    failure_class: FailureClass
    plan: Plan
    phases: Mapping[str, StepPhase]


@runtime_checkable
class FailureAdvisor(Protocol):
    """An advisor that can be asked again when a step fails."""

    async def advise_on_failure(self, saga: Saga, failure: Failure) -> Strategy | None:
        """What the failure should lead to; None keeps the plan's strategy."""
        ...


class Patience:
    """Whether an advisor is worth asking: not for a while after it failed `REFUSALS_MAX` times in a row."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._refusals = 0
        self._until = 0.0

    def lasts(self) -> bool:
        """Whether to ask now."""
        return self._refusals < REFUSALS_MAX or self._clock() >= self._until

    def learn(self, *, answered: bool) -> None:
        """Notes how it went."""
        self._refusals = 0 if answered else self._refusals + 1
        if self._refusals >= REFUSALS_MAX:
            self._until = self._clock() + RESTS_S


class Counsel:
    """Asks one advisor about failures, each within `budget_s` seconds."""

    def __init__(self, advisor: FailureAdvisor, budget_s: float, patience: Patience) -> None:
        self._advisor = advisor
        self._budget_s = budget_s
        self._patience = patience
        self._asking: set[asyncio.Task[None]] = set()

    def concerns(self, state: RunState, event: AttemptFailed | AttemptUnknown) -> bool:
        """Whether the advisor has a say: its own run, going forward, whose owner grants the freedom."""
        return (
            event.direction is Direction.FORWARD
            and state.saga.freedom.compensation
            and state.started.arm == Arm.ADVISED  # The holdout keeps the author's way to its end.
            and not state.started.fallback
            and not state.committed
            and state.abort is None
            and self._patience.lasts()
        )

    def ask(
        self, state: RunState, event: AttemptFailed | AttemptUnknown, then: Callable[[Event], None]
    ) -> None:
        """Hands the event to `then` within the budget, with the advised strategy if there is one."""
        task = asyncio.get_running_loop().create_task(self._ask(state, event, then))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def close(self) -> None:
        """Asks no more; failures that were being asked about are found in flight by the next opening."""
        for task in tuple(self._asking):
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def _ask(
        self, state: RunState, event: AttemptFailed | AttemptUnknown, then: Callable[[Event], None]
    ) -> None:
        asked = asyncio.ensure_future(self._advise(state, event))
        asked.add_done_callback(_looked_at)
        try:
            # Not `asyncio.timeout`, which would wait for an advisor that ignores being cancelled.
            await asyncio.wait([asked], timeout=self._budget_s)
            answered = asked.done() and not asked.cancelled()  # An advisor may cancel itself.
            strategy = asked.result() if answered else None
            self._patience.learn(answered=answered)
        except Exception:  # noqa: BLE001  advice is foreign code; nothing it raises may touch the run
            strategy = None
            self._patience.learn(answered=False)
        finally:
            asked.cancel()
        then(event if strategy is None else replace(event, strategy=strategy))

    async def _advise(self, state: RunState, event: AttemptFailed | AttemptUnknown) -> Strategy | None:
        failure = Failure(
            run_id=state.started.run_id,
            context=state.started.context,
            at=event.at,
            step=event.step,
            attempt=event.attempt,
            error_type=_error_type(event),
            failure_class=event.failure_class if isinstance(event, AttemptFailed) else FailureClass.UNKNOWN,
            plan=state.plan,
            phases={name: step.phase for name, step in state.steps.items()},
        )
        advised = await self._advisor.advise_on_failure(state.saga, failure)
        if advised is None:
            return None
        strategy = Strategy(advised)
        return None if strategy_breach(state.saga, state.saga.by_name[event.step], strategy) else strategy


def _error_type(event: AttemptFailed | AttemptUnknown) -> str:
    return event.error_type if isinstance(event, AttemptFailed) else event.reason.value


def _looked_at(asked: asyncio.Future[Strategy | None]) -> None:
    """What a late advisor raises after all is no accident."""
    if not asked.cancelled():
        asked.exception()
