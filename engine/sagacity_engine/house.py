"""What an engine is while it is open: its runs, their services, and the ways in which runs begin.

A house is made for one opening and never opened again. Nothing in it is public: `host.Engine` is its face.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sagacity_engine import machine
from sagacity_engine.admission import Admission, Order
from sagacity_engine.advisor import Context
from sagacity_engine.attempts import Surroundings
from sagacity_engine.deadlines import Deadlines
from sagacity_engine.driver import RunDriver, Services
from sagacity_engine.errors import JournalRefused, RunRefused
from sagacity_engine.events import Event, LocksAcquired, RunStarted, Status
from sagacity_engine.handlers import BoundSaga
from sagacity_engine.inner_runs import InnerRuns
from sagacity_engine.journal import Journal, JournalConflict, RunSummary
from sagacity_engine.launching import Launching
from sagacity_engine.listeners import Listeners
from sagacity_engine.live_runs import LiveRun, LiveRuns
from sagacity_engine.locking import lock_before_start, lock_keys
from sagacity_engine.requests import Requests
from sagacity_engine.resource_locks import ResourceLocks
from sagacity_engine.run_state import RunState, begin
from sagacity_engine.service_guards import ServiceGuards

PAGE = 1_000
"""Open runs looked up at a time when an engine takes them up."""


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
        self._requests = Requests(self._journal, self.wish)
        self._resuming: asyncio.Task[None] | None = None
        self._to_resume: deque[LiveRun] = deque()
        self._running = False

    async def open(self) -> None:
        """Opens the journal and carries on what it holds; raises `JournalRefused`, and is closed then."""
        await self._open_journal()
        if self._settings.listeners is not None:
            self._settings.listeners.open()
        self._running = True
        try:
            await self._hold_attended()
            await self.recover()
            self._requests.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Waits for what is in flight, within `shutdown_s`; then leaves the rest to the next opening."""
        self._running = False
        try:
            await self._requests.close()
            if self._resuming is not None:
                self._resuming.cancel()
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

    async def start(
        self,
        bound: BoundSaga,
        order: Order,
        *,
        must_be_new: bool = False,
    ) -> LiveRun | None:
        """The run once its start is durable; None for one that exists and has ended."""
        self._require_running()
        run_id = order.run_id
        if other := self.live.get(run_id):
            return await _joined(other, bound.saga.name)
        self.live.require_room()
        order = replace(order, locks=lock_keys(bound.saga, order.run_input))
        run = self.live.claim(run_id, bound.saga.name)
        try:
            await self._admit(run, bound, order)
        except JournalConflict:
            self._locks.release(run_id)
            self.live.give_up(run)
            existing = await asyncio.to_thread(self._journal.run, run_id)
            if must_be_new or existing is None:
                raise RunRefused(f"run {run_id!r} exists already; choose another id") from None
            self._require_ended(existing, bound.saga.name)
            return None
        except BaseException as problem:
            if run.driver is None or isinstance(problem, Exception):
                self._locks.release(run_id)
                self.live.give_up(run, problem)
            raise  # A start on its way to the disk goes on though its caller does not wait for it.
        return run

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
        return await asyncio.to_thread(self._stored, run_id)

    async def wish(self, run_id: str, event: Event) -> str:
        """Asks for an event to happen to a run: "" when it is durable, else why it cannot.

        Raises `RunRefused` for an unknown or stranded run, or when the engine closes before it is durable.
        """
        self._require_running()
        run = self.live.get(run_id)
        driver = await run.carried_on() if run is not None else None
        awakened = driver is None
        if driver is None:
            driver = await self._awake(run_id)
        answer = driver.ask(lambda at: replace(event, at=at))
        await asyncio.wait([answer])
        if answer.cancelled():
            raise RunRefused("the request is lost: the engine closed before it was written; ask again")
        if awakened and not answer.result() and not driver.state.locked:
            self._queue_for_locks(driver)  # It let its resources go when it ended.
        return answer.result()

    async def recover(self) -> tuple[str, ...]:
        """Carries on every open run of the journal that is not carried on yet; the ids of those."""
        self._require_running()
        taken: list[LiveRun] = []
        last: str | None = None
        while page := await asyncio.to_thread(self._journal.open_runs, PAGE, after=last):
            last = page[-1].run_id
            taken += [run for line in page if (run := await self._take_up(line))]
        # Only now, when every resource has found the run that holds it.
        self._to_resume += taken
        if taken and (self._resuming is None or self._resuming.done()):
            self._resuming = asyncio.get_running_loop().create_task(self._resume_in_turn())
        return tuple(run.run_id for run in taken)

    def why_not_here(self, run_id: str) -> str:
        """Why an open run of the journal is not carried on here."""
        return f"run {run_id!r} is open and cannot be carried on here: " + self.stranded.get(
            run_id, "this engine has not taken it up; call recover"
        )

    async def _admit(self, run: LiveRun, bound: BoundSaga, order: Order) -> None:
        held = await lock_before_start(self._locks, bound.saga, run.run_id, order.locks)
        await self.live.slots.acquire()
        run.given()
        self._require_running()
        started = await self._settings.admission.admit(bound, order)
        self._require_running()
        first = [LocksAcquired(at=started.at)] if held else []
        state = begin(bound.saga, started)
        driver = run.driver = self._driver(run, bound, state, seq=0, last_at=started.at)
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        driver.begin(first, partial(self._began, run, driver, durable))
        await durable

    def _began(
        self, run: LiveRun, driver: RunDriver, durable: asyncio.Future[None], problem: JournalRefused | None
    ) -> None:
        if problem is None:
            run.decide(accepted=True)
            if not durable.done():
                durable.set_result(None)
            if not driver.state.locked:
                self._queue_for_locks(driver)
        elif not durable.done():
            durable.set_exception(problem)
        else:  # Whoever started it does not wait any more.
            self._locks.release(run.run_id)
            self.live.give_up(run, problem)

    def _driver(
        self, run: LiveRun, bound: BoundSaga, state: RunState, *, seq: int, last_at: float
    ) -> RunDriver:
        return RunDriver(
            self._services,
            bound,
            state,
            seq,
            last_at,
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

    def _run_ended(self, state: RunState) -> None:
        assert state.ended is not None, "told at the end"
        if state.started.locks and state.ended.status is not Status.NEEDS_ATTENTION:
            self._locks.release(state.started.run_id)
        self._inner.ended(state)

    async def _take_up(self, line: RunSummary) -> LiveRun | None:
        """The open run, still to be resumed, if it is carried on here from now on and was not before."""
        if self.live.get(line.run_id) is not None:
            return None
        run = self.live.claim(line.run_id, line.saga)
        driver = await self._loaded(run, line)
        if driver is None or driver.state.ended is not None or not self._running:
            self.live.give_up(run)
            return None
        self.stranded.pop(line.run_id, None)
        run.driver = driver
        run.decide(accepted=True)
        if driver.state.started.locks and driver.state.locked:
            self._locks.ask(driver.run_id, driver.state.started.locks, _nothing)
        return run

    async def _resume_in_turn(self) -> None:
        """Carries runs on as places become free."""
        while self._to_resume:
            await self.live.slots.acquire()
            run = self._to_resume.popleft()
            if run.driver is None or self.live.get(run.run_id) is not run:
                self.live.slots.release()
                continue
            run.given()
            driver = run.driver
            driver.resume()
            if not driver.state.locked:
                self._queue_for_locks(driver)

    async def _awake(self, run_id: str) -> RunDriver:
        """The driver of a run that has ended, so that a person may decide about it."""
        line = await asyncio.to_thread(self._journal.run, run_id)
        if line is None:
            raise RunRefused(f"there is no run {run_id!r} in this journal; check the id")
        if not line.status.ended:
            raise RunRefused(self.why_not_here(run_id))
        if other := self.live.get(run_id):  # Somebody else was quicker.
            if driver := await other.carried_on():
                return driver
            raise RunRefused(self.why_not_here(run_id))
        run = self.live.claim(run_id, line.saga)
        driver = await self._loaded(run, line)
        if driver is None:
            self.live.give_up(run)
            raise RunRefused(self.why_not_here(run_id))
        run.driver = driver
        run.hold(self.live.slots, active=True)
        run.decide(accepted=True)
        return driver

    async def _loaded(self, run: LiveRun, line: RunSummary) -> RunDriver | None:
        """A driver of the run as the journal has it; None, and stranded, when it cannot be had."""
        bound = self._settings.admission.by_hash.get(line.definition_hash)
        if bound is None:
            self.live.strand(
                line.run_id,
                f"its definition {line.definition_hash[:12]} of saga {line.saga!r} is not registered; "
                "register the definition it was started with",
            )
            return None
        try:
            events = await asyncio.to_thread(self._journal.read, line.run_id)
            state = machine.replay(bound.saga, events)
        except Exception as problem:  # noqa: BLE001  one run that cannot be read must not stop the others
            self.live.strand(line.run_id, str(problem))
            return None
        except BaseException as problem:
            self.live.give_up(run, problem)
            raise
        return self._driver(run, bound, state, seq=len(events), last_at=max(event.at for event in events))

    async def _hold_attended(self) -> None:
        """Runs that need attention keep their resources until a person has settled them."""
        for bound in self._settings.admission.by_hash.values():
            last: str | None = None
            while bound.saga.locks and (
                page := await asyncio.to_thread(
                    partial(
                        self._journal.runs, Status.NEEDS_ATTENTION, PAGE, saga=bound.saga.name, before=last
                    )
                )
            ):
                last = page[-1].run_id
                for line in page:
                    events = await asyncio.to_thread(self._journal.read, line.run_id)
                    if events and isinstance(events[0], RunStarted):
                        self._locks.ask(line.run_id, events[0].locks, _nothing)

    def _stored(self, run_id: str) -> RunState | None:
        line = self._journal.run(run_id)
        if line is None:
            return None
        bound = self._settings.admission.by_hash.get(line.definition_hash)
        saga = self._journal.definition(line.definition_hash) if bound is None else bound.saga
        if saga is None:
            raise JournalRefused(
                f"the journal lacks the definition of run {run_id!r}; restore it from a copy"
            )
        return machine.replay(saga, self._journal.read(run_id))

    def _require_ended(self, existing: RunSummary, saga: str) -> None:
        _require_saga(existing.run_id, existing.saga, saga)
        if not existing.status.ended:
            raise RunRefused(self.why_not_here(existing.run_id))

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


def _nothing() -> None:
    """A run that holds its resources already is not told again."""


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
