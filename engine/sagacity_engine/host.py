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
import logging
import random
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

from sagacity_engine import machine
from sagacity_engine.advisor import (
    Advice,
    Advisor,
    Arm,
    Context,
    Launch,
    NoAdvisor,
    ask,
    assign_arm,
    author_advice,
)
from sagacity_engine.attempts import Surroundings, journaled
from sagacity_engine.clock import SteadyClock
from sagacity_engine.driver import RunDriver, Services
from sagacity_engine.errors import EngineError, JournalRefused, RunRefused, SagaRefused
from sagacity_engine.events import AttemptStarted, CancelRequested, RunStarted
from sagacity_engine.handlers import BoundSaga
from sagacity_engine.journal import Journal, JournalConflict, RunSummary
from sagacity_engine.listeners import Listener, Listeners
from sagacity_engine.machine import RunState
from sagacity_engine.results import RunResult, result_of

_LOG = logging.getLogger("sagacity_engine")

RUN_ID_MAX = 200
REASONS_MAX, TEXT_MAX = 20, 500
HOLDOUT = "the run is in the holdout, which keeps the author's plan"


@dataclass(slots=True)
class _Run:
    """A run in this process: accepted once its start is durable, done once its end is."""

    saga: str
    accepted: asyncio.Future[None]
    done: asyncio.Future[RunResult]
    driver: RunDriver | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)


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
        self._journal = journal
        self._sagas = _by_name(sagas)
        self._by_hash = {bound.saga.definition_hash: bound for bound in self._sagas.values()}
        self._unadvised = {
            name: author_advice(bound.saga, "no advisor is configured") for name, bound in self._sagas.items()
        }
        self._advisor = None if isinstance(advisor, NoAdvisor) else advisor
        self._holdout_share = _share(holdout_share)
        self._advice_budget_s = advice_budget_s
        self._listeners = Listeners(listeners)
        self._has_listeners = bool(listeners)
        self._clock = clock or SteadyClock()
        self._draw = draw or random.SystemRandom().random
        self._new_run_id = new_run_id or (lambda: str(uuid.uuid4()))
        self._max_threads = max_threads
        self._shutdown_s = shutdown_s
        self._slots = asyncio.Semaphore(max_runs)
        self._runs: dict[str, _Run] = {}
        self._stranded: dict[str, str] = {}
        self._parked: dict[str, str] = {}
        self._services: Services | None = None
        self._running = False

    async def __aenter__(self) -> Engine:
        await asyncio.to_thread(self._open_journal)
        threads = ThreadPoolExecutor(self._max_threads, thread_name_prefix="sagacity-step")
        self._listeners.open()
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
        handle, run_id = await self._start(saga, run_input, run_id, context)
        return await (self.result(run_id) if handle is None else asyncio.shield(handle.done))

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
        """
        return (await self._start(saga, run_input, run_id, context))[1]

    async def result(self, run_id: str) -> RunResult:
        """Waits for a run's end.

        Raises `RunRefused` for an unknown or stranded run, or when the engine closes before the end.
        """
        if run := self._runs.get(run_id):
            return await asyncio.shield(run.done)
        self._require_running()
        return await asyncio.to_thread(self._stored_result, run_id)

    async def cancel(self, run_id: str, who: str, why: str = "") -> bool:
        """Asks a run to turn back. True when the request is durable: after the pivot it changes nothing.

        False when the run had ended. Raises `RunRefused` for an unknown or stranded run.
        """
        self._require_running()
        run = self._runs.get(run_id)
        if run is not None:
            await asyncio.wait([run.accepted])
            if run.driver is not None:
                return await run.driver.put_and_wait(lambda at: CancelRequested(at=at, who=who, why=why))
        await asyncio.to_thread(self._stored_result, run_id)
        return False

    async def recover(self) -> tuple[str, ...]:
        """Carries on every open run of the journal; called on entry. Returns the ids of those it took up.

        Runs that cannot be carried on (an unregistered definition, an altered journal) stay untouched and are
        listed in `stranded`.
        """
        self._require_running()
        taken = [
            summary.run_id
            for summary in await asyncio.to_thread(self._journal.open_runs)
            if summary.run_id not in self._runs and await self._recover_one(summary)
        ]
        return tuple(taken)

    async def _start(
        self, saga: str, run_input: Mapping[str, Any] | None, run_id: str | None, context: Context | None
    ) -> tuple[_Run | None, str]:
        """The run in this process, or None for one that ended before, and its id."""
        self._require_running()
        bound = self._bound(saga)
        kept_input, kept_context = _kept("input", run_input), _kept("context", context)
        given, run_id = run_id, self._new_run_id() if run_id is None else _run_id(run_id)
        if run_id in self._runs:
            return await self._join(self._runs[run_id], run_id, saga), run_id
        loop = asyncio.get_running_loop()
        run = self._runs[run_id] = _Run(saga, loop.create_future(), loop.create_future())
        try:
            if given is not None and (existing := await asyncio.to_thread(self._journal.run, run_id)):
                self._forget(run_id, run)
                self._require_ended(existing, saga)
                return None, run_id
            await self._slots.acquire()
            try:
                self._require_running()
                await self._accept(bound, run, run_id, kept_input, kept_context)
            except BaseException:
                self._slots.release()
                raise
        except BaseException as problem:
            self._forget(run_id, run, problem)
            raise
        return run, run_id

    async def _join(self, run: _Run, run_id: str, saga: str) -> _Run | None:
        """Waits until another caller's run of the same id is accepted."""
        if run.saga != saga:
            raise RunRefused(
                f"run {run_id!r} is a run of saga {run.saga!r}, not of {saga!r}; choose another id"
            )
        await asyncio.wait([run.accepted])
        if run.driver is not None:
            return run
        if problem := run.accepted.exception():
            raise RunRefused(
                f"run {run_id!r} was being started by another caller, and was refused: {problem}"
            )
        return None

    async def _accept(
        self, bound: BoundSaga, run: _Run, run_id: str, run_input: Mapping[str, Any], context: Context
    ) -> None:
        advice, arm, propensity = await self._advice(bound, run_id, context)
        started = RunStarted(
            run_id=run_id,
            at=self._clock(),
            definition_hash=bound.saga.definition_hash,
            plan=advice.plan,
            input=run_input,
            context=context,
            arm=arm.value,
            propensity=propensity,
            fallback=advice.fallback,
            # Advice is foreign: whatever these hold, they must not keep the run from being written down.
            advice_id=str(advice.advice_id)[:TEXT_MAX],
            model_version=str(advice.model_version)[:TEXT_MAX],
            reasons=tuple(str(reason)[:TEXT_MAX] for reason in advice.reasons[:REASONS_MAX]),
        )
        driver = self._driver(bound, machine.begin(bound.saga, started), seq=0, last_at=started.at)
        try:
            launches = await driver.begin()
        except JournalConflict:
            raise RunRefused(
                f"run {run_id!r} exists already; ask for its result, or choose another id"
            ) from None
        self._launch(run, driver, launches, slot_taken=True)

    async def _advice(self, bound: BoundSaga, run_id: str, context: Context) -> tuple[Advice, Arm, float]:
        if self._advisor is None:
            return self._unadvised[bound.saga.name], Arm.AUTHOR, 1.0
        arm, propensity = assign_arm(run_id, self._holdout_share)
        if arm is Arm.AUTHOR:
            kept = replace(self._unadvised[bound.saga.name], fallback=False, reasons=(HOLDOUT,))
            return kept, arm, propensity
        launch = Launch(run_id=run_id, context=context, at=self._clock())
        return await ask(self._advisor, bound.saga, launch, budget_s=self._advice_budget_s), arm, propensity

    async def _recover_one(self, summary: RunSummary) -> bool:
        bound = self._by_hash.get(summary.definition_hash)
        if bound is None:
            return self._strand(
                summary.run_id,
                f"its definition {summary.definition_hash[:12]} of saga {summary.saga!r} is not registered; "
                "register the definition it was started with",
            )
        try:
            events = await asyncio.to_thread(self._journal.read, summary.run_id)
            state = machine.replay(bound.saga, events)
        except EngineError as problem:
            return self._strand(summary.run_id, str(problem))
        driver = self._driver(bound, state, seq=len(events), last_at=max(event.at for event in events))
        loop = asyncio.get_running_loop()
        run = self._runs[summary.run_id] = _Run(summary.saga, loop.create_future(), loop.create_future())
        driver.recover()
        self._launch(run, driver, [], slot_taken=False)
        return True

    def _strand(self, run_id: str, reason: str) -> bool:
        self._stranded[run_id] = reason
        _LOG.error("run %s cannot be carried on: %s", run_id, reason)
        return False

    def _driver(self, bound: BoundSaga, state: RunState, *, seq: int, last_at: float) -> RunDriver:
        assert self._services is not None, "an engine that runs has its services"
        return RunDriver(self._services, bound, state, seq, last_at)

    def _launch(
        self, run: _Run, driver: RunDriver, launches: Sequence[AttemptStarted], *, slot_taken: bool
    ) -> None:
        run.driver = driver
        run.accepted.set_result(None)
        run.done.add_done_callback(_looked_at)
        run.task = asyncio.get_running_loop().create_task(self._drive(run, driver, launches, slot_taken))

    async def _drive(
        self, run: _Run, driver: RunDriver, launches: Sequence[AttemptStarted], slot_taken: bool
    ) -> None:
        if not slot_taken:
            await self._slots.acquire()
        try:
            await driver.drive(launches)
        except Exception as problem:
            self._strand(driver.run_id, f"{type(problem).__name__}: {problem}")
            _set(run.done, problem if isinstance(problem, EngineError) else EngineError(str(problem)))
            if not isinstance(problem, EngineError):
                raise
        else:
            if driver.state.ended is not None:
                _set(run.done, result_of(driver.state))
        finally:
            self._slots.release()
            driver.stop_waiting()
            self._parked.pop(driver.run_id, None)
            if driver.state.ended is None:
                _set(run.done, RunRefused(_unfinished(driver.run_id)))
            self._runs.pop(driver.run_id, None)

    def _forget(self, run_id: str, run: _Run, problem: BaseException | None = None) -> None:
        """Takes back the claim on a run id; whoever waits for the claim is told."""
        self._runs.pop(run_id, None)
        if not run.accepted.done():
            if isinstance(problem, Exception):
                run.accepted.set_exception(problem)
            elif problem is not None:
                run.accepted.set_exception(RunRefused("the start was given up; start the run again"))
            else:
                run.accepted.set_result(None)
            run.accepted.exception()

    def _require_ended(self, existing: RunSummary, saga: str) -> None:
        if existing.saga != saga:
            raise RunRefused(
                f"run {existing.run_id!r} is a run of saga {existing.saga!r}, not of {saga!r}; "
                "choose another id"
            )
        if not existing.status.ended and existing.run_id not in self._runs:
            raise RunRefused(self._why_not_here(existing.run_id))

    def _stored_result(self, run_id: str) -> RunResult:
        summary = self._journal.run(run_id)
        if summary is None:
            raise RunRefused(f"there is no run {run_id!r} in this journal; check the id")
        if not summary.status.ended:
            raise RunRefused(self._why_not_here(run_id))
        saga = self._journal.definition(summary.definition_hash)
        if saga is None:
            raise JournalRefused(
                f"the journal lacks the definition of run {run_id!r}; restore it from a copy"
            )
        return result_of(machine.replay(saga, self._journal.read(run_id)))

    def _why_not_here(self, run_id: str) -> str:
        return f"run {run_id!r} is open and cannot be carried on here: " + self._stranded.get(
            run_id, "this engine has not taken it up; call recover"
        )

    def _bound(self, saga: str) -> BoundSaga:
        if saga not in self._sagas:
            raise RunRefused(
                f"saga {saga!r} is not registered; the sagas are {', '.join(sorted(self._sagas)) or 'none'}"
            )
        return self._sagas[saga]

    def _open_journal(self) -> None:
        self._journal.open()
        try:
            for bound in self._sagas.values():
                self._journal.define(bound.saga)
        except BaseException:
            self._journal.close()
            raise

    def _require_running(self) -> None:
        if not self._running:
            raise RunRefused("the engine is closed; use it inside 'async with Engine(...)'")

    async def _close(self) -> None:
        """Waits for what is in flight, within `shutdown_s`; then leaves the rest to the next opening."""
        self._running = False
        assert self._services is not None, "only an opened engine is closed"
        for run in self._runs.values():
            if run.driver is not None:
                run.driver.close()
        tasks = [run.task for run in self._runs.values() if run.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self._shutdown_s)
        for attempt in tuple(self._services.around.open):
            attempt.abandon()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._services.around.threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._journal.close)
        await asyncio.to_thread(self._listeners.close, self._shutdown_s)


def _by_name(sagas: Iterable[BoundSaga]) -> dict[str, BoundSaga]:
    named: dict[str, BoundSaga] = {}
    for bound in sagas:
        if bound.saga.name in named:
            raise SagaRefused(f"saga {bound.saga.name!r} is registered twice; give each a name of its own")
        named[bound.saga.name] = bound
    return named


def _share(share: float) -> float:
    if not 0 <= share <= 1:
        raise SagaRefused(f"holdout_share is {share!r}; it must be between 0 and 1")
    return share


def _run_id(run_id: str) -> str:
    if not (0 < len(run_id) <= RUN_ID_MAX and run_id.isprintable()):
        raise RunRefused(f"run id {run_id[:60]!r} is not usable; use 1 to {RUN_ID_MAX} printable characters")
    return run_id


def _kept(what: str, value: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        kept = journaled(dict(value or {}))
    except (TypeError, ValueError, RecursionError) as problem:
        raise SagaRefused(f"the run's {what} cannot be kept as JSON: {problem}") from None
    assert isinstance(kept, dict), "a mapping stays one"
    return kept


def _set(done: asyncio.Future[RunResult], outcome: RunResult | Exception) -> None:
    if done.done():
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)


def _looked_at(done: asyncio.Future[RunResult]) -> None:
    """Not everybody who starts a run waits for it: an outcome nobody asked for is no accident."""
    if not done.cancelled():
        done.exception()


def _unfinished(run_id: str) -> str:
    return (
        f"the engine closed before run {run_id!r} ended; it goes on when an engine opens this journal again"
    )
