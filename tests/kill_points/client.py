"""Those outside the engine: they start runs, wait for results and decide, again in every life of the process.

What a method returned is a `Fact` that the journal must hold for ever. Refused by a disk in trouble, a client
tries again a little later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from tests.kill_points.participants import Participants

from sagacity_engine.errors import EngineError, JournalRefused, RunRefused
from sagacity_engine.events import Action, CancelRequested, Event, OperatorActed, RunEnded, SignalReceived
from sagacity_engine.host import Engine
from sagacity_engine.journal import Request
from sagacity_engine.machine import machine
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.results import RunResult

if TYPE_CHECKING:
    from tests.kill_points.stepwise import StepwiseJournal

T = TypeVar("T")

TRIES = 200
"""How often a client tries before something must be wrong."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that was acknowledged of a run: `holds` says whether its events tell it."""

    run_id: str
    words: str
    holds: Callable[[tuple[Event, ...]], bool]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of another process that was taken on under this number."""

    number: int


class Client:
    """Everybody outside one engine, in one life; `facts`, `asked` and `wrong` go over all lives."""

    def __init__(
        self,
        engine: Engine,
        journal: StepwiseJournal,
        who: Participants,
        *,
        facts: list[Fact],
        asked: list[Asked],
        wrong: list[str],
    ) -> None:
        self.engine = engine
        self.who = who
        self._journal = journal
        self._facts = facts
        self._asked = asked
        self._wrong = wrong

    async def run(
        self, run_id: str, saga: str = "trip", run_input: dict[str, Any] | None = None
    ) -> RunResult:
        """Starts a run, unless it is there, and waits for its end."""
        await self.start(run_id, saga, run_input)
        return await self.result(run_id)

    async def start(self, run_id: str, saga: str = "trip", run_input: dict[str, Any] | None = None) -> None:
        """Starts a run, unless it is there."""

        async def try_once() -> None:
            try:
                await self.engine.start(saga, run_input, run_id=run_id)
            except JournalRefused:
                if self._journal.run(run_id) is not None:
                    self._wrong.append(f"{run_id}: its start was refused, and it is there")
                raise

        await self._until_taken(try_once)
        self._facts.append(Fact(run_id, "started", bool))

    async def result(self, run_id: str) -> RunResult:
        """Waits for the end of the run; what the engine held in memory is what the journal tells."""
        assert self.engine._house is not None
        live = self.engine._house.live.get(run_id)
        driver = None if live is None else live.driver
        result = await self.engine.result(run_id)
        if (
            driver is not None
            and machine.replay(driver.state.saga, self._journal.read(run_id)) != driver.state
        ):
            self._wrong.append(f"{run_id}: the replay differs from the state")

        def holds(events: tuple[Event, ...]) -> bool:
            return any(
                isinstance(event, RunEnded)
                and (event.status, event.at, event.reason) == (result.status, result.ended_at, result.reason)
                for event in events
            )

        self._facts.append(Fact(run_id, f"ended {result.status.value}", holds))
        return result

    async def state(self, run_id: str) -> RunState:
        """Where the run stands."""
        return await self.engine.state(run_id)

    async def until(self, run_id: str, reached: Callable[[RunState], bool]) -> RunState:
        """Waits until the run stands as told, or has ended."""
        for _ in range(TRIES):
            state = await self.state(run_id)
            if state.ended is not None or reached(state):
                return state
            await asyncio.sleep(0.25)
        raise AssertionError(f"{run_id} never got there")

    async def act(self, run_id: str, action: Action, step: str = "") -> None:
        """An operator decides."""
        await self._until_taken(lambda: self.engine.act(run_id, action, who="ann", step=step))
        self._facts.append(
            Fact(
                run_id,
                f"{action.value} {step}",
                lambda events: any(
                    isinstance(event, OperatorActed) and (event.action, event.step) == (action, step)
                    for event in events
                ),
            )
        )

    async def signal(self, run_id: str, name: str) -> None:
        """Somebody approves."""
        await self._until_taken(lambda: self.engine.signal(run_id, name, who="ann"))
        self._facts.append(
            Fact(
                run_id,
                f"signalled {name}",
                lambda events: any(
                    isinstance(event, SignalReceived) and event.name == name for event in events
                ),
            )
        )

    async def ask_to_cancel(self, run_id: str) -> None:
        """Another process asks through the file, once, and waits for the answer."""

        async def ask() -> int:
            event = CancelRequested(at=self.engine.now(), who="ann")
            return await asyncio.to_thread(self._journal.ask, Request.of(run_id, event))

        if not self._asked:
            number = await self._until_taken(ask)
            self._asked.append(Asked(number))
        for _ in range(TRIES):
            answer = await asyncio.to_thread(self._journal.answer_of, self._asked[-1].number)
            if answer is not None:
                return
            await asyncio.sleep(0.25)
        raise AssertionError("the request was never answered")

    async def _until_taken(self, attempt: Callable[[], Awaitable[T]]) -> T:
        problem: EngineError | None = None
        for _ in range(TRIES):
            try:
                return await attempt()
            except (JournalRefused, RunRefused) as refused:
                if isinstance(refused, RunRefused) and "disk I/O error" not in str(refused):
                    raise
                problem = refused
                await asyncio.sleep(0.3)
        raise AssertionError(f"refused {TRIES} times: {problem}")
