"""The runs of one process: who has claimed which id, how many are carried on, and what became of each.

A run's id is claimed before anything is looked up, so that no id is ever started or taken up twice at once. A
claim is accepted when the run's start is durable, or given up. Runs are kept as small as they can be: most of
them only wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from sagacity_engine.errors import EngineError, RunRefused
from sagacity_engine.hosting.driver import RunDriver
from sagacity_engine.hosting.slots import Slots
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.results import RunResult, result_of

_LOG = logging.getLogger("sagacity_engine")


class LiveRun:
    """One claimed run id; with a driver from the moment the run's start is on its way to the disk."""

    __slots__ = (
        "_end_waiters",
        "_holds_slot",
        "_outcome",
        "_start_waiters",
        "accepted",
        "driver",
        "problem",
        "run_id",
        "saga",
    )

    def __init__(self, run_id: str, saga: str) -> None:
        self.run_id = run_id
        self.saga = saga
        self.driver: RunDriver | None = None
        self.accepted: bool | None = None  # Whether the run is carried on here; None while undecided.
        self.problem: Exception | None = None  # Why the claim was given up, if something went wrong.
        self._outcome: RunResult | Exception | None = None
        self._start_waiters: list[asyncio.Future[None]] | None = None
        self._end_waiters: list[asyncio.Future[None]] | None = None
        self._holds_slot = False

    async def carried_on(self) -> RunDriver | None:
        """Waits until the claim is decided: the run's driver, or None when it is not carried on here."""
        if self.accepted is None:
            self._start_waiters = self._start_waiters or []
            await _wait_in(self._start_waiters)
        return self.driver if self.accepted else None

    async def result(self) -> RunResult:
        """Waits for the run's end; raises why there is none."""
        if self._outcome is None:
            self._end_waiters = self._end_waiters or []
            await _wait_in(self._end_waiters)
        if isinstance(self._outcome, Exception):
            raise self._outcome
        assert self._outcome is not None, "an end was told"
        return self._outcome

    def wake_at_end(self, turn: asyncio.Future[None]) -> None:
        """Lets whoever waits for this go on when the run's end is told."""
        if self._outcome is None:
            self._end_waiters = self._end_waiters or []
            self._end_waiters.append(turn)
        elif not turn.done():
            turn.set_result(None)

    def decide(self, problem: BaseException | None = None, *, accepted: bool = False) -> None:
        """Tells everybody who waits for the claim; only the first decision counts."""
        if self.accepted is not None:
            return
        self.accepted = accepted and problem is None
        if isinstance(problem, Exception):
            self.problem = problem
        elif problem is not None:
            self.problem = RunRefused("the start was given up; start the run again")
        if self._start_waiters is not None:
            _release(self._start_waiters)

    def finish(self, outcome: RunResult | Exception) -> None:
        """Tells everybody who waits for the run's end; only the first outcome counts."""
        if self._outcome is None:
            self._outcome = outcome
            if self._end_waiters is not None:
                _release(self._end_waiters)

    def hold(self, slots: Slots, *, active: bool) -> None:
        """Takes or gives back a place among the runs that are carried on; a place it has stays its own."""
        if active and not self._holds_slot:
            slots.take()
        elif not active and self._holds_slot:
            slots.release()
        self._holds_slot = active

    def given(self) -> None:
        """The run has a place that was waited for."""
        self._holds_slot = True


class LiveRuns:
    """The claimed runs of one opened engine; `stranded` and `parked` say by id why a run stands still.

    `on_end` is told the state of every run that ended here, before whoever waits for it.
    """

    def __init__(
        self,
        max_runs: int,
        max_open: int,
        stranded: dict[str, str],
        parked: dict[str, str],
        on_end: Callable[[RunState], None],
    ) -> None:
        self.slots = Slots(max_runs)
        self.stranded = stranded
        self.parked = parked
        self._max_open = max_open
        self._on_end = on_end
        self._by_id: dict[str, LiveRun] = {}
        self._all_left: asyncio.Future[None] | None = None

    def __iter__(self) -> Iterator[LiveRun]:
        return iter(tuple(self._by_id.values()))

    def get(self, run_id: str) -> LiveRun | None:
        """The run with this id, claimed or carried on."""
        return self._by_id.get(run_id)

    def require_room(self) -> None:
        """Raises `RunRefused` when no more runs fit into memory."""
        if len(self._by_id) >= self._max_open:
            raise RunRefused(
                f"{len(self._by_id)} runs are open; the most is {self._max_open}: wait until some have "
                "ended, or raise max_open"
            )

    def claim(self, run_id: str, saga: str) -> LiveRun:
        """A new claim of an id that nobody has."""
        assert run_id not in self._by_id, "one id, one claim"
        run = self._by_id[run_id] = LiveRun(run_id, saga)
        return run

    def give_up(self, run: LiveRun, problem: BaseException | None = None) -> None:
        """Takes a claim back; whoever waits for it is told."""
        if self._by_id.get(run.run_id) is run:
            del self._by_id[run.run_id]
        run.hold(self.slots, active=False)
        run.decide(problem)
        if self._all_left is not None and not self._by_id and not self._all_left.done():
            self._all_left.set_result(None)

    def strand(self, run_id: str, reason: str) -> None:
        """Notes that a run cannot be carried on here."""
        self.stranded[run_id] = reason
        _LOG.error("run %s cannot be carried on: %s", run_id, reason)

    def left(self, run: LiveRun, problem: Exception | None) -> None:
        """A run's driver goes no further: it ended, the engine closed, or something is wrong."""
        assert run.driver is not None, "only a driver leaves"
        state, run.driver = run.driver.state, None
        self.parked.pop(run.run_id, None)
        if problem is not None:
            self.strand(run.run_id, f"{type(problem).__name__}: {problem}")
            run.finish(problem if isinstance(problem, EngineError) else EngineError(str(problem)))
        elif state.ended is None:
            run.finish(RunRefused(unfinished(run.run_id)))
        else:
            self._on_end(state)
            run.finish(result_of(state))
        self.give_up(run)

    async def close(self, within_s: float) -> None:
        """Starts no more attempts and waits for those in flight."""
        for run in self:
            if run.driver is not None:
                run.driver.close()
        if self._by_id:
            self._all_left = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._all_left], timeout=within_s)

    def abandon(self) -> None:
        """Leaves what is left to the next opening."""
        for run in self:
            if run.driver is not None:
                run.driver.abandon()
            else:
                self.give_up(run, RunRefused("the engine closed; start the run again"))


def unfinished(run_id: str) -> str:
    """What is told to those who wait for a run when the engine closes."""
    return (
        f"the engine closed before run {run_id!r} ended; it goes on when an engine opens this journal again"
    )


async def _wait_in(waiters: list[asyncio.Future[None]]) -> None:
    turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiters.append(turn)
    try:
        await turn
    finally:
        if turn in waiters:  # Not when everybody was told just as this one gave up.
            waiters.remove(turn)


def _release(waiters: list[asyncio.Future[None]]) -> None:
    for turn in waiters:
        if not turn.done():
            turn.set_result(None)
    waiters.clear()
