"""The runs of steps that are sagas: started, found again, cancelled and taken back for the runs above them.

An outer run waits in memory only; what it waits for is in the journal. After a crash both runs are carried
on, and the outer one finds the inner one by its id. `Hosting` is what an engine does for them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from sagacity_engine.advisor import Context
from sagacity_engine.errors import EngineError, FailureClass
from sagacity_engine.events import (
    AttemptStarted,
    CancelRequested,
    Direction,
    Event,
    OperatorActed,
)
from sagacity_engine.handlers import BoundSaga
from sagacity_engine.hosting.outcomes import Outcomes
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.machine.sub_sagas import inner_input, inner_outcome, inner_run_id, taking_back

if TYPE_CHECKING:
    from sagacity_engine.hosting.driver import RunDriver


class Hosting(Protocol):
    """What an engine does for inner runs."""

    async def start_inner(
        self, bound: BoundSaga, run_id: str, given: Mapping[str, Any], context: Context, parent: RunState
    ) -> None:
        """Starts a run of the bound saga as a part of `parent`'s."""
        ...

    async def find(self, run_id: str) -> RunState | None:
        """Where the run stands, in this process or in the journal; None when there is none."""
        ...

    async def wish(self, run_id: str, event: Event) -> str:
        """Asks for an event to happen to a run: "" when it is durable, else why not."""
        ...


class InnerRuns:
    """Who waits for which inner run."""

    def __init__(self, hosting: Hosting, loop: asyncio.AbstractEventLoop) -> None:
        self._hosting = hosting
        self._loop = loop
        self._waiting: dict[str, tuple[RunDriver, AttemptStarted]] = {}
        self._begun: dict[str, asyncio.Task[None]] = {}  # Those that begin each of them, or look for it.
        self._cancelled: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, driver: RunDriver, attempt: AttemptStarted) -> None:
        """Runs or takes back the inner run; the outer one is told when it has come to its end."""
        inner_id = inner_run_id(driver.state, attempt)
        self._waiting[inner_id] = (driver, attempt)
        work = self._take_back if attempt.direction is Direction.UNDO else self._run
        if driver.state.abandoned is not None:
            work = self._look
        self._begun[inner_id] = self._spawn(self._guarded(work, inner_id, driver, attempt))

    def ended(self, state: RunState) -> None:
        """An inner run has ended: tells the run that waits for it, if it means something to it."""
        waiting = self._waiting.get(state.started.run_id)
        if waiting is None:
            return
        driver, attempt = waiting
        outcome = inner_outcome(attempt, state, driver.now())
        if outcome is not None:
            self._settle(state.started.run_id, driver, attempt, outcome)

    def turn_back(self, driver: RunDriver) -> None:
        """The outer run turns back: inner runs that still go forward are cancelled, once."""
        for inner_id, (waiting, attempt) in tuple(self._waiting.items()):
            if (
                waiting is driver
                and attempt.direction is Direction.FORWARD
                and inner_id not in self._cancelled
            ):
                self._cancelled.add(inner_id)
                self._spawn(self._cancel(inner_id, driver, self._begun[inner_id]))

    def leave(self, driver: RunDriver) -> None:
        """The outer run goes no further here."""
        for inner_id, (waiting, _) in tuple(self._waiting.items()):
            if waiting is driver:
                self._forget(inner_id)

    async def close(self) -> None:
        """Gives up what is being looked for; the next opening looks again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, inner_id: str, driver: RunDriver, attempt: AttemptStarted) -> None:
        found = await self._hosting.find(inner_id)
        if found is not None:
            self.ended(found)
            return
        state = driver.state
        bound = driver.bound.inner[attempt.step]
        declared = state.saga.by_name[attempt.step].sub_saga
        assert declared is not None, "only a step that is a saga has an inner run"
        given = inner_input(state, attempt, declared)
        if isinstance(given, Mapping):
            await self._hosting.start_inner(bound, inner_id, given, state.started.context, state)
        else:
            self._settle(inner_id, driver, attempt, given)

    async def _take_back(self, inner_id: str, driver: RunDriver, attempt: AttemptStarted) -> None:
        found = await self._hosting.find(inner_id)
        due = taking_back(attempt, found, driver.now(), f"run {driver.run_id}")
        if isinstance(due, CancelRequested):
            with contextlib.suppress(EngineError):  # It has ended meanwhile, and is taken back next time.
                await self._hosting.wish(inner_id, due)
        elif isinstance(due, OperatorActed):
            if refused := await self._hosting.wish(inner_id, due):
                self._fail(inner_id, driver, attempt, "NotUndone", refused)  # It may be possible next time.
        elif due is not None:
            self._settle(inner_id, driver, attempt, due)

    async def _look(self, inner_id: str, driver: RunDriver, attempt: AttemptStarted) -> None:
        """Begins nothing for a run that was abandoned: what a former process left is only looked at."""
        found = await self._hosting.find(inner_id)
        if found is None:
            words = "the run was abandoned before its saga began"
            self._fail(inner_id, driver, attempt, "NeverBegun", words)
        else:
            self.ended(found)

    async def _cancel(self, inner_id: str, driver: RunDriver, begun: asyncio.Task[None]) -> None:
        """Spares an inner run what would be taken back; one that cannot be told is taken back later."""
        await asyncio.wait([begun])  # Before, there may be nothing to cancel.
        who = f"run {driver.run_id}"
        with contextlib.suppress(EngineError):
            await self._hosting.wish(
                inner_id, CancelRequested(at=driver.now(), who=who, why="it turned back")
            )

    async def _guarded(self, work: Any, inner_id: str, driver: RunDriver, attempt: AttemptStarted) -> None:
        try:
            await work(inner_id, driver, attempt)
        except EngineError as problem:
            self._fail(inner_id, driver, attempt, type(problem).__name__, str(problem))

    def _fail(
        self, inner_id: str, driver: RunDriver, attempt: AttemptStarted, error: str, words: str
    ) -> None:
        outcomes = Outcomes(attempt, driver.now(), lambda: 0.5)
        self._settle(inner_id, driver, attempt, outcomes.failed(error, words, FailureClass.UNKNOWN))

    def _settle(self, inner_id: str, driver: RunDriver, attempt: AttemptStarted, outcome: Event) -> None:
        """Tells the outer run what its attempt came to, unless it was told meanwhile."""
        if self._waiting.get(inner_id) == (driver, attempt):
            self._forget(inner_id)
            driver.put(outcome)

    def _forget(self, inner_id: str) -> None:
        self._waiting.pop(inner_id, None)
        self._begun.pop(inner_id, None)
        self._cancelled.discard(inner_id)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
