"""The embedded host: runs sagas durably in one process, with asyncio and a journal.

    async with Engine(SqliteJournal("runs.db"), sagas=[trip.bind()]) as engine:
        result = await engine.run("goa-trip", {"who": "Asha"})

Entering opens the journal and carries on every run that a former process left open. Each run is pinned,
when it starts, to its definition, its plan, the advice behind it and the arm it was assigned; a run whose
definition is not registered any more is left alone and listed in `stranded`. Leaving starts nothing new,
waits a bounded time for the calls in flight and journals nothing that is not known.

Steps are carried out at least once. With an idempotent participant, each takes effect once.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

from sagacity_engine import machine
from sagacity_engine.admission import Admission, kept, usable
from sagacity_engine.advisor import Advisor, Context
from sagacity_engine.attempts import Surroundings
from sagacity_engine.clock import SteadyClock
from sagacity_engine.driver import RunDriver, Services
from sagacity_engine.errors import RunRefused, SagaRefused
from sagacity_engine.events import CancelRequested
from sagacity_engine.handlers import BoundSaga
from sagacity_engine.journal import Journal, RunSummary
from sagacity_engine.listeners import Listener, Listeners
from sagacity_engine.live_runs import LiveRun, LiveRuns, unfinished
from sagacity_engine.machine import RunState
from sagacity_engine.results import RunResult, stored_result


class Engine:
    """Runs the given sagas; use it as an asynchronous context manager.

    `advisor` proposes plans within `advice_budget_s`; `check` stands between, and a share `holdout_share`
    of the runs keeps the author's plan so that the advice can be judged. At most `max_runs` runs are
    carried on at a time: one more `start` waits. Plain functions run in at most `max_threads` threads.
    `shutdown_s` is how long leaving waits for calls in flight. `clock` gives seconds since the epoch and
    must not go backwards; `draw` gives uniform numbers in [0, 1) for backoffs; `new_run_id` names runs that
    come without a name.
    """

    def __init__(
        self,
        journal: Journal,
        sagas: Iterable[BoundSaga],
        *,
        advisor: Advisor | None = None,
        holdout_share: float = 0.05,
        advice_budget_s: float = 0.5,
        listeners: Sequence[Listener] = (),
        clock: Callable[[], float] | None = None,
        draw: Callable[[], float] | None = None,
        new_run_id: Callable[[], str] | None = None,
        max_runs: int = 1_000,
        max_threads: int = 32,
        shutdown_s: float = 10.0,
    ) -> None:
        for name, number in (("max_runs", max_runs), ("max_threads", max_threads)):
            if number < 1:
                raise SagaRefused(f"{name} is {number!r}; it must be at least 1")
        self._clock = clock or SteadyClock()
        self._admission = Admission(sagas, advisor, holdout_share, advice_budget_s, self._clock)
        self._by_hash = {bound.saga.definition_hash: bound for bound in self._admission.sagas.values()}
        self._journal = journal
        self._listeners = Listeners(listeners)
        self._has_listeners = bool(listeners)
        self._draw = draw or random.SystemRandom().random
        self._new_run_id = new_run_id or (lambda: str(uuid.uuid4()))
        self._max_runs = max_runs
        self._max_threads = max_threads
        self._shutdown_s = shutdown_s
        self._stranded: dict[str, str] = {}
        self._parked: dict[str, str] = {}
        self._live: LiveRuns | None = None  # Of the engine's latest opening.
        self._services: Services | None = None
        self._running = False

    async def __aenter__(self) -> Engine:
        await self._open_journal()
        self._listeners.open()
        self._stranded.clear()
        self._parked.clear()
        self._live = LiveRuns(self._max_runs, self._stranded, self._parked)
        threads = ThreadPoolExecutor(self._max_threads, thread_name_prefix="sagacity-step")
        self._services = Services(
            journal=self._journal,
            clock=self._clock,
            tell=self._listeners.tell if self._has_listeners else None,
            around=Surroundings(threads, self._draw, set()),
            parked=self._parked,
        )
        self._running = True
        try:
            await self.recover()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    @property
    def stranded(self) -> Mapping[str, str]:
        """Open runs that this engine cannot carry on, by id, each with the reason."""
        return dict(self._stranded)

    @property
    def parked(self) -> Mapping[str, str]:
        """Runs that wait because the journal refuses to write, by id, each with its words."""
        return dict(self._parked)

    @property
    def listeners(self) -> Listeners:
        """The listeners' thread: counts of failures and drops, and `drain`."""
        return self._listeners

    async def run(
        self,
        saga: str,
        run_input: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        context: Context | None = None,
    ) -> RunResult:
        """Starts a run and returns its result; with the id of a run that exists, that run's result.

        Raises what `start` and `result` raise.
        """
        run, run_id = await self._start(saga, run_input, run_id, context)
        return await (self.result(run_id) if run is None else asyncio.shield(run.done))

    async def start(
        self,
        saga: str,
        run_input: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        context: Context | None = None,
    ) -> str:
        """Starts a run and returns its id when the start is durable; waits while `max_runs` are running.

        With the id of a run of this saga that exists, nothing is started and the other arguments are
        ignored. Raises `RunRefused` (an unknown saga, an unusable or taken id, a closed engine),
        `SagaRefused` (an input that is no JSON) or `JournalRefused`; after any of them nothing was started.
        A caller that is cancelled while the start is on its way to the disk leaves a run that goes on.
        """
        return (await self._start(saga, run_input, run_id, context))[1]

    async def result(self, run_id: str) -> RunResult:
        """Waits for a run's end.

        Raises `RunRefused` for an unknown or stranded run, or when the engine closes before the end.
        """
        run = self._known(run_id)
        if run is not None and await run.carried_on():
            return await asyncio.shield(run.done)
        self._require_running()
        return await asyncio.to_thread(stored_result, self._journal, run_id, self._why_not_here)

    async def cancel(self, run_id: str, who: str, why: str = "") -> bool:
        """Asks a run to turn back. True when the request is durable: after the pivot it changes nothing.

        False when the run had ended. Raises `RunRefused` for an unknown or stranded run, or when the engine
        closes before the request is durable.
        """
        self._require_running()
        run = self._known(run_id)
        driver = await run.carried_on() if run is not None else None
        if driver is None:
            await asyncio.to_thread(stored_result, self._journal, run_id, self._why_not_here)
            return False
        kept_it = await driver.put_and_wait(lambda at: CancelRequested(at=at, who=who, why=why))
        if not kept_it and driver.state.ended is None:
            raise RunRefused(f"the request is lost: {unfinished(run_id)}")
        return kept_it

    async def recover(self) -> tuple[str, ...]:
        """Carries on every open run of the journal; called on entry. Returns the ids of those it took up.

        Runs that cannot be carried on (an unregistered definition, an altered journal) stay untouched and are
        listed in `stranded`.
        """
        self._require_running()
        taken = [
            summary.run_id
            for summary in await asyncio.to_thread(self._journal.open_runs)
            if self._known(summary.run_id) is None and await self._recover_one(summary)
        ]
        return tuple(taken)

    async def _start(
        self, saga: str, run_input: Mapping[str, Any] | None, run_id: str | None, context: Context | None
    ) -> tuple[LiveRun | None, str]:
        """The run in this process, or None for one that ended before, and its id."""
        live = self._require_running()
        bound = self._admission.bound(saga)
        kept_input, kept_context = kept("input", run_input), kept("context", context)
        given, run_id = run_id is not None, usable(self._new_run_id() if run_id is None else run_id)
        if other := live.get(run_id):
            if not given:
                raise RunRefused(f"run id {run_id!r} came twice from new_run_id; it must never repeat itself")
            return await _joined(other, saga), run_id
        run = live.claim(run_id, saga)
        try:
            if given and (existing := await asyncio.to_thread(self._journal.run, run_id)):
                live.give_up(run)
                self._require_ended(existing, saga)
                return None, run_id
            await live.slots.acquire()
            try:
                self._require_running()
                started = await self._admission.admit(bound, run_id, kept_input, kept_context)
                self._require_running()
                driver = self._driver(bound, machine.begin(bound.saga, started), seq=0, last_at=started.at)
            except BaseException:
                live.slots.release()
                raise
        except BaseException as problem:
            live.give_up(run, problem)
            raise
        live.start(run, driver)
        await asyncio.shield(run.accepted)
        return run, run_id

    async def _recover_one(self, summary: RunSummary) -> bool:
        """Whether the open run is carried on here from now on."""
        live, run_id = self._require_running(), summary.run_id
        bound = self._by_hash.get(summary.definition_hash)
        if bound is None:
            live.strand(
                run_id,
                f"its definition {summary.definition_hash[:12]} of saga {summary.saga!r} is not registered; "
                "register the definition it was started with",
            )
            return False
        run = live.claim(run_id, summary.saga)
        try:
            events = await asyncio.to_thread(self._journal.read, run_id)
            state = machine.replay(bound.saga, events)
        except Exception as problem:  # noqa: BLE001  one run that cannot be read must not stop the others
            live.strand(run_id, str(problem))
            live.give_up(run)
            return False
        except BaseException as problem:
            live.give_up(run, problem)
            raise
        if state.ended is not None or not self._running:
            live.give_up(run)
            return False
        live.resume(run, self._driver(bound, state, seq=len(events), last_at=max(e.at for e in events)))
        return True

    def _driver(self, bound: BoundSaga, state: RunState, *, seq: int, last_at: float) -> RunDriver:
        assert self._services is not None, "an engine that runs has its services"
        return RunDriver(self._services, bound, state, seq, last_at)

    def _known(self, run_id: str) -> LiveRun | None:
        return None if self._live is None else self._live.get(run_id)

    def _require_ended(self, existing: RunSummary, saga: str) -> None:
        _require_saga(existing.run_id, existing.saga, saga)
        if not existing.status.ended:
            raise RunRefused(self._why_not_here(existing.run_id))

    def _why_not_here(self, run_id: str) -> str:
        return f"run {run_id!r} is open and cannot be carried on here: " + self._stranded.get(
            run_id, "this engine has not taken it up; call recover"
        )

    def _require_running(self) -> LiveRuns:
        if not self._running or self._live is None:
            raise RunRefused("the engine is closed; use it inside 'async with Engine(...)'")
        return self._live

    async def _open_journal(self) -> None:
        opening = asyncio.ensure_future(asyncio.to_thread(self._open_and_define))
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            await asyncio.wait([opening])  # A thread cannot be stopped; what it opened must not stay open.
            if opening.exception() is None:
                self._journal.close()
            raise

    def _open_and_define(self) -> None:
        self._journal.open()
        try:
            for bound in self._admission.sagas.values():
                self._journal.define(bound.saga)
        except BaseException:
            self._journal.close()
            raise

    async def _close(self) -> None:
        """Waits for what is in flight, within `shutdown_s`; then leaves the rest to the next opening."""
        self._running = False
        assert self._services is not None, "only an opened engine is closed"
        assert self._live is not None, "only an opened engine is closed"
        try:
            await self._live.close(self._shutdown_s)
        finally:  # Whoever cancels the waiting still gets a journal that is closed.
            for attempt in tuple(self._services.around.open):
                attempt.abandon()
            await asyncio.gather(*self._live.abandon(), return_exceptions=True)
            self._services.around.threads.shutdown(wait=False, cancel_futures=True)
            await asyncio.to_thread(self._journal.close)
            await asyncio.to_thread(self._listeners.close, self._shutdown_s)


async def _joined(run: LiveRun, saga: str) -> LiveRun | None:
    """Waits until another caller's run of the same id is accepted."""
    _require_saga(run.run_id, run.saga, saga)
    if await run.carried_on():
        return run
    if problem := run.refusal():
        raise RunRefused(
            f"run {run.run_id!r} was being started by another caller, and was refused: {problem}"
        )
    return None


def _require_saga(run_id: str, own: str, asked: str) -> None:
    if own != asked:
        raise RunRefused(f"run {run_id!r} is a run of saga {own!r}, not of {asked!r}; choose another id")
