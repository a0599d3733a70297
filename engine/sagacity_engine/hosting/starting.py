"""The ways in which runs begin: claimed, given their resources and a place, pinned, and written down.

A run is claimed by its id before anything is looked up. What is refused on the way leaves nothing behind: no
claim, no resource, no place, no event. Once its start is on the way to the disk, a run goes on though its
caller may not wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from sagacity_engine.errors import JournalRefused, RunRefused
from sagacity_engine.events import LocksAcquired
from sagacity_engine.guards.resource_locks import ResourceLocks
from sagacity_engine.handlers import BoundSaga
from sagacity_engine.hosting.admission import Admission, Order
from sagacity_engine.hosting.driver import RunDriver
from sagacity_engine.hosting.kept_runs import Loaded
from sagacity_engine.hosting.live_runs import LiveRun, LiveRuns
from sagacity_engine.hosting.locking import lock_before_start, lock_keys
from sagacity_engine.journal import Journal, JournalConflict
from sagacity_engine.machine.run_state import begin


class Starts:
    """Begins runs of one opened engine.

    `drive` makes a run's driver, and `queue` lets it wait for its resources; `require_running` raises once
    the engine closes, when `closed` is done; `why_not_here` says why an open run is not carried on here.
    """

    def __init__(
        self,
        journal: Journal,
        admission: Admission,
        live: LiveRuns,
        locks: ResourceLocks,
        *,
        drive: Callable[[LiveRun, Loaded], RunDriver],
        queue: Callable[[RunDriver], None],
        closed: asyncio.Future[None],
        require_running: Callable[[], None],
        why_not_here: Callable[[str], str],
    ) -> None:
        self._journal = journal
        self._admission = admission
        self._live = live
        self._locks = locks
        self._drive = drive
        self._queue = queue
        self._closed = closed
        self._require_running = require_running
        self._why_not_here = why_not_here

    async def start(
        self, bound: BoundSaga, order: Order, *, must_be_new: bool = False, until_end: bool = False
    ) -> LiveRun | None:
        """The run once its start is durable; None for one that exists and has ended.

        With `until_end`, whoever waits for the run's end anyway is woken only then.
        """
        self._require_running()
        run_id = order.run_id
        if other := self._live.get(run_id):
            return await _joined(other, bound.saga.name)
        self._live.require_room()
        if bound.saga.locks:
            order = replace(order, locks=lock_keys(bound.saga, order.run_input))
        run = self._live.claim(run_id, bound.saga.name)
        if order.locks and not await self._is_new(run):
            self._live.give_up(run)
            await self._require_over(run, must_be_new=must_be_new)
            return None
        try:
            await self._admit(run, bound, order, until_end)
        except JournalConflict:
            self._locks.release(run_id)
            self._live.give_up(run)
            await self._require_over(run, must_be_new=must_be_new)
            return None
        except BaseException as problem:
            if not run.accepted and (run.driver is None or isinstance(problem, Exception)):
                self._locks.release(run_id)
                self._live.give_up(run, problem)
            raise  # A start on its way to the disk goes on though its caller does not wait for it.
        return run

    async def _is_new(self, run: LiveRun) -> bool:
        """Whether the run is to ask for its resources; one that is there may hold them and keeps them."""
        try:
            return await asyncio.to_thread(self._journal.run, run.run_id) is None
        except BaseException as problem:
            self._live.give_up(run, problem)
            raise

    async def _require_over(self, run: LiveRun, *, must_be_new: bool) -> None:
        """Raises `RunRefused` unless the run is there, is of the saga that was asked for, and has ended."""
        existing = await asyncio.to_thread(self._journal.run, run.run_id)
        if must_be_new or existing is None:
            raise RunRefused(f"run {run.run_id!r} exists already; choose another id")
        _require_saga(run.run_id, existing.saga, run.saga)
        if not existing.status.ended:
            raise RunRefused(self._why_not_here(run.run_id))

    async def _admit(self, run: LiveRun, bound: BoundSaga, order: Order, until_end: bool) -> None:
        held = bool(order.locks) and await lock_before_start(
            self._locks, bound.saga, run.run_id, order.locks, self._closed
        )
        if not self._live.slots.acquired():
            await self._live.slots.acquire()
        run.given()
        self._require_running()
        started = await self._admission.admit(bound, order)
        self._require_running()
        first = [LocksAcquired(at=started.at)] if held else []
        driver = run.driver = self._drive(run, Loaded(bound, begin(bound.saga, started), 0, started.at))
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        driver.begin(first, partial(self._began, run, driver, begun, until_end))
        await begun

    def _began(
        self,
        run: LiveRun,
        driver: RunDriver,
        begun: asyncio.Future[None],
        until_end: bool,
        problem: JournalRefused | None,
    ) -> None:
        if problem is None:
            run.decide(accepted=True)
            if until_end:
                run.wake_at_end(begun)
            elif not begun.done():
                begun.set_result(None)
            if not driver.state.locked:
                self._queue(driver)
        elif not begun.done():
            begun.set_exception(problem)
        else:  # Whoever started it does not wait any more.
            self._locks.release(run.run_id)
            self._live.give_up(run, problem)


async def _joined(run: LiveRun, saga: str) -> LiveRun | None:
    """Waits until another caller's run of the same id is accepted."""
    _require_saga(run.run_id, run.saga, saga)
    if await run.carried_on():
        return run
    if run.problem is not None:
        raise RunRefused(
            f"run {run.run_id!r} was being started by another caller, and was refused: {run.problem}"
        )
    return None


def _require_saga(run_id: str, own: str, asked: str) -> None:
    if own != asked:
        raise RunRefused(f"run {run_id!r} is a run of saga {own!r}, not of {asked!r}; choose another id")
