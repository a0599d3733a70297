"""Carrying on runs that the journal has: those a former process left open, and those a person re-opens.

Resources come first: every run that holds one is found before any run goes on, so that none is given away
that somebody has. Runs are then carried on in turn, as places become free. A run that cannot be carried on
(its definition is not registered, its events were altered) is left untouched and listed as stranded, unless
it wants nothing but its end: no function is needed for that.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from sagacity_engine.errors import JournalRefused, RunRefused
from sagacity_engine.guards.resource_locks import ResourceLocks
from sagacity_engine.hosting.admission import Admission
from sagacity_engine.hosting.driver import RunDriver
from sagacity_engine.hosting.kept_runs import KeptRuns, Loaded, Lost, ending_without_calls
from sagacity_engine.hosting.live_runs import LiveRun, LiveRuns
from sagacity_engine.journal import Journal, RunSummary
from sagacity_engine.machine.run_state import RunState

PAGE = 1_000
"""Open runs looked up at a time when an engine takes them up."""


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
        self._kept = KeptRuns(journal, admission.by_hash)
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
        last: str | None = None
        while page := await asyncio.to_thread(self._kept.attended, PAGE, last):
            last = page[-1].run_id
            for run_id, found in await asyncio.to_thread(
                lambda lines: list(self._kept.locks_of(lines)), page
            ):
                if isinstance(found, JournalRefused):
                    self._live.strand(run_id, str(found))
                else:
                    self._hold(run_id, found)

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
        if self._closed:
            self._live.give_up(run)
            raise RunRefused(f"the engine closed while run {run_id!r} was looked up; ask again")
        self._live.stranded.pop(run_id, None)  # What kept it from being read before is over.
        driver = run.driver = self._drive(run, loaded)
        run.hold(self._live.slots, active=True)
        run.decide(accepted=True)
        return driver

    def stored(self, run_id: str) -> RunState | None:
        """Where a run stands by the journal alone; None when there is none. Raises `JournalRefused`."""
        return self._kept.state(run_id)

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
            found = await asyncio.to_thread(lambda: list(self._kept.load(line for _, line in claimed)))
        except BaseException as problem:
            for run, _ in claimed:
                self._live.give_up(run, problem)
            raise
        loaded: list[Loaded | None] = []
        for (run, _), one in zip(claimed, found, strict=True):
            if isinstance(one, Lost):
                self._hold(run.run_id, one.locks)
                if one.kept is None or not self._end(run, one.kept):
                    self._live.strand(run.run_id, one.reason)
                    self._live.give_up(run)
            loaded.append(None if isinstance(one, Lost) else one)
        return loaded

    def _end(self, run: LiveRun, kept: Loaded) -> bool:
        """Whether the run wants nothing but its end, and is on its way to it without any call."""
        driver = self._drive(run, kept)
        happens = ending_without_calls(driver.state, driver.now())
        if not happens or self._closed:
            return False
        self._live.stranded.pop(run.run_id, None)
        run.driver = driver
        driver.wait()
        run.decide(accepted=True)
        for event in happens:
            driver.put(event)
        return True

    def _hold(self, run_id: str, keys: tuple[str, ...]) -> None:
        """The run has these resources already, so nobody is told that it got them."""
        if keys and not self._locks.has_asked(run_id):
            self._locks.ask(run_id, keys, _nothing)

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
