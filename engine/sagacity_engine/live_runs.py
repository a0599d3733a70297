"""The runs of one process: who has claimed which id, how many are carried on, and what became of each.

A run's id is claimed before anything is looked up, so that no id is ever started or recovered twice at once.
A claim is accepted when the run's start is durable, or given up. At most `max_runs` runs are carried on at a
time; recovered ones wait for their turn like new ones.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from sagacity_engine.driver import RunDriver
from sagacity_engine.errors import EngineError, RunRefused
from sagacity_engine.events import AttemptStarted
from sagacity_engine.journal import JournalConflict
from sagacity_engine.results import RunResult, result_of

_LOG = logging.getLogger("sagacity_engine")


class LiveRun:
    """One claimed run id; with a driver from the moment the run's start is on its way to the disk."""

    def __init__(self, run_id: str, saga: str) -> None:
        loop = asyncio.get_running_loop()
        self.run_id = run_id
        self.saga = saga
        self.driver: RunDriver | None = None
        self.task: asyncio.Task[None] | None = None
        self.accepted: asyncio.Future[bool] = loop.create_future()  # Whether the run is carried on here.
        self.done: asyncio.Future[RunResult] = loop.create_future()
        self.accepted.add_done_callback(_looked_at)
        self.done.add_done_callback(_looked_at)

    async def carried_on(self) -> RunDriver | None:
        """Waits until the claim is decided: the run's driver, or None when it is not carried on here."""
        await asyncio.wait([self.accepted])
        return None if self.refusal() or not self.accepted.result() else self.driver

    def refusal(self) -> BaseException | None:
        """Why the claim was given up, if something went wrong."""
        return self.accepted.exception() if self.accepted.done() else None

    def decide(self, problem: BaseException | None = None, *, accepted: bool = False) -> None:
        """Tells everybody who waits for the claim; only the first decision counts."""
        if self.accepted.done():
            return
        if problem is None:
            self.accepted.set_result(accepted)
        elif isinstance(problem, Exception):
            self.accepted.set_exception(problem)
        else:
            self.accepted.set_exception(RunRefused("the start was given up; start the run again"))

    def finish(self, outcome: RunResult | Exception) -> None:
        """Tells everybody who waits for the run's end; only the first outcome counts."""
        if self.done.done():
            return
        if isinstance(outcome, Exception):
            self.done.set_exception(outcome)
        else:
            self.done.set_result(outcome)


class LiveRuns:
    """The claimed runs of one opened engine; `stranded` and `parked` say by id why a run stands still."""

    def __init__(self, max_runs: int, stranded: dict[str, str], parked: dict[str, str]) -> None:
        self.slots = asyncio.Semaphore(max_runs)
        self.stranded = stranded
        self.parked = parked
        self._by_id: dict[str, LiveRun] = {}

    def get(self, run_id: str) -> LiveRun | None:
        """The run with this id, claimed or carried on."""
        return self._by_id.get(run_id)

    def claim(self, run_id: str, saga: str) -> LiveRun:
        """A new claim of an id that nobody has."""
        assert run_id not in self._by_id, "one id, one claim"
        run = self._by_id[run_id] = LiveRun(run_id, saga)
        return run

    def give_up(self, run: LiveRun, problem: BaseException | None = None) -> None:
        """Takes a claim back; whoever waits for it is told."""
        if self._by_id.get(run.run_id) is run:
            del self._by_id[run.run_id]
        run.decide(problem)

    def strand(self, run_id: str, reason: str) -> None:
        """Notes that a run cannot be carried on here."""
        self.stranded[run_id] = reason
        _LOG.error("run %s cannot be carried on: %s", run_id, reason)

    def start(self, run: LiveRun, driver: RunDriver) -> None:
        """Journals the start of a new run and carries it on; its slot is taken already."""
        run.driver = driver
        run.task = asyncio.get_running_loop().create_task(self._start(run, driver))

    def resume(self, run: LiveRun, driver: RunDriver) -> None:
        """Carries on a run that the journal has, as soon as a slot is free."""
        self.stranded.pop(run.run_id, None)
        driver.recover()
        run.driver = driver
        run.decide(accepted=True)
        run.task = asyncio.get_running_loop().create_task(self._resume(run, driver))

    async def close(self, within_s: float) -> None:
        """Starts no more attempts and waits for those in flight."""
        for run in self._by_id.values():
            if run.driver is not None:
                run.driver.close()
        tasks = [run.task for run in self._by_id.values() if run.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=within_s)

    def abandon(self) -> list[asyncio.Task[None]]:
        """Cancels what is left, for the next opening to carry on; the cancelled tasks."""
        left = [run.task for run in self._by_id.values() if run.task is not None]
        for task in left:
            task.cancel()
        return left

    async def _start(self, run: LiveRun, driver: RunDriver) -> None:
        try:
            try:
                launches = await driver.begin()
            except JournalConflict:
                raise RunRefused(
                    f"run {run.run_id!r} exists already; ask for its result, or choose another id"
                ) from None
            run.decide(accepted=True)
            await self._drive(run, driver, launches)
        except BaseException as problem:
            if run.accepted.done():
                raise
            self.give_up(run, problem)  # Nothing was started; whoever asked for it is told why.
            if not isinstance(problem, Exception):
                raise
        finally:
            self.slots.release()
            self._leave(run, driver)

    async def _resume(self, run: LiveRun, driver: RunDriver) -> None:
        try:
            async with self.slots:
                await self._drive(run, driver, [])
        finally:
            self._leave(run, driver)

    async def _drive(self, run: LiveRun, driver: RunDriver, launches: Sequence[AttemptStarted]) -> None:
        try:
            await driver.drive(launches)
        except Exception as problem:
            self.strand(run.run_id, f"{type(problem).__name__}: {problem}")
            run.finish(problem if isinstance(problem, EngineError) else EngineError(str(problem)))
            if not isinstance(problem, EngineError):
                raise

    def _leave(self, run: LiveRun, driver: RunDriver) -> None:
        """Whatever happened: nobody waits for ever, and the id is free."""
        driver.stop_waiting()
        self.parked.pop(run.run_id, None)
        ended = driver.state.ended is not None
        run.finish(result_of(driver.state) if ended else RunRefused(unfinished(run.run_id)))
        self.give_up(run)


def unfinished(run_id: str) -> str:
    """What is told to those who wait for a run when the engine closes."""
    return (
        f"the engine closed before run {run_id!r} ended; it goes on when an engine opens this journal again"
    )


def _looked_at(future: asyncio.Future[bool] | asyncio.Future[RunResult]) -> None:
    """Not everybody who starts a run waits for it: an outcome nobody asked for is no accident."""
    if not future.cancelled():
        future.exception()
