"""Those who start runs and wait for them, over the deaths of engines, and remember what was promised."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from random import Random

from sagacity_engine.errors import EngineError, JournalRefused, RunRefused
from sagacity_engine.events import Status
from sagacity_engine.host import Engine
from sagacity_engine.results import RunResult
from sagacity_engine.testing.simulation.engines import Died, Engines
from sagacity_engine.testing.simulation.witness import Witness

TRIES_MAX = 8


@dataclass(frozen=True, slots=True)
class Order:
    """A run that somebody wants, and when, in virtual seconds."""

    at_s: float
    saga: str
    run_id: str
    room: int


class Clients:
    """Places orders. `started` and `ended` are what engines have acknowledged."""

    def __init__(self, engines: Engines, rng: Random, witness: Witness) -> None:
        self.started: set[str] = set()
        self.ended: dict[str, Status] = {}
        self.starting = 0  # Orders that are being placed now.
        self._engines = engines
        self._rng = rng
        self._note = witness.note
        self._mark = witness.mark

    async def place(self, order: Order) -> None:
        """Starts the run, however often it takes, and perhaps waits for its result."""
        await asyncio.sleep(order.at_s)
        if self._rng.random() < 0.05:
            twin = asyncio.ensure_future(self._start(order))
            await asyncio.gather(twin, self._start(order))
            self._mark(order.run_id, "started twice at once")
        else:
            await self._start(order)
        if order.run_id in self.started and self._rng.random() < 0.4:
            await self._wait(order.run_id)

    async def _start(self, order: Order) -> None:
        self.starting += 1
        for _ in range(TRIES_MAX):
            if await self._is_placed(order):
                break
            await asyncio.sleep(self._rng.uniform(0.2, 3.0))
        self.starting -= 1

    async def _is_placed(self, order: Order) -> bool:
        """Tries once; whether nothing is to be tried again."""
        try:
            await self._engines.ask(partial(_start, order=order, hurried=self._rng.random() < 0.03))
            self.started.add(order.run_id)
        except Died:
            self._mark(order.run_id, "start cut off by a crash")
            return False
        except TimeoutError:
            self._mark(order.run_id, "start whose caller did not wait for it")
        except JournalRefused:
            self._note("start refused by the journal")
            return False
        except RunRefused as refusal:
            if "is held by run" in str(refusal):
                self._note("start rejected because a resource is held")
            return False
        return True

    async def _wait(self, run_id: str) -> None:
        try:
            result: RunResult = await self._engines.ask(lambda engine: engine.result(run_id))
        except (Died, EngineError):
            return
        self.ended[run_id] = result.status


async def _start(engine: Engine, order: Order, *, hurried: bool) -> str:
    context = {"room": float(order.room)}
    starting = engine.start(order.saga, {"room": order.room}, run_id=order.run_id, context=context)
    return await (asyncio.wait_for(starting, 0.004) if hurried else starting)
