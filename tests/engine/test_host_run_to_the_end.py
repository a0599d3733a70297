"""`Engine.run` wakes its caller once, at the run's end: whatever becomes of the start or of the caller."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sagacity_engine import Call, Engine, MemoryJournal, RunRefused, SagaBuilder, Status, define
from sagacity_engine.batch import Batch, Settle
from sagacity_engine.handlers import BoundSaga


class Slow(MemoryJournal):
    """A journal that tells nobody of a commit before `tell`."""

    def __init__(self) -> None:
        super().__init__()
        self.untold: list[Settle] = []
        self.written = asyncio.Event()

    def submit(self, batch: Batch, settle: Settle) -> None:
        """Keeps the batch, and who is to be told."""
        super().submit(batch, lambda _: self._keep(settle))

    def _keep(self, settle: Settle) -> None:
        self.untold.append(settle)
        self.written.set()

    def tell(self) -> None:
        """Tells all that their batches are durable."""
        untold, self.untold = self.untold, []
        for settle in untold:
            settle(None)


def one_step(act: Any) -> BoundSaga:
    """A saga of one step."""
    saga: SagaBuilder = define("one")
    saga.step(name="act", compensate=act)(act)
    return saga.bind()


async def nothing(call: Call) -> None:
    """Does nothing."""
    del call


def test_a_caller_is_told_when_its_start_becomes_durable_after_the_engine_was_left() -> None:
    """A run that was given up while its start was on the way has an end for whoever waits: a refusal."""

    async def main() -> None:
        journal = Slow()
        async with Engine(journal, [one_step(nothing)], shutdown_s=0.0) as engine:
            waiting = asyncio.ensure_future(engine.run("one"))
            await journal.written.wait()
        journal.tell()
        with pytest.raises(RunRefused, match="closed before run"):
            await asyncio.wait_for(waiting, 5)

    asyncio.run(main())


def test_a_run_goes_on_without_the_caller_that_waited_for_its_end() -> None:
    """Whoever cancels the waiting for its end leaves a run that comes to it."""

    async def main() -> None:
        called, go_on = asyncio.Event(), asyncio.Event()

        async def act(call: Call) -> None:
            del call
            called.set()
            await go_on.wait()

        async with Engine(MemoryJournal(), [one_step(act)]) as engine:
            waiting = asyncio.ensure_future(engine.run("one", run_id="r-1"))
            await called.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            go_on.set()
            assert (await engine.result("r-1")).status is Status.COMPLETED

    asyncio.run(main())
