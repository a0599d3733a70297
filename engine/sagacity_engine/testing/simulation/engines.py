"""Engines that live and die: opened, killed, closed, hung and taken over, one after another on one disk.

Each life is a process of its own in virtual time, with a clock that steadily follows the wall's as it stood
when the life began; somebody may set the wall's clock in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from sagacity_engine.advisor import Advisor
from sagacity_engine.batch import Batch
from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import AttemptStarted, Direction, Event, RolledBack
from sagacity_engine.guards.breaker import BreakerState
from sagacity_engine.guards.service_guards import ServicePolicy
from sagacity_engine.handlers import BoundSaga
from sagacity_engine.host import Engine
from sagacity_engine.listeners import Listeners, Told
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.saga import Step
from sagacity_engine.testing.simulation.advice import ADVICE_BUDGET_S
from sagacity_engine.testing.simulation.journal import Disk, Fate, SimJournal
from sagacity_engine.testing.simulation.virtual_loop import Process, VirtualLoop
from sagacity_engine.testing.simulation.witness import Witness

WALL_S = 1_700_000_000.0
DAY_S = 86_400.0
OPENING_CRASH = 0.06
"""The chance that an engine is killed before it has opened, in days when engines are killed."""


class Died(Exception):
    """The process that was to do something was killed before it was done."""


@dataclass(frozen=True, slots=True)
class Make:
    """What every engine of a simulation is made with."""

    sagas: Sequence[BoundSaga]
    advisor: Advisor | None
    services: Mapping[str, ServicePolicy] | None
    max_runs: int
    max_threads: int


class Life:
    """One engine, from its birth to its end."""

    def __init__(self, engine: Engine, journal: SimJournal) -> None:
        self.engine = engine
        self.journal = journal
        self.up = False
        self.closed = False  # In good order.
        self.stop = asyncio.Event()
        self.over = asyncio.Event()  # It is nobody's current engine any more.
        self.waiting: dict[asyncio.Future[Any], None] = {}
        self.process: Process | None = None


class Engines:
    """Keeps an engine open on the disk, whatever happens to it; `crash` is the chance that a commit kills."""

    def __init__(self, loop: VirtualLoop, rng: Random, make: Make, crash: float, witness: Witness) -> None:
        self.disk = Disk(loop, rng, self._fate, self._died)
        self.crash = crash
        self.current: Life | None = None
        self.cuts: dict[str, list[int]] = {}  # How much of an open run was durable at each death, by run id.
        self.told: dict[str, tuple[RunState, Event]] = {}  # The last that was told of a run.
        self._loop = loop
        self._rng = rng
        self._make = make
        self._note = witness.note
        self._lives: list[Life] = []
        self._next: Life | None = None
        self._up = asyncio.Event()
        self._closing = False
        self._wall_shift_s = 0.0

    @property
    def deaths(self) -> int:
        """Engines that were killed or taken over."""
        return sum(life.journal.dead for life in self._lives)

    @property
    def opening(self) -> Life | None:
        """The engine that is being opened."""
        return next((life for life in self._lives[-1:] if not life.up and not life.over.is_set()), None)

    def breaker_is_open(self, step: Step) -> bool:
        """Whether the open engine would leave the step's service alone now."""
        if step.breaker is None or self.current is None:
            return False
        guard = self.current.engine.guards.of(step.service)
        return guard.state(step.breaker, self.clock()) is BreakerState.OPEN

    def is_stale(self, process: Process | None) -> bool:
        """Whether the process is of an engine that was taken over and does not know it."""
        return process is not None and any(
            life.process is process and life.journal.epoch != self.disk.epoch for life in self._lives
        )

    def why_open(self, run_id: str) -> str:
        """What engines say of a run that has not ended."""
        said = [life.engine.stranded.get(run_id) or life.engine.parked.get(run_id) for life in self._lives]
        return next((words for words in reversed(said) if words), "no engine knows why")

    def clock(self) -> float:
        """The wall's clock now."""
        return WALL_S + self._wall_shift_s + self._loop.time()

    async def live(self) -> None:
        """Opens one engine after the other, until `close`."""
        while not self._closing:
            life, self._next = self._next or self._born(), None
            await life.over.wait()
            if self._next is None:  # Else another has taken over.
                await asyncio.sleep(self._rng.uniform(0.02, 1.5))
                self._set_wall_clock()

    async def close(self) -> None:
        """Closes the engine that is open, in good order, and opens no other."""
        self._closing = True
        await self.shut()
        for life in self._lives:
            if not life.closed:
                self.kill(life)

    async def shut(self) -> None:
        """Closes the engine that is open; another follows."""
        life = self.current
        if life is not None:
            life.stop.set()
            await life.over.wait()

    async def ask(self, work: Callable[[Engine], Awaitable[Any]]) -> Any:
        """What the work in the open engine's process returns or raises; `Died` when that is killed first."""
        await self._up.wait()
        life, done = self.current, self._loop.create_future()
        assert life is not None, "one is up"
        assert life.process is not None, "an engine that is up has a process"
        life.waiting[done] = None
        life.process.start(_told(work(life.engine), done))
        try:
            return await done
        finally:
            life.waiting.pop(done, None)

    def kill(self, life: Life | None) -> None:
        """Ends a process from one moment to the next; what it had in memory is gone."""
        if life is None or life.process is None or life.journal.dead:
            return
        if not life.up:
            self._note("crash while an engine was opening")
        elif life.journal.unwritten:
            self._note("crash with a batch that was not durable")
        self._cut()
        life.process.kill()
        life.journal.die()
        self._left(life)
        for done in tuple(life.waiting):
            if not done.done():
                done.set_exception(Died())

    def take_over(self) -> None:
        """The engine hangs, as far as others can see, and another one takes the disk; it lives on a while."""
        old = self.current
        if old is None or not old.up:
            return
        self.disk.hangs = True
        self._cut()
        self._left(old)
        self._next = self._born()
        self._loop.call_later(self._rng.uniform(0.3, 8.0), self.kill, old, context=self.disk.context)

    def crowd(self) -> None:
        """A second engine tries to open the disk while the first answers."""
        try:
            if self.current is not None:
                SimJournal(self.disk).open()
        except JournalRefused:
            self._note("second engine was refused")

    def _born(self) -> Life:
        make, began_s = self._make, self.clock() - self._loop.time()
        journal = SimJournal(self.disk)
        engine = Engine(
            journal,
            make.sagas,
            advisor=make.advisor,
            advice_budget_s=ADVICE_BUDGET_S,
            services=make.services,
            clock=lambda: began_s + self._loop.time(),
            draw=self._rng.random,
            max_runs=make.max_runs,
            max_threads=make.max_threads,
            shutdown_s=2.0,
        )
        # What listeners are told, without their thread, whose pace is not virtual.
        engine._settings = replace(engine._settings, listeners=_Inline(self.told))  # noqa: SLF001  see above
        life = Life(engine, journal)
        self._lives.append(life)
        life.process = self._loop.spawn(self._lead(life))
        if self.crash and self._rng.random() < OPENING_CRASH:
            self._loop.call_later(self._rng.random() * 0.01, self.kill, life, context=self.disk.context)
        return life

    async def _lead(self, life: Life) -> None:
        """The life itself, in its own process."""
        try:
            await life.engine.__aenter__()
        except JournalRefused:
            self._left(life)
            return
        life.up = True
        self.current = life
        self._up.set()
        await life.stop.wait()
        if life.journal.unwritten or any(map(_calls, self.told.values())):
            self._note("engine was closed in good order in the middle of runs")
        await life.engine.__aexit__(None, None, None)
        life.closed = True
        self._left(life)

    def _left(self, life: Life) -> None:
        if self.current is life:
            self.current = None
            self._up.clear()
        life.over.set()

    def _cut(self) -> None:
        for line in self.disk.kept.open_runs():
            self.cuts.setdefault(line.run_id, []).append(self.disk.lengths[line.run_id])

    def _fate(self, group: list[Batch]) -> Fate:
        crash = self.crash
        if crash and any(_delicate(batch) for batch in group):
            crash *= 4
        if self._rng.random() >= crash:
            return Fate.KEPT
        fate = self._rng.choice((Fate.LOST, Fate.UNTOLD))
        self._note("crash before a commit" if fate is Fate.LOST else "crash after a commit that was not told")
        return fate

    def _died(self, journal: SimJournal) -> None:
        self.kill(next(life for life in self._lives if life.journal is journal))

    def _set_wall_clock(self) -> None:
        draw = self._rng.random()
        if draw < 0.05:
            self._wall_shift_s += DAY_S
            self._note("clock set forward by a day between two engines")
        elif draw < 0.15:
            self._wall_shift_s -= DAY_S
            self._note("clock set back by a day between two engines")


async def _told(work: Awaitable[Any], done: asyncio.Future[Any]) -> None:
    try:
        result = await work
    except Exception as problem:  # noqa: BLE001  it belongs to whoever asked
        if not done.done():
            done.set_exception(problem)
    else:
        if not done.done():
            done.set_result(result)


def _calls(told: tuple[RunState, Event]) -> bool:
    state, _ = told
    return state.ended is None


def _delicate(batch: Batch) -> bool:
    """Whether the commit says that the run turns, or that several undos begin."""
    undos = sum(
        isinstance(each, AttemptStarted) and each.direction is Direction.UNDO for each in batch.events
    )
    return undos > 1 or any(isinstance(each, RolledBack) for each in batch.events)


class _Inline(Listeners):
    """Keeps the last that was told of every run."""

    def __init__(self, last: dict[str, tuple[RunState, Event]]) -> None:
        super().__init__(())
        self._last = last

    def tell(self, told: Told) -> None:
        state, event = told[-1]
        self._last[state.started.run_id] = (state, event)
