"""What an engine is while it is open: its runs, their services, and what is asked of them.

A house is made for one opening and never opened again. Nothing in it is public: `host.Engine` is its face.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sagacity_engine import codec
from sagacity_engine.advisor import Context
from sagacity_engine.errors import RunRefused, SagaRefused
from sagacity_engine.events import Event, LocksAcquired, Status
from sagacity_engine.guards.resource_locks import ResourceLocks
from sagacity_engine.guards.service_guards import ServiceGuards
from sagacity_engine.handlers import BoundSaga
from sagacity_engine.hosting.admission import Admission, Order
from sagacity_engine.hosting.attempts import Surroundings
from sagacity_engine.hosting.deadlines import Deadlines
from sagacity_engine.hosting.driver import RunDriver, Services
from sagacity_engine.hosting.inner_runs import InnerRuns
from sagacity_engine.hosting.kept_runs import Loaded
from sagacity_engine.hosting.launching import Launching
from sagacity_engine.hosting.live_runs import LiveRun, LiveRuns
from sagacity_engine.hosting.recovery import Recovery
from sagacity_engine.hosting.requests import Requests
from sagacity_engine.hosting.starting import Starts
from sagacity_engine.journal import Journal
from sagacity_engine.listeners import Listeners
from sagacity_engine.machine.run_state import RunState


@dataclass(frozen=True, slots=True)
class Settings:
    """What an engine was made with."""

    journal: Journal
    admission: Admission
    listeners: Listeners | None  # None when nobody listens.
    guards: ServiceGuards
    clock: Callable[[], float]
    draw: Callable[[], float]
    max_runs: int
    max_open: int
    max_threads: int
    shutdown_s: float


class House:
    """One opening of an engine."""

    def __init__(self, settings: Settings) -> None:
        loop = asyncio.get_running_loop()
        self._settings = settings
        self._journal = settings.journal
        self.stranded: dict[str, str] = {}
        self.parked: dict[str, str] = {}
        self.live = LiveRuns(
            settings.max_runs, settings.max_open, self.stranded, self.parked, self._run_ended
        )
        self._locks = ResourceLocks()
        self._closed: asyncio.Future[None] = loop.create_future()
        self._inner = InnerRuns(self, loop)
        self._threads = ThreadPoolExecutor(settings.max_threads, thread_name_prefix="sagacity-step")
        self._around = Surroundings(loop, self._threads, settings.draw, Deadlines(loop))
        self._counsel = settings.admission.counsel()
        self._services = Services(
            loop=loop,
            journal=self._journal,
            clock=settings.clock,
            tell=None if settings.listeners is None else settings.listeners.tell,
            launching=Launching(self._around, settings.guards, self._inner, self._counsel),
            parked=self.parked,
        )
        self._recovery = Recovery(
            self._journal,
            settings.admission,
            self.live,
            self._locks,
            drive=self._driver,
            queue=self._queue_for_locks,
        )
        self._starts = Starts(
            self._journal,
            settings.admission,
            self.live,
            self._locks,
            drive=self._driver,
            queue=self._queue_for_locks,
            closed=self._closed,
            require_running=self._require_running,
            why_not_here=self._recovery.why_not_here,
        )
        self.start = self._starts.start
        self._requests = Requests(self._journal, self.wish)
        self._running = False

    async def open(self) -> None:
        """Opens the journal and carries on what it holds; raises `JournalRefused`, and is closed then."""
        await self._open_journal()
        if self._settings.listeners is not None:
            self._settings.listeners.open()
        self._running = True
        try:
            await self._recovery.hold_attended()
            await self.recover()
            self._requests.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Waits for what is in flight, within `shutdown_s`; then leaves the rest to the next opening."""
        self._running = False
        if not self._closed.done():
            self._closed.set_result(None)
        try:
            await self._requests.close()
            self._recovery.close()
            await self.live.close(self._settings.shutdown_s)
        finally:  # Whoever cancels the waiting still gets a journal that is closed.
            self.live.abandon()
            await self._inner.close()
            if self._counsel is not None:
                await self._counsel.close()
            self._threads.shutdown(wait=False, cancel_futures=True)
            await asyncio.to_thread(self._journal.close)
            if self._settings.listeners is not None:
                await asyncio.to_thread(self._settings.listeners.close, self._settings.shutdown_s)

    async def start_inner(
        self, bound: BoundSaga, run_id: str, given: Mapping[str, Any], context: Context, parent: RunState
    ) -> None:
        """Starts the run of a step that is a saga."""
        outer = parent.started
        order = Order(
            run_id=run_id,
            run_input=given,
            context=context,
            parent=outer.run_id,
            traceparent=outer.traceparent,
        )
        await self.start(bound, order)

    async def find(self, run_id: str) -> RunState | None:
        """A copy of where the run stands, in this process or in the journal; None when there is none."""
        run = self.live.get(run_id)
        if run is not None and (driver := await run.carried_on()):
            return driver.state.copy()
        return await asyncio.to_thread(self._recovery.stored, run_id)

    async def wish(self, run_id: str, event: Event) -> str:
        """Asks for an event to happen to a run: "" when it is durable, else why it cannot.

        Raises `RunRefused` for an unknown or stranded run, or when the engine closes before it is durable,
        and `SagaRefused` for an event that no journal can keep.
        """
        self._require_running()
        _require_kept(event)
        run = self.live.get(run_id)
        driver = await run.carried_on() if run is not None else None
        if driver is None:
            driver = await self._recovery.awake(run_id)
        answer = driver.ask(lambda at: replace(event, at=at))
        answer.add_done_callback(partial(self._lock_again, driver))
        await asyncio.wait([answer])
        if answer.cancelled():
            raise RunRefused("the request is lost: the engine closed before it was written; ask again")
        return answer.result()

    async def recover(self) -> tuple[str, ...]:
        """Carries on every open run of the journal that is not carried on yet; the ids of those."""
        self._require_running()
        return await self._recovery.take_up()

    def why_not_here(self, run_id: str) -> str:
        """Why an open run of the journal is not carried on here."""
        return self._recovery.why_not_here(run_id)

    def _driver(self, run: LiveRun, loaded: Loaded) -> RunDriver:
        return RunDriver(
            self._services,
            loaded.bound,
            loaded.state,
            loaded.seq,
            loaded.last_at,
            ended=partial(self.live.left, run),
            active=partial(self._active, run),
        )

    def _active(self, run: LiveRun, active: bool) -> None:
        run.hold(self.live.slots, active=active)

    def _queue_for_locks(self, driver: RunDriver) -> None:
        def granted() -> None:
            driver.put(LocksAcquired(at=driver.now()))

        if self._locks.ask(driver.run_id, driver.state.started.locks, granted):
            granted()

    def _lock_again(self, driver: RunDriver, answer: asyncio.Future[str]) -> None:
        """A run that a request re-opened had let its resources go when it ended: it queues for them."""
        accepted = not answer.cancelled() and not answer.result()
        needs_them = driver.state.ended is None and not driver.state.locked
        if accepted and needs_them and not self._locks.has_asked(driver.run_id):
            self._queue_for_locks(driver)

    def _run_ended(self, state: RunState) -> None:
        assert state.ended is not None, "told at the end"
        if state.started.locks and state.ended.status is not Status.NEEDS_ATTENTION:
            self._locks.release(state.started.run_id)
        self._inner.ended(state)

    def _require_running(self) -> None:
        if not self._running:
            raise RunRefused("the engine is closed; use it inside 'async with Engine(...)'")

    async def _open_journal(self) -> None:
        opening = asyncio.ensure_future(asyncio.to_thread(self._open_and_define))
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            await asyncio.wait([opening])  # A thread cannot be stopped; what it opened must not stay open.
            if opening.exception() is None:
                self._journal.close()
            raise
        finally:
            if not opening.done() or opening.cancelled() or opening.exception() is not None:
                self._threads.shutdown(wait=False)

    def _open_and_define(self) -> None:
        self._journal.open()
        try:
            for bound in self._settings.admission.by_hash.values():
                self._journal.define(bound.saga)
        except BaseException:
            self._journal.close()
            raise


def _require_kept(event: Event) -> None:
    try:
        codec.encode(event)
    except (TypeError, ValueError) as problem:
        raise SagaRefused(f"the request cannot be kept as JSON: {problem}") from None
