"""What is on its way when an engine closes: every asker is told, and nothing goes on behind the close."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from sagacity_engine import (
    BoundSaga,
    Call,
    Engine,
    Event,
    JournalRefused,
    MemoryJournal,
    RunRefused,
    SagaRefused,
    define,
)
from sagacity_engine.events import CancelRequested
from sagacity_engine.journal import Batch, Settle
from sagacity_engine.listeners import Listeners
from sagacity_engine.testing.simulation.virtual_loop import VirtualLoop, run_in_virtual_time


async def nothing(call: Call) -> None:
    """A participant that does nothing."""


async def hangs(call: Call) -> None:
    """A participant that answers after an hour."""
    await asyncio.sleep(3600)


async def refuses(call: Call) -> None:
    """A participant that is full."""
    raise ValueError("full")


def trip(act: Any) -> BoundSaga:
    saga = define("trip")
    saga.step(name="book", compensate=nothing, idempotent=True)(act)
    return saga.bind()


def play(main: Coroutine[Any, Any, Any]) -> None:
    run_in_virtual_time(asyncio.wait_for(main, 86_400))


class Disk(MemoryJournal):
    """A journal that is full, or slow to refuse, or slow to be read."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses_after_s: float | None = None
        self.read_s = 0.0
        self.offered = 0

    def submit(self, batch: Batch, settle: Settle) -> None:
        self.offered += 1
        if self.refuses_after_s is None:
            super().submit(batch, settle)
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(self.refuses_after_s, settle, JournalRefused("the disk is full"))

    def read(self, run_id: str) -> tuple[Event, ...]:
        if self.read_s:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop.block(self.read_s)
        return super().read(run_id)


@pytest.mark.parametrize("refuses_after_s", [0.0, 60.0], ids=["a parked batch", "a batch on its way"])
def test_a_request_that_is_never_written_is_refused_at_the_close(refuses_after_s: float) -> None:
    """The engine closes before the request is durable: whoever asked is told to ask again."""

    async def go() -> None:
        journal = Disk()
        async with Engine(journal, [trip(hangs)], shutdown_s=5.0) as engine:
            await engine.start("trip", run_id="r")
            await asyncio.sleep(1)
            journal.refuses_after_s = refuses_after_s
            asking = asyncio.create_task(engine.cancel("r", "Asha"))
            await asyncio.sleep(1)
        with pytest.raises(RunRefused, match="the request is lost"):
            await asyncio.wait_for(asking, 600)

    play(go())


def test_a_run_that_is_found_after_the_close_is_not_carried_on() -> None:
    """A request that was reading the journal when the engine closed is refused, and nothing is offered."""

    async def go() -> None:
        journal, bound = Disk(), trip(refuses)
        async with Engine(journal, [bound]) as engine:
            await engine.run("trip", run_id="r")
        journal.read_s = 60.0
        async with Engine(journal, [bound], shutdown_s=5.0) as engine:
            asking = asyncio.create_task(engine.redrive("r", who="Asha"))
            await asyncio.sleep(1)
        offered = journal.offered
        with pytest.raises(RunRefused):
            await asyncio.wait_for(asking, 600)
        assert (journal.offered, engine.parked) == (offered, {})

    play(go())


def test_a_request_that_no_journal_can_keep_is_refused() -> None:
    """An event that JSON cannot say is refused in words, and its run goes on as if nobody had asked."""

    async def go() -> None:
        async with Engine(MemoryJournal(), [trip(hangs)], shutdown_s=5.0) as engine:
            await engine.start("trip", run_id="r")
            event = CancelRequested(at=float("nan"), who="Asha", why="")
            with pytest.raises(SagaRefused, match="the request cannot be kept as JSON: nan"):
                await engine.request("r", event)
            assert engine.stranded == {}
            assert await engine.cancel("r", "Asha")

    play(go())


def test_listeners_that_were_closed_have_been_told_everything() -> None:
    """Draining after the close says at once that nothing is left."""
    listeners = Listeners([lambda state, event: None])
    listeners.open()
    listeners.close(5.0)
    assert listeners.drain(0.0)
