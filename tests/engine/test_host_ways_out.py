"""How runs leave an engine before they end: it closes, is taken over, or cannot go on with them."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from sagacity_engine import (
    Advice,
    BoundSaga,
    Call,
    Engine,
    EngineError,
    Event,
    Failure,
    JournalRefused,
    Launch,
    MemoryJournal,
    Saga,
    SagaFreedom,
    ServicePolicy,
    Status,
    StepError,
    author_plan,
    define,
)
from sagacity_engine.events import AttemptFailed, CancelRequested
from sagacity_engine.journal import Batch, JournalFenced, Settle
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.testing import violations
from sagacity_engine.testing.simulation.virtual_loop import run_in_virtual_time

Act = Callable[[Call], Any]


async def nothing(call: Call) -> None:
    """A participant that does nothing."""


async def hangs(call: Call) -> None:
    """A participant that answers after an hour."""
    await asyncio.sleep(3600)


def trip(act: Act = nothing, **fields: Any) -> BoundSaga:
    """One step that may be undone."""
    saga = define("trip", **fields)
    saga.step(name="book", compensate=nothing, idempotent=True)(act)
    return saga.bind()


def play(main: Coroutine[Any, Any, Any]) -> Any:
    """In virtual time, and with an end: whoever waits for what never comes is told after a day."""
    return run_in_virtual_time(asyncio.wait_for(main, 86_400))


class Disk(MemoryJournal):
    """A journal that can be `full`, `taken` over, or so `slow` that it writes when it closes."""

    def __init__(self) -> None:
        super().__init__()
        self.full = self.taken = self.slow = False
        self.settles_after_s = 0.0  # After the close, what is written then.
        self.offered = 0
        self._held: list[tuple[Batch, Settle]] = []

    def submit(self, batch: Batch, settle: Settle) -> None:
        self.offered += 1
        loop = asyncio.get_running_loop()
        if self.taken:
            loop.call_soon(settle, JournalFenced("another process has taken the journal over"))
        elif self.full:
            loop.call_soon(settle, JournalRefused("the disk is full"))
        elif self.slow:
            self._held.append((batch, settle))
        else:
            super().submit(batch, settle)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        held, self._held = self._held, []
        for batch, settle in held:
            super().submit(batch, partial(self._late, loop, settle))
        super().close()

    def _late(self, loop: asyncio.AbstractEventLoop, settle: Settle, problem: JournalRefused | None) -> None:
        loop.call_later(self.settles_after_s, settle, problem)


async def completed(journal: MemoryJournal, bound: BoundSaga, run_id: str = "r") -> None:
    """The next engine carries the run on to a sound end."""
    async with Engine(journal, [bound]) as engine:
        assert (await engine.result(run_id)).status is Status.COMPLETED
    assert violations(bound.saga, journal.read(run_id)) == ()


def test_a_request_that_is_written_while_the_engine_closes_is_acknowledged() -> None:
    """The journal writes what is queued when it closes: whoever asked hears that it is durable."""

    async def go() -> None:
        journal = Disk()
        async with Engine(journal, [trip(hangs)], shutdown_s=5.0) as engine:
            await engine.start("trip", run_id="r")
            await asyncio.sleep(1)
            journal.slow = True
            asking = asyncio.create_task(engine.cancel("r", "Asha", "no time"))
            await asyncio.sleep(1)
        assert await asking is True
        assert isinstance(journal.read("r")[-1], CancelRequested)

    play(go())


def test_what_becomes_durable_after_the_close_is_told_to_nobody() -> None:
    """A late commit of a run left behind: no listener, no call, no harm; the next engine has it all."""
    told: list[Event] = []
    called: list[str] = []

    def note(state: RunState, event: Event) -> None:
        told.append(event)

    async def book(call: Call) -> None:
        called.append(call.step)
        await asyncio.sleep(1)

    async def go() -> None:
        bound, journal = trip(book), Disk()
        journal.settles_after_s = 60.0
        async with Engine(journal, [bound], listeners=[note], shutdown_s=5.0) as engine:
            await engine.start("trip", run_id="r")
            journal.slow = True
            await asyncio.sleep(10)
        count = len(told)
        assert len(journal.read("r")) > count
        await asyncio.sleep(120)
        assert (len(told), called) == (count, ["book"])
        journal.slow = False
        async with Engine(journal, [bound]) as engine:
            assert (await engine.result("r")).status is Status.COMPLETED
        assert called == ["book"]

    play(go())


def test_a_parked_run_is_not_offered_to_a_journal_that_was_closed() -> None:
    """The disk is full and the engine closes: the batch is not tried again, and its run goes on elsewhere."""

    async def book(call: Call) -> None:
        await asyncio.sleep(1)

    async def go() -> None:
        bound, journal = trip(book), Disk()
        async with Engine(journal, [bound], shutdown_s=5.0) as engine:
            await engine.start("trip", run_id="r")
            journal.full = True
            await asyncio.sleep(2)
            assert engine.parked == {"r": "the disk is full"}
        assert engine.parked == {}
        offered, journal.full = journal.offered, False
        await asyncio.sleep(600)
        assert journal.offered == offered
        await completed(journal, bound)

    play(go())


class Hotel:
    """A service of two places; its calls hang until `mended`."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.mended = False

    async def act(self, call: Call) -> None:
        self.called.append(call.step)
        if not self.mended:
            await asyncio.sleep(3600)


def tour(hotel: Hotel) -> BoundSaga:
    """Three steps side by side, of one service."""
    names = ("one", "two", "three")
    saga = define("tour", stages=[names])
    for name in names:
        saga.step(name=name, service="inn", idempotent=True, compensate=nothing)(hotel.act)
    return saga.bind()


def test_a_run_that_no_journal_can_keep_calls_nobody_any_more() -> None:
    """Not even the call in line; it says why, and the next engine carries it on."""

    async def go() -> None:
        hotel, journal = Hotel(), MemoryJournal()
        bound = tour(hotel)
        limits = {"inn": ServicePolicy(concurrency=2, retry_share=None)}
        async with Engine(journal, [bound, trip()], services=limits, draw=lambda: math.nan) as engine:
            with pytest.raises(EngineError, match="nan is no number that JSON can say"):
                await engine.run("tour", run_id="r")
            assert "nan is no number" in engine.stranded["r"]
            assert (await engine.run("trip")).status is Status.COMPLETED
            guard = engine.guards.of("inn")
            assert (guard.in_flight, guard.waiting, hotel.called) == (0, 0, ["one", "two"])
        hotel.mended = True
        await completed(journal, bound)
        assert sorted(hotel.called[2:]) == ["one", "three", "two"]

    play(go())


def test_advice_about_a_run_that_was_taken_over_comes_to_nothing() -> None:
    """While the advisor thinks about a failure the journal is lost: its word writes and calls nothing."""
    journal, thought = Disk(), []

    class Advisor:
        async def advise(self, saga: Saga, launch: Launch) -> Advice:
            return Advice(plan=author_plan(saga))

        async def advise_on_failure(self, saga: Saga, failure: Failure) -> None:
            await asyncio.sleep(60)
            thought.append(failure.step)

    async def refused(call: Call) -> None:
        raise StepError("Full")

    async def go() -> None:
        bound = trip(refused, freedom=SagaFreedom(compensation=True))
        async with Engine(
            journal, [bound], advisor=Advisor(), advice_budget_s=600, holdout_share=0.0
        ) as engine:
            await engine.start("trip", run_id="r")
            await asyncio.sleep(1)
            journal.taken = True
            with pytest.raises(Exception, match="the request is lost"):
                await engine.pause("r", who="Asha")
            assert "another process has taken the journal over" in engine.stranded["r"]
            offered = journal.offered
            await asyncio.sleep(120)
            assert (thought, journal.offered) == (["book"], offered)
        assert not [event for event in journal.read("r") if isinstance(event, AttemptFailed)]

    play(go())
