"""Carrying on runs that the journal has: those a former process left open, and those a person re-opens.

Resources come first: every run that holds one is found before any run goes on, so that none is given away
that somebody has. Runs are then carried on in turn, as places become free. A run that cannot be carried on
(its definition is not registered, its events were altered) is left untouched and listed as stranded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from sagacity_engine.errors import JournalRefused, RunRefused
from sagacity_engine.events import RunStarted, Status
from sagacity_engine.guards.resource_locks import ResourceLocks
from sagacity_engine.handlers import BoundSaga
from sagacity_engine.hosting.admission import Admission
from sagacity_engine.hosting.driver import RunDriver
from sagacity_engine.hosting.live_runs import LiveRun, LiveRuns
from sagacity_engine.journal import Journal, RunSummary
from sagacity_engine.machine import machine
from sagacity_engine.machine.run_state import RunState

PAGE = 1_000
"""Open runs looked up at a time when an engine takes them up."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A run that cannot be carried on: why, and the resources that it holds all the same."""

    reason: str
    locks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A run as the journal has it, ready to be carried on."""

    bound: BoundSaga
    state: RunState
    seq: int
    last_at: float


class Recovery:
    """Takes up runs of an opened engine. `drive` makes a run's driver, `queue` lets it wait for resources."""

    def __init__(
        self,
        journal: Journal,
        admission: Admission,
        live: LiveRuns,
        locks: ResourceLocks,
        *,
        drive: Callable[[LiveRun, Loaded], RunDriver],
        queue: Callable[[RunDriver], None],
    ) -> None:
        self._journal = journal
        self._admission = admission
        self._live = live
        self._locks = locks
        self._drive = drive
        self._queue = queue
        self._to_resume: deque[LiveRun] = deque()
        self._resuming: asyncio.Task[None] | None = None
        self._closed = False

    async def take_up(self) -> tuple[str, ...]:
        """Carries on every open run that is not carried on yet; the ids of those."""
        taken: list[LiveRun] = []
        last: str | None = None
        while page := await asyncio.to_thread(self._journal.open_runs, PAGE, after=last):
            last = page[-1].run_id
            claimed = [
                (self._live.claim(line.run_id, line.saga), line)
                for line in page
                if self._live.get(line.run_id) is None
            ]
            taken += await self._take_up_page(claimed)
        # Only now, when every resource has found the run that holds it.
        self._to_resume += taken
        if taken and (self._resuming is None or self._resuming.done()):
            self._resuming = asyncio.get_running_loop().create_task(self._resume_in_turn())
        return tuple(run.run_id for run in taken)

    async def hold_attended(self) -> None:
        """Runs that need attention keep their resources until a person has settled them."""
        for name in {bound.saga.name for bound in self._admission.by_hash.values() if bound.saga.locks}:
            last: str | None = None
            while page := await self._attended(name, last):
                last = page[-1].run_id
                for line in page:
                    events = await asyncio.to_thread(self._journal.read, line.run_id)
                    if events and isinstance(events[0], RunStarted):
                        self._hold(line.run_id, events[0].locks)

    async def awake(self, run_id: str) -> RunDriver:
        """The driver of a run that has ended, so that a person may decide about it; raises `RunRefused`."""
        line = await asyncio.to_thread(self._journal.run, run_id)
        if line is None:
            raise RunRefused(f"there is no run {run_id!r} in this journal; check the id")
        if not line.status.ended:
            raise RunRefused(self.why_not_here(run_id))
        if other := self._live.get(run_id):  # Somebody else was quicker.
            if driver := await other.carried_on():
                return driver
            if other.accepted:  # It was refused what it asked for, and the run is over again.
                return await self.awake(run_id)
            raise RunRefused(self.why_not_here(run_id))
        run = self._live.claim(run_id, line.saga)
        [loaded] = await self._load([(run, line)])
        if loaded is None:
            raise RunRefused(f"run {run_id!r} cannot be carried on here: {self._live.stranded[run_id]}")
        self._live.stranded.pop(run_id, None)  # What kept it from being read before is over.
        driver = run.driver = self._drive(run, loaded)
        run.hold(self._live.slots, active=True)
        run.decide(accepted=True)
        return driver

    def stored(self, run_id: str) -> RunState | None:
        """Where a run stands by the journal alone; None when there is none. Raises `JournalRefused`."""
        line = self._journal.run(run_id)
        if line is None:
            return None
        bound = self._admission.by_hash.get(line.definition_hash)
        saga = self._journal.definition(line.definition_hash) if bound is None else bound.saga
        if saga is None:
            raise JournalRefused(
                f"the journal lacks the definition of run {run_id!r}; restore it from a copy"
            )
        return machine.replay(saga, self._journal.read(run_id))

    def why_not_here(self, run_id: str) -> str:
        """Why an open run of the journal is not carried on here."""
        return f"run {run_id!r} is open and cannot be carried on here: " + self._live.stranded.get(
            run_id, "this engine has not taken it up; call recover"
        )

    def close(self) -> None:
        """Takes up no more."""
        self._closed = True
        if self._resuming is not None:
            self._resuming.cancel()

    async def _take_up_page(self, claimed: Sequence[tuple[LiveRun, RunSummary]]) -> list[LiveRun]:
        taken: list[LiveRun] = []
        for (run, line), loaded in zip(claimed, await self._load(claimed), strict=True):
            if loaded is None:
                continue
            if loaded.state.ended is not None or self._closed:
                self._live.give_up(run)
                continue
            self._live.stranded.pop(line.run_id, None)
            driver = run.driver = self._drive(run, loaded)
            driver.wait()
            run.decide(accepted=True)
            if driver.state.locked:
                self._hold(driver.run_id, driver.state.started.locks)
            taken.append(run)
        return taken

    async def _load(self, claimed: Sequence[tuple[LiveRun, RunSummary]]) -> list[Loaded | None]:
        """The claimed runs as the journal has them; None for one that cannot be had, which is stranded."""
        try:
            found = await asyncio.to_thread(lambda: list(self._read(line for _, line in claimed)))
        except BaseException as problem:
            for run, _ in claimed:
                self._live.give_up(run, problem)
            raise
        loaded: list[Loaded | None] = []
        for (run, line), one in zip(claimed, found, strict=True):
            if isinstance(one, Lost):
                self._hold(line.run_id, one.locks)
                self._live.strand(line.run_id, one.reason)
                self._live.give_up(run)
            loaded.append(None if isinstance(one, Lost) else one)
        return loaded

    def _read(self, lines: Iterator[RunSummary]) -> Iterator[Loaded | Lost]:
        """Each run, or why it cannot be had."""
        for line in lines:
            bound = self._admission.by_hash.get(line.definition_hash)
            if bound is None:
                reason = (
                    f"its definition {line.definition_hash[:12]} of saga {line.saga!r} is not registered; "
                    "register the definition it was started with"
                )
                yield Lost(reason, self._held_by(line.run_id))
                continue
            try:
                events = self._journal.read(line.run_id)
                state = machine.replay(bound.saga, events)
            except Exception as problem:  # noqa: BLE001  one run that cannot be read must not stop the others
                yield Lost(str(problem))
            else:
                yield Loaded(bound, state, len(events), max(event.at for event in events))

    def _held_by(self, run_id: str) -> tuple[str, ...]:
        """What an open run that is left alone holds; nothing when the journal cannot tell."""
        with contextlib.suppress(Exception):
            state = self.stored(run_id)
            if state is not None and state.locked:
                return state.started.locks
        return ()

    def _hold(self, run_id: str, keys: tuple[str, ...]) -> None:
        """The run has these resources already, so nobody is told that it got them."""
        if keys and not self._locks.has_asked(run_id):
            self._locks.ask(run_id, keys, _nothing)

    async def _attended(self, saga: str, before: str | None) -> tuple[RunSummary, ...]:
        newest = partial(self._journal.runs, Status.NEEDS_ATTENTION, PAGE, saga=saga, before=before)
        return await asyncio.to_thread(newest)

    async def _resume_in_turn(self) -> None:
        """Carries runs on as places become free."""
        while self._to_resume:
            await self._live.slots.acquire()
            run = self._to_resume.popleft()
            if run.driver is None or self._live.get(run.run_id) is not run:
                self._live.slots.release()
                continue
            run.given()
            driver = run.driver
            driver.resume()
            if not driver.state.locked:
                self._queue(driver)


def _nothing() -> None:
    """A run that holds its resources already is not told again."""
