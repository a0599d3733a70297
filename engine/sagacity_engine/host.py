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
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from sagacity_engine.advisor import Advisor, Context
from sagacity_engine.clock import SteadyClock
from sagacity_engine.errors import RunRefused, SagaRefused
from sagacity_engine.events import Event
from sagacity_engine.guards.breaker import BreakerState
from sagacity_engine.guards.service_guards import ServiceGuards, ServicePolicy
from sagacity_engine.handlers import BoundSaga
from sagacity_engine.hosting.admission import Admission, kept, new_order, usable
from sagacity_engine.hosting.house import House, Settings
from sagacity_engine.hosting.live_runs import LiveRun
from sagacity_engine.hosting.operating import Operable, cancel_event, require_accepted
from sagacity_engine.hosting.run_ids import RunIds
from sagacity_engine.journal import Journal
from sagacity_engine.listeners import Listener, Listeners
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.results import RunResult, stored_result


class Engine(Operable):
    """Runs the given sagas; use it as an asynchronous context manager.

    Of several definitions of one name, the last is used for new runs and the others for runs they began.
    `advisor` proposes plans within `advice_budget_s`; `check` stands between, and a share `holdout_share`
    of the runs keeps the author's plan so that the advice can be judged. An advisor that can be asked about
    failures is asked again when a step fails. `services` sets limits and retry budgets by service, the key
    "*" for all others; `breaker_changed` is told of a service whose breaker opens or closes. At most
    `max_runs` runs are carried on at a time: one more `start` waits; runs that only wait do not count, but
    no more than `max_open` runs are open at all. Plain functions run in at most `max_threads` threads.
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
        services: Mapping[str, ServicePolicy] | None = None,
        breaker_changed: Callable[[str, BreakerState, float], object] | None = None,
        clock: Callable[[], float] | None = None,
        draw: Callable[[], float] | None = None,
        new_run_id: Callable[[], str] | None = None,
        max_runs: int = 1_000,
        max_open: int = 200_000,
        max_threads: int = 32,
        shutdown_s: float = 10.0,
    ) -> None:
        for name, number in (("max_runs", max_runs), ("max_open", max_open), ("max_threads", max_threads)):
            if number < 1:
                raise SagaRefused(f"{name} is {number!r}; it must be at least 1")
        clock = clock or SteadyClock()
        admission = Admission(sagas, advisor, holdout_share, advice_budget_s, clock)
        self._listeners = Listeners(listeners)
        self._settings = Settings(
            journal=journal,
            admission=admission,
            listeners=self._listeners if listeners else None,
            guards=_guards(services, breaker_changed),
            clock=clock,
            draw=draw or random.Random().random,
            max_runs=max_runs,
            max_open=max_open,
            max_threads=max_threads,
            shutdown_s=shutdown_s,
        )
        self._new_run_id = new_run_id or RunIds()
        self._house: House | None = None
        self._last: House | None = None

    async def __aenter__(self) -> Engine:
        self._last = self._house = House(self._settings)
        try:
            await self._house.open()
        except BaseException:
            self._house = None
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        house, self._house = self._house, None
        assert house is not None, "only an opened engine is closed"
        await house.close()

    @property
    def stranded(self) -> Mapping[str, str]:
        """Open runs that this engine cannot carry on, by id, each with the reason."""
        return {} if self._last is None else dict(self._last.stranded)

    @property
    def parked(self) -> Mapping[str, str]:
        """Runs that wait because the journal refuses to write, by id, each with its words."""
        return {} if self._last is None else dict(self._last.parked)

    @property
    def guards(self) -> ServiceGuards:
        """The breakers, limits and retry budgets of the services."""
        return self._settings.guards

    @property
    def listeners(self) -> Listeners:
        """The listeners' thread: counts of failures and drops, and `drain`."""
        return self._listeners

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._settings.clock()

    async def run(
        self,
        saga: str,
        run_input: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        context: Context | None = None,
        traceparent: str = "",
    ) -> RunResult:
        """Starts a run and returns its result; with the id of a run that exists, that run's result.

        Raises what `start` and `result` raise.
        """
        run, run_id = await self._start(saga, run_input, run_id, context, traceparent, until_end=True)
        return await (self.result(run_id) if run is None else run.result())

    async def start(
        self,
        saga: str,
        run_input: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        context: Context | None = None,
        traceparent: str = "",
    ) -> str:
        """Starts a run and returns its id when the start is durable; waits while `max_runs` are running.

        With the id of a run of this saga that exists, nothing is started and the other arguments are
        ignored. Raises `RunRefused` (an unknown saga, an unusable or taken id, a held resource, too many
        open runs, a closed engine), `SagaRefused` (an input that is no JSON) or `JournalRefused`; after any
        of them nothing was started (though a refused commit can still arrive when the process dies before
        its next one; then the run goes on at the next opening). A caller that is cancelled while the start
        is on its way to the disk leaves a run that goes on.
        """
        return (await self._start(saga, run_input, run_id, context, traceparent))[1]

    async def result(self, run_id: str) -> RunResult:
        """Waits for a run's end.

        Raises `RunRefused` for an unknown or stranded run, or when the engine closes before the end.
        """
        house = self._require_open()
        run = house.live.get(run_id)
        if run is not None and await run.carried_on():
            return await run.result()
        return await asyncio.to_thread(stored_result, self._settings.journal, run_id, house.why_not_here)

    async def state(self, run_id: str) -> RunState:
        """A copy of where the run stands; raises `RunRefused` when there is no such run."""
        found = await self._require_open().find(run_id)
        if found is None:
            raise RunRefused(f"there is no run {run_id!r} in this journal; check the id")
        return found

    async def cancel(self, run_id: str, who: str, why: str = "") -> bool:
        """Asks a run to turn back. True when the request is durable: after the pivot it changes nothing.

        False when the run had ended. Raises `RunRefused` for an unknown or stranded run, or when the engine
        closes before the request is durable, and `SagaRefused` when nobody is named.
        """
        house = self._require_open()
        event = cancel_event(self.now(), who, why)
        if house.live.get(run_id) is None and await asyncio.to_thread(self._has_ended, run_id):
            return False
        return not await house.wish(run_id, event)

    async def request(self, run_id: str, event: Event) -> None:
        """Makes the event of a person happen to the run; raises `RunRefused` when it cannot."""
        require_accepted(run_id, await self._require_open().wish(run_id, event))

    async def recover(self) -> tuple[str, ...]:
        """Carries on every open run of the journal; called on entry. Returns the ids of those it took up.

        Runs that cannot be carried on (an unregistered definition, an altered journal) stay untouched and are
        listed in `stranded`.
        """
        return await self._require_open().recover()

    async def _start(
        self,
        saga: str,
        run_input: Mapping[str, Any] | None,
        run_id: str | None,
        context: Context | None,
        traceparent: str,
        *,
        until_end: bool = False,
    ) -> tuple[LiveRun | None, str]:
        """The run in this process, or None for one that ended before, and its id."""
        house = self._require_open()
        bound = self._settings.admission.bound(saga)
        kept_input, kept_context = kept("input", run_input), kept("context", context)
        given, run_id = run_id is not None, usable(self._new_run_id() if run_id is None else run_id)
        if not given and house.live.get(run_id) is not None:
            raise RunRefused(f"run id {run_id!r} came twice from new_run_id; it must never repeat itself")
        order = new_order(run_id=run_id, run_input=kept_input, context=kept_context, traceparent=traceparent)
        return await house.start(bound, order, must_be_new=not given, until_end=until_end), run_id

    def _has_ended(self, run_id: str) -> bool:
        line = self._settings.journal.run(run_id)
        return line is not None and line.status.ended

    def _require_open(self) -> House:
        if self._house is None:
            raise RunRefused("the engine is closed; use it inside 'async with Engine(...)'")
        return self._house


def _guards(
    services: Mapping[str, ServicePolicy] | None,
    breaker_changed: Callable[[str, BreakerState, float], object] | None,
) -> ServiceGuards:
    """Breakers always; limits and retry budgets only where somebody asked for them."""
    policies = dict(services or {})
    others = policies.pop("*", ServicePolicy(retry_share=None))
    return ServiceGuards(policies, others, on_change=breaker_changed)
